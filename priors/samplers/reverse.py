"""Draws that begin anew in noise: the probability flow of a posterior, and predictor-corrector.

Both take noise from an image as the posterior would, by the score of the noisy image given the
data. That is known up to what the covariance of the image given the noisy one is, which is taken
from the Gaussian part of the prior (see `conditional`). Neither has a Metropolis test. Both meet
the oracle of Gaussian fields where that part has all of the power. Both miss the weights of a
mixture, by .3, where data are precise enough to tell its modes apart; and without a spectrum,
predictor-corrector gives a correlated Gaussian 8 % too much covariance.
"""

import itertools

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import cast
from priors.coordinates import root_covariance, stretched
from priors.flow import probability_flow
from priors.samplers.chains import FEWEST_DRAWS
from priors.samplers.conditional import Conditional, prior_power
from priors.samplers.settings import Plan, Problem, State
from priors.wiener import wiener_samples

CORRECTION = 0.2  # step of Langevin dynamics, in standard deviations of the posterior


class Reverse:
    """Draws of one problem, each from noise of its own.

    Args:
        problem: What is sampled.
        plan: How; its method is "flow" or "predictor_corrector".

    Attributes:
        num_blocks: Parts of the run.
        sigma: Noise that is left on the draws (the unit of the image).

    Raises:
        ValueError: If there are data of images that have not two axes.
    """

    def __init__(self, problem: Problem, plan: Plan) -> None:
        is_map = problem.likelihood is None or len(problem.shape) == 2
        fix = 'Choose `method="hmc"`.'
        checks.require(is_map, "likelihood", "be of images of two axes", problem.shape, fix)
        self.problem, self.plan = problem, plan
        self.num_blocks = max(FEWEST_DRAWS, -(-plan.num_samples // plan.num_chains))
        self.sigma = 0.0 if plan.denoise else float(plan.sigmas[-1])
        self.conditional = Conditional(problem)

    def first(self) -> State:
        """Before the first block."""
        num, dtype = self.plan.num_chains, self.problem.dtype.as_numpy_dtype
        x = np.zeros((num, *self.problem.shape), dtype)
        return State(x, np.zeros(num), np.zeros(num), x[None][:0], np.zeros(num))

    def advance(self, state: State) -> State:
        """After one more block: a draw of each chain."""
        seed, sigmas = fold(self.plan.seed, state.block), self.plan.sigmas
        z = self._start(fold(seed, 0))
        if self.plan.method == "flow":
            num_scores = 2 * (len(sigmas) - 1)
            for before, after in itertools.pairwise(sigmas):
                z = probability_flow(self.conditional.score, z, before, after, 1)
        else:
            is_long = self.problem.likelihood is None and self.problem.score.power is None
            num_scores = len(sigmas) + (2 if is_long else 1) * (len(sigmas) - 1)
            z = self._predicted(z, fold(seed, 2))
        if self.plan.denoise:
            z, num_scores = self.conditional.step(z, sigmas[-1], 0.0, fold(seed, 1)), num_scores + 1
        return state._replace(
            draws=np.concatenate([state.draws, z.numpy()[None]]), block=state.block + 1,
            acceptance=state.acceptance + 1, num_scores=state.num_scores + num_scores,
        )  # fmt: skip

    def _start(self, seed: tf.Tensor) -> tf.Tensor:
        """Draws at the first level, of the Gaussian field that stands for the prior."""
        likelihood, score, shape, dtype = self.problem
        sides, sigma = (self.plan.num_chains, *shape), cast(self.plan.sigmas[0], dtype)
        noise = sigma * standard_normal(sides, fold(seed, 0), dtype)
        if likelihood is not None:
            power = prior_power(score, shape, dtype)
            return noise + wiener_samples(likelihood, power, sides[0], fold(seed, 1))
        root = root_covariance(score, None, cast(0.0, dtype), dtype)
        return noise + stretched(standard_normal(sides, fold(seed, 1), dtype), root)

    def _predicted(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """At the last level: a draw at each from that before, and a step of Langevin dynamics."""
        sigmas = self.plan.sigmas
        for number, sigma in enumerate(sigmas):
            at = fold(seed, number)
            if number:
                z = self.conditional.step(z, sigmas[number - 1], sigma, fold(at, 0))
            z = self._corrected(z, sigma, fold(at, 1))
        return z

    def _corrected(self, z: tf.Tensor, sigma: float, seed: tf.Tensor) -> tf.Tensor:
        likelihood, score, _, dtype = self.problem
        root = root_covariance(score, likelihood, cast(0.0, dtype), dtype)
        root = tf.sqrt(root**2 + cast(sigma, dtype) ** 2)
        drift = stretched(stretched(self.conditional.score(z, sigma), root), root)
        noise = stretched(standard_normal(z.shape, seed, dtype), root)
        return z + 0.5 * CORRECTION**2 * drift + CORRECTION * noise
