"""Most probable images under priors that are norms of something linear in the image.

The image x minimises

    1/2 sum |data - op(x)|**2 / noise_std**2 + norm(K x),

with K the coefficients of an image. It is found together with forces u that hold it against the
data: A' N^-1 (A x - data) + K' u = 0 and u · K x = norm(K x), for forces that no norm exceeds. How
far both are from holding is known at every step, and is the residual of the result.
"""

import abc
import math
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import Structure
from priors.likelihood import GaussianLikelihood

POWER_STEPS = 20
# Power iteration comes from below: up to a tenth after 20 steps where many modes are alike.
MARGIN = 1.1
# Step of the forces over the curvature of the data: from a third to three times takes up to twice
# the steps.
FORCE_STEP = 1.0


class ClassicalResult(NamedTuple):
    """The most probable image, and how well its conditions are met."""

    map: tf.Tensor  # [..., ny, nx], the image (its own unit)
    iterations: tf.Tensor  # [], int32, steps in all
    residual: tf.Tensor  # [...], what is left of the conditions of a minimum, relative
    converged: tf.Tensor  # [...], boolean, whether the residual is at most the tolerance
    objective: tf.Tensor  # [...], minus the log of the posterior, but for a constant
    change: tf.Tensor  # [...], of the image in the last step, relative to its length


class AbstractNorm(Structure, abc.ABC):
    """A norm of coefficients K x that are linear in images [batch, ny, nx]."""

    @property
    @abc.abstractmethod
    def bound(self) -> float:
        """A bound on the largest eigenvalue of K' K."""

    @abc.abstractmethod
    def analyse(self, x: tf.Tensor) -> tf.Tensor:
        """Coefficients K x of images, shape [batch, ..., ny, nx]."""

    @abc.abstractmethod
    def adjoint(self, forces: tf.Tensor) -> tf.Tensor:
        """Images K' u, shape [batch, ny, nx]."""

    @abc.abstractmethod
    def value(self, coefficients: tf.Tensor) -> tf.Tensor:
        """The norm of coefficients, shape [batch]."""

    @abc.abstractmethod
    def limited(self, forces: tf.Tensor) -> tf.Tensor:
        """The nearest forces u with u · c <= norm(c) for all coefficients c."""


class _State(NamedTuple):
    """Where the solver is: an image, its coefficients and forces, and how the last step went."""

    step: tf.Tensor
    x: tf.Tensor
    coefficients: tf.Tensor
    forces: tf.Tensor
    residual: tf.Tensor
    change: tf.Tensor
    objective: tf.Tensor


