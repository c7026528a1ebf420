"""One proposal of Hamiltonian dynamics, where a factor of the density may be a score alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.inference.chains import require_one_each
from flowpm_ext.inference.path_integral import path_weights

LogProb = Callable[..., tf.Tensor]
# Difference of the integrals by all points and by every other, whose error is 16 times larger.
CLEAR = 1.0
MAX_ENERGY = 1000.0  # gain in energy after which the integrator has lost the density


class ChainState(NamedTuple):
    """Where chains are."""

    x: tf.Tensor  # [num_chains, ...]
    log_prob: tf.Tensor  # [num_chains], without what is known by its score alone
    gradient: tf.Tensor  # [num_chains, ...], of all
    score: tf.Tensor  # [num_chains, ...], of what is known by it alone; [0] where there is none


def evaluated(log_prob: LogProb, score: LogProb | None, x: tf.Tensor, args: tuple) -> ChainState:
    """Chains at x, with all that a step needs to know there.

    Args:
        log_prob: As `sample_hmc` takes it.
        score: As `CompiledLogProb` takes it.
        x: Where they are, shape [num_chains, ...].
        args: More arguments of both.

    Returns:
        `ChainState`.

    Raises:
        ValueError: If a function gives another shape.
    """
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = log_prob(x, *args)
    require_one_each(value, x.shape[:1])
    gradient = tape.gradient(value, x, unconnected_gradients="zero")
    if score is None:
        return ChainState(x, value, gradient, tf.zeros([0], x.dtype))
    more = score(x, *args)
    rule = "give a gradient of the shape of x"
    checks.require(more.shape.is_compatible_with(x.shape), "score", rule, more.shape)
    return ChainState(x, value, gradient + more, more)


def proposal(
    log_prob: LogProb,
    score: LogProb | None,
    now: ChainState,
    num_leaps: tf.Tensor,
    weights: tf.Tensor,
    step_size: tf.Tensor,
    seed: tf.Tensor,
    root_mass: tf.Tensor,
    args: tuple,
    is_adjusted: bool = True,
) -> tuple[ChainState, tf.Tensor, tf.Tensor]:
    """One proposal for every chain, and the probabilities that it is accepted.

    Args:
        log_prob: As `sample_hmc` takes it.
        score: As `CompiledLogProb` takes it.
        now: Where chains are.
        num_leaps: Steps of the integrator.
        weights: Of the integral of the score, as `CompiledLogProb.weights` gives them.
        step_size: Of the integrator, of a shape that broadcasts to that of the chains.
        seed: A stateless seed of shape [2].
        root_mass: Square root of the mass of each component.
        args: More arguments of both functions.
        is_adjusted: Whether there is a Metropolis test; without one, chains go wherever
            the proposal is finite.

    Returns:
        Chains after the step, probabilities [num_chains], and of how many chains the integrator
        lost the energy.
    """
    dtype, num_chains = now.x.dtype, now.x.shape[0]
    jitter, uniform = tf.unstack(
        tf.random.stateless_uniform([2, num_chains], fold(seed, 1), dtype=dtype, alg="philox")
    )
    size = step_size * (0.8 + 0.4 * jitter[0])
    # Momenta in units in which every mass is one, and positions that go with them.
    p = standard_normal(now.x.shape, fold(seed, 0), dtype)

    def leap(i: tf.Tensor, p: tf.Tensor, at: ChainState, path: tuple) -> tuple:
        p += 0.5 * size * at.gradient / root_mass
        at = evaluated(log_prob, score, at.x + size * p / root_mass, args)
        path = _along(path, i + 1, at, score)
        return i + 1, p + 0.5 * size * at.gradient / root_mass, at, path

    path = () if score is None else tuple(tf.TensorArray(dtype, num_leaps + 1) for _ in range(2))
    path = _along(path, 0, now, score)
    _, p_end, end, path = tf.while_loop(lambda i, *_: i < num_leaps, leap, (0, p, now, path))
    gain = end.log_prob - now.log_prob + kinetic(p) - kinetic(p_end)
    if score is not None:
        x, force = (tf.reshape(part.stack(), [-1, num_chains, now.x[0].shape.num_elements()])
                    for part in path)  # fmt: skip
        gain += _clear_work(x, force, weights[:, : num_leaps + 1, : num_leaps + 1])
    is_finite, num_lost = tf.math.is_finite(gain), count_lost(gain)
    gain = tf.where(
        is_finite, gain if is_adjusted else tf.zeros_like(gain), tf.cast(-np.inf, dtype)
    )
    acceptance = tf.exp(tf.minimum(gain, 0))
    is_taken = uniform < acceptance

    def choose(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(is_taken, [-1] + [1] * (new.shape.rank - 1)), new, old)

    chosen = tf.nest.map_structure(choose, end[:3], now[:3])
    held = now.score if score is None else choose(end.score, now.score)
    return ChainState(*chosen, held), acceptance, num_lost


def count_lost(gain: tf.Tensor) -> tf.Tensor:
    """How many gains in log density are those of an integrator that has lost it.

    Args:
        gain: Shape [num_chains]; what is no number is lost too.

    Returns:
        int32 scalar.
    """
    is_followed = tf.math.is_finite(gain) & (gain > -MAX_ENERGY)
    return tf.reduce_sum(tf.cast(~is_followed, tf.int32))


def work_weights(num_leaps: int) -> np.ndarray:
    """Weights of the integral along a trajectory, by all points and by every other.

    Args:
        num_leaps: Steps, an even number; or one, for which both are the trapezoid.

    Returns:
        Shape [2, num_leaps + 1, num_leaps + 1].
    """
    return np.stack([path_weights(num_leaps, skip) for skip in (1, 1 if num_leaps == 1 else 2)])


def _clear_work(x: tf.Tensor, force: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Integral of the force, [num_chains]; without bound below where it is not clear."""
    work = tf.einsum("kij,inx,jnx->kn", weights, force, x - x[:1])
    return tf.where(tf.abs(work[0] - work[1]) < CLEAR, work[0], tf.cast(-np.inf, x.dtype))


def _along(path: tuple, i: tf.Tensor, at: ChainState, score: LogProb | None) -> tuple:
    """The points of a trajectory and the scores there, with one more of each."""
    if score is None:
        return path
    return path[0].write(i, at.x), path[1].write(i, at.score)


def kinetic(p: tf.Tensor) -> tf.Tensor:
    """Energy of momenta in units in which every mass is one.

    Args:
        p: Shape [num_chains, ...].

    Returns:
        Shape [num_chains].
    """
    return 0.5 * tf.reduce_sum(p**2, axis=list(range(1, p.shape.rank)))
