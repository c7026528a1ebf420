"""What averaging over pixels does to the modes of a map."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields import power_map
from flowpm_ext.numerics import fourier

FINER = 5  # times the Nyquist frequency: what lies beyond adds less than a thousandth


def pixel_factor(
    cl: Callable[[np.ndarray], TensorLike] | tuple[ArrayLike, TensorLike],
    num_pixels: int,
    pixel_size_arcmin: float,
) -> np.ndarray:
    """Factors of Fourier modes that give a map the power of pixel means.

    Galaxies of a pixel tell its mean, maps that are drawn from a spectrum hold values at points.
    Means have less power, sinc(l1 s / 2)**2 sinc(l2 s / 2)**2 of it for pixels of side s, and the
    power beyond the Nyquist frequency, so reduced, comes back below it.

    Args:
        cl: Spectrum (steradian), as for `power_map`: a function of ell, or a pair (ell, C_ell).
        num_pixels: Pixels along a side.
        pixel_size_arcmin: Side of a pixel (arcmin).

    Returns:
        Factors of the modes of `rfft2`, shape [num_pixels, num_pixels // 2 + 1], float64; one for
        the mean.

    Raises:
        ValueError: If a number is not positive, or `cl` cannot be used.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles; Jing 2005,
        arXiv:astro-ph/0409240, equation 17.
    """
    checks.positive_integers(num_pixels=num_pixels)
    checks.positive(pixel_size_arcmin, "pixel_size_arcmin")
    side, fine = np.deg2rad(pixel_size_arcmin / 60), FINER * num_pixels
    power = np.asarray(power_map(cl, (fine, fine), side / FINER)) / FINER**2
    l2, l1 = fourier.wavenumbers((fine, fine), 1 / FINER, is_half=False)
    window = np.sinc(l1 / (2 * np.pi)) * np.sinc(l2 / (2 * np.pi))
    # Modes that a coarse map cannot tell from each other lie `num_pixels` apart.
    apart = [FINER, num_pixels, FINER, num_pixels]
    folded = np.sum((window**2 * power).reshape(apart), axis=(0, 2))
    # Of points, those of the nearest frequency alone: the spectrum as maps are drawn with it.
    nearest = np.arange(num_pixels)
    nearest[nearest >= (num_pixels + 1) // 2] += fine - num_pixels
    of_points = power[np.ix_(nearest, nearest)]
    of_points[0, 0] = folded[0, 0] = 1.0
    return fourier.half_plane(np.sqrt(folded / of_points))
