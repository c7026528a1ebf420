"""What an image is, given the same image with noise on it, and data.

For an image x of the prior and z = x + sigma n, the mean of x given z is known exactly, from the
score: D(z) = z + sigma² score(z, sigma). Its covariance C is taken for that of a Gaussian field of
the prior's spectrum (or, where it has none, of its scale). Then x given z and data is Gaussian too,
with a mean and draws that conjugate gradients find. All is exact for Gaussian priors of that
spectrum; for others the error falls with the length of steps, in which C matters less.
"""

import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import cast
from flowpm_ext.numerics import fourier
from priors.coordinates import stretched
from priors.likelihood import GaussianLikelihood
from priors.samplers.settings import Problem
from priors.wiener import wiener_filter, wiener_samples

TOLERANCE = 1e-4  # of the equations: far below the scatter of draws


class Conditional:
    """An image given the image with noise, and data where there are any.

    Args:
        problem: What is sampled; its likelihood may be None.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        options = {"autograph": False, "reduce_retracing": True}
        self._mean = tf.function(self._mean_of, **options)
        self._step = tf.function(self._step_of, **options)

    def mean(self, z: tf.Tensor, sigma: float) -> tf.Tensor:
        """Mean of x given z, and data.

        Args:
            z: Images with noise, shape [num, *shape].
            sigma: Standard deviation of the noise, positive.

        Returns:
            The same shape.
        """
        return self._mean(z, cast(sigma, z.dtype))

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
        return self._step(z, cast(sigma, z.dtype), cast(sigma_next, z.dtype), seed)

    def _denoised(self, z: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        return z + sigma**2 * self.problem.score(z, sigma)

    def _mean_of(self, z: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        centre = self._denoised(z, sigma)
        if self.problem.likelihood is None:
            return centre
        return centre + wiener_filter(self._less(centre), self._variance(sigma), TOLERANCE)

    def _step_of(
        self, z: tf.Tensor, sigma: tf.Tensor, after: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        likelihood, score = self.problem.likelihood, self.problem.score
        noise = standard_normal(z.shape, fold(seed, 1), z.dtype)
        if likelihood is None and score.power is None:
            return self._there_and_back(z, sigma, after, noise)
        # The bridge between z and x, and what x is uncertain by.
        x, share = self._denoised(z, sigma), (after / sigma) ** 2
        variance = after**2 * (1 - share)
        if likelihood is not None:
            power = self._variance(sigma)
            x += wiener_samples(self._less(x), power, 1, fold(seed, 2), TOLERANCE)[0]
        else:
            half = fourier.half_plane(self._variance(sigma))
            variance += (1 - share) ** 2 * half
        return x + share * (z - x) + stretched(noise, tf.sqrt(variance))

    def _there_and_back(
        self, z: tf.Tensor, sigma: tf.Tensor, after: tf.Tensor, noise: tf.Tensor
    ) -> tf.Tensor:
        """Twice the way by the probability flow, and half of it back by noise.

        For a prior without a spectrum, whose C is not known even roughly. The density of each
        level is kept to the second order of the step, the link from z to x to the first.
        """
        least = cast(max(self.problem.score.sigma_min, 1e-3 * self.problem.score.scale), z.dtype)
        low = tf.sqrt(tf.maximum(2 * after**2 - sigma**2, tf.minimum(least, sigma) ** 2))
        slope = (z - self._denoised(z, sigma)) / sigma
        guess = z + (low - sigma) * slope
        slope += (guess - self._denoised(guess, low)) / low
        moved = z + (low - sigma) * slope / 2
        # The last step goes from the least level to the mean.
        moved = tf.where(after > 0, moved, self._denoised(z, sigma))
        return moved + tf.sqrt(tf.nn.relu(after**2 - low**2)) * noise

    def _less(self, x: tf.Tensor) -> GaussianLikelihood:
        """The likelihood of what an image is beyond x."""
        likelihood = self.problem.likelihood
        return likelihood.replace(data=likelihood.residual(x))

    def _variance(self, sigma: tf.Tensor) -> tf.Tensor:
        """C for each mode in FFT layout, [ny, nx]."""
        power = prior_power(self.problem)
        return power * sigma**2 / (power + sigma**2)


def prior_power(problem: Problem) -> tf.Tensor:
    """Variance of each mode of the Gaussian field that stands for the prior, [ny, nx].

    Args:
        problem: What is sampled, of images with two axes.

    Returns:
        The spectrum of the score, or its scale in each mode.
    """
    score = problem.score
    power = tf.fill(problem.shape, score.scale**2) if score.power is None else score.power
    return cast(power, problem.dtype)
