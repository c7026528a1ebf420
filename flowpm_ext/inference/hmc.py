"""Hamiltonian Monte Carlo: several chains side by side, with a step size that tunes itself."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike, floating
from flowpm_ext.inference.diagnostics import effective_sample_size, r_hat

LogProb = Callable[..., tf.Tensor]


class Samples(NamedTuple):
    """Draws of several chains, and how they went."""

    samples: np.ndarray  # [num_samples, num_chains, ...], the unit of the start
    log_prob: np.ndarray  # [num_samples, num_chains]
    acceptance: np.ndarray  # [num_chains], mean probability that a step was accepted
    step_size: np.ndarray  # [num_groups], as they were tuned, in units of 1 / sqrt(mass)
    num_gradients: int  # of each chain, warm-up included

    @property
    def r_hat(self) -> np.ndarray:
        """Agreement of the chains, [...]; see `flowpm_ext.inference.r_hat`."""
        return r_hat(self.samples)

    @property
    def ess(self) -> np.ndarray:
        """Number of independent draws, [...]; see `flowpm_ext.inference.effective_sample_size`."""
        return effective_sample_size(self.samples)


class _Chain(NamedTuple):
    """Where chains are."""

    x: tf.Tensor  # [num_chains, ...]
    log_prob: tf.Tensor  # [num_chains]
    gradient: tf.Tensor  # [num_chains, ...]


class CompiledLogProb:
    """A log density with the graph that steps chains through it, for several calls of the sampler.

    What the function holds besides its arguments stays as the first call found it.

    Args:
        log_prob: As `sample_hmc` takes it.
        jit_compile: Whether XLA compiles a step; off for log densities that it cannot.
    """

    def __init__(self, log_prob: LogProb, jit_compile: bool = True) -> None:
        self.log_prob = log_prob
        self.step = tf.function(
            functools.partial(_step, log_prob), jit_compile=jit_compile, autograph=False
        )
        self.value_and_gradient = tf.function(
            functools.partial(_value_and_gradient, log_prob), autograph=False
        )


class _Tuning(NamedTuple):
    """Dual averaging of the logarithm of the step size (Nesterov 2009)."""

    centre: float
    log_step: np.ndarray  # [num_groups]
    mean: np.ndarray | float = 0.0
    error: np.ndarray | float = 0.0
    count: int = 0

    def after(self, acceptance: np.ndarray, target: float) -> "_Tuning":
        """The state after steps with these mean probabilities of acceptance, [num_groups]."""
        count = self.count + 1
        rate = 1 / (count + 10)
        error = (1 - rate) * self.error + rate * (target - acceptance)
        log_step = self.centre - np.sqrt(count) / 0.05 * error
        weight = count**-0.75
        mean = weight * log_step + (1 - weight) * self.mean
        return _Tuning(self.centre, log_step, mean, error, count)


def sample_hmc(
    log_prob: LogProb | CompiledLogProb,
    start: TensorLike,
    num_samples: int,
    num_warmup: int = 200,
    *,
    args: Sequence[tf.Tensor] = (),
    num_leapfrog: int = 10,
    trajectory: float | None = None,
    step_size: float = 0.1,
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
        step_size: First step of the integrator, in units of 1 / sqrt(mass).
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
    start = tf.convert_to_tensor(start)
    start = tf.cast(start, floating(start))
    checks.require(start.shape.rank >= 1, "start", "have one row for each chain", start)
    checks.finite(start, "start")
    checks.positive_integers(num_samples=num_samples, thin=thin)
    checks.positive_integers(num_groups=num_groups, num_leapfrog=num_leapfrog)
    num_chains = start.shape[0]
    fits = num_chains % num_groups == 0
    checks.require(fits, "num_groups", f"divide the number of chains, {num_chains}", num_groups)
    checks.require(num_warmup >= 0, "num_warmup", "be zero or more", num_warmup)
    checks.positive(step_size, "step_size")
    checks.positive(mass, "mass")
    if trajectory is not None:
        checks.positive(trajectory, "trajectory")
    checks.in_range(target_accept, "target_accept", 0.01, 0.999)
    root_mass, args = tf.sqrt(tf.cast(mass, start.dtype)), tuple(args)
    if not isinstance(log_prob, CompiledLogProb):
        log_prob = CompiledLogProb(log_prob, jit_compile)
    chain = _Chain(start, *log_prob.value_and_gradient(start, args))
    checks.finite(chain.log_prob, "log_prob(start)")
    tuning = _Tuning(np.log(10 * step_size), np.full(num_groups, np.log(step_size)))
    kept, total, num_gradients = [], np.zeros(num_chains), 1
    column = [num_chains] + [1] * (start.shape.rank - 1)
    num_steps = num_warmup + thin * num_samples
    with tqdm(total=num_steps, unit="step", desc="HMC", disable=not progress) as bar:
        for number in range(num_steps):
            is_warm = number >= num_warmup
            log_step = tuning.mean if is_warm and num_warmup else tuning.log_step
            num_leaps = num_leapfrog
            if trajectory is not None:
                num_leaps = round(min(trajectory / np.exp(np.mean(log_step)), num_leapfrog)) or 1
            num_gradients += num_leaps
            size = np.repeat(np.exp(log_step), num_chains // num_groups).reshape(column)
            size = tf.constant(size, start.dtype)
            chain, acceptance = log_prob.step(
                chain, tf.constant(num_leaps), size, fold(seed, number), root_mass, args
            )
            if not is_warm:
                of_groups = acceptance.numpy().reshape(num_groups, -1).mean(axis=1)
                tuning = tuning.after(of_groups, target_accept)
            else:
                total += acceptance.numpy()
                if (number - num_warmup) % thin == thin - 1:
                    x = chain.x if keep is None else keep(chain.x)
                    kept.append((x.numpy(), chain.log_prob.numpy()))
            bar.update()
    samples, log_probs = (np.stack(part) for part in zip(*kept, strict=True))
    log_step = tuning.mean if num_warmup else tuning.log_step
    acceptance = total / (thin * num_samples)
    return Samples(samples, log_probs, acceptance, np.exp(log_step), num_gradients)


def _step(
    log_prob: LogProb,
    now: _Chain,
    num_leaps: tf.Tensor,
    step_size: tf.Tensor,
    seed: tf.Tensor,
    root_mass: tf.Tensor,
    args: tuple,
) -> tuple[_Chain, tf.Tensor]:
    """One proposal for every chain, and the probabilities that it is accepted."""
    dtype, num_chains = now.x.dtype, now.x.shape[0]
    jitter, uniform = tf.unstack(
        tf.random.stateless_uniform([2, num_chains], fold(seed, 1), dtype=dtype, alg="philox")
    )
    size = step_size * (0.8 + 0.4 * jitter[0])
    # Momenta in units in which every mass is one, and positions that go with them.
    p = standard_normal(now.x.shape, fold(seed, 0), dtype)

    def leap(i: tf.Tensor, p: tf.Tensor, at: _Chain) -> tuple:
        p += 0.5 * size * at.gradient / root_mass
        x = at.x + size * p / root_mass
        at = _Chain(x, *_value_and_gradient(log_prob, x, args))
        return i + 1, p + 0.5 * size * at.gradient / root_mass, at

    _, p_end, end = tf.while_loop(lambda i, *_: i < num_leaps, leap, (0, p, now))
    gain = end.log_prob - now.log_prob + _kinetic(p) - _kinetic(p_end)
    gain = tf.where(tf.math.is_finite(gain), gain, tf.cast(-np.inf, dtype))
    acceptance = tf.exp(tf.minimum(gain, 0))
    is_taken = uniform < acceptance

    def choose(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(is_taken, [-1] + [1] * (new.shape.rank - 1)), new, old)

    return tf.nest.map_structure(choose, end, now), acceptance


def _kinetic(p: tf.Tensor) -> tf.Tensor:
    return 0.5 * tf.reduce_sum(p**2, axis=list(range(1, p.shape.rank)))


def _value_and_gradient(
    log_prob: LogProb, x: tf.Tensor, args: tuple
) -> tuple[tf.Tensor, tf.Tensor]:
    """Log densities [num_chains] and their gradients [num_chains, ...]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = log_prob(x, *args)
    checks.require(
        value.shape.is_compatible_with(x.shape[:1]),
        "log_prob", f"give one number for each of {x.shape[0]} chains", value,
    )  # fmt: skip
    return value, tape.gradient(value, x)
