"""The no-U-turn sampler: Hamiltonian Monte Carlo whose trajectories find their own length."""

import functools
from collections.abc import Sequence

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
from flowpm_ext.inference.trajectory import ChainState, LogProb, evaluated
from flowpm_ext.inference.tree import tree_step


class CompiledNuts:
    """A log density with the graph that steps chains through it, for several calls.

    Args:
        log_prob: As `sample_nuts` takes it.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.
        max_depth: Doublings of a trajectory at the most: 2**max_depth gradients.

    Raises:
        ValueError: If `max_depth` is not positive.
    """

    def __init__(self, log_prob: LogProb, jit_compile: bool = True, max_depth: int = 10) -> None:
        checks.positive_integers(max_depth=max_depth)
        self.start = tf.function(functools.partial(evaluated, log_prob, None), autograph=False)
        self.step = tf.function(
            functools.partial(tree_step, log_prob, max_depth),
            jit_compile=jit_compile, autograph=False,
        )  # fmt: skip


def sample_nuts(
    log_prob: LogProb | CompiledNuts,
    start: TensorLike,
    num_samples: int,
    num_warmup: int = 200,
    *,
    args: Sequence[tf.Tensor] = (),
    step_size: float = 0.1,
    target_accept: float = 0.8,
    max_depth: int = 10,
    thin: int = 1,
    seed: int | tf.Tensor = 0,
    progress: bool = True,
    jit_compile: bool = True,
) -> Samples:
    """Draws from a density by trajectories that end where they turn round.

    Warm-up tunes one step size for all chains. Coordinates are taken as they are: `sample` learns
    scales as well.

    Args:
        log_prob: Function of x [num_chains, size], and of `args`, that gives log densities
            [num_chains], each of its own chain alone; or `CompiledNuts`.
        start: Where chains start (any unit), shape [num_chains, size].
        num_samples: Draws of each chain to keep.
        num_warmup: Steps before them.
        args: More arguments of `log_prob`, tensors.
        step_size: First step of the integrator.
        target_accept: Mean probability of acceptance along trajectories to tune for.
        max_depth: Doublings of a trajectory at the most; that of `CompiledNuts` where it is one.
        thin: Steps for each draw that is kept.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show a progress bar.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.

    Returns:
        `Samples`. Chains wait for the longest trajectory among them: `num_gradients` counts
        that, `gradients_per_draw` does not.

    Raises:
        ValueError: If an option is not positive, `start` or its log density is not finite, or
            shapes do not fit.

    References:
        Hoffman & Gelman 2014, arXiv:1111.4246; Betancourt 2017, arXiv:1701.02434; Phan, Pradhan &
        Jankowiak 2019, arXiv:1912.11554 (the tree without recursion).
    """
    start = checked_start(start, num_samples, num_warmup, thin)
    checks.rank(start, "start", 2)
    checks.positive(step_size, "step_size")
    checks.in_range(target_accept, "target_accept", 0.01, 0.999)
    args = tuple(args)
    if not isinstance(log_prob, CompiledNuts):
        log_prob = CompiledNuts(log_prob, jit_compile, max_depth)
    chain = log_prob.start(start, args)
    require_finite_start(chain.log_prob)
    chain = chain._replace(score=tf.zeros([start.shape[0], 0], start.dtype))

    def step(chain: ChainState, log_step: np.ndarray, number: int) -> tuple[ChainState, Moved]:
        size = tf.constant(np.exp(log_step[0]), start.dtype)
        found = log_prob.step(chain, size, fold(seed, number), args)
        num_needed = float(np.mean(found.num_leaves))
        num_divergent = int(np.sum(found.is_divergent))
        return found.chain, Moved(found.acceptance, int(found.num_leaps), num_needed, num_divergent)

    return repeated(
        step, chain, StepSize.of(np.array([step_size], np.float64), target_accept), num_samples,
        num_warmup, thin=thin, name="NUTS", progress=progress,
    )  # fmt: skip
