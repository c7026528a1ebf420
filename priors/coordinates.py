"""Coordinates in which a posterior is about round."""

import tensorflow as tf

from flowpm_ext.core.types import cast
from flowpm_ext.numerics import fourier
from priors.likelihood import GaussianLikelihood
from priors.score import AbstractScore
from priors.wiener import information_of_a_point, mean_information


def root_covariance(
    score: AbstractScore, likelihood: GaussianLikelihood | None, sigma: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """About the square root of the covariance of a posterior.

    It is exact for a Gaussian prior and data that say as much everywhere.

    Args:
        score: The prior.
        likelihood: Data, or None for the prior itself.
        sigma: Level of the noise on the prior.
        dtype: Of the result.

    Returns:
        For maps with a known spectrum the standard deviation of each mode, [ny, nx // 2 + 1];
        else one number.
    """
    if score.power is None:
        variance = score.scale**2 + sigma**2
        information = 0.0 if likelihood is None else _information_of_a_pixel(likelihood)
    else:
        variance = fourier.half_plane(cast(score.power, dtype)) + sigma**2
        information = 0.0 if likelihood is None else tf.math.real(mean_information(likelihood))
    variance = cast(variance, dtype)
    return tf.sqrt(variance / (1 + variance * cast(information, dtype)))


def stretched(u: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
    """Images of round coordinates; its own adjoint.

    Args:
        u: Coordinates, shape [..., *shape].
        root: What `root_covariance` gives.

    Returns:
        The same shape.
    """
    return u * root if root.shape.rank == 0 else fourier.filter2(u, root)


def shrunk(x: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
    """Round coordinates of images; zero for modes that do not vary.

    Args:
        x: Images, shape [..., *shape].
        root: What `root_covariance` gives.

    Returns:
        The same shape.
    """
    return stretched(x, tf.math.reciprocal_no_nan(root))


def _information_of_a_pixel(likelihood: GaussianLikelihood) -> tf.Tensor:
    """A' N^-1 A of one pixel, as if it were the same everywhere and nothing between pixels."""
    return tf.reshape(information_of_a_point(likelihood), [-1])[0]
