"""Linear systems too large for a matrix."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class LinearSolution(NamedTuple):
    """Where conjugate gradients stopped."""

    x: tf.Tensor  # [..., *sides], the solution
    iterations: tf.Tensor  # [], int32, steps taken
    residual: tf.Tensor  # [...], |right - apply(x)| / |right| of each system


def conjugate_gradients(
    apply: Callable[[tf.Tensor], tf.Tensor],
    right: tf.Tensor,
    num_axes: int,
    tolerance: float | tf.Tensor,
    max_iterations: int,
) -> LinearSolution:
    """Solution of apply(x) = right for a symmetric positive definite linear function.

    Leading axes are systems of their own, solved side by side until the slowest has converged.
    Starts from zero. Differentiable (through the steps) with respect to `right` and
    to what `apply` closes over.

    Args:
        apply: Linear function from tensors of the shape of `right` to the same shape.
        right: Right-hand side, real, shape [..., *sides].
        num_axes: Number of trailing axes, `sides`, that make one vector.
        tolerance: Residual to stop at, relative to the length of `right`.
        max_iterations: Steps after which to stop in any case.

    Returns:
        `LinearSolution`; a system with a zero right-hand side has a zero residual.

    References:
        Hestenes & Stiefel 1952, J. Res. Natl. Bur. Stand. 49, 409.
    """
    axes = tuple(range(-num_axes, 0))

    def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a * b, axis=axes, keepdims=True)

    target = tf.cast(tolerance, right.dtype) ** 2 * dot(right, right)

    def unfinished(i, x, residual, direction, length):
        del i, x, residual, direction
        return tf.reduce_any(length > target)

    def step(i, x, residual, direction, length):
        image = apply(direction)
        # A system that has reached zero stays there: nothing is divided by nothing.
        size = tf.math.divide_no_nan(length, dot(direction, image))
        x += size * direction
        residual -= size * image
        new_length = dot(residual, residual)
        direction = residual + tf.math.divide_no_nan(new_length, length) * direction
        return i + 1, x, residual, direction, new_length

    start = (tf.constant(0), tf.zeros_like(right), right, right, dot(right, right))
    iterations, x, *_ = tf.while_loop(
        unfinished, step, start, maximum_iterations=max_iterations, parallel_iterations=1
    )
    # The residual carried along drifts from the true one by rounding; the true one is told.
    difference = right - apply(x)
    ratio = tf.math.divide_no_nan(dot(difference, difference), dot(right, right))
    return LinearSolution(x, iterations, tf.sqrt(tf.squeeze(ratio, axis=axes)))
