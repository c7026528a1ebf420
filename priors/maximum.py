"""The image of the largest posterior density under a prior that is known by its score alone.

There is no density to compare points by, so the search uses gradients only: steps of L-BFGS in
coordinates in which the posterior is about round, shortened where the gradient along them
turns round. It begins with much noise on the prior, where the posterior has one maximum, and
follows that as the noise falls.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from priors.coordinates import root_covariance, shrunk, stretched
from priors.likelihood import GaussianLikelihood
from priors.samplers.settings import noise_levels
from priors.score import AbstractScore

MEMORY = 10
TURN = 0.5  # of the gradient along a step that may have turned round at its end
SHORTEST = 0.1  # of a step that is shortened

Gradient = Callable[[np.ndarray], np.ndarray]


class MaximumPosterior(NamedTuple):
    """An image of largest density, and how the search went."""

    map: tf.Tensor  # [*op.shape] (the unit of the image)
    # [num_scores], root mean square of the gradient in units of the posterior's own width
    history: np.ndarray
    sigma: float  # noise on the prior whose posterior this is a maximum of
    num_scores: int  # calls of the score


def maximum_posterior(
    likelihood: GaussianLikelihood,
    score: AbstractScore,
    start: TensorLike | None = None,
    sigma: float | Sequence[float] | None = None,
    num_steps: int = 30,
    tolerance: float = 1e-4,
) -> MaximumPosterior:
    """The image where the posterior density is largest, with the prior smoothed by little noise.

    For a `GaussianScore` it is the Wiener filter of the data. For other priors it is not the mean
    of the posterior: in maps of many pixels it is smoother than any draw.

    Args:
        likelihood: Data, noise and operator, of one data set.
        score: The prior.
        start: Where the search starts, shape [*op.shape]; by default zero.
        sigma: Noise on the prior (the unit of the image): the last level, to which the search
            falls from ten root mean squares, or all levels; by default those of
            `sample_posterior`.
        num_steps: Steps at each level at the most.
        tolerance: Root mean square of the gradient, in units of the posterior's own width, that
            counts as zero.

    Returns:
        `MaximumPosterior`; look at the end of its `history`.

    Raises:
        ValueError: If data are of several data sets, `start` has another shape or is not finite,
            a level is outside of the range that the score knows, or a number is not positive.

    References:
        Liu & Nocedal 1989, Math. Programming 45, 503; Remy et al. 2020, arXiv:2011.08271.
    """
    is_one = tuple(likelihood.data.shape) == tuple(likelihood.op.data_shape)
    checks.require(is_one, "likelihood", "hold one data set", likelihood.data.shape)
    checks.positive_integers(num_steps=num_steps)
    checks.positive(tolerance, "tolerance")
    shape, dtype = tuple(likelihood.op.shape), likelihood.dtype
    x = cast(np.zeros(shape) if start is None else start, dtype)
    checks.require(tuple(x.shape) == shape, "start", f"have shape {shape}", x.shape)
    checks.finite(x, "start")
    levels, history = _levels(score, sigma), []
    slope = tf.function(_slope, autograph=False)
    for level in levels:
        level = tf.constant(level, dtype)
        root = root_covariance(score, likelihood, level, dtype)

        def gradient(u: np.ndarray, level: tf.Tensor = level, root: tf.Tensor = root) -> np.ndarray:
            point = tf.constant(u.reshape(1, *shape), dtype)
            found = slope(likelihood, score, point, level, root).numpy().astype(float).ravel()
            history.append(np.sqrt(np.mean(found**2)))
            return found

        u = shrunk(x[None], root).numpy().astype(float).ravel()
        u = _ascend(gradient, u, num_steps, tolerance)
        x = stretched(tf.constant(u.reshape(1, *shape), dtype), root)[0]
    return MaximumPosterior(x, np.array(history), float(levels[-1]), len(history))


def _levels(score: AbstractScore, sigma: float | Sequence[float] | None) -> np.ndarray:
    """Noise levels that fall to what was asked for."""
    if sigma is None or np.ndim(sigma):
        return noise_levels(score, sigma)
    last = noise_levels(score, sigma)[0]
    before = noise_levels(score, None)
    return np.append(before[before > last], last)


def _slope(
    likelihood: GaussianLikelihood,
    score: AbstractScore,
    u: tf.Tensor,
    sigma: tf.Tensor,
    root: tf.Tensor,
) -> tf.Tensor:
    """Gradient of the log posterior in round coordinates."""
    x = stretched(u, root)
    return stretched(likelihood.gradient(x) + score(x, sigma), root)


def _ascend(gradient: Gradient, u: np.ndarray, num_steps: int, tolerance: float) -> np.ndarray:
    """Where the gradient is about zero, by L-BFGS without values.

    A step is taken as it is unless the gradient along it has turned round at its end; then it is
    shortened, once, to where a straight line through both slopes is zero.
    """
    here, pairs = gradient(u), []
    for _ in range(num_steps):
        if np.sqrt(np.mean(here**2)) <= tolerance:
            break
        step = _newton_step(here, pairs)
        slope = here @ step
        if slope <= 0:  # the memory is of no use where the density is not concave
            step, pairs, slope = here, [], here @ here
        there = gradient(u + step)
        if there @ step < -TURN * slope:
            share = max(SHORTEST, slope / (slope - there @ step))
            step = share * step
            there = gradient(u + step)
        change = here - there
        if change @ step > 1e-10 * (step @ step):
            pairs = [*pairs[-MEMORY + 1 :], (step, change)]
        u, here = u + step, there
    return u


def _newton_step(gradient: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The gradient times the inverse curvature that the last steps have shown."""
    q, shares = gradient.copy(), []
    for step, change in reversed(pairs):
        shares.append((step @ q) / (step @ change))
        q -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        q *= (step @ change) / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        q += (share - (change @ q) / (step @ change)) * step
    return q
