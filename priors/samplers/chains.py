"""Chains that follow a posterior as noise on its prior is taken away.

They begin where much white noise lies on the prior and on the data, so that the posterior is
broad and about Gaussian. At each level they move in coordinates in which it is about round. What
is known as a density enters the Metropolis test as it is; what is known by its score alone enters
as the integral of that along the trajectory.

At the last level noise sigma is left on z = x + sigma n. Where the noise of the data is larger than
that, n may be taken for a part of it: the data are those of z with what is left of their noise, and
given z they say no more of x. So x is drawn by taking noise from z as the prior alone does, and
no approximation is made for any prior (for operators whose A A' is not a multiple of one, and
uneven noise, what is left is approximate in the second order of sigma over the noise). Where the
noise of the data is less, the data of z have more noise, and x is drawn given both.
"""

import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.inference import sample_hmc
from priors.coordinates import root_covariance, shrunk, stretched
from priors.flow import probability_flow
from priors.samplers.conditional import Conditional
from priors.samplers.noise import gain, with_noise, with_noise_of_the_image
from priors.samplers.settings import Plan, Problem, State
from priors.samplers.target import target
from priors.wiener import wiener_samples

FLOW_STEPS = 4  # between levels
FEWEST_DRAWS = 4  # of a chain: R-hat and the effective size need them
TRAJECTORY = math.pi / 2  # a quarter of a turn around a posterior that is about round
BLOCK = 5  # draws of each chain between two files
LANGEVIN_STEPS = 10  # that stand for one of Hamiltonian dynamics, at about the same calls
# In which the last noise is taken away, to a tenth of it, before one to nothing: where the spectrum
# that stands for the prior is wrong by a factor of two, power near the noise is right to 3 %.
LAST_STEPS = 10
DEPTH = 0.1


