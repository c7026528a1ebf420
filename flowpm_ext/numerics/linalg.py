"""Linear systems too large for a matrix."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class LinearSolution(NamedTuple):
    """Where conjugate gradients stopped."""

    x: tf.Tensor  # [..., *sides], the solution
    iterations: tf.Tensor  # [], int32, steps taken
    residual: tf.Tensor  # the shape of `dot`, |right - apply(x)| / |right| of each system


def conjugate_gradients(
    apply: Callable[[tf.Tensor], tf.Tensor],
    right: tf.Tensor,
    dot: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    tolerance: float | tf.Tensor,
    max_iterations: int,
    precondition: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> LinearSolution:
    """Solution of apply(x) = right for a symmetric positive definite linear function.

    Leading axes are systems of their own, solved side by side until the slowest has converged.
    Starts from zero. Differentiable, through the steps, with respect to `right` and to
    what `apply` closes over.

    Args:
        apply: Linear function from tensors of the shape of `right` to the same shape.
        right: Right-hand side, real or complex, shape [..., *sides].
        dot: Real inner product in which `apply` is symmetric, over the axes of one system,
            which it keeps with length one.
        tolerance: Residual to stop at, relative to the length of `right`.
        max_iterations: Steps after which to stop in any case.
        precondition: Approximate inverse of `apply`, symmetric and positive definite too.

    Returns:
        `LinearSolution`; a system with a zero right-hand side has a zero residual.

    References:
        Hestenes & Stiefel 1952, J. Res. Natl. Bur. Stand. 49, 409.
    """
    target = tf.cast(tolerance, right.dtype.real_dtype) ** 2 * dot(right, right)

    def ratio(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        # A system that has reached zero stays there: nothing is divided by nothing.
        return tf.cast(tf.math.divide_no_nan(a, b), right.dtype)

    def is_unfinished(step, x, residual, direction, product):
        del step, x, direction, product
        return tf.reduce_any(dot(residual, residual) > target)

    def advance(step, x, residual, direction, product):
        image = apply(direction)
        size = ratio(product, dot(direction, image))
        residual -= size * image
        x += size * direction
        better = precondition(residual)
        new_product = dot(residual, better)
        return step + 1, x, residual, better + ratio(new_product, product) * direction, new_product

    first = precondition(right)
    start = (tf.constant(0), tf.zeros_like(right), right, first, dot(right, first))
    iterations, x, *_ = tf.while_loop(
        is_unfinished, advance, start, maximum_iterations=max_iterations
    )
    # The residual carried along drifts from the true one by rounding; the true one is told.
    left = right - apply(x)
    residual = tf.sqrt(tf.math.divide_no_nan(dot(left, left), dot(right, right)))
    return LinearSolution(x, iterations, residual)
