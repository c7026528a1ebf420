"""Draws from posteriors of images, and from priors: the door to all samplers.

Which one draws is an option. Chains (`samplers.chains`) have a Metropolis test, and follow the
posterior as noise is taken from its prior; what is not known as a density enters by its score
alone. The others (`samplers.reverse`) draw each image from noise of its own, without a test.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference import effective_sample_size, r_hat
from priors.likelihood import GaussianLikelihood
from priors.samplers.chains import FEWEST_DRAWS, Chains
from priors.samplers.checkpoint import run
from priors.samplers.noise import room_for_noise
from priors.samplers.reverse import Reverse
from priors.samplers.settings import (
    CHAINS,
    FOR_ALL_DATA,
    METHODS,
    WIDEST,
    Plan,
    Problem,
    State,
    check_plan,
    noise_levels,
)
from priors.score import AbstractScore

GUIDED_CHAINS = 16


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
        """Standard deviation of the draws, [...]; NaN where there is one."""
        if len(self.samples) == 1:
            return np.full(self.samples.shape[1:], np.nan, self.samples.dtype)
        return self.samples.std(axis=0, ddof=1)

    @property
    def scores_per_draw(self) -> float:
        """Images whose score was asked for, for each independent draw of the median pixel.

        A draw counts for one at the most: chains that avoid their past know the mean better than
        as many independent draws, but nothing else.
        """
        sizes = np.minimum(self.ess, len(self.samples))
        return self.num_scores * len(self.acceptance) / float(np.median(sizes[sizes > 0]))


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
    method: str = "hmc",
    denoise: bool = True,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> ImageSamples:
    """Draws of an image from its posterior.

    Args:
        likelihood: Data, noise and operator, of one data set.
        score: The prior: `GaussianScore`, `LearnedScore` or `HybridScore`.
        num_samples: Draws in all.
        seed: An integer, or a stateless seed of shape [2].
        num_chains: Chains, side by side; by default one for ten draws, 4 to 16, and 16 for
            "guided".
        sigmas: Falling noise levels on the prior (the unit of the image); by default twelve from
            the largest that the score knows, at most ten root mean squares of the image, to the
            smallest, at least 0.4 of one; none for a Gaussian prior, which needs no noise. "guided"
            has one level, by default the most that may be a part of the noise of the data, for
            draws of the prior a root mean square; "flow" and "predictor_corrector" have 24, to a
            twentieth of where chains end.
        steps_per_level: Steps of the chains at each level but the last.
        num_warmup: Steps at the last level before the draws, which tune the step sizes.
        num_leapfrog: Scores in each step at the most.
        thin: Steps for each draw.
        weighted: Whether chains follow the probability flow of the prior from level to level and
            are resampled as the likelihood changes. This gives several modes of few dimensions
            their weights, by hundreds of chains; in many dimensions a few chains would be left.
        start: Where chains start, [num_chains, *likelihood.op.shape]; by default exact draws of
            the Gaussian part of the posterior, or noise where there is none. Of chains alone.
        method: How to draw.
            "hmc": chains of Hamiltonian dynamics with a Metropolis test; meets all oracles.
            "langevin": the same chains with steps of Langevin dynamics, ten of which stand for
            one of "hmc": right for one mode, at two or three times the calls for an independent
            draw; wrong for weights of several modes.
            "guided": chains of "hmc" at one level of noise, which start from draws of "flow": for
            networks, which err where there is less noise, as in mass maps; wrong for weights of
            several modes, as "flow" is. Where data are not linear in the image, it starts from
            draws for those that nearly are.
            "predictor_corrector": each draw from noise of its own, by a random step from level to
            level and one of Langevin dynamics at each, without a test. "flow": by the probability
            flow of the posterior. For both the likelihood of a noisy image is approximate, with
            the covariance of the image given it taken from the Gaussian part of the prior: exact
            for Gaussian fields of that spectrum (half of it gives 8 % too little power); weights
            of several modes come out wrong where data are precise.
        denoise: Whether the noise of the last level is taken away, at some ten calls for each
            draw. Without it draws are of a prior that this noise has smoothed. Where the noise of
            the data is less than that of the last level, it is taken away from images of two axes
            and linear data alone, with the covariance that "flow" takes too; `sigma` of the result
            says so.
        checkpoint: HDF5 file that holds chains and draws so far; where there is one, the run goes
            on from it to the draws that it would have had without an interruption.
        progress: Whether to show progress bars.

    Returns:
        `ImageSamples`; look at its `r_hat` and `ess`.

    Raises:
        ValueError: If a number is not positive, noise levels do not fall or are outside of the
            range that the score knows, data are of several data sets, shapes do not fit, a method
            is not known or needs data that are linear in the image, or the checkpoint is of
            another problem.

    References:
        Remy et al. 2022, arXiv:2201.05561; Song & Ermon 2019, arXiv:1907.05600; Neal 2011,
        arXiv:1206.1901; Song et al. 2021, arXiv:2011.13456; Song et al. 2023, ICLR (the likelihood
        of a noisy image).
    """
    is_one = tuple(likelihood.data.shape) == tuple(likelihood.op.data_shape)
    checks.require(is_one, "likelihood", "hold one data set", likelihood.data.shape)
    checks.one_of(method, "method", METHODS)
    rule = f"be one of {', '.join(map(repr, FOR_ALL_DATA))} for data not linear in the image"
    checks.require(likelihood.is_linear or method in FOR_ALL_DATA, "method", rule, method)
    problem = Problem(likelihood, score, tuple(likelihood.op.shape), likelihood.dtype)
    return _sample(
        problem, sigmas, start, checkpoint, num_samples=num_samples, num_chains=num_chains,
        seed=seed, method=method, steps_per_level=steps_per_level, num_warmup=num_warmup,
        num_leapfrog=num_leapfrog, thin=thin, weighted=weighted, denoise=denoise,
        progress=progress,
    )  # fmt: skip


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
    method: str = "hmc",
    denoise: bool = True,
    checkpoint: str | os.PathLike | None = None,
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
        method: As in `sample_posterior`.
        denoise: As in `sample_posterior`.
        checkpoint: As in `sample_posterior`.
        progress: Whether to show progress bars.

    Returns:
        `ImageSamples`.

    Raises:
        ValueError: If a number is not positive, or noise levels do not fall or are outside of the
            range that the score knows, the shape is not that of the prior, a method is not known,
            or the checkpoint is of another problem.

    References:
        Song & Ermon 2019, arXiv:1907.05600; Song et al. 2021, arXiv:2011.13456.
    """
    problem = Problem(None, score, tuple(shape), tf.float32)
    return _sample(
        problem, sigmas, None, checkpoint, num_samples=num_samples, num_chains=num_chains,
        seed=seed, method=method, steps_per_level=steps_per_level, num_warmup=num_warmup,
        num_leapfrog=num_leapfrog, thin=thin, weighted=weighted, denoise=denoise,
        progress=progress,
    )  # fmt: skip