class Chains:
    """Annealed chains of one problem.

    Args:
        problem: What is sampled.
        plan: How.
        start: Where chains start, or None.

    Attributes:
        num_blocks: Parts of the run.
        sigma: Noise that is left on the draws (the unit of the image).

    Raises:
        ValueError: If `start` has another shape.
    """

    def __init__(self, problem: Problem, plan: Plan, start: TensorLike | None) -> None:
        self.plan, self.start = plan, start
        self.num_each = max(FEWEST_DRAWS, -(-plan.num_samples // plan.num_chains))
        self.num_blocks = len(plan.sigmas) - 1 + -(-self.num_each // BLOCK)
        last = plan.sigmas[-1]
        self.denoises = plan.denoise and last > 0
        likelihood, given = problem.likelihood, problem.likelihood
        if self.denoises and likelihood is not None:
            changed, is_part = with_noise_of_the_image(likelihood, last)
            # Draws given both are found for images of two axes and linear data alone.
            self.denoises = is_part or (len(problem.shape) == 2 and likelihood.is_linear)
            likelihood = changed if self.denoises else likelihood
            given = None if is_part else given
        self.sigma = 0.0 if self.denoises else float(last)
        self.problem = problem._replace(likelihood=likelihood)
        self.conditional = Conditional(problem._replace(likelihood=given))
        self.target = target(problem.score, plan.method)
        self._gain = 0.0 if likelihood is None else gain(likelihood)

    def first(self) -> State:
        """Before the first block."""
        num, shape, dtype = self.plan.num_chains, self.problem.shape, self.problem.dtype
        x = self._first((num, *shape))
        none = np.zeros((0, num, *shape), dtype.as_numpy_dtype)
        return State(x.numpy(), np.full(num, 0.3), np.zeros(num), none, np.zeros(num))

    def advance(self, state: State) -> State:
        """After one more block: a level of noise, or some draws at the last."""
        sigmas, number = self.plan.sigmas, min(state.block, len(self.plan.sigmas) - 1)
        if self.plan.weighted and 0 < number == state.block:
            state = self._followed(state, number)
        seed = fold(self.plan.seed, 1 + state.block)
        if number < len(sigmas) - 1:
            return self._moved(state, number, self.plan.steps_per_level - 1, 1, 1, seed)
        warmup = self.plan.num_warmup if state.block == number else 0
        num = min(BLOCK, self.num_each - len(state.draws))
        return self._moved(state, number, warmup, num, self.plan.thin, seed, True)

    def _moved(
        self,
        state: State,
        number: int,
        num_warmup: int,
        num_draws: int,
        thin: int,
        seed: tf.Tensor,
        is_last: bool = False,
    ) -> State:
        """Chains after steps at one level, whose draws count at the last."""
        plan, sigma = self.plan, self.plan.sigmas[number]
        args, likelihood = self.at_level(sigma), self.problem.likelihood
        root = args[-1]
        is_hmc = plan.method == "hmc"
        times = 1 if is_hmc else LANGEVIN_STEPS
        chains = sample_hmc(
            self.target, shrunk(tf.constant(state.x), root), num_draws, times * num_warmup,
            args=args if likelihood is None else [*args, likelihood],
            num_leapfrog=plan.num_leapfrog if is_hmc else 1,
            trajectory=TRAJECTORY if is_hmc else None, target_accept=0.8 if is_hmc else 0.6,
            step_size=state.step_size, num_groups=plan.num_chains, thin=times * thin, seed=seed,
            progress=False,
        )  # fmt: skip
        images = np.stack([stretched(tf.constant(u), root).numpy() for u in chains.samples])
        state = state._replace(
            x=images[-1], step_size=chains.step_size, block=state.block + 1,
            num_scores=state.num_scores + chains.num_gradients,
        )  # fmt: skip
        if not is_last:
            return state
        num_more = 0
        if self.denoises:
            images, num_more = self._without_noise(images, sigma, fold(seed, -1))
        return state._replace(
            draws=np.concatenate([state.draws, images]), num_scores=state.num_scores + num_more,
            acceptance=state.acceptance + num_draws * chains.acceptance,
        )  # fmt: skip

    def _without_noise(
        self, draws: np.ndarray, sigma: float, seed: tf.Tensor
    ) -> tuple[np.ndarray, int]:
        """Draws [num, num_chains, ...] of the map without noise, and calls of the score."""
        least = max(self.problem.score.sigma_min, DEPTH * sigma)
        levels = [sigma]
        if least < sigma:
            levels = [sigma, *np.geomspace(sigma, least, LAST_STEPS)[1:-1], least]
        found = []
        for number, draw in enumerate(draws):
            z = tf.constant(draw)
            for step, (before, after) in enumerate(zip(levels, [*levels[1:], 0.0], strict=True)):
                z = self.conditional.step(z, before, after, fold(fold(seed, number), step))
            found.append(z.numpy())
        calls = 1 if self.problem.score.power is not None else 2
        return np.stack(found), calls * len(draws) * len(levels)

    def at_level(self, sigma: float) -> list[tf.Tensor]:
        """Noise on the prior, more noise on the data, and round coordinates.

        The data are as they are at the last level.

        Args:
            sigma: Noise on the prior.

        Returns:
            Standard deviations, and what `root_covariance` gives.
        """
        likelihood, score, _, dtype = self.problem
        noise = self._noise(sigma)
        widened = None if likelihood is None else with_noise(likelihood, noise)
        sigma = tf.constant(sigma, dtype)
        return [sigma, noise, root_covariance(score, widened, sigma, dtype)]

    def _noise(self, sigma: float) -> tf.Tensor:
        more = math.sqrt(sigma**2 - self.plan.sigmas[-1] ** 2)
        return tf.constant(self._gain * more, self.problem.dtype)

    def _followed(self, state: State, number: int) -> State:
        """Chains at the next level along the flow of the prior, resampled by what they weigh.

        The flow turns the prior of one level into that of the next, volumes and all, so that
        weights change by the likelihood alone.
        """
        before, after = self.plan.sigmas[number - 1 : number + 1]
        x, log_weight = tf.constant(state.x), state.log_weight
        moved = probability_flow(self.problem.score, x, before, after, FLOW_STEPS)
        likelihood = self.problem.likelihood
        if likelihood is not None:
            there = with_noise(likelihood, self._noise(after)).log_prob(moved)
            here = with_noise(likelihood, self._noise(before)).log_prob(x)
            log_weight = log_weight + (there - here).numpy()
        is_last = number == len(self.plan.sigmas) - 1
        if is_last or _effective(log_weight) < self.plan.num_chains / 2:
            moved, log_weight = _resampled(moved, log_weight, fold(self.plan.seed, -number))
        return state._replace(
            x=moved.numpy(), log_weight=log_weight, num_scores=state.num_scores + 2 * FLOW_STEPS
        )

    def _first(self, shape: tuple[int, ...]) -> tf.Tensor:
        """Where chains start."""
        likelihood, score, _, dtype = self.problem
        if self.start is not None:
            start = cast(self.start, dtype)
            checks.require(tuple(start.shape) == shape, "start", f"have shape {shape}", start.shape)
            checks.finite(start, "start")
            return start
        seed = fold(self.plan.seed, 0)
        _, noise, root = self.at_level(self.plan.sigmas[0])
        if likelihood is None or score.power is None:
            return stretched(standard_normal(shape, seed, dtype), root)
        power = cast(score.power, dtype) + cast(self.plan.sigmas[0], dtype) ** 2
        # Only a start: chains go on with the likelihood itself.
        broad = with_noise(likelihood, noise).linearised()
        return wiener_samples(broad, power, shape[0], seed)


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
