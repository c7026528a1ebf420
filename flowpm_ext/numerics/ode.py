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
    size = matrix.shape[-1]
    homogeneous = source is None
    if homogeneous:
        source = tf.zeros_like(matrix[..., 0])
    # Affine maps as matrices of one row more: the state is (y, 1).
    extended = tf.concat([matrix, source[..., None]], axis=-1)  # [..., points, d, d + 1]
    extended = tf.pad(extended, [[0, 0]] * (extended.shape.rank - 2) + [[0, 1], [0, 0]])
    if homogeneous:
        extended, size = matrix, size - 1
    start, middle, end = (extended[..., i : i + n : 2, :, :] for i, n in _stages(extended))
    one = tf.eye(size + 1, dtype=matrix.dtype)
    k1 = start
    k2 = middle @ (one + 0.5 * step * k1)
    k3 = middle @ (one + 0.5 * step * k2)
    k4 = end @ (one + step * k3)
    maps = one + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)  # [..., num_steps, d + 1, d + 1]
    if not homogeneous:
        initial = tf.concat([initial, tf.ones_like(initial[..., :1])], axis=-1)
    states = tf.linalg.matvec(_prefix_products(maps), initial[..., None, :])
    states = tf.concat([tf.broadcast_to(initial, states[..., 0, :].shape)[..., None, :], states], -2)
    return states if homogeneous else states[..., :-1]


def _stages(points: tf.Tensor) -> tuple[tuple[int, int], ...]:
    """First index, and span of indices, of the starts, middles and ends of the steps."""
    span = points.shape[-3] - 2
    return (0, span), (1, span), (2, span)


def _prefix_products(maps: tf.Tensor) -> tf.Tensor:
    """Products maps[i] @ ... @ maps[0] for every i, shape [..., num_steps, d, d]."""
    shift = 1
    while shift < maps.shape[-3]:  # doubling: log2(num_steps) rounds
        later = maps[..., shift:, :, :] @ maps[..., :-shift, :, :]
        maps = tf.concat([maps[..., :shift, :, :], later], axis=-3)
        shift *= 2
    return maps
