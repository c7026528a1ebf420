"""Accuracy of the theory beside CCL and jax_cosmo: `python -m benchmarks.accuracy`.

Prints the table of docs/accuracy.md: each quantity over 24 cosmologies drawn around Planck,
the reference, the most that is allowed, and the largest error of each code that is installed
(`pip install flowpm-ext[test,bench]` installs all). The same references, in the same
cosmologies, are asked for by the tests.
"""

import argparse
import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import integrate, special, stats

from benchmarks.accuracy_codes import BIAS, BINS, NAMES, SLOPE, FlowpmExt, JaxCosmo, NotOfferedError
from tests.reference import ccl_spectra, cosmologies, derivatives

VALUES = cosmologies.draw()
THETA = np.stack([VALUES[name] for name in NAMES], axis=-1)  # [24, 8]
PLANCK = np.array(list(cosmologies.PLANCK.values()))
FLAT, CONSTANT = VALUES["Omega_k"] == 0, VALUES["wa"] == 0
Z, A = np.geomspace(1e-3, 10.0, 30), np.geomspace(0.05, 1.0, 25)
K, EPOCHS = np.geomspace(1e-4, 10.0, 200), 1 / (1 + np.array([0.0, 0.5, 1.0, 2.0, 3.0]))
ELL = np.geomspace(10.0, 3000.0, 10)
TINY_STEPS = np.array([1, 0.5, 1, 2, 2, 2, 5, 5]) * 1e-3
CCL_STEPS = np.array([0.01, 0.005, 0.02, 0.02, 0.02, 0.01, 0.04, 0.04])


class Row(NamedTuple):
    """One line of the table."""

    quantity: str
    reference: str
    bar: float
    error: Callable[[Any], float]  # largest error of a code


def references(which: np.ndarray | slice = slice(None), transfer: str = "eisenstein_hu") -> list:
    """Cosmologies of CCL for some rows of the draw."""
    rows = np.arange(cosmologies.SIZE)[which]
    return [cosmologies.ccl(cosmologies.one(VALUES, i), transfer) for i in rows]