def most_probable(
    likelihood: GaussianLikelihood,
    norm: AbstractNorm,
    start: tf.Tensor,
    is_non_negative: bool,
    tolerance: float | tf.Tensor,
    max_iterations: int,
) -> ClassicalResult:
    """Minimum of the negative log-likelihood plus a norm, by steps of image and forces in turn.

    The residual is the larger of two: the length of A' N^-1 (A x - data) + K' u over that of
    A' N^-1 data, and norm(K x) - u · K x over norm(K x) plus what a step down the slope of the
    data alone gains. Together they bound how far the objective is above its minimum.
    Differentiable through the steps.

    Args:
        likelihood: Data, noise and operator of an image [ny, nx]; leading axes of the data are
            data sets, solved side by side until the slowest has converged.
        norm: The prior.
        start: First image, shape [..., ny, nx], the batch axes of the data.
        is_non_negative: Whether pixels may not be negative.
        tolerance: Residual to stop at.
        max_iterations: Steps after which to stop in any case.

    Returns:
        `ClassicalResult`.

    References:
        Condat 2013, J. Optim. Theory Appl. 158, 460; Vu 2013, Adv. Comput. Math. 38, 667.
    """
    dtype, batch = likelihood.dtype, start.shape[:-2]
    tolerance = tf.cast(tolerance, dtype)
    curvature = MARGIN * largest_curvature(likelihood)
    image_step = tf.math.reciprocal_no_nan(curvature * (0.5 + FORCE_STEP))
    force_step = FORCE_STEP * curvature / norm.bound
    scale = _length(_flat(likelihood.weighted_adjoint(likelihood.data)))

    def advance(*values: tf.Tensor) -> tuple[tf.Tensor, ...]:
        step, x, coefficients, forces, *_ = values
        misfit = likelihood.residual(tf.reshape(x, [*batch, *x.shape[1:]]))
        slope = norm.adjoint(forces) - _flat(likelihood.weighted_adjoint(misfit))
        new = x - image_step * slope
        if is_non_negative:
            new = tf.nn.relu(new)
            # A pixel at zero may be pushed further down.
            slope = tf.where((x > 0) | (slope < 0), slope, tf.zeros_like(slope))
        new_coefficients = norm.analyse(new)
        new_forces = norm.limited(forces + force_step * (2 * new_coefficients - coefficients))
        size = norm.value(coefficients)
        gap = size - _sum(forces * coefficients)
        balance = tf.math.divide_no_nan(_length(slope), scale)
        # Not over the norm alone, which vanishes with the image where the data show nothing.
        excess = tf.math.divide_no_nan(gap, size + scale**2 / curvature)
        residual = tf.maximum(balance, excess)
        change = tf.math.divide_no_nan(_length(new - x), _length(new))
        objective = _half_chi2(likelihood, misfit) + size
        # What was tested is the image before the step; a step that is not needed is not taken.
        is_done = tf.reduce_all(residual <= tolerance)
        kept = [tf.where(is_done, a, b) for a, b in ((x, new), (coefficients, new_coefficients),
                                                     (forces, new_forces))]  # fmt: skip
        return (step + 1, *kept, residual, change, objective)

    def is_unfinished(*values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(_State(*values).residual > tolerance)

    x = _flat(start)
    coefficients = norm.analyse(x)
    unknown = tf.fill([x.shape[0]], tf.constant(math.inf, dtype))
    first = _State(tf.constant(0), x, coefficients, norm.limited(tf.zeros_like(coefficients)),
                   unknown, unknown, unknown)  # fmt: skip
    last = _State(*tf.while_loop(is_unfinished, advance, first, maximum_iterations=max_iterations))
    return ClassicalResult(
        tf.reshape(last.x, start.shape), last.step, tf.reshape(last.residual, batch),
        tf.reshape(last.residual <= tolerance, batch), tf.reshape(last.objective, batch),
        tf.reshape(last.change, batch),
    )  # fmt: skip


def largest_curvature(likelihood: GaussianLikelihood) -> tf.Tensor:
    """About the largest eigenvalue of A' N^-1 A, from below, by power iteration.

    Args:
        likelihood: Noise and operator of an image [ny, nx].

    Returns:
        Eigenvalue (1 / square of the image's unit), the largest of all data sets, shape [].

    References:
        von Mises & Pollaczek-Geiringer 1929, Z. Angew. Math. Mech. 9, 152.
    """
    sides = likelihood.op.shape
    batch = likelihood.data.shape[: -len(likelihood.op.data_shape)]
    x = standard_normal([*batch, *sides], tf.constant([20, 29]), likelihood.dtype)

    def normal(x: tf.Tensor) -> tf.Tensor:
        return likelihood.weighted_adjoint(likelihood.op(x))

    def advance(step: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = normal(x)
        return step + 1, tf.math.divide_no_nan(image, _length(image)[..., None, None])

    def is_unfinished(step: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        del x
        return step < POWER_STEPS

    start = (tf.constant(0), x / _length(x)[..., None, None])
    _, x = tf.while_loop(is_unfinished, advance, start, maximum_iterations=POWER_STEPS)
    return tf.reduce_max(_length(normal(x)))


def _flat(x: tf.Tensor) -> tf.Tensor:
    """Images with one batch axis."""
    return tf.reshape(x, [-1, *x.shape[-2:]])


def _length(x: tf.Tensor) -> tf.Tensor:
    """Root of the sum of squares of images; its gradient is zero where it is."""
    squared = tf.reduce_sum(x**2, axis=[-2, -1])
    positive = tf.where(squared > 0, squared, tf.ones_like(squared))
    return tf.where(squared > 0, tf.sqrt(positive), tf.zeros_like(squared))


def _sum(x: tf.Tensor) -> tf.Tensor:
    """Sum over all axes but the first."""
    return tf.reduce_sum(x, axis=list(range(1, x.shape.rank)))


def _half_chi2(likelihood: GaussianLikelihood, misfit: tf.Tensor) -> tf.Tensor:
    """Half the sum of squared misfits over their variance, shape [batch]."""
    squared = likelihood.precision * tf.math.real(misfit * tf.math.conj(misfit))
    kept = -len(likelihood.op.data_shape)
    return 0.5 * _sum(tf.reshape(squared, [-1, *misfit.shape[kept:]]))
