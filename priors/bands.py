"""Bands of scales of an image, uncorrelated in the data and in white noise."""

import itertools

import numpy as np
import scipy.linalg
import tensorflow as tf

from flowpm_ext.nn import pad
from flowpm_ext.stats.starlet import B3_SPLINE

SPLINE = np.array(B3_SPLINE)
LEAST_SHARE = 1e-12  # of variance in a band: enough to divide by


def scale_bands(x: tf.Tensor, num: int, padding: str) -> tf.Tensor:
    """Images of each scale, that sum to the image: an isotropic starlet transform.

    Args:
        x: Shape [batch, space..., channels].
        num: Bands.
        padding: How images end: "periodic", "reflect" or "zero".

    Returns:
        Shape [batch, space..., channels, num], the finest scale first.

    References:
        Starck, Murtagh & Fadili 2010, Sparse Image and Signal Processing.
    """
    smooth = [x]
    for level in range(num - 1):
        smooth.append(_smooth(smooth[-1], 2**level, padding))
    details = [fine - coarse for fine, coarse in itertools.pairwise(smooth)]
    return tf.stack([*details, smooth[-1]], axis=-1)


def noise_covariance(num_levels: int, rank: int) -> np.ndarray:
    """Covariance of the bands of white noise of variance 1.

    Args:
        num_levels: Bands less one.
        rank: Dimensions of space.

    Returns:
        Shape [bands, bands].

    References:
        Starck, Murtagh & Fadili 2010, Sparse Image and Signal Processing.
    """
    kernels = [np.ones(1)]
    for level in range(num_levels):
        holes = np.zeros(4 * 2**level + 1)
        holes[:: 2**level] = SPLINE
        kernels.append(np.convolve(kernels[-1], holes))
    size = len(kernels[-1])
    wide = [np.pad(kernel, (size - len(kernel)) // 2) for kernel in kernels]
    smooth = np.array([[(a @ b) ** rank for b in wide] for a in wide])
    bands = np.eye(len(kernels)) - np.eye(len(kernels), k=1)
    return bands @ smooth @ bands.T


def principal(covariance: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mixtures of bands that are uncorrelated in data and in noise.

    Args:
        covariance: Of the bands of the data, [bands, bands].
        noise: That of white noise of variance 1.

    Returns:
        The mixing [bands, mixtures] that makes the variance of the noise 1, the variance of the
        data in each mixture, and the share with which each sums up to the map.

    References:
        Golub & Van Loan 2013, Matrix Computations, section 8.7.
    """
    variance, mixing = scipy.linalg.eigh(covariance, noise)
    share = mixing.T @ noise @ np.ones(len(noise))
    sign = np.where(share < 0, -1.0, 1.0)
    return mixing * sign, np.maximum(variance, LEAST_SHARE * variance.max()), share * sign


def _smooth(x: tf.Tensor, step: int, padding: str) -> tf.Tensor:
    """Maps [batch, space..., channels] smoothed by a spline with holes."""
    wide = pad(x, 2 * step, padding)
    for axis in range(1, x.shape.rank - 1):
        side = tf.shape(x)[axis]
        parts = []
        for i, weight in enumerate(SPLINE):
            cut = [slice(None)] * axis + [slice(i * step, i * step + side)]
            parts.append(np.float32(weight) * wide[tuple(cut)])
        wide = tf.add_n(parts)
    return tf.ensure_shape(wide, x.shape)
