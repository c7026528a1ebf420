"""Transition kernels of TensorFlow Probability that need no more of a factor than its score.

Each is one call of the proposal that `flowpm_ext.inference` samples with. A density that is known,
of a likelihood or a Gaussian prior, enters the Metropolis test as it is; the score enters as
its integral along the path of the proposal, through the points where it was asked for anyway.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.inference.trajectory import (
    ChainState,
    LogProb,
    evaluated,
    proposal,
    work_weights,
)


class KernelResults(NamedTuple):
    """What a kernel knows besides the state."""

    chain: ChainState  # the state, with gradient and score there
    acceptance: tf.Tensor  # [num_chains], probability that the last step was accepted
    num_scores: tf.Tensor  # [], int32, calls of the score so far
    seed: tf.Tensor  # [2], of the last step


class ScoreHMC(tfp.mcmc.TransitionKernel):
    """Hamiltonian Monte Carlo of a density that is known, all or in part, by its score.

    A step calls the score once for each step of the integrator. With the Metropolis test it meets
    all oracles of `tests/priors/test_samplers.py`; without it, the covariance of a correlated
    Gaussian comes out wrong by 20 % where steps are long.

    Args:
        score: Function of x [num_chains, ...] that gives the gradient of the log density, or
            of that factor of it that `log_prob` lacks.
        step_size: Of the integrator (the unit of x), one number or a shape that broadcasts to x.
        num_leapfrog_steps: Steps of the integrator; where there is a test, 1 or an even number of
            at least 4, to which others are rounded up.
        log_prob: Function of x that gives the log density [num_chains] of the other factor, which
            must not be part of `score`.
        is_adjusted: Whether there is a Metropolis test.

    Raises:
        ValueError: If a number is not positive.

    References:
        Remy et al. 2022, arXiv:2201.05561; Neal 2011, arXiv:1206.1901.
    """

    def __init__(
        self,
        score: LogProb,
        step_size: TensorLike,
        num_leapfrog_steps: int = 10,
        log_prob: LogProb | None = None,
        is_adjusted: bool = True,
    ) -> None:
        checks.positive(step_size, "step_size")
        checks.positive_integers(num_leapfrog_steps=num_leapfrog_steps)
        num_leaps = num_leapfrog_steps
        if num_leaps > 1 and is_adjusted:
            num_leaps = max(4, num_leaps + num_leaps % 2)
        self._weights = np.zeros([2, num_leaps + 1, num_leaps + 1])
        if is_adjusted:
            self._weights = work_weights(num_leaps)
        self._num_leaps, self._log_prob, self._score = num_leaps, log_prob or _nothing, score
        self._parameters = {
            "score": score, "step_size": step_size, "num_leapfrog_steps": num_leapfrog_steps,
            "log_prob": log_prob, "is_adjusted": is_adjusted,
        }  # fmt: skip

    @property
    def parameters(self) -> dict:
        """The arguments that the kernel was made with."""
        return dict(self._parameters)

    @property
    def is_calibrated(self) -> bool:
        """Whether steps keep the density, which needs the Metropolis test."""
        return self._parameters["is_adjusted"]

    def one_step(
        self,
        current_state: tf.Tensor,
        previous_kernel_results: KernelResults,
        seed: int | tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, KernelResults]:
        """One step of all chains.

        Args:
            current_state: Where chains are, shape [num_chains, ...].
            previous_kernel_results: Of the step before, or of `bootstrap_results`.
            seed: As TensorFlow Probability takes it.

        Returns:
            Where they go, of the same shape, and what the kernel knows there.
        """
        before = previous_kernel_results
        dtype = current_state.dtype
        if seed is None:  # whoever gives none asks for other numbers at each call
            seed = tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)
        seed = stateless_seed(seed)
        chain, acceptance, _ = proposal(
            self._log_prob, self._score, before.chain, tf.constant(self._num_leaps),
            tf.constant(self._weights, dtype), cast(self._parameters["step_size"], dtype), seed,
            tf.ones([], dtype), (), self.is_calibrated,
        )  # fmt: skip
        num_scores = before.num_scores + self._num_leaps
        return chain.x, KernelResults(chain, acceptance, num_scores, seed)

    def bootstrap_results(self, init_state: tf.Tensor) -> KernelResults:
        """What the kernel knows before the first step.

        Args:
            init_state: Where chains start, shape [num_chains, ...].

        Returns:
            `KernelResults`.
        """
        x = tf.convert_to_tensor(init_state)
        chain = evaluated(self._log_prob, self._score, x, ())
        one = tf.constant(1)
        return KernelResults(chain, tf.ones(x.shape[:1], x.dtype), one, tf.zeros([2], tf.int32))


class Langevin(ScoreHMC):
    """Langevin dynamics: a step along the score, and noise.

    x' = x + step_size² score / 2 + step_size n. With the Metropolis test (MALA) it meets the
    Gaussian oracles of `tests/priors/test_samplers.py`, at two or three times the calls that
    `ScoreHMC` needs. The integral of the score is by the trapezoid, exact for Gaussian
    factors; for steps from one mode to another it is wrong, and the weights of a mixture come out
    wrong by .3. Without the test the variance is too large by about step_size² / 4 over the least
    variance.

    Args:
        score: As `ScoreHMC` takes it.
        step_size: Standard deviation of the noise of a step (the unit of x).
        log_prob: As `ScoreHMC` takes it.
        is_adjusted: Whether there is a Metropolis test.

    Raises:
        ValueError: If the step size is not positive.

    References:
        Roberts & Tweedie 1996, Bernoulli 2, 341; Rossky, Doll & Friedman 1978, J. Chem. Phys. 69,
        4628.
    """

    def __init__(
        self,
        score: LogProb,
        step_size: TensorLike,
        log_prob: LogProb | None = None,
        is_adjusted: bool = True,
    ) -> None:
        super().__init__(score, step_size, 1, log_prob, is_adjusted)


def _nothing(x: tf.Tensor) -> tf.Tensor:
    """Log density of a factor that is one everywhere."""
    return tf.zeros(x.shape[:1], x.dtype)
