"""Hamiltonian Monte Carlo: several chains side by side, with a step size that tunes itself."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference.chains import (
    Moved,
    Samples,
    StepSize,
    checked_start,
    repeated,
    require_finite_start,
)
from flowpm_ext.inference.trajectory import (
    ChainState,
    LogProb,
    evaluated,
    proposal,
    work_weights,
)

FEWEST_LEAPS = 4  # of a trajectory along which a score is integrated: an even number


class CompiledLogProb:
    """A log density with the graph that steps chains through it, for several calls of the sampler.

    What the function holds besides its arguments stays as the first call found it.

    A factor of the density may be known by its score alone, as networks learn it. Its part in the
    Metropolis test is then the integral of the score along the trajectory, with cubic splines
    through the points where the integrator asked for it anyway: no more calls, and turned round
    it changes sign, as it must. Where splines through every other point say something else, the
    step is refused, and so is the way back.

    Args:
        log_prob: As `sample_hmc` takes it.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot, and for
            scores.
        score: Function of what `log_prob` takes that gives the gradient [num_chains, ...] of the
            logarithm of one more factor.
        fewest_leaps: Steps of the integrator in a trajectory at the least, where there is a
            score: 4 or another even number, or 1 for chains that take a single step (Langevin),
            whose integral is by trapezoids.

    References:
        Remy et al. 2022, arXiv:2201.05561 (a Metropolis test by scores, along straight lines).
    """

    def __init__(
        self,
        log_prob: LogProb,
        jit_compile: bool = True,
        score: LogProb | None = None,
        fewest_leaps: int = FEWEST_LEAPS,
    ) -> None:
        self.log_prob, self.score, self.fewest_leaps = log_prob, score, fewest_leaps
        self.start = tf.function(functools.partial(evaluated, log_prob, score), autograph=False)
        self.step = tf.function(
            functools.partial(proposal, log_prob, score),
            jit_compile=jit_compile and score is None, autograph=False,
        )  # fmt: skip

    def num_leaps(self, num_leapfrog: int, trajectory: float | None, step_size: float) -> int:
        """Steps of the integrator in a trajectory."""
        wanted = num_leapfrog
        if trajectory is not None:
            wanted = max(1, round(min(trajectory / step_size, num_leapfrog)))
        if self.score is None or wanted <= self.fewest_leaps == 1:
            return wanted
        return max(self.fewest_leaps, wanted + wanted % 2)

    def weights(self, num_leaps: int, most: int, dtype: tf.DType) -> tf.Tensor:
        """Of integrals of the score along a trajectory, by all points and by every other.

        They are of one shape for all numbers of steps up to the most, to be traced once.
        """
        if self.score is None:
            return tf.zeros([2, 0, 0], dtype)
        weights = np.zeros([2, most + 1, most + 1])
        weights[:, : num_leaps + 1, : num_leaps + 1] = work_weights(num_leaps)
        return tf.constant(weights, dtype)


def sample_hmc(
    log_prob: LogProb | CompiledLogProb,
    start: TensorLike,
    num_samples: int,
    num_warmup: int = 200,
    *,
    args: Sequence[tf.Tensor] = (),
    num_leapfrog: int = 10,
    trajectory: float | None = None,
    step_size: TensorLike = 0.1,
    target_accept: float = 0.8,
    mass: TensorLike = 1.0,
    num_groups: int = 1,
    thin: int = 1,
    keep: Callable[[tf.Tensor], tf.Tensor] | None = None,
    seed: int | tf.Tensor = 0,
    progress: bool = True,
    jit_compile: bool = True,
) -> Samples:
    """Draws from a density, by Hamiltonian dynamics.

    Warm-up tunes one step size for all chains of a group, which sampling keeps; its length
    varies by 20 % from step to step, so that no orbit closes on itself.

    Args:
        log_prob: Function of x [num_chains, ...], and of `args`, that gives log densities
            [num_chains], each of its own chain alone.
        start: Where chains start (any unit), shape [num_chains, ...].
        num_samples: Draws of each chain to keep.
        num_warmup: Steps before them.
        args: More arguments of `log_prob`, tensors.
        num_leapfrog: Steps of the integrator in each step of a chain; at the most, where
            `trajectory` is given.
        trajectory: Length of the path of each step of a chain, in units of 1 / sqrt(mass): as many
            steps of the integrator as it takes at the present step size. A quarter of a turn,
            pi / 2, forgets most of a normal density that `mass` makes round, and half of a turn
            nothing.
        step_size: First step of the integrator, in units of 1 / sqrt(mass), or one for each group.
        target_accept: Probability of acceptance to tune for.
        mass: Inverse variance of each component, of a shape that broadcasts to one chain.
        num_groups: Groups of equally many chains, one group after the other: those of one
            posterior each, where several are sampled side by side.
        thin: Steps of a chain for each draw that is kept.
        keep: What is kept of the states [num_chains, ...], where they are large; all by default.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show a progress bar.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.

    Returns:
        `Samples`.

    Raises:
        ValueError: If an option is not positive, `start` or its log density is not finite, or
            `log_prob` gives another shape.

    References:
        Duane et al. 1987, Phys. Lett. B 195, 216; Neal 2011, arXiv:1206.1901; Hoffman & Gelman
        2014, arXiv:1111.4246 (tuning).
    """
    start = checked_start(start, num_samples, num_warmup, thin)
    checks.positive_integers(num_groups=num_groups, num_leapfrog=num_leapfrog)
    num_chains = start.shape[0]
    fits = num_chains % num_groups == 0
    checks.require(fits, "num_groups", f"divide the number of chains, {num_chains}", num_groups)
    checks.positive(step_size, "step_size")
    checks.positive(mass, "mass")
    if trajectory is not None:
        checks.positive(trajectory, "trajectory")
    checks.in_range(target_accept, "target_accept", 0.01, 0.999)
    root_mass, args = tf.sqrt(tf.cast(mass, start.dtype)), tuple(args)
    if not isinstance(log_prob, CompiledLogProb):
        log_prob = CompiledLogProb(log_prob, jit_compile)
    chain = log_prob.start(start, args)
    require_finite_start(chain.log_prob)
    most, longest = log_prob.num_leaps(num_leapfrog, None, 1.0), np.inf
    if log_prob.score is not None and trajectory is not None:
        longest = trajectory / log_prob.fewest_leaps
    first = np.broadcast_to(np.minimum(step_size, longest).astype(np.float64), [num_groups])
    column = [num_chains] + [1] * (start.shape.rank - 1)

    def step(chain: ChainState, log_step: np.ndarray, number: int) -> tuple[ChainState, Moved]:
        num_leaps = log_prob.num_leaps(num_leapfrog, trajectory, np.exp(np.mean(log_step)))
        weights = log_prob.weights(num_leaps, most, start.dtype)
        size = np.repeat(np.exp(log_step), num_chains // num_groups).reshape(column)
        size = tf.constant(size, start.dtype)
        chain, acceptance, num_lost = log_prob.step(
            chain, tf.constant(num_leaps), weights, size, fold(seed, number), root_mass, args
        )
        return chain, Moved(acceptance, num_leaps, num_divergent=int(num_lost))

    return repeated(
        step, chain, StepSize.of(first, target_accept, longest), num_samples, num_warmup,
        num_groups=num_groups, thin=thin, keep=keep, name="HMC", progress=progress,
    )  # fmt: skip