def relative(ours: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative error."""
    return float(np.max(np.abs(ours / expected - 1)))


def distances(code: Any) -> float:
    """Against astropy."""
    expected = []
    for i in range(cosmologies.SIZE):
        cosmology = cosmologies.astropy(cosmologies.one(VALUES, i))
        expected.append(cosmology.comoving_transverse_distance(Z).value * cosmology.h)
    return relative(code.distance(THETA, Z), np.stack(expected))


def growth_in_closed_form(code: Any) -> float:
    """Against the hypergeometric function, with a cosmological constant."""
    theta = THETA.copy()
    theta[:, [NAMES.index(name) for name in ("Omega_k", "w0", "wa")]] = (0.0, -1.0, 0.0)
    ratio = (1 / (theta[:, 0] + theta[:, 1]) - 1)[:, None]
    x = -ratio * A**3
    value, today = (special.hyp2f1(1 / 3, 1, 11 / 6, y) for y in (x, -ratio))
    slope = 6 / 11 * x * special.hyp2f1(4 / 3, 2, 17 / 6, x)
    expected = np.stack([A * value / today, 1 + slope / value], axis=1)
    return relative(code.growth(theta, A), expected)


def growth_of_ccl(code: Any) -> float:
    """Against CCL."""
    expected = [[r.growth_factor(A), r.growth_rate(A)] for r in references()]
    return relative(code.growth(THETA, A), np.array(expected))


def second_growth_of_matter(code: Any) -> float:
    """Against -3/7 a**2 in an Einstein-de Sitter universe."""
    theta = PLANCK.copy()
    theta[0] = 1 - theta[1]
    return relative(code.second_growth(theta[None], A)[:, 0], -3 / 7 * A**2)


def linear(shape: str, theirs: str) -> Callable[[Any], float]:
    """Linear spectra against CCL, whose wavenumbers are in 1/Mpc."""

    def error(code: Any) -> float:
        expected = [
            [r.linear_matter_power(K * r["h"], a) * r["h"] ** 3 for a in EPOCHS[:3]]
            for r in references(transfer=theirs)
        ]
        return relative(code.linear(THETA, K, EPOCHS[:3], shape), np.array(expected))

    return error


def amplitude(code: Any) -> float:
    """sigma8 of the spectrum that is returned, by Simpson's rule."""
    k = np.geomspace(1e-5, 60.0, 30001)
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    density = k**3 * code.linear(THETA, k, np.ones(1))[:, 0] * window**2 / (2 * np.pi**2)
    return relative(np.sqrt(integrate.simpson(density, x=np.log(k))), VALUES["sigma8"])


def halofit(which: np.ndarray) -> Callable[[Any], float]:
    """Nonlinear spectra against CCL."""

    def error(code: Any) -> float:
        expected = [
            [r.nonlin_matter_power(K * r["h"], a) * r["h"] ** 3 for a in EPOCHS]
            for r in references(which)
        ]
        return relative(code.nonlinear(THETA[which], K, EPOCHS), np.array(expected))

    return error


def tracers() -> list[tuple]:
    """The tracers of `spectra`, for CCL."""
    bins = [lambda z, p=p: z ** p[0] * np.exp(-((z / p[2]) ** p[1])) for p in BINS]
    return [
        *(("shear", nz) for nz in bins), *(("aligned", nz) for nz in bins),
        *(("counts", nz, BIAS) for nz in bins), ("counts", bins[1], BIAS, SLOPE),
        ("distorted", bins[1], BIAS), ("background",),
    ]  # fmt: skip


def spectra(which: np.ndarray, method: str, first: int, last: int) -> Callable[[Any], float]:
    """Angular spectra of some of the tracers against CCL, relative to sqrt(C_ii C_jj)."""

    def error(code: Any) -> float:
        expected = np.stack([
            ccl_spectra.spectra(r, tracers()[first:last], ELL) for r in references(which)
        ])  # fmt: skip
        return of_autos(getattr(code, method)(THETA[which], ELL) - expected, expected)

    return error


def of_autos(difference: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of spectra [..., num_cl, num_ell] relative to sqrt(C_ii C_jj)."""
    size = int(np.sqrt(2 * expected.shape[-2]))
    rows, columns = np.triu_indices(size)
    autos = expected[..., rows == columns, :]
    return float(np.max(np.abs(difference) / np.sqrt(autos[..., rows, :] * autos[..., columns, :])))


def derivatives_of_itself(code: Any) -> float:
    """Exact derivatives against finite differences of the same code."""

    def spectra(rows: Any) -> np.ndarray:
        return code.spectra(rows.numpy(), ELL)

    expected = derivatives.differences(spectra, PLANCK, TINY_STEPS)
    return float(np.max(_of_largest(code.jacobian(PLANCK, ELL), expected)))


def derivatives_of_ccl(names: tuple[str, ...]) -> Callable[[Any], float]:
    """Derivatives of shear in some parameters against finite differences of CCL."""

    def shear(rows: Any) -> np.ndarray:
        made = (
            cosmologies.ccl(dict(zip(NAMES, row, strict=True))) for row in rows.numpy().tolist()
        )
        return np.stack([ccl_spectra.spectra(r, tracers()[:2], ELL) for r in made])

    def error(code: Any) -> float:
        expected = derivatives.differences(shear, PLANCK, CCL_STEPS)
        # Of the spectra of `code`, those of the first two tracers.
        ours = code.jacobian(PLANCK, ELL)[:, [0, 1, 6]]
        which = [NAMES.index(name) for name in names]
        return float(np.max(_of_largest(ours, expected)[which]))

    return error


def _of_largest(ours: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Differences of derivatives over the largest of each spectrum and parameter."""
    return np.abs(ours - expected) / np.max(np.abs(expected), axis=-1, keepdims=True)


def likelihood(code: Any) -> float:
    """Against scipy, in ten dimensions."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=[10, 10])
    covariance = factor @ factor.T + np.eye(10)
    data, mean = rng.normal(size=[2, 10])
    expected = stats.multivariate_normal(mean, covariance).logpdf(data)
    return abs(code.log_likelihood(data, mean, covariance) / expected - 1)


def single_precision(code: Any) -> float:
    """Spectra in float32 against float64."""
    expected = code.spectra(THETA, ELL)
    return of_autos(code.single_precision_spectra(THETA, ELL) - expected, expected)


ROWS = [
    Row("f_K, 1e-3 < z < 10", "astropy", 1e-9, distances),
    Row("D1, f1, flat with a constant", "closed form", 5e-6, growth_in_closed_form),
    Row("D1, f1", "CCL", 5e-6, growth_of_ccl),
    Row("D2, matter alone", "-3/7 a**2", 1e-6, second_growth_of_matter),
    Row("P(k) of Eisenstein & Hu", "CCL", 5e-5, linear("eisenstein_hu", "eisenstein_hu")),
    Row(
        "P(k) without wiggles", "CCL", 1e-5,
        linear("eisenstein_hu_nowiggle", "eisenstein_hu_nowiggles"),
    ),
    Row("P(k) of BBKS", "CCL", 1e-5, linear("bbks", "bbks")),
    Row("sigma8 of the spectrum", "Simpson's rule", 1e-6, amplitude),
    Row("halofit, z <= 3, wa = 0", "CCL", 2e-4, halofit(CONSTANT)),
    Row("halofit, z <= 3, wa not 0, w = w0", "CCL", 2e-3, halofit(~CONSTANT)),
    Row("C_ell, Omega_k = 0", "CCL", 1e-3, spectra(FLAT, "spectra", 0, 6)),
    Row("C_ell, Omega_k = +-0.02", "CCL", 4e-3, spectra(~FLAT, "spectra", 0, 6)),
    Row(
        "magnification, distortions, CMB lensing", "CCL", 2e-3,
        spectra(FLAT, "more_spectra", 6, 9),
    ),
    Row("dC_ell / d(8 parameters)", "own differences", 1e-6, derivatives_of_itself),
    Row(
        "dC_ell of shear, 6 parameters", "differences of CCL", 2e-3,
        derivatives_of_ccl(("Omega_c", "Omega_b", "h", "n_s", "sigma8", "w0")),
    ),
    Row(
        "dC_ell of shear, Omega_k and wa", "differences of CCL", 3e-2,
        derivatives_of_ccl(("Omega_k", "wa")),
    ),
    Row("log-likelihood", "scipy", 1e-10, likelihood),
    Row("C_ell in float32", "float64", 1e-4, single_precision),
]  # fmt: skip


def installed() -> list[Any]:
    """The codes that can be imported; a line about each that cannot."""
    codes = []
    for code in (FlowpmExt, JaxCosmo):
        try:
            importlib.import_module(code.name)
        except ImportError:
            print(f"{code.name} is skipped: it is not installed.")
            continue
        codes.append(code())
    return codes


def table(codes: list[Any], rows: list[Row]) -> Iterator[str]:
    """Lines of the table, in Markdown."""
    yield "| quantity | reference | at most | " + " | ".join(code.name for code in codes) + " |"
    yield "|---" * (3 + len(codes)) + "|"
    for row in rows:
        cells = []
        for code in codes:
            try:
                cells.append(f"{row.error(code):.1e}")
            except NotOfferedError:
                cells.append("–")
        yield f"| {row.quantity} | {row.reference} | {row.bar:.0e} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only the quantities that contain this")
    options = parser.parse_args()
    for line in table(installed(), [row for row in ROWS if options.only in row.quantity]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
