"""Made-up galaxies whose colours say as much about redshift as those of a wide survey do.

Spectra are drawn by hand: a power law with the breaks of the Lyman and Balmer series and at 4000
Angstrom, three emission lines and some dust, behind intergalactic hydrogen. Nothing is fitted to
the catalogues of the challenge but n(z); scores on it are not those of the challenge.
"""

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import generator
from lfi.bands import LSST_DEPTH, check_bands
from lfi.tomography.catalogue import UNDETECTED, Catalogue

# Middle and half width of the bands of LSST (Angstrom).
BANDS = {
    "u": (3671, 320), "g": (4827, 700), "r": (6223, 670),
    "i": (7546, 640), "z": (8691, 520), "y": (9710, 430),
}  # fmt: skip
# n(z) = (1 - f) S1 + f S2 with S = z**a exp(-(z / z0)**b): a, b, z0 of both, and f.
KINDS = {
    "buzzard": ((1.286, 1.782, 0.521), (12.0, 1.185, 0.178), 0.044),
    "dc2": ((0.58, 5.393, 1.07), (12.0, 0.837, 0.051), 0.291),
}
LIMIT = 24.3  # of magnitudes in i, where shapes can be measured
LINES = ((3727.0, 0.10), (4985.0, 0.12), (6563.0, 0.16))  # Angstrom, dex at most
EXTENDED = 0.3  # magnitudes that galaxies are less deep than stars
PER_BAND = 12  # wavelengths


def mock_catalogue(
    num_galaxies: int, seed: int = 0, bands: str = "griz", kind: str = "dc2"
) -> Catalogue:
    """Galaxies with magnitudes, errors and true redshifts.

    Args:
        num_galaxies: How many.
        seed: Of all that is random.
        bands: Different letters of "ugrizy".
        kind: "dc2" or "buzzard", whose n(z) is like that of this catalogue.

    Returns:
        The catalogue.

    Raises:
        ValueError: If `num_galaxies` is not a positive integer, or an option is unknown.

    References:
        Ivezic et al. 2019, arXiv:0805.2366 (noise); Madau 1995, ApJ 441, 18 (hydrogen).
    """
    checks.positive_integers(num_galaxies=num_galaxies)
    checks.one_of(kind, "kind", tuple(KINDS))
    check_bands(bands, "".join(BANDS))
    rng = generator(seed)
    z = _redshifts(num_galaxies, kind, rng)
    magnitudes = _colours(z, "i" + bands, rng)
    brightness = _brightness(z, rng)
    magnitudes = magnitudes[:, 1:] - magnitudes[:, :1] + brightness[:, None]
    return _observed(magnitudes, z, bands, rng)


def cumulative_redshifts(kind: str = "dc2") -> tuple[np.ndarray, np.ndarray]:
    """The n(z) of a catalogue of the challenge, summed up.

    Args:
        kind: "dc2" or "buzzard".

    Returns:
        Redshifts, and the part of the galaxies up to each, float64 [3601].

    Raises:
        ValueError: If `kind` is unknown.

    References:
        Zuntz et al. 2021, arXiv:2108.13418 (the catalogues, which this is a fit to).
    """
    checks.one_of(kind, "kind", tuple(KINDS))
    first, second, part = KINDS[kind]
    z = np.linspace(0.0, 3.6, 3601)
    shapes = [z**a * np.exp(-((z / z0) ** b)) for a, b, z0 in (first, second)]
    n = sum(w * s / s.sum() for w, s in zip((1 - part, part), shapes, strict=True))
    return z, np.cumsum(n)


def _redshifts(num: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    z, total = cumulative_redshifts(kind)
    return np.interp(rng.uniform(0, total[-1], num), total, z)


def _brightness(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magnitudes in i, [num]: 10**(0.33 i) from the brightest of a redshift to a soft limit."""
    bright = np.clip(21.0 + 2.2 * np.log2(np.maximum(z, 0.05) / 0.5) / 2, 17.0, 23.5)
    faint = LIMIT + 0.25 * rng.normal(size=z.size)
    low, high = 10 ** (0.33 * bright), 10 ** (0.33 * np.maximum(faint, bright + 0.2))
    return np.log10(rng.uniform(low, high)) / 0.33


def _types(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From 0, old and red, to 1, young and blue: [num]."""
    red = rng.uniform(size=z.size) < 0.32 * np.maximum(1 - z / 1.6, 0)
    blue = 0.70 + 0.08 * np.tanh(z - 1) + 0.11 * rng.normal(size=z.size)
    return np.clip(np.where(red, 0.10 + 0.06 * rng.normal(size=z.size), blue), 0.0, 1.0)


def _colours(z: np.ndarray, bands: str, rng: np.random.Generator) -> np.ndarray:
    """Magnitudes up to a constant for each galaxy, [num, num_bands]."""
    kind, dust = _types(z, rng), 0.08 * rng.normal(size=z.size)
    # Gauss-Legendre nodes: the response is flat between its edges.
    nodes, weights = np.polynomial.legendre.leggauss(PER_BAND)
    columns = []
    for band in bands:
        middle, half = BANDS[band]
        flux = np.zeros_like(z)
        for node, weight in zip(nodes, weights, strict=True):
            observed = middle + half * node
            flux += weight * _spectrum(observed, z, kind, dust) * middle / observed
        columns.append(-2.5 * np.log10(flux))
    return np.stack(columns, axis=1)


def _spectrum(observed: float, z: np.ndarray, kind: np.ndarray, dust: np.ndarray) -> np.ndarray:
    """Flux per frequency up to a constant, at one observed wavelength (Angstrom), [num]."""
    rest = observed / (1 + z)
    x = np.log10(rest / 4000)
    old = 1 - kind

    def step(wavelength: float, width: float) -> np.ndarray:
        return 0.5 * (1 - np.tanh((np.log10(rest / wavelength)) / width))  # one below

    log_flux = (0.25 + 1.1 * old) * np.maximum(x, 0) + (0.15 + 3.2 * old) * np.minimum(x, 0)
    log_flux -= (0.62 * old**1.3 + 0.17) * step(4000, 0.012)
    log_flux -= 0.12 * kind * step(3646, 0.012) + 2.5 * step(912, 0.01)
    for wavelength, height in LINES:
        log_flux += height * kind**2 * np.exp(-0.5 * (np.log10(rest / wavelength) / 0.008) ** 2)
    log_flux += (dust - 0.1) * x
    depth = np.where(rest < 1216, 0.0036 * (observed / 1216) ** 3.46, 0.0)
    return 10**log_flux * np.exp(-depth)


def _observed(
    magnitudes: np.ndarray, z: np.ndarray, bands: str, rng: np.random.Generator
) -> Catalogue:
    """Noise of the sky and of the calibration; what is below one sigma is not detected."""
    depth = np.array([LSST_DEPTH[band] for band in bands]) - EXTENDED
    x = 10 ** (0.4 * (magnitudes - depth))
    gamma = 0.039
    relative = np.sqrt((0.04 - gamma) * x + gamma * x**2 + 0.005**2)  # of the flux
    flux = 1 + relative * rng.normal(size=x.shape)
    seen = flux > relative
    safe = np.where(seen, flux, 1.0)
    return Catalogue(
        bands,
        np.where(seen, magnitudes - 2.5 * np.log10(safe), UNDETECTED).astype(np.float32),
        np.where(seen, 1.0857 * relative / safe, UNDETECTED).astype(np.float32),
        z.astype(np.float32),
    )
