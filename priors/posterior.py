"""Draws from posteriors of images, and from priors, by Hamiltonian chains that noise anneals.

Chains begin where much white noise lies on the prior and on the data, so that the posterior is
broad and about Gaussian, and follow it as the noise is taken away. At each level they move in
coordinates in which the posterior is about round. What is known as a density, the likelihood and
a Gaussian part of the prior, enters the Metropolis test as it is; what is known by its score alone
enters as the integral of that along the trajectory.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.inference import CompiledLogProb, Samples, effective_sample_size, r_hat, sample_hmc
from priors.coordinates import root_covariance, shrunk, stretched
from priors.flow import probability_flow
from priors.likelihood import GaussianLikelihood
from priors.score import AbstractScore, GaussianScore
from priors.wiener import wiener_samples

NUM_LEVELS = 12
WIDEST = 10.0  # first level of noise, in root mean squares of the image, at the most
# Last level by default: with less noise errors of a network, divided by the square of the noise,
# carry chains away from what it has seen.
LEAST = 0.4
FLOW_STEPS = 4  # between levels
FEWEST_DRAWS = 4  # of a chain: R-hat and the effective size need them
TRAJECTORY = math.pi / 2  # a quarter of a turn around a posterior that is about round


class ImageSamples(NamedTuple):
    """Draws of images, and how the chains went."""

    samples: np.ndarray  # [num_samples, ...], of all chains in turn (the unit of the image)
    r_hat: np.ndarray  # [...], agreement of the chains in each pixel
    ess: np.ndarray  # [...], number of independent draws in each pixel
    acceptance: np.ndarray  # [num_chains], of the draws
    step_size: np.ndarray  # [num_chains]
    sigma: float  # noise that is left on the prior (the unit of the image)
    num_scores: int  # calls of the score that each chain has seen, all levels included

    @property
    def mean(self) -> np.ndarray:
        """Mean of the draws, [...]."""
        return self.samples.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation of the draws, [...]."""
        return self.samples.std(axis=0, ddof=1)


def sample_posterior(
    likelihood: GaussianLikelihood,
    score: AbstractScore,
    num_samples: int = 100,
    seed: int | tf.Tensor = 0,
    *,
    num_chains: int | None = None,
    sigmas: Sequence[float] | None = None,
    steps_per_level: int = 6,
    num_warmup: int = 30,
    num_leapfrog: int = 30,
    thin: int = 1,
    weighted: bool = False,
    start: TensorLike | None = None,
    progress: bool = True,
) -> ImageSamples:
    """Draws of an image from its posterior.

    Args:
        likelihood: Data, noise and operator, of one data set.
        score: The prior: `GaussianScore`, `LearnedScore` or `HybridScore`.
        num_samples: Draws in all.
        seed: An integer, or a stateless seed of shape [2].
        num_chains: Chains, side by side; by default one for ten draws, 4 to 16.
        sigmas: Falling noise levels on the prior (the unit of the image); by default twelve from
            the largest that the score knows, at most ten root mean squares of the image, to the
            smallest, at least 0.4 of one; none for a Gaussian prior, which needs no noise.
        steps_per_level: Steps of the chains at each level but the last.
        num_warmup: Steps at the last level before the draws, which tune the step sizes.
        num_leapfrog: Scores in each step at the most.
        thin: Steps for each draw.
        weighted: Whether chains follow the probability flow of the prior from level to level and
            are resampled as the likelihood changes. This gives several modes of few dimensions
            their weights, by hundreds of chains; in many dimensions a few chains would be left.
        start: Where chains start, [num_chains, *likelihood.op.shape]; by default exact draws of
            the Gaussian part of the posterior, or noise where there is none.
        progress: Whether to show progress bars.

    Returns:
        `ImageSamples`; look at its `r_hat` and `ess`.

    Raises:
        ValueError: If a number is not positive, noise levels do not fall or are outside of the
            range that the score knows, data are of several data sets, or shapes do not fit.

    References:
        Remy et al. 2022, arXiv:2201.05561; Song & Ermon 2019, arXiv:1907.05600; Neal 2011,
        arXiv:1206.1901.
    """
    is_one = tuple(likelihood.data.shape) == tuple(likelihood.op.data_shape)
    checks.require(is_one, "likelihood", "hold one data set", likelihood.data.shape)
    plan = _Plan(steps_per_level, num_warmup, num_leapfrog, thin, progress, weighted)
    return _sample(likelihood, score, likelihood.op.shape, likelihood.dtype, num_samples,
                   num_chains, sigmas, start, seed, plan)  # fmt: skip


