"""Scores of priors: gradients of the log density of images with white noise on them.

Where an image x has density p, x + sigma n has the density p_sigma, smoother the larger sigma is.
Its score is all that samplers and reconstructions need of a prior. A Gaussian part of it is known
from theory with its density; what a network learned is known by its score alone.
"""

import abc
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.fields.gaussian import checked_power
from flowpm_ext.numerics import fourier
from priors.conditions import told
from priors.flow import NUM_STEPS, flow_and_growth

FAR = 100.0  # noise that hides all structure, in root mean squares of the image

DenoiserLike = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class AbstractScore(abc.ABC):
    """Gradient of the log density of images with noise.

    A subclass gives `residual`, and a `power` where it has a Gaussian part.

    Attributes:
        power: Prior variance of each mode in FFT layout of the Gaussian part, [ny, nx]; None
            where there is none.
        sigma_min: Smallest noise level that the score is known at (the unit of the images).
        sigma_max: Largest.
        scale: Root mean square of a pixel of an image without noise.
    """

    power: tf.Tensor | None = None
    sigma_min: float = 0.0
    sigma_max: float = math.inf
    scale: float = 1.0

    def __call__(self, x: TensorLike, sigma: TensorLike) -> tf.Tensor:
        """Gradient of log p_sigma.

        Args:
            x: Images with noise (any unit), shape [batch, ...].
            sigma: Standard deviation of the noise (the unit of `x`), one number for all.

        Returns:
            Gradient (1 / the unit of `x`), shape [batch, ...].

        Raises:
            ValueError: If `sigma` is no single number or outside of the range where the score is
                known, or images have other sides than the power.
            TypeError: If images are not real floats.

        References:
            Vincent 2011, Neural Computation 23, 1661.
        """
        x = self._checked(x)
        checks.rank(sigma, "sigma", 0)
        checks.in_range(sigma, "sigma", self.sigma_min, self.sigma_max)
        rest = self.residual(x, cast(sigma, x.dtype))
        return rest if self.power is None else rest + self.gaussian(x, cast(sigma, x.dtype))

    @property
    def sides(self) -> tuple[int, int] | None:
        """Sides of an image, (ny, nx), where there is a Gaussian part that knows them."""
        return None if self.power is None else tuple(self.power.shape)

    def _checked(self, x: TensorLike) -> tf.Tensor:
        """Images as a tensor, or a refusal."""
        x = tf.convert_to_tensor(x)
        checks.require(x.dtype.is_floating, "x", "be real floats", x.dtype.name, error=TypeError)
        fits = self.power is None or x.shape[-2:].is_compatible_with(self.sides)
        checks.require(fits, "x", f"end in axes {self.sides}", x.shape)
        return x

    def gaussian(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """The part of the score that is Gaussian.

        Args:
            x: Images with noise, shape [batch, ny, nx].
            sigma: Standard deviation of the noise.

        Returns:
            Gradient, shape [batch, ny, nx]; zero for modes without variance.

        References:
            Remy et al. 2022, arXiv:2201.05561.
        """
        variance = fourier.half_plane(cast(self.power, x.dtype)) + sigma**2
        return fourier.filter2(x, -tf.math.reciprocal_no_nan(variance))

    def log_prob(
        self,
        x: TensorLike,
        sigma: float | None = None,
        sigma_end: float | None = None,
        num_steps: int = NUM_STEPS,
        num_probes: int = 1,
        seed: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        """Log density of images with little noise, from their way to a Gaussian field.

        They follow the probability flow to a noise level where the density is taken for a
        Gaussian one, of the spectrum or of the scale of the score; the growth of volumes on the
        way is estimated along random directions.

        Args:
            x: Images, shape [batch, ...].
            sigma: Noise that they have (their unit); by default the least that the score knows.
            sigma_end: Where the density is taken for Gaussian; by default the most that it
                knows, at most a hundred times the scale.
            num_steps: Steps of the flow, of two scores each.
            num_probes: Random directions in each step.
            seed: An integer, or a stateless seed of shape [2], of the directions.

        Returns:
            Shape [batch].

        Raises:
            ValueError: If a level is not positive or outside of the range where the score is
                known, or a number is not positive.

        References:
            Song et al. 2021, arXiv:2011.13456; Hutchinson 1990, Commun. Stat. Simul. 19, 433.
        """
        sigma = self.sigma_min if sigma is None else sigma
        if sigma_end is None:
            sigma_end = min(self.sigma_max, FAR * self.scale)
        x, growth = flow_and_growth(self, x, sigma, sigma_end, num_steps, num_probes, seed)
        return self._gaussian_log_prob(x, cast(sigma_end, x.dtype)) + growth

    def _gaussian_log_prob(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """Log density of a Gaussian field with noise, over the modes that have variance."""
        if self.power is None:
            variance = cast(self.scale, x.dtype) ** 2 + sigma**2
            each = x**2 / variance + tf.math.log(2 * math.pi * variance)
            return -0.5 * tf.reduce_sum(each, axis=list(range(1, x.shape.rank)))
        variance = cast(self.power, x.dtype) + sigma**2
        logs = tf.math.log(2 * math.pi * tf.where(variance > 0, variance, 1 / (2 * math.pi)))
        square = tf.reduce_sum(x * self.gaussian(x, sigma), axis=[-2, -1])
        return 0.5 * (square - tf.reduce_sum(logs))

    @abc.abstractmethod
    def residual(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """The part of the score beside the Gaussian one, the shape of `x`."""


class GaussianScore(AbstractScore):
    """The score of a Gaussian field, in closed form.

    Args:
        power: Variance of each mode in FFT layout (square of the map's unit), shape [ny, nx], as
            `power_map` gives it.

    Raises:
        ValueError: If `power` is negative, not finite or not the same for opposite frequencies.

    References:
        Remy et al. 2022, arXiv:2201.05561.
    """

    def __init__(self, power: TensorLike) -> None:
        self.power = checked_power(power)
        self.scale = _scale(self.power)

    def residual(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """Zero: all is Gaussian."""
        return tf.zeros_like(x)

    def log_prob(self, x: TensorLike, sigma: TensorLike = 0.0) -> tf.Tensor:
        """Log density of maps with noise.

        Args:
            x: Maps, shape [..., ny, nx].
            sigma: Standard deviation of the noise (the unit of the maps).

        Returns:
            Shape [...], over the modes that have variance.

        Raises:
            ValueError: If `x` has other sides than the power.

        References:
            Remy et al. 2022, arXiv:2201.05561.
        """
        x = self._checked(x)
        return self._gaussian_log_prob(x, cast(sigma, x.dtype))


class LearnedScore(AbstractScore):
    """The score that a denoiser has learned.

    Args:
        denoiser: `Denoiser`, or a function of images [batch, ...] and the noise level that gives
            the mean of the images without noise.
        sigma_min: Smallest noise level that it knows (the unit of the images); by default its
            own `sigma_min`.
        sigma_max: Largest; by default its own.
        scale: Root mean square of a pixel without noise; by default its own.
        parameters: Of the simulations that images are to be like, [num_parameters], for a
            `Denoiser` that was trained with them.

    Raises:
        ValueError: If a level is not positive, or not given where the denoiser has none, or
            parameters are missing, of no use to the denoiser, or outside of what it has seen.

    References:
        Vincent 2011, Neural Computation 23, 1661; Alain & Bengio 2014, arXiv:1211.4246.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        scale: float | None = None,
        parameters: TensorLike | None = None,
    ) -> None:
        self.denoiser = denoiser
        if parameters is not None:
            checks.rank(parameters, "parameters", 1)
        self.parameters = told(denoiser, parameters)
        given = {"sigma_min": sigma_min, "sigma_max": sigma_max, "scale": scale}
        for name, value in given.items():
            value = getattr(denoiser, name, None) if value is None else value
            checks.require(value is not None, name, "be given, or known to the denoiser", value)
            checks.positive(value, name)
            setattr(self, name, float(value))
        is_range = self.sigma_min < self.sigma_max
        checks.require(is_range, "sigma_min", "be below `sigma_max`", self.sigma_min)

    def residual(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """All of the score."""
        if hasattr(self.denoiser, "score"):
            fixed = {} if self.parameters is None else {"parameters": self.parameters}
            return cast(self.denoiser.score(x, sigma, **fixed), x.dtype)
        return (self.denoiser(x, sigma) - x) / sigma**2


class HybridScore(LearnedScore):
    """A Gaussian field from theory, and what a denoiser learned beyond it.

    The spectrum of another cosmology or another n(z) changes the Gaussian part alone, to which
    the residual of the network is added as it is; for a network that was told the parameters of
    its simulations, with `parameters` that of simulations with these.

    Args:
        power: Variance of each mode in FFT layout (square of the map's unit), shape [ny, nx].
        denoiser: As `LearnedScore` takes it.
        trained_power: The spectrum of the maps that the denoiser was trained on, with
            `parameters` of those that have these; by default `power`.
        **options: Of `LearnedScore`.

    Raises:
        ValueError: If a spectrum is negative, not finite or not the same for opposite frequencies,
            or the two have different sides.

    References:
        Remy et al. 2022, arXiv:2201.05561.
    """

    def __init__(
        self,
        power: TensorLike,
        denoiser: DenoiserLike,
        trained_power: TensorLike | None = None,
        **options: Any,
    ) -> None:
        self.power = checked_power(power)
        super().__init__(denoiser, **({"scale": _scale(self.power)} | options))
        trained = power if trained_power is None else trained_power
        self._trained = GaussianScore(checked_power(trained, tuple(self.power.shape)))

    def residual(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """The learned score less that of the Gaussian field it was trained beside."""
        return super().residual(x, sigma) - self._trained.gaussian(x, sigma)


def _scale(power: tf.Tensor) -> float:
    return math.sqrt(float(np.mean(power)))
