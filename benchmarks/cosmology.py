"""Speed of angular power spectra beside pyccl and jax_cosmo: `python -m benchmarks.cosmology`.

Ten tracers (five bins of shear, five of galaxy counts) make 55 spectra, at 100 multipoles, from
the parameters of a cosmology each time: background, growth, power spectrum, halofit and the
Limber integrals. Every code runs as its documentation recommends, in float64, on the cores it
takes. What is not installed is skipped; `pip install flowpm-ext[bench]` installs both.
"""

import argparse
import importlib
import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

ELL = np.geomspace(10.0, 3000.0, 100)
NAMES = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "w0", "wa")
THETA = np.array([0.2589, 0.0486, 0.6774, 0.9667, 0.8159, -1.0, 0.0])
STEPS = np.array([0.01, 0.005, 0.02, 0.02, 0.02, 0.04, 0.04])  # for finite differences
SHEAR = [(2.0, 3.0, z0) for z0 in (0.3, 0.5, 0.7, 0.9, 1.1)]  # a, b, z0 of Smail n(z)
COUNTS = [(3.0, 4.0, z0) for z0 in (0.2, 0.4, 0.6, 0.8, 1.0)]
BIAS = 1.5


class Timing(NamedTuple):
    """How long one code took (seconds)."""

    code: str
    first: float  # first spectra, with tracing and compilation
    spectra: float  # best of the later ones
    jacobian_first: float
    jacobian: float  # best of the later ones
    values: np.ndarray  # [55, 100]


def flowpm_ext_functions() -> tuple[Callable, Callable]:
    """Spectra and their Jacobian, as functions of the parameters."""
    import tensorflow as tf

    from flowpm_ext.cosmology import Cosmology, angular_cl, fisher, probes, redshift

    shear, counts = ([redshift.smail_nz(*bin_) for bin_ in bins] for bins in (SHEAR, COUNTS))
    tracers = [probes.WeakLensing(shear), probes.NumberCounts(counts, BIAS)]

    def spectra(theta: tf.Tensor) -> tf.Tensor:
        cosmo = Cosmology(**dict(zip(NAMES, tf.unstack(theta), strict=True)))
        return angular_cl.angular_cl(cosmo, ELL, tracers)

    whole = tf.function(spectra, jit_compile=True, autograph=False)
    derivatives = tf.function(
        lambda theta: fisher.jacobian(spectra, theta), jit_compile=True, autograph=False
    )
    return (lambda x: whole(tf.constant(x)).numpy()), lambda x: derivatives(tf.constant(x)).numpy()


