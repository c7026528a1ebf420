"""Microcanonical Langevin Monte Carlo, and its relative with a Metropolis test."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference.chains import (
    Moved,
    Samples,
    StepSize,
    checked_start,
    repeated,
    require_finite_start,
)
from flowpm_ext.inference.microcanonical import (
    GRADIENTS,
    EnergyError,
    Particle,
    at_rest,
    langevin,
    tested,
)
from flowpm_ext.inference.trajectory import LogProb

ENERGY_ERROR = 5e-4
FEWEST_PARAMETERS = 2  # on a line, a direction cannot turn


class CompiledMicrocanonical:
    """A log density with the graphs that step particles through it, for several calls.

    Args:
        log_prob: As `sample_mclmc` takes it.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.
    """

    def __init__(self, log_prob: LogProb, jit_compile: bool = True) -> None:
        self.start = tf.function(functools.partial(at_rest, log_prob), autograph=False)
        self.langevin, self.tested = (
            tf.function(functools.partial(f, log_prob), jit_compile=jit_compile, autograph=False)
            for f in (langevin, tested)
        )


def sample_mclmc(
    log_prob: LogProb | CompiledMicrocanonical,
    start: TensorLike,
    num_samples: int,
    num_warmup: int = 200,
    *,
    args: Sequence[tf.Tensor] = (),
    step_size: float | None = None,
    length: float | None = None,
    energy_error: float = ENERGY_ERROR,
    target_accept: float | None = None,
    thin: int = 4,
    seed: int | tf.Tensor = 0,
    progress: bool = True,
    jit_compile: bool = True,
) -> Samples:
    """Draws from a density by particles of constant speed.

    Without a Metropolis test (`target_accept=None`), chains have a bias, which falls with
    `energy_error` and does not grow with the number of parameters; with one they have none.
    Coordinates are taken as they are: `sample` learns scales as well.

    Args:
        log_prob: Function of x [num_chains, size], and of `args`, that gives log densities
            [num_chains], each of its own chain alone; or `CompiledMicrocanonical`.
        start: Where chains start (any unit), shape [num_chains, size], size 2 or more.
        num_samples: Draws of each chain to keep.
        num_warmup: Moves before them: `thin` steps each, or one trajectory with a test.
        args: More arguments of `log_prob`, tensors.
        step_size: First length of a step, two gradients; a quarter of sqrt(size) by default.
        length: Path after which a direction is forgotten, or of a trajectory in the mean; the
            radius sqrt(size) of a density of unit variances by default.
        energy_error: Variance of the energy in a step, over the number of parameters, that the
            step is tuned to; without a test.
        target_accept: Probability of acceptance to tune for, with a test; .9 is a good number.
        thin: Steps for each draw that is kept, or trajectories with a test.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show a progress bar.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.

    Returns:
        `Samples`, with the `energy_error` that there was after warm-up.

    Raises:
        ValueError: If an option is not positive, `start` or its log density is not finite, or
            shapes do not fit.

    References:
        Robnik et al. 2022, arXiv:2212.08549; Robnik & Seljak 2023, arXiv:2303.18221; Robnik,
        Cohn-Gordon & Seljak 2025, arXiv:2503.01707 (with a test).
    """
    start = checked_start(start, num_samples, num_warmup, thin)
    checks.rank(start, "start", 2)
    size = start.shape[1]
    checks.require(size >= FEWEST_PARAMETERS, "start", "have two parameters or more", start.shape)
    length = math.sqrt(size) if length is None else length
    step_size = 0.25 * math.sqrt(size) if step_size is None else step_size
    checks.positive(length, "length")
    checks.positive(step_size, "step_size")
    checks.positive(energy_error, "energy_error")
    if target_accept is not None:
        checks.in_range(target_accept, "target_accept", 0.01, 0.999)
    if not isinstance(log_prob, CompiledMicrocanonical):
        log_prob = CompiledMicrocanonical(log_prob, jit_compile)
    args = tuple(args)
    chain = log_prob.start(start, args)
    require_finite_start(chain.log_prob)
    first, options = np.array([step_size], np.float64), (log_prob, length, seed, args)
    if target_accept is not None:
        return repeated(
            _tested_step(*options), chain, StepSize.of(first, target_accept), num_samples,
            num_warmup, thin=thin, name="microcanonical", progress=progress,
        )  # fmt: skip
    found = repeated(
        _langevin_step(*options, thin), chain, EnergyError(np.log(first), energy_error),
        num_samples, num_warmup, name="microcanonical", progress=progress,
    )  # fmt: skip
    error = float(np.mean(found.acceptance))
    return found._replace(acceptance=np.ones_like(found.acceptance), energy_error=error)


def _langevin_step(
    compiled: CompiledMicrocanonical, length: float, seed: int | tf.Tensor, args: tuple, thin: int
):
    """A move of `thin` steps."""

    def step(chain: Particle, log_step: np.ndarray, number: int) -> tuple[Particle, Moved]:
        dtype, size = chain.x.dtype, chain.x.shape[1]
        step_size, path = (tf.constant(v, dtype) for v in (np.exp(log_step[0]), length))
        chain, square, lost = compiled.langevin(
            chain, tf.constant(thin), step_size, path, fold(seed, number), args
        )
        return chain, Moved(square / size, GRADIENTS * thin, num_divergent=int(lost))

    return step


def _tested_step(
    compiled: CompiledMicrocanonical, length: float, seed: int | tf.Tensor, args: tuple
):
    """A trajectory, of a random number of steps so that no orbit closes on itself."""

    def step(chain: Particle, log_step: np.ndarray, number: int) -> tuple[Particle, Moved]:
        seeds = fold(seed, number)
        mean = length / np.exp(log_step[0])
        uniform = generator(fold(seeds, 2)).uniform(0.5, 1.5)
        num_steps = max(1, min(1000, round(mean * uniform)))
        step_size = tf.constant(np.exp(log_step[0]), chain.x.dtype)
        chain, acceptance, lost = compiled.tested(
            chain, tf.constant(num_steps), step_size, seeds, args
        )
        return chain, Moved(acceptance, GRADIENTS * num_steps, num_divergent=int(lost))

    return step
