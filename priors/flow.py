"""The probability flow: images that lose their noise without chance.

Along dx / d sigma = -sigma score(x, sigma) draws of the density with noise sigma become draws of
that with less or more, and volumes shrink or grow by the divergence of the right-hand side. So
the flow draws from a prior, and tells the density of an image.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike

Score = Callable[[tf.Tensor, float], tf.Tensor]
NUM_STEPS = 40


def probability_flow(
    score: Score, x: TensorLike, sigma: float, sigma_end: float, num_steps: int = NUM_STEPS
) -> tf.Tensor:
    """Images with another amount of noise, by Heun's method in even steps of log sigma.

    Args:
        score: Of the images with noise.
        x: Images at noise level `sigma`, shape [batch, ...].
        sigma: Standard deviation of the noise (the unit of `x`).
        sigma_end: That of the result.
        num_steps: Steps, of two scores each.

    Returns:
        The shape of `x`. The error falls with the square of the number of steps.

    Raises:
        ValueError: If a level or the number of steps is not positive.

    References:
        Song et al. 2021, arXiv:2011.13456; Karras et al. 2022, arXiv:2206.00364.
    """
    x = tf.convert_to_tensor(x)
    for start, end in _steps(sigma, sigma_end, num_steps):
        (x,) = _heun(lambda y, s: (-s * score(y, s),), (x,), start, end)
    return x


def flow_and_growth(
    score: Score,
    x: TensorLike,
    sigma: float,
    sigma_end: float,
    num_steps: int = NUM_STEPS,
    num_probes: int = 1,
    seed: int | tf.Tensor = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Images with another amount of noise, and how volumes around them have grown.

    The divergence is estimated along random directions (Hutchinson).

    Args:
        score: Of the images with noise.
        x: Images at noise level `sigma`, shape [batch, ...].
        sigma: Standard deviation of the noise (the unit of `x`).
        sigma_end: That of the result.
        num_steps: Steps, of two scores each.
        num_probes: Random directions in each step.
        seed: An integer, or a stateless seed of shape [2], of the directions.

    Returns:
        Images of the shape of `x`, and the logarithm of the growth, [batch].

    Raises:
        ValueError: If a level or a number is not positive.

    References:
        Song et al. 2021, arXiv:2011.13456; Hutchinson 1990, Commun. Stat. Simul. 19, 433.
    """
    x = tf.convert_to_tensor(x)
    checks.positive_integers(num_probes=num_probes)
    growth = tf.zeros(x.shape[:1], x.dtype)
    for number, (start, end) in enumerate(_steps(sigma, sigma_end, num_steps)):
        # New directions for each step: their errors average out along the way.
        probes = _signs([num_probes, *x.shape], fold(seed, number), x.dtype)
        x, growth = _heun(
            functools.partial(_slope_and_divergence, score, probes), (x, growth), start, end
        )
    return x, growth


def _steps(sigma: float, sigma_end: float, num_steps: int) -> Iterable[tuple[float, float]]:
    """First and last noise level of each step."""
    checks.positive_integers(num_steps=num_steps)
    checks.positive(sigma, "sigma")
    checks.positive(sigma_end, "sigma_end")
    # From the ends themselves: rounding would leave the range that a score knows.
    levels = [sigma, *np.geomspace(sigma, sigma_end, num_steps + 1)[1:-1], sigma_end]
    return itertools.pairwise(levels)


def _signs(shape: Sequence[int], seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Random directions, 1 or -1 in each component."""
    bits = tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32, alg="philox")
    return tf.cast(2 * bits - 1, dtype)


def _heun(slope: Callable[..., tuple], state: tuple, start: float, end: float) -> tuple:
    """One step of Heun's method for a state whose first part the slope sees."""
    first = slope(state[0], start)
    guess = state[0] + (end - start) * first[0]
    last = slope(guess, end)
    return tuple(y + (end - start) / 2 * (a + b)
                 for y, a, b in zip(state, first, last, strict=True))  # fmt: skip


def _slope_and_divergence(
    score: Score, probes: tf.Tensor, x: tf.Tensor, sigma: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """dx / d sigma, and its divergence [batch] along the probes."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        slope = -sigma * score(x, sigma)
        along = [tf.reduce_sum(slope * probe) for probe in tf.unstack(probes)]
    axes = list(range(1, x.shape.rank))
    found = [tf.reduce_sum(tape.gradient(value, x) * probe, axis=axes)
             for value, probe in zip(along, tf.unstack(probes), strict=True)]  # fmt: skip
    return slope, tf.add_n(found) / len(found)