def _sample(
    problem: Problem,
    sigmas: Sequence[float] | None,
    start: TensorLike | None,
    checkpoint: str | os.PathLike | None,
    **options: Any,
) -> ImageSamples:
    """Draws by the method that the options name."""
    sides = problem.score.sides
    rule = "have a `power` of the sides of the image"
    fits = sides is None or sides == tuple(problem.shape[-2:])
    checks.require(fits, "score", f"{rule}, {tuple(problem.shape[-2:])}", sides)
    if options["method"] == "guided":
        return _guided(problem, sigmas, start, checkpoint, **options)
    num_chains = options.pop("num_chains")
    if num_chains is None:
        num_chains = int(np.clip(options["num_samples"] // 10, 4, 16))
    plan = Plan(num_chains=num_chains, sigmas=np.zeros(1), **options)
    check_plan(plan)
    plan = plan._replace(sigmas=noise_levels(problem.score, sigmas, plan.method))
    is_chain = plan.method in CHAINS
    sampler = Chains(problem, plan, start) if is_chain else Reverse(problem, plan)
    state = run(sampler, problem, plan, start, checkpoint)
    return _result(state, plan.num_samples, sampler.sigma)


def _guided(
    problem: Problem,
    sigmas: Sequence[float] | None,
    start: TensorLike | None,
    checkpoint: str | os.PathLike | None,
    **options: Any,
) -> ImageSamples:
    """Chains at one level of noise, from draws of the probability flow."""
    if sigmas is None:
        sigmas = [_one_level(problem)]
    is_one = len(sigmas) == 1
    checks.require(is_one, "sigmas", 'be one level with method="guided"', sigmas)
    num_chains = options.pop("num_chains")
    num_chains = GUIDED_CHAINS if num_chains is None else num_chains
    checks.positive_integers(num_chains=num_chains)
    num_scores = 0
    if start is None:
        # Each draw begins anew: as many blocks as there must be, and no more.
        few = {"method": "flow", "num_samples": num_chains, "denoise": True, "weighted": False}
        few |= {"num_chains": -(-num_chains // FEWEST_DRAWS)}
        # Only a start: chains go on with the likelihood itself.
        likelihood = problem.likelihood and problem.likelihood.linearised()
        linear = problem._replace(likelihood=likelihood)
        found = _sample(linear, None, None, None, **options | few)
        seed = fold(options["seed"], -1)
        noise = standard_normal([num_chains, *problem.shape], seed, problem.dtype)
        start, num_scores = found.samples + sigmas[0] * noise, found.num_scores // FEWEST_DRAWS
    plan = options | {"method": "hmc", "num_chains": num_chains}
    found = _sample(problem, sigmas, start, checkpoint, **plan)
    return found._replace(num_scores=found.num_scores + num_scores)


def _one_level(problem: Problem) -> float:
    """Noise that is a part of the data's, or a root mean square of the image for the prior."""
    score = problem.score
    noise = score.scale if problem.likelihood is None else room_for_noise(problem.likelihood)
    return float(np.clip(noise, score.sigma_min, min(score.sigma_max, WIDEST * score.scale)))


def _result(state: State, num_samples: int, sigma: float) -> ImageSamples:
    """Draws of all chains; diagnostics need them by chain."""
    x, num_draws = state.draws, len(state.draws)
    samples = x.reshape(-1, *x.shape[2:])[-num_samples:]
    return ImageSamples(
        samples, r_hat(x), effective_sample_size(x), state.acceptance / num_draws,
        state.step_size, sigma, state.num_scores,
    )  # fmt: skip
