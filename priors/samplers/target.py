"""Log densities and scores of posteriors, in coordinates in which they are about round."""

import functools

import tensorflow as tf

from flowpm_ext.core.types import cast
from flowpm_ext.inference import CompiledLogProb
from flowpm_ext.numerics import fourier
from priors.coordinates import stretched
from priors.likelihood import GaussianLikelihood
from priors.samplers.noise import with_noise
from priors.samplers.settings import KEPT
from priors.score import AbstractScore, GaussianScore


@functools.lru_cache(maxsize=KEPT)
def target(score: AbstractScore, method: str) -> CompiledLogProb:
    """What is known as a density and what by its score alone, in round coordinates.

    Compiled once for a prior and a shape, whatever the data: chains of many data sets, of the
    nulls of a survey for one, would else spend their time on tracing.

    Args:
        score: The prior.
        method: "hmc" or "langevin".

    Returns:
        Functions of coordinates, the noise on the prior, the noise on the data, what
        `root_covariance` gives, and the likelihood where there is one.
    """

    def log_prob(
        u: tf.Tensor, sigma: tf.Tensor, noise: tf.Tensor, root: tf.Tensor, *data: GaussianLikelihood
    ) -> tf.Tensor:
        value, x = _gaussian(score, u, sigma, root)
        return value + with_noise(data[0], noise).log_prob(x) if data else value

    def learned(
        u: tf.Tensor, sigma: tf.Tensor, noise: tf.Tensor, root: tf.Tensor, *data: GaussianLikelihood
    ) -> tf.Tensor:
        return stretched(score.residual(stretched(u, root), sigma), root)

    if isinstance(score, GaussianScore):
        return CompiledLogProb(log_prob)
    fewest = {"fewest_leaps": 1} if method == "langevin" else {}
    return CompiledLogProb(log_prob, score=learned, **fewest)


def _gaussian(
    score: AbstractScore, u: tf.Tensor, sigma: tf.Tensor, root: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Log density [num_chains] of the Gaussian part of a prior, and the images.

    Both come from the same modes, which saves four of some twenty transforms in a step.
    """
    if score.power is None:
        return tf.zeros(u.shape[:1], u.dtype), stretched(u, root)
    nx, size = u.shape[-1], u.shape[-1] * u.shape[-2]
    modes = fourier.rfft2(u)
    modes *= tf.cast(root, modes.dtype)
    variance = fourier.half_plane(cast(score.power, u.dtype)) + sigma**2
    weights = tf.constant(fourier.half_plane_weights(nx), u.dtype)
    precision = weights * tf.math.reciprocal_no_nan(variance) / size
    square = tf.math.real(modes) ** 2 + tf.math.imag(modes) ** 2
    return -0.5 * tf.reduce_sum(precision * square, axis=[-2, -1]), fourier.irfft2(modes, nx)
