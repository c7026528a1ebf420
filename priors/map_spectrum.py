"""Angular power spectra of maps that are not periodic."""

import numpy as np

from flowpm_ext.stats import angular_power

NUM_BINS = 24
CHUNK = 100  # maps at a time


def spectrum(maps: np.ndarray, pixel_size_arcmin: float) -> tuple[np.ndarray, np.ndarray]:
    """Angular power spectra under a window that falls to zero at the edges.

    Args:
        maps: Any unit, [num, ny, nx] or [num, ny, nx, channels].
        pixel_size_arcmin: Side of a pixel (arcmin).

    Returns:
        Multipoles [num_bins], and the mean C_ell over the maps, [num_bins], or of all pairs of
        channels in the order of `angular_power`, [num_pairs, num_bins].

    References:
        Hivon et al. 2002, arXiv:astro-ph/0105302, for what a window does to spectra.
    """
    sides, has_channels = maps.shape[1:3], maps.ndim == 4
    window = np.multiply.outer(*(np.hanning(n + 2)[1:-1] for n in sides))
    window = (window / np.sqrt(np.mean(window**2))).astype(np.float32)[..., None]
    lowest = 2 * np.pi / (np.deg2rad(pixel_size_arcmin / 60) * max(sides))
    corner = np.ceil(np.sqrt(0.5) * max(sides)) + 1
    # Whole numbers of the lowest mode, so that each bin holds one.
    edges = _without_empty(np.unique(np.round(np.geomspace(1, corner, NUM_BINS + 1))) - 0.5, sides)
    parts = np.array_split(maps if has_channels else maps[..., None], -(-len(maps) // CHUNK))
    found = [angular_power(window * part, pixel_size_arcmin, lowest * edges) for part in parts]
    cl = np.concatenate([part.cl for part in found]).astype(np.float64).mean(axis=0)
    return np.asarray(found[0].ell, np.float64), cl if has_channels else cl[0]


def _without_empty(edges: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Edges of bins, in units of the lowest mode, less the upper ones of bins without a mode."""
    axes = (np.fft.fftfreq(n) * max(sides) for n in sides)
    counts, _ = np.histogram(np.hypot(*np.meshgrid(*axes)), edges)
    return np.concatenate([edges[:1], edges[1:][counts > 0]])
