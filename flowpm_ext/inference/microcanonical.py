"""Microcanonical dynamics: particles of constant speed, which the gradient can only turn.

A trajectory that keeps its energy visits positions with the density itself, whatever the momenta,
so that steps need not be refused for the mean and variance to be right: the error is that of the
integrator, which the variance of the energy over the number of parameters measures.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_normal, standard_uniform
from flowpm_ext.inference.trajectory import LogProb, count_lost, evaluated
from flowpm_ext.inference.tree import choose

# McLachlan 1995, SIAM J. Sci. Comput. 16, 151: the least error of second order, two gradients.
PART = 0.1931833275037836
GRADIENTS = 2  # of a step
# Squared gain in energy over the number of parameters after which a step is not taken: twenty
# standard deviations at the step size that is tuned to, and common with one that is too long.
LOST = 0.25
FAR = 0.5  # of the logarithm of the step size from where it should be


class Particle(NamedTuple):
    """Where chains are, and where they fly."""

    x: tf.Tensor  # [num_chains, size]
    log_prob: tf.Tensor  # [num_chains]
    gradient: tf.Tensor  # [num_chains, size]
    u: tf.Tensor  # [num_chains, size], of length one


def at_rest(log_prob: LogProb, x: tf.Tensor, args: tuple) -> Particle:
    """Particles that have no direction yet.

    Args:
        log_prob: Function of x, and of `args`, that gives [num_chains].
        x: Shape [num_chains, size].
        args: More arguments of the function.

    Returns:
        `Particle`.
    """
    at = evaluated(log_prob, None, x, args)
    return Particle(at.x, at.log_prob, at.gradient, tf.zeros_like(x))


def turned(
    u: tf.Tensor, gradient: tf.Tensor, time: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Directions after the force has acted for some time, and the gain in kinetic energy.

    du/dt = (1 - u u') g / (d - 1) in d dimensions; the energy is d - 1 times the logarithm of the
    momentum.

    Args:
        u: Directions of length one, shape [num_chains, size].
        gradient: g, of the log density, same shape.
        time: A scalar or [num_chains, 1].

    Returns:
        Directions, same shape, and gains [num_chains].
    """
    size = u.shape[-1]
    length = tf.norm(gradient, axis=-1, keepdims=True)
    way = tf.math.divide_no_nan(gradient, length)
    angle = time * length / (size - 1)
    along = tf.reduce_sum(u * way, axis=-1, keepdims=True)
    # Multiplied by exp(-angle), which may be far from one where chains start.
    shrink = tf.exp(-tf.abs(angle))
    sign = tf.sign(angle)
    square = shrink**2
    cosh, sinh = 0.5 * (1 + square), 0.5 * sign * (1 - square)
    scale = cosh + along * sinh
    new = shrink * u + way * (sinh + along * (cosh - shrink))
    gain = (size - 1) * (tf.abs(angle) + tf.math.log(tf.maximum(scale, 1e-37)))
    return new / tf.norm(new, axis=-1, keepdims=True), gain[:, 0]


def flown(
    log_prob: LogProb, at: Particle, step_size: tf.Tensor, args: tuple
) -> tuple[Particle, tf.Tensor]:
    """Particles after one step, and by how much their energy has changed, [num_chains].

    Args:
        log_prob: Function of x, and of `args`, that gives [num_chains].
        at: Before.
        step_size: Length of the step, a scalar or [num_chains, 1].
        args: More arguments of the function.

    Returns:
        Particles and gains.
    """
    u, gain = turned(at.u, at.gradient, PART * step_size)
    middle = evaluated(log_prob, None, at.x + 0.5 * step_size * u, args)
    u, more = turned(u, middle.gradient, (1 - 2 * PART) * step_size)
    end = evaluated(log_prob, None, middle.x + 0.5 * step_size * u, args)
    u, last = turned(u, end.gradient, PART * step_size)
    gain += more + last - (end.log_prob - at.log_prob)
    return Particle(end.x, end.log_prob, end.gradient, u), gain


def scattered(u: tf.Tensor, strength: tf.Tensor | float, seed: tf.Tensor) -> tf.Tensor:
    """Directions turned at random, of length one.

    Args:
        u: Directions, shape [num_chains, size].
        strength: Length of the random vector that is added.
        seed: A stateless seed of shape [2].

    Returns:
        The same shape.
    """
    noise = standard_normal(u.shape, seed, u.dtype) / u.shape[-1] ** 0.5
    return tf.math.l2_normalize(u + strength * noise, axis=-1, epsilon=1e-30)


