"""Angular power spectra of maps that are not periodic."""

import numpy as np

from flowpm_ext.stats import angular_power

NUM_BINS = 24
CHUNK = 100  # maps at a time
NUM_ROUNDS = 8  # of taking the window back


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
    window, edges = _window(sides)[..., None], _edges(sides, pixel_size_arcmin)
    parts = np.array_split(maps if has_channels else maps[..., None], -(-len(maps) // CHUNK))
    found = [angular_power(window * part, pixel_size_arcmin, edges) for part in parts]
    cl = np.concatenate([part.cl for part in found]).astype(np.float64).mean(axis=0)
    return np.asarray(found[0].ell, np.float64), cl if has_channels else cl[0]


def without_window(
    ell: np.ndarray, cl: np.ndarray, sides: tuple[int, int], pixel_size_arcmin: float
) -> np.ndarray:
    """The spectrum of a field without a mean whose maps have that of `spectrum`.

    The window mixes each mode with its neighbours, of which the mean has no power: that takes a
    fifth of the lowest bin.

    Args:
        ell: Multipoles, [num_bins], as `spectrum` gives them for maps of these sides.
        cl: Spectrum under the window, [num_bins], positive.
        sides: Pixels, (ny, nx).
        pixel_size_arcmin: Side of a pixel (arcmin).

    Returns:
        Shape [num_bins], the unit of `cl`.

    References:
        Hivon et al. 2002, arXiv:astro-ph/0105302.
    """
    edges, found = _edges(sides, pixel_size_arcmin), np.asarray(cl, np.float64)
    kernel = np.fft.fft2(np.abs(np.fft.fft2(_window(sides))) ** 2) / np.prod(sides) ** 2
    for _ in range(NUM_ROUNDS):
        power = power_of_modes(ell, found, sides, pixel_size_arcmin)
        mixed = np.fft.ifft2(np.fft.fft2(power) * kernel).real
        # A map with just this power in each of its modes.
        one = np.fft.ifft2(np.sqrt(np.prod(sides) * mixed)).real.astype(np.float32)
        model = angular_power(one[None, ..., None], pixel_size_arcmin, edges).cl
        found = found * cl / np.asarray(model, np.float64)[0, 0]
    return found


def power_of_modes(
    ell: np.ndarray, cl: np.ndarray, sides: tuple[int, int], pixel_size_arcmin: float
) -> np.ndarray:
    """Variance of each mode of maps of a spectrum, in FFT layout.

    Args:
        ell: Multipoles, [num_bins].
        cl: Spectrum, [num_bins]; logarithms are interpolated.
        sides: Pixels, (ny, nx).
        pixel_size_arcmin: Side of a pixel (arcmin).

    Returns:
        Shape [ny, nx], the unit of the maps squared; 0 for the mean.
    """
    size = np.deg2rad(pixel_size_arcmin / 60)
    axes = (2 * np.pi * np.fft.fftfreq(n, size) for n in sides)
    modes = np.hypot(*np.meshgrid(*axes, indexing="ij"))
    lowest = modes[modes > 0].min() if modes.any() else 1.0
    log_cl = np.interp(np.log(np.maximum(modes, lowest)), np.log(ell), np.log(cl))
    return np.where(modes > 0, np.exp(log_cl) / size**2, 0.0)


def _window(sides: tuple[int, int]) -> np.ndarray:
    """Hann's window, of mean square one."""
    window = np.multiply.outer(*(np.hanning(n + 2)[1:-1] for n in sides))
    return (window / np.sqrt(np.mean(window**2))).astype(np.float32)


def _edges(sides: tuple[int, int], pixel_size_arcmin: float) -> np.ndarray:
    """Multipoles that bound the bins."""
    lowest = 2 * np.pi / (np.deg2rad(pixel_size_arcmin / 60) * max(sides))
    corner = np.ceil(np.sqrt(0.5) * max(sides)) + 1
    # Whole numbers of the lowest mode, so that each bin holds one.
    return lowest * _without_empty(np.unique(np.round(np.geomspace(1, corner, NUM_BINS + 1))) - 0.5,
                                   sides)  # fmt: skip


def _without_empty(edges: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Edges of bins, in units of the lowest mode, less the upper ones of bins without a mode."""
    axes = (np.fft.fftfreq(n) * max(sides) for n in sides)
    counts, _ = np.histogram(np.hypot(*np.meshgrid(*axes)), edges)
    return np.concatenate([edges[:1], edges[1:][counts > 0]])