def sample_prior(
    score: AbstractScore,
    shape: Sequence[int],
    num_samples: int = 100,
    seed: int | tf.Tensor = 0,
    *,
    num_chains: int | None = None,
    sigmas: Sequence[float] | None = None,
    steps_per_level: int = 6,
    num_warmup: int = 30,
    num_leapfrog: int = 30,
    thin: int = 1,
    weighted: bool = False,
    progress: bool = True,
) -> ImageSamples:
    """Draws of an image from a prior.

    Args:
        score: The prior.
        shape: Of one image.
        num_samples: Draws in all.
        seed: An integer, or a stateless seed of shape [2].
        num_chains: As in `sample_posterior`.
        sigmas: As in `sample_posterior`.
        steps_per_level: As in `sample_posterior`.
        num_warmup: As in `sample_posterior`.
        num_leapfrog: As in `sample_posterior`.
        thin: As in `sample_posterior`.
        weighted: As in `sample_posterior`.
        progress: Whether to show progress bars.

    Returns:
        `ImageSamples`.

    Raises:
        ValueError: If a number is not positive, or noise levels do not fall or are outside of the
            range that the score knows.

    References:
        Song & Ermon 2019, arXiv:1907.05600.
    """
    plan = _Plan(steps_per_level, num_warmup, num_leapfrog, thin, progress, weighted)
    return _sample(None, score, tuple(shape), tf.float32, num_samples, num_chains, sigmas, None,
                   seed, plan)  # fmt: skip


class _Plan(NamedTuple):
    """How long chains are."""

    steps_per_level: int
    num_warmup: int
    num_leapfrog: int
    thin: int
    progress: bool
    weighted: bool = False


