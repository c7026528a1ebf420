"""From light on a fine grid to pixels behind the atmosphere."""

import math

import numpy as np
import tensorflow as tf
from scipy.optimize import brentq

# A core and its wings, both Gaussian: part of the flux, and width over that of the core.
PARTS = ((0.85, 1.0), (0.15, 2.0))


def _half_width() -> float:
    """Radius at half of the maximum over the width of the core."""

    def profile(r: float) -> float:
        return sum(part / w**2 * np.exp(-0.5 * (r / w) ** 2) for part, w in PARTS)

    return brentq(lambda r: profile(r) - 0.5 * profile(0.0), 0.5, 3.0)


CORE = 0.5 / _half_width()  # standard deviation of the core over the full width at half maximum


def grid(side: int, oversampling: int, pixel_size: float) -> np.ndarray:
    """Positions along an axis of the points where light is evaluated.

    Args:
        side: Pixels along a side.
        oversampling: Points along each side of a pixel.
        pixel_size: Side of a pixel.

    Returns:
        float64 [side * oversampling], in the unit of `pixel_size`, from the middle of the stamp.

    References:
        Midpoints of cells.
    """
    num = side * oversampling
    return (np.arange(num) + 0.5 - num / 2) * pixel_size / oversampling


def to_pixels(light: tf.Tensor, seeing: tf.Tensor, side: int, pixel_size: float) -> tf.Tensor:
    """Flux in each pixel of what is seen through the atmosphere.

    The point-spread function is integrated over pixels exactly; as a sum of Gaussians it is one
    product of matrices along each axis. Light outside of the stamp is not seen.

    Args:
        light: Flux at each point of a fine grid, shape [num, num_bands, fine, fine], where fine
            is a multiple of `side`.
        seeing: Full width at half maximum, shape [num, num_bands].
        side: Pixels along a side.
        pixel_size: Side of a pixel, in the unit of `seeing`.

    Returns:
        Shape [num, num_bands, side, side].

    References:
        Two Gaussians: Stoughton et al. 2002, AJ 123, 485, section 4.3.
    """
    oversampling = light.shape[-1] // side
    points = grid(side, oversampling, pixel_size)
    edges = (np.arange(side + 1) - side / 2) * pixel_size
    distance = tf.constant(edges[:, None] - points, light.dtype)  # [side + 1, fine]
    total = tf.zeros([], light.dtype)
    for part, width in PARTS:
        sigma = (CORE * width * math.sqrt(2)) * seeing[..., None, None]
        inside = 0.5 * tf.math.erf(distance / sigma)
        blur = inside[..., 1:, :] - inside[..., :-1, :]  # [num, num_bands, side, fine]
        total += part * tf.matmul(blur @ light, blur, transpose_b=True)
    return total