def jax_cosmo_functions() -> tuple[Callable, Callable]:
    """Spectra and their Jacobian by forward mode."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax_cosmo as jc

    shear, counts = ([jc.redshift.smail_nz(*bin_) for bin_ in bins] for bins in (SHEAR, COUNTS))
    bias = jc.bias.constant_linear_bias(BIAS)
    tracers = [jc.probes.WeakLensing(shear), jc.probes.NumberCounts(counts, bias)]

    def spectra(theta: jax.Array) -> jax.Array:
        parameters = dict(zip(NAMES, theta, strict=True))
        return jc.angular_cl.angular_cl(jc.Cosmology(Omega_k=0.0, **parameters), ELL, tracers)

    whole, derivatives = jax.jit(spectra), jax.jit(jax.jacfwd(spectra))
    return (lambda x: np.asarray(whole(x))), lambda x: np.asarray(derivatives(x))


def pyccl_functions() -> tuple[Callable, Callable]:
    """Spectra, and finite differences of them, which is all that pyccl offers."""
    import pyccl as ccl

    z = np.linspace(0.0, 5.0, 1000)
    bins = [(z, z**a * np.exp(-((z / z0) ** b))) for a, b, z0 in (*SHEAR, *COUNTS)]

    def spectra(theta: np.ndarray) -> np.ndarray:
        parameters = dict(zip(NAMES, theta, strict=True))
        cosmo = ccl.Cosmology(
            **parameters, Neff=0.0, T_CMB=2.726, Omega_g=0.0,
            transfer_function="eisenstein_hu", matter_power_spectrum="halofit",
        )  # fmt: skip
        tracers = [ccl.WeakLensingTracer(cosmo, dndz=nz) for nz in bins[: len(SHEAR)]]
        tracers += [
            ccl.NumberCountsTracer(cosmo, has_rsd=False, dndz=nz, bias=(z, BIAS * np.ones_like(z)))
            for nz in bins[len(SHEAR) :]
        ]
        pairs = zip(*np.triu_indices(len(tracers)), strict=True)
        return np.stack([ccl.angular_cl(cosmo, tracers[i], tracers[j], ELL) for i, j in pairs])

    def derivatives(theta: np.ndarray) -> np.ndarray:
        steps = np.diag(STEPS)
        columns = [(spectra(theta + s) - spectra(theta - s)) / (2 * s.sum()) for s in steps]
        return np.stack(columns, axis=-1)

    return spectra, derivatives


CODES = {
    "flowpm_ext": flowpm_ext_functions,
    "pyccl": pyccl_functions,
    "jax_cosmo": jax_cosmo_functions,
}


def measured(repeats: int, codes: list[str]) -> Iterator[Timing]:
    """Times of each code that is installed; a line about each that is not."""
    for code in codes:
        try:
            importlib.import_module(code)
        except ImportError:
            print(f"{code} is skipped: it is not installed.")
            continue
        spectra, jacobian = CODES[code]()
        first, best = _clock(spectra, 1), _clock(spectra, repeats)
        later = max(1, repeats // 4)
        jacobian_first, jacobian_best = _clock(jacobian, 1), _clock(jacobian, later)
        yield Timing(code, first, best, jacobian_first, jacobian_best, spectra(THETA))


def _clock(function: Callable, repeats: int) -> float:
    """Best time of some calls, with other parameters each time: nothing can be remembered."""
    times = []
    for repeat in range(1, repeats + 1):
        theta = THETA + 1e-4 * repeat * np.array([1, 0.1, 1, 1, 1, 1, 1])
        start = time.perf_counter()
        function(theta)
        times.append(time.perf_counter() - start)
    return min(times)


def _deviation(values: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference relative to the geometric mean of the auto spectra."""
    rows, columns = np.triu_indices(len(SHEAR) + len(COUNTS))
    auto = np.sqrt(reference[rows == columns])
    return float(np.max(np.abs(values - reference) / (auto[rows] * auto[columns])))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=20, help="calls to take the best of")
    parser.add_argument("--codes", nargs="+", default=list(CODES), choices=list(CODES))
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

    print(f"55 spectra x 100 multipoles, float64, {os.cpu_count()} cores; seconds")
    print(f"{'code':<22}{'first call':>11}{'spectra':>10}{'7 derivatives':>15}{'/ spectra':>11}"
          f"{'first':>8}{'from pyccl':>12}")  # fmt: skip
    found = list(measured(arguments.repeats, arguments.codes))
    reference = {timing.code: timing.values for timing in found}.get("pyccl")
    for timing in found:
        apart = "" if reference is None else f"{_deviation(timing.values, reference):.1e}"
        name = f"{timing.code} {_version(timing.code)}"
        print(f"{name:<22}{timing.first:>11.2f}{timing.spectra:>10.4f}"
              f"{timing.jacobian:>15.4f}{timing.jacobian / timing.spectra:>11.1f}"
              f"{timing.jacobian_first:>8.1f}{apart:>12}")  # fmt: skip
    print(*(f"{name} {_version(name)}" for name in ("tensorflow", "jax", "numpy")), sep=", ")


def _version(module: str) -> str:
    """Version of a module, if it is there."""
    try:
        return importlib.import_module(module).__version__
    except ImportError:
        return "not installed"


if __name__ == "__main__":
    main()