def langevin(
    log_prob: LogProb, now: Particle, num_steps: tf.Tensor, step_size: tf.Tensor,
    length: tf.Tensor, seed: tf.Tensor, args: tuple,
) -> tuple[Particle, tf.Tensor, tf.Tensor]:  # fmt: skip
    """Steps without a test, after each of which directions are turned a little at random.

    A step that loses the energy is not taken, and the next one flies elsewhere: without that,
    first steps that are too long would carry chains out of sight.

    Args:
        log_prob: Function of x, and of `args`, that gives [num_chains].
        now: Before.
        num_steps: How many.
        step_size: Their length.
        length: Path after which the direction is forgotten.
        seed: A stateless seed of shape [2].
        args: More arguments of the function.

    Returns:
        Particles, their mean squared gain in energy [num_chains], and how many steps were not
        taken.
    """
    strength = tf.sqrt(tf.math.expm1(2 * step_size / length))
    first, many = fold(seed, 0), fold(seed, 1)
    now = now._replace(u=scattered(now.u, strength, first))

    def step(i: tf.Tensor, at: Particle, square: tf.Tensor, lost: tf.Tensor) -> tuple:
        there, gain = flown(log_prob, at, step_size, args)
        is_followed = tf.reduce_all(tf.math.is_finite(there.gradient), axis=-1)
        is_followed &= gain**2 < LOST * at.x.shape[1]  # not where it is no number
        there = choose(is_followed, there, at._replace(u=tf.zeros_like(at.u)))
        there = there._replace(u=scattered(there.u, strength, many + tf.stack([0, i])))
        most = tf.cast(1e6, gain.dtype)
        square += tf.where(tf.math.is_finite(gain), tf.minimum(gain**2, most), most)
        return i + 1, there, square, lost + tf.reduce_sum(tf.cast(~is_followed, tf.int32))

    none = tf.zeros_like(now.log_prob)
    _, end, square, lost = tf.while_loop(
        lambda i, *_: i < num_steps, step, (tf.constant(0), now, none, tf.constant(0))
    )
    return end, square / tf.cast(num_steps, square.dtype), lost


def tested(
    log_prob: LogProb, now: Particle, num_steps: tf.Tensor, step_size: tf.Tensor,
    seed: tf.Tensor, args: tuple,
) -> tuple[Particle, tf.Tensor, tf.Tensor]:  # fmt: skip
    """One trajectory from a new direction, taken or refused by its gain in energy.

    Args:
        log_prob: Function of x, and of `args`, that gives [num_chains].
        now: Before.
        num_steps: Of the trajectory.
        step_size: Their length.
        seed: A stateless seed of shape [2].
        args: More arguments of the function.

    Returns:
        Particles, probabilities of acceptance [num_chains], and of how many chains the energy
        was lost.
    """
    u = scattered(tf.zeros_like(now.u), 1.0, fold(seed, 0))

    def step(i: tf.Tensor, at: Particle, total: tf.Tensor) -> tuple:
        at, gain = flown(log_prob, at, step_size, args)
        return i + 1, at, total + gain

    _, end, gain = tf.while_loop(
        lambda i, *_: i < num_steps, step,
        (tf.constant(0), now._replace(u=u), tf.zeros_like(now.log_prob)),
    )  # fmt: skip
    acceptance = tf.exp(tf.minimum(-gain, 0))
    acceptance = tf.where(tf.math.is_finite(gain), acceptance, tf.zeros_like(gain))
    uniform = standard_uniform(gain.shape, fold(seed, 1), gain.dtype)
    return choose(uniform < acceptance, end, now), acceptance, count_lost(-gain)


class EnergyError(NamedTuple):
    """Tuning of the logarithm of the step size to a variance of the energy.

    The variance of the energy grows with the sixth power of the step.
    """

    log_step: np.ndarray  # [1]
    target: float
    mean: np.ndarray | float = 0.0
    count: int = 0

    def after(self, statistic: np.ndarray) -> "EnergyError":
        """The state after steps with this variance over the number of parameters, [1]."""
        excess = np.log(np.maximum(statistic, 1e-30) / self.target) / 6
        # Far from the target, what was learned at other step sizes is of no use.
        is_far = bool(np.any(np.abs(excess) > FAR))
        count = 1 if is_far else self.count + 1
        log_step = self.log_step - np.clip(excess, -1, 1) * max(count**-0.5, 0.1)
        weight = count**-0.75
        mean = weight * log_step + (1 - weight) * self.mean
        return self._replace(log_step=log_step, mean=mean, count=count)
