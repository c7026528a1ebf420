"""What an image is, given the same image with noise on it, and data.

For an image x of the prior and z = x + sigma n, the mean of x given z is known exactly, from the
score: D(z) = z + sigma² score(z, sigma). Its covariance C is taken for that of a Gaussian field of
the prior's spectrum (or, where it has none, of its scale). Then x given z and data is Gaussian too,
with a mean and draws that conjugate gradients find. All is exact for Gaussian priors of that
spectrum; for others the error falls with the length of steps, in which C matters less.
"""

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import cast
from flowpm_ext.numerics import fourier
from priors.coordinates import stretched
from priors.likelihood import GaussianLikelihood
from priors.samplers.settings import KEPT, Problem
from priors.score import AbstractScore
from priors.wiener import wiener_filter, wiener_samples

TOLERANCE = 1e-4  # of the equations: far below the scatter of draws


class Conditional:
    """An image given the image with noise, and data where there are any.

    Args:
        problem: What is sampled; its likelihood may be None.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._mean, self._step = _programs(problem.score)

    def mean(self, z: tf.Tensor, sigma: float) -> tf.Tensor:
        """Mean of x given z, and data.

        Args:
            z: Images with noise, shape [num, *shape].
            sigma: Standard deviation of the noise, positive.

        Returns:
            The same shape.
        """
        return self._mean(self.problem.likelihood, z, cast(sigma, z.dtype))

    def score(self, z: tf.Tensor, sigma: float) -> tf.Tensor:
        """Gradient of the log density of z given data, where the noise is not that of the data.

        Args:
            z: Images with noise, shape [num, *shape].
            sigma: Standard deviation of the noise, positive.

        Returns:
            The same shape.
        """
        return (self.mean(z, sigma) - z) / cast(sigma, z.dtype) ** 2

    def step(self, z: tf.Tensor, sigma: float, sigma_next: float, seed: tf.Tensor) -> tf.Tensor:
        """A draw of the image with less noise, given that with more.

        Args:
            z: Images with noise, shape [num, *shape].
            sigma: Standard deviation of the noise, positive.
            sigma_next: That of the result, less; may be zero.
            seed: A stateless seed of shape [2].

        Returns:
            The same shape.
        """
        levels = cast(sigma, z.dtype), cast(sigma_next, z.dtype)
        return self._step(self.problem.likelihood, z, *levels, seed)


@functools.lru_cache(maxsize=KEPT)
def _programs(score: AbstractScore) -> tuple[Callable, Callable]:
    """The mean and the step under a prior, compiled once for all data of a shape."""
    parts = functools.partial(_mean, score), functools.partial(_step, score)
    return tuple(tf.function(part, autograph=False) for part in parts)


def _mean(
    score: AbstractScore, likelihood: GaussianLikelihood | None, z: tf.Tensor, sigma: tf.Tensor
) -> tf.Tensor:
    centre = _denoised(score, z, sigma)
    if likelihood is None:
        return centre
    power = _variance(score, z, sigma)
    return centre + wiener_filter(_less(likelihood, centre), power, TOLERANCE)


def _step(
    score: AbstractScore,
    likelihood: GaussianLikelihood | None,
    z: tf.Tensor,
    sigma: tf.Tensor,
    after: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    noise = standard_normal(z.shape, fold(seed, 1), z.dtype)
    if likelihood is None and score.power is None:
        return _there_and_back(score, z, sigma, after, noise)
    # The bridge between z and x, and what x is uncertain by.
    x, share = _denoised(score, z, sigma), (after / sigma) ** 2
    variance, power = after**2 * (1 - share), _variance(score, z, sigma)
    if likelihood is not None:
        x += wiener_samples(_less(likelihood, x), power, 1, fold(seed, 2), TOLERANCE)[0]
    else:
        variance += (1 - share) ** 2 * fourier.half_plane(power)
    return x + share * (z - x) + stretched(noise, tf.sqrt(variance))


def _there_and_back(
    score: AbstractScore, z: tf.Tensor, sigma: tf.Tensor, after: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Twice the way by the probability flow, and half of it back by noise.

    For a prior without a spectrum, whose C is not known even roughly. The density of each level
    is kept to the second order of the step, the link from z to x to the first.
    """
    least = cast(max(score.sigma_min, 1e-3 * score.scale), z.dtype)
    low = tf.sqrt(tf.maximum(2 * after**2 - sigma**2, tf.minimum(least, sigma) ** 2))
    slope = (z - _denoised(score, z, sigma)) / sigma
    guess = z + (low - sigma) * slope
    slope += (guess - _denoised(score, guess, low)) / low
    moved = z + (low - sigma) * slope / 2
    # The last step goes from the least level to the mean.
    moved = tf.where(after > 0, moved, _denoised(score, z, sigma))
    return moved + tf.sqrt(tf.nn.relu(after**2 - low**2)) * noise


def _denoised(score: AbstractScore, z: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    return z + sigma**2 * score(z, sigma)


def _less(likelihood: GaussianLikelihood, x: tf.Tensor) -> GaussianLikelihood:
    """The likelihood of what an image is beyond x."""
    return likelihood.replace(data=likelihood.residual(x))


def _variance(score: AbstractScore, z: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """C for each mode in FFT layout, [ny, nx]."""
    power = prior_power(score, z.shape[1:], z.dtype)
    return power * sigma**2 / (power + sigma**2)


def prior_power(score: AbstractScore, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Variance of each mode of the Gaussian field that stands for the prior, [ny, nx].

    Args:
        score: The prior.
        shape: Of an image with two axes.
        dtype: Of the result.

    Returns:
        The spectrum of the score, or its scale in each mode.
    """
    power = tf.fill(shape, score.scale**2) if score.power is None else score.power
    return cast(power, dtype)
