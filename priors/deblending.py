"""Images behind blurred, blended and noisy data: with a learned prior, and with none.

The mode of a posterior whose prior has noise of standard deviation sigma is where

    score(x, sigma) + A' N^-1 (y - A x) = 0.

It is found by turns of two steps: the score takes x to the mean D of the images behind it, and x
moves to the least of |y - A x|^2 / N + |x - D|^2 / sigma^2, whose matrix conjugate gradients
invert. Where nothing moves any more, the equation above holds. The noise starts high, where the
posterior has one mode, and falls.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike
from flowpm_ext.numerics.linalg import conjugate_gradients
from priors.likelihood import GaussianLikelihood
from priors.operators import AbstractLinearOperator, Convolution
from priors.samplers.settings import noise_levels
from priors.score import AbstractScore, LearnedScore

NUM_LEVELS = 24
# The images need not be solved better than the network knows them.
CG_TOLERANCE, CG_STEPS = 1e-4, 60


class Found(NamedTuple):
    """Images that solve a problem, and how well."""

    images: np.ndarray  # the shape of an image of the operator
    iterations: int  # steps taken
    residual: float  # 0 where the equation of the solution holds; see the function


class SourceScore(LearnedScore):
    """The score of several images, each with the same learned prior, independent of each other.

    The arguments are those of `LearnedScore`; where that takes images [batch, ny, nx], this
    takes [batch, num_sources, ny, nx].

    References:
        Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980.
    """

    def residual(self, x: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """All of the score, of each source on its own."""
        pixels = x.shape[-2:]
        each = super().residual(tf.reshape(x, [-1, *pixels]), sigma)
        return tf.ensure_shape(tf.reshape(each, tf.shape(x)), x.shape)


def annealed_mode(
    likelihood: GaussianLikelihood,
    score: AbstractScore,
    sigmas: Sequence[float] | None = None,
    *,
    steps_per_level: int = 2,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
) -> Found:
    """The mode of a posterior, followed as noise on the prior is taken away.

    Args:
        likelihood: Data, noise and operator, of one data set.
        score: The prior: `LearnedScore` for one image, `SourceScore` for several sources.
        sigmas: Falling noise levels on the prior (the unit of the image); by default 24 from ten
            times the scale of the score, or the largest that it knows, to a tenth of the scale,
            or the least that it knows.
        steps_per_level: Turns of both steps at each level but the last.
        max_iterations: Turns at the last level at the most.
        tolerance: Change of the image in one turn, relative to the image, to stop at.

    Returns:
        `Found`; `residual` is the last relative change of the image in one turn. Turns are slow
        where neither the data nor the prior is sharp on the scale of the last noise level.

    Raises:
        ValueError: If noise levels do not fall or are outside of the range that the score
            knows, data are of several data sets, or a number is not positive.

    References:
        Romano, Elad & Milanfar 2017, arXiv:1611.02862; Zhang et al. 2021, arXiv:2008.13751.
    """
    is_one = tuple(likelihood.data.shape) == tuple(likelihood.op.data_shape)
    checks.require(is_one, "likelihood", "hold one data set", likelihood.data.shape)
    checks.positive_integers(steps_per_level=steps_per_level, max_iterations=max_iterations)
    checks.positive(tolerance, "tolerance")
    *above, last = _levels(score, sigmas)
    x = tf.zeros(likelihood.op.shape, likelihood.dtype)
    levels = [*np.repeat(above, steps_per_level), *[last] * max_iterations]
    change, count = math.inf, 0
    for sigma in levels:
        moved = _turn(score, likelihood, x, tf.constant(sigma, x.dtype))
        change = float(tf.norm(moved - x) / tf.maximum(tf.norm(moved), 1e-30))
        x, count = moved, count + 1
        if sigma == last and change < tolerance:
            break
    return Found(x.numpy(), count, change)


def nonnegative_least_squares(
    likelihood: GaussianLikelihood, *, max_iterations: int = 5000, tolerance: float = 1e-5
) -> Found:
    """The non-negative images of highest likelihood: what data say without a prior.

    Args:
        likelihood: Data, noise and operator, of one data set.
        max_iterations: Steps of L-BFGS-B at the most.
        tolerance: Largest component of the projected gradient, relative to that at zero, to
            stop at.

    Returns:
        `Found`; `residual` is that component at the solution.

    Raises:
        ValueError: If data are of several data sets or a number is not positive.

    References:
        Lawson & Hanson 1974, Solving Least Squares Problems; Byrd et al. 1995, SIAM J. Sci.
        Comput. 16, 1190.
    """
    is_one = tuple(likelihood.data.shape) == tuple(likelihood.op.data_shape)
    checks.require(is_one, "likelihood", "hold one data set", likelihood.data.shape)
    checks.positive_integers(max_iterations=max_iterations)
    checks.positive(tolerance, "tolerance")
    shape, size = likelihood.op.shape, math.prod(likelihood.op.shape)
    precision = tf.cast(likelihood.precision, tf.float64)
    data = likelihood.data
    data = tf.cast(data, tf.complex128 if data.dtype.is_complex else tf.float64)

    def misfit(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _misfit(likelihood.op, data, precision, tf.constant(x.reshape(shape)))
        return float(value) / unit, gradient.numpy().ravel() / unit

    unit = 1.0
    unit = max(np.abs(misfit(np.zeros(size))[1]).max(), 1e-300)
    options = {"maxiter": max_iterations, "maxfun": 2 * max_iterations, "maxcor": 30,
               "gtol": tolerance, "ftol": 0.0}  # fmt: skip
    bounds = [(0.0, None)] * size
    found = optimize.minimize(misfit, np.zeros(size), jac=True, method="L-BFGS-B", bounds=bounds,
                              options=options)  # fmt: skip
    left = np.where(found.x > 0, found.jac, np.minimum(found.jac, 0.0))
    return Found(found.x.reshape(shape), int(found.nit), float(np.abs(left).max()))


def flux_error(found: TensorLike, truth: TensorLike) -> np.ndarray:
    """How far the flux of each source is off.

    Args:
        found: Images, shape [..., ny, nx].
        truth: True ones (the same unit), shape [..., ny, nx].

    Returns:
        |sum of found - sum of truth| / sum of truth, shape [...].

    References:
        Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980.
    """
    found, truth = (np.sum(np.asarray(v, np.float64), axis=(-2, -1)) for v in (found, truth))
    return np.abs(found - truth) / truth


def morphology_error(found: TensorLike, truth: TensorLike, psf: TensorLike) -> np.ndarray:
    """How far the shape of each source is off as seen through a telescope, whatever its flux.

    Args:
        found: Images, shape [..., ny, nx].
        truth: True ones, shape [..., ny, nx].
        psf: Point-spread function to compare through, [py, px], no larger than an image.

    Returns:
        |psf * (found / flux - truth / true flux)| over |psf * truth / true flux|, where |.| is
        the root of the sum of squares, shape [...]; 1 for a source without flux.

    Raises:
        ValueError: If `psf` is larger than an image.

    References:
        Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980.
    """
    found, truth = (np.asarray(v, np.float64) for v in (found, truth))
    blur = Convolution(np.asarray(psf, np.float64), truth.shape[-2:])
    shapes = [blur(_of_flux_one(v)).numpy() for v in (found, truth)]
    return _norm(shapes[0] - shapes[1]) / _norm(shapes[1])


def _levels(score: AbstractScore, sigmas: Sequence[float] | None) -> np.ndarray:
    """Checked noise levels."""
    if sigmas is None:
        first = min(score.sigma_max, 10 * score.scale)
        return np.geomspace(first, min(max(score.sigma_min, 0.1 * score.scale), first), NUM_LEVELS)
    return noise_levels(score, sigmas)


@compiled
def _turn(
    score: AbstractScore, likelihood: GaussianLikelihood, x: tf.Tensor, sigma: tf.Tensor
) -> tf.Tensor:
    """One step of the prior, and one of the data."""
    axes = list(range(x.shape.rank))
    mean = x + sigma**2 * score(x[tf.newaxis], sigma)[0]
    right = sigma**2 * likelihood.gradient(mean)

    def apply(v: tf.Tensor) -> tf.Tensor:
        return v + sigma**2 * likelihood.weighted_adjoint(likelihood.op(v))

    def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a * b, axis=axes, keepdims=True)

    return mean + conjugate_gradients(apply, right, dot, CG_TOLERANCE, CG_STEPS).x


@compiled
def _misfit(
    op: AbstractLinearOperator, data: tf.Tensor, precision: tf.Tensor, x: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Half the weighted square of what is left of the data, and its gradient."""
    left = op(x) - data
    value = 0.5 * tf.reduce_sum(precision * tf.abs(left) ** 2)
    return value, op.adjoint(tf.cast(precision, left.dtype) * left)


def _of_flux_one(images: np.ndarray) -> np.ndarray:
    flux = images.sum(axis=(-2, -1), keepdims=True)
    return np.divide(images, flux, out=np.zeros_like(images), where=flux > 0)


def _norm(images: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(images**2, axis=(-2, -1)))