def _sample(
    likelihood: GaussianLikelihood | None,
    score: AbstractScore,
    shape: tuple[int, ...],
    dtype: tf.DType,
    num_samples: int,
    num_chains: int | None,
    sigmas: Sequence[float] | None,
    start: TensorLike | None,
    seed: int | tf.Tensor,
    plan: _Plan,
) -> ImageSamples:
    num_chains = num_chains or int(np.clip(num_samples // 10, 4, 16))
    checks.positive_integers(
        num_samples=num_samples, num_chains=num_chains, thin=plan.thin,
        num_leapfrog=plan.num_leapfrog, steps_per_level=plan.steps_per_level,
        num_warmup=plan.num_warmup,
    )  # fmt: skip
    sigmas = _levels(score, sigmas)
    target = _target(likelihood, score)
    x = _first(likelihood, score, (num_chains, *shape), dtype, sigmas, start, fold(seed, 0))
    num_each = max(FEWEST_DRAWS, -(-num_samples // num_chains))
    size, num_scores, log_weight, noise = 0.3, 0, np.zeros(num_chains), None
    with tqdm(sigmas, unit="level", desc="annealing", disable=not plan.progress) as bar:
        for number, sigma in enumerate(bar):
            is_last = number == len(sigmas) - 1
            args = _at_level(likelihood, score, sigma, sigmas[-1], dtype)
            if plan.weighted and number:
                ends, noises = (sigmas[number - 1], sigma), (noise, args[1])
                x, log_weight = _followed(likelihood, score, x, log_weight, ends, noises)
                num_scores += 2 * FLOW_STEPS
                if is_last or _effective(log_weight) < num_chains / 2:
                    x, log_weight = _resampled(x, log_weight, fold(seed, -number))
            noise = args[1]
            chains = sample_hmc(
                target, shrunk(x, args[-1]), num_each if is_last else 1,
                plan.num_warmup if is_last else plan.steps_per_level - 1, args=args,
                num_leapfrog=plan.num_leapfrog, trajectory=TRAJECTORY, step_size=size,
                num_groups=num_chains, thin=plan.thin if is_last else 1,
                seed=fold(seed, 1 + number), progress=plan.progress and is_last,
            )  # fmt: skip
            x, size = stretched(tf.constant(chains.samples[-1]), args[-1]), chains.step_size
            num_scores += chains.num_gradients
    return _result(chains, args[-1], num_samples, sigmas[-1], num_scores)


def _levels(score: AbstractScore, sigmas: Sequence[float] | None) -> np.ndarray:
    """Checked noise levels."""
    if sigmas is None:
        if isinstance(score, GaussianScore):
            return np.zeros(1)
        first = max(min(score.sigma_max, WIDEST * score.scale), score.sigma_min)
        last = max(score.sigma_min, min(LEAST * score.scale, first))
        return np.unique(np.geomspace(first, last, NUM_LEVELS))[::-1]
    sigmas = np.atleast_1d(np.asarray(sigmas, np.float64))
    falls = sigmas.ndim == 1 and sigmas.size > 0 and bool(np.all(np.diff(sigmas) < 0))
    checks.require(falls, "sigmas", "be one number or several that fall", sigmas)
    fix = "It is the range that the score knows."
    checks.in_range(sigmas, "sigmas", score.sigma_min, score.sigma_max, fix)
    return sigmas


def _target(likelihood: GaussianLikelihood | None, score: AbstractScore) -> CompiledLogProb:
    """What is known as a density and what by its score alone, in round coordinates."""

    def log_prob(u: tf.Tensor, sigma: tf.Tensor, noise: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
        x = stretched(u, root)
        axes = list(range(1, x.shape.rank))
        value = tf.zeros_like(tf.reduce_sum(x, axis=axes))
        if score.power is not None:
            value += 0.5 * tf.reduce_sum(x * score.gaussian(x, sigma), axis=axes)
        if likelihood is not None:
            value += _with_noise(likelihood, noise).log_prob(x)
        return value

    def learned(u: tf.Tensor, sigma: tf.Tensor, noise: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
        return stretched(score.residual(stretched(u, root), sigma), root)

    if isinstance(score, GaussianScore):
        return CompiledLogProb(log_prob)
    return CompiledLogProb(log_prob, score=learned)


def _at_level(
    likelihood: GaussianLikelihood | None,
    score: AbstractScore,
    sigma: float,
    last: float,
    dtype: tf.DType,
) -> list[tf.Tensor]:
    """Noise on the prior, standard deviation of more noise on the data, and round coordinates.

    The data are as they are at the last level.
    """
    noise, widened = 0.0, None
    if likelihood is not None:
        noise = _gain(likelihood) * math.sqrt(sigma**2 - last**2)
        widened = _with_noise(likelihood, tf.constant(noise, dtype))
    sigma = tf.constant(sigma, dtype)
    return [sigma, tf.constant(noise, dtype), root_covariance(score, widened, sigma, dtype)]


def _followed(
    likelihood: GaussianLikelihood | None,
    score: AbstractScore,
    x: tf.Tensor,
    log_weight: np.ndarray,
    sigmas: tuple[float, float],
    noises: tuple[tf.Tensor, tf.Tensor],
) -> tuple[tf.Tensor, np.ndarray]:
    """Chains at the next level along the flow of the prior, and what they weigh there.

    The flow turns the prior of one level into that of the next, volumes and all, so that weights
    change by the likelihood alone.
    """
    moved = probability_flow(score, x, *sigmas, FLOW_STEPS)
    if likelihood is None:
        return moved, log_weight
    before, after = (_with_noise(likelihood, noise) for noise in noises)
    return moved, log_weight + (after.log_prob(moved) - before.log_prob(x)).numpy()


def _effective(log_weight: np.ndarray) -> float:
    """How many chains count."""
    weight = np.exp(log_weight - log_weight.max())
    return weight.sum() ** 2 / np.sum(weight**2)


def _resampled(
    x: tf.Tensor, log_weight: np.ndarray, seed: tf.Tensor
) -> tuple[tf.Tensor, np.ndarray]:
    """As many chains, in proportion to weight, all of which then weigh the same."""
    ends = np.cumsum(np.exp(log_weight - log_weight.max()))
    comb = (np.arange(len(ends)) + generator(seed).uniform()) / len(ends)
    chosen = np.minimum(np.searchsorted(ends / ends[-1], comb), len(ends) - 1)
    return tf.gather(x, chosen), np.zeros(len(ends))


def _with_noise(likelihood: GaussianLikelihood, noise: tf.Tensor) -> GaussianLikelihood:
    """The likelihood of data with more noise on them."""
    noise_std = tf.sqrt(likelihood.noise_std**2 + noise**2)
    return dataclasses.replace(likelihood, noise_std=noise_std)


def _gain(likelihood: GaussianLikelihood) -> float:
    """Standard deviation of each real component of the data of white noise of variance one."""
    op = likelihood.op
    point = tf.reshape(tf.one_hot(0, math.prod(op.shape), dtype=likelihood.dtype), op.shape)
    energy = math.prod(op.shape) * float(tf.reduce_sum(tf.abs(op(point)) ** 2))
    components = 2 if likelihood.data.dtype.is_complex else 1
    return math.sqrt(energy / math.prod(op.data_shape) / components)


def _first(
    likelihood: GaussianLikelihood | None,
    score: AbstractScore,
    shape: tuple[int, ...],
    dtype: tf.DType,
    sigmas: np.ndarray,
    start: TensorLike | None,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Where chains start."""
    if start is not None:
        start = cast(start, dtype)
        checks.require(tuple(start.shape) == shape, "start", f"have shape {shape}", start.shape)
        checks.finite(start, "start")
        return start
    args = _at_level(likelihood, score, sigmas[0], sigmas[-1], dtype)
    if likelihood is None or score.power is None:
        return stretched(standard_normal(shape, seed, dtype), args[-1])
    power = cast(score.power, dtype) + cast(sigmas[0], dtype) ** 2
    return wiener_samples(_with_noise(likelihood, args[1]), power, shape[0], seed)


def _result(
    chains: Samples, root: tf.Tensor, num_samples: int, sigma: float, num_scores: int
) -> ImageSamples:
    """Draws as images; diagnostics need them by chain."""
    x = np.stack([stretched(tf.constant(u), root).numpy() for u in chains.samples])
    samples = x.reshape(-1, *x.shape[2:])[-num_samples:]
    return ImageSamples(
        samples, r_hat(x), effective_sample_size(x), chains.acceptance, chains.step_size,
        float(sigma), num_scores,
    )  # fmt: skip
