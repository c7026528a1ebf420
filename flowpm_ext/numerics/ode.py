"""Linear ordinary differential equations by fixed-step Runge-Kutta, in parallel over steps."""

import tensorflow as tf


def solve_linear(
    matrix: tf.Tensor, source: tf.Tensor | None, initial: tf.Tensor, step: float
) -> tf.Tensor:
    """Solution of y' = A(x) y + b(x) on a uniform grid, by the classical fourth-order method.

    For a linear equation each step is an affine map of y, so the maps of all steps are found
    at once and composed by a parallel prefix scan: no loop over steps, and a graph of
    logarithmic depth that differentiates in both modes.

    Args:
        matrix: A at the nodes and midpoints x0, x0 + h/2, x0 + h, ..., shape
            [..., 2 * num_steps + 1, d, d].
        source: b at the same points, shape [..., 2 * num_steps + 1, d]; None for b = 0.
        initial: y at x0, shape [..., d].
        step: The step h.

    Returns:
        y at the nodes, shape [..., num_steps + 1, d].

    References:
        Blelloch 1990, CMU-CS-90-190 (prefix scans of linear recurrences).
    """
    if source is not None:
        # An affine map is a matrix of one row more, on the state (y, 1).
        matrix = tf.concat([matrix, source[..., None]], axis=-1)  # [..., points, d, d + 1]
        matrix = tf.pad(matrix, [[0, 0]] * (matrix.shape.rank - 2) + [[0, 1], [0, 0]])
        initial = tf.concat([initial, tf.ones_like(initial[..., :1])], axis=-1)
    maps = _runge_kutta_maps(matrix, step)
    maps = tf.concat([tf.zeros_like(maps[..., :1, :, :]) + _one(maps), maps], axis=-3)
    states = tf.reduce_sum(_prefix_products(maps) * initial[..., None, None, :], axis=-1)
    return states if source is None else states[..., :-1]


def _runge_kutta_maps(matrix: tf.Tensor, step: float) -> tf.Tensor:
    """Map of y over each step, [..., num_steps, d, d], from A at nodes and midpoints."""
    start, middle, end = matrix[..., :-2:2, :, :], matrix[..., 1::2, :, :], matrix[..., 2::2, :, :]
    k1 = start
    k2 = middle + 0.5 * step * _product(middle, k1)
    k3 = middle + 0.5 * step * _product(middle, k2)
    k4 = end + step * _product(end, k3)
    return _one(matrix) + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _prefix_products(maps: tf.Tensor) -> tf.Tensor:
    """Products maps[i] @ ... @ maps[0] for every i, shape [..., num_steps, d, d]."""
    shift = 1
    while shift < maps.shape[-3]:  # doubling: log2(num_steps) rounds
        later = _product(maps[..., shift:, :, :], maps[..., :-shift, :, :])
        maps = tf.concat([maps[..., :shift, :, :], later], axis=-3)
        shift *= 2
    return maps


def _product(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Matrix product of very small matrices, as sums that a compiler fuses."""
    return tf.reduce_sum(left[..., :, :, None] * right[..., None, :, :], axis=-2)


def _one(matrix: tf.Tensor) -> tf.Tensor:
    return tf.eye(matrix.shape[-1], dtype=matrix.dtype)
