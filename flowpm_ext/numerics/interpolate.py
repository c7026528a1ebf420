"""Piecewise polynomials of class C1 or better, whose gradients have no jumps."""

import numpy as np
import tensorflow as tf


def hermite(
    position: tf.Tensor, values: tf.Tensor, slopes: tf.Tensor, curvatures: tf.Tensor | None = None
) -> tf.Tensor:
    """Hermite interpolation in a table with unit spacing, extended by its end polynomials.

    Cubic and C1 from values and slopes; quintic and C2 when second derivatives come as well.

    Args:
        position: Where, in units of the spacing, counted from the first entry; shape
            [num_points], or [..., num_points] with the leading axes of the table.
        values: Table, shape [..., num_entries].
        slopes: First derivatives with respect to the position, shape [..., num_entries].
        curvatures: Second derivatives, shape [..., num_entries], or None.

    Returns:
        Interpolated values, shape [..., num_points].

    References:
        Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17, 238 (the cubic basis).
    """
    last = values.shape[-1] - 2
    cell = tf.clip_by_value(tf.cast(tf.floor(position), tf.int32), 0, last)
    t = position - tf.cast(cell, position.dtype)
    s = 1 - t
    if curvatures is None:
        pairs = ((values, (1 + 2 * t) * s**2, (1 + 2 * s) * t**2), (slopes, t * s**2, -s * t**2))
    else:
        pairs = (
            (values, s**3 * (1 + 3 * t + 6 * t**2), t**3 * (1 + 3 * s + 6 * s**2)),
            (slopes, s**3 * t * (1 + 3 * t), -(t**3) * s * (1 + 3 * s)),
            (curvatures, 0.5 * s**3 * t**2, 0.5 * t**3 * s**2),
        )
    return sum(_take(f, cell) * left + _take(f, cell + 1) * right for f, left, right in pairs)


def spline_slopes(x: np.ndarray, y: tf.Tensor) -> tf.Tensor:
    """Slopes at its knots of the natural cubic spline through a table.

    The slopes are linear in `y`, through a matrix that is fixed when the graph is traced.

    Args:
        x: Knots, increasing, NumPy [num_knots].
        y: Values, shape [..., num_knots].

    Returns:
        First derivatives dy/dx, shape [..., num_knots].

    References:
        de Boor 1978, A Practical Guide to Splines, chapter IV.
    """
    h = np.diff(x)
    size = x.size
    # Continuity of the second derivative inside, zero second derivative at both ends.
    system, right = np.zeros((size, size)), np.zeros((size, size))
    system[0, :2], right[0, :2] = (2, 1), (-3 / h[0], 3 / h[0])
    system[-1, -2:], right[-1, -2:] = (1, 2), (-3 / h[-1], 3 / h[-1])
    for i in range(1, size - 1):
        left, here = 1 / h[i - 1], 1 / h[i]
        system[i, i - 1 : i + 2] = left, 2 * (left + here), here
        right[i, i - 1 : i + 2] = -3 * left**2, 3 * (left**2 - here**2), 3 * here**2
    matrix = np.linalg.solve(system, right)
    return tf.linalg.matvec(tf.constant(matrix, y.dtype), y)


def hermite_table(x_new: tf.Tensor, x: tf.Tensor, y: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
    """Cubic Hermite interpolation between unequal knots that may be tensors.

    Args:
        x_new: Where, between the first and the last knot, any shape.
        x: Knots, not decreasing, shape [num_knots].
        y: Values at the knots (any unit), shape [..., num_knots].
        slopes: First derivatives dy/dx at the knots, shape [..., num_knots].

    Returns:
        Interpolated values, in the unit of `y`, shape [..., *x_new.shape].

    References:
        Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17, 238 (the cubic basis).
    """
    cell = tf.searchsorted(x, tf.reshape(x_new, [-1]), side="right") - 1
    cell = tf.reshape(tf.clip_by_value(cell, 0, tf.shape(x)[0] - 2), tf.shape(x_new))
    start = tf.gather(x, cell)
    h = tf.gather(x, cell + 1) - start
    t = tf.math.divide_no_nan(x_new - start, h)  # a last interval may have no width
    s = 1 - t
    values = _at(y, cell) * (1 + 2 * t) * s**2 + _at(y, cell + 1) * (1 + 2 * s) * t**2
    return values + h * t * s * (_at(slopes, cell) * s - _at(slopes, cell + 1) * t)


def cubic_spline(x_new: tf.Tensor, x: np.ndarray, y: tf.Tensor) -> tf.Tensor:
    """Natural cubic spline through a table, continued linearly outside it.

    Args:
        x_new: Where, shape [num_points].
        x: Knots, increasing, NumPy [num_knots].
        y: Values at the knots, shape [..., num_knots].

    Returns:
        Interpolated values, shape [..., num_points].

    References:
        de Boor 1978, A Practical Guide to Splines, chapter IV.
    """
    x_new = tf.convert_to_tensor(x_new, y.dtype)
    slopes = spline_slopes(x, y)
    knots = tf.constant(x, y.dtype)
    inside = tf.clip_by_value(x_new, knots[0], knots[-1])
    value = hermite_table(inside, knots, y, slopes)
    end = tf.where(x_new < knots[0], slopes[..., :1], slopes[..., -1:])
    return value + end * (x_new - inside)


def _at(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Entries of [..., num_entries] at indices of any shape: [..., *index.shape]."""
    return tf.gather(table, index, axis=-1)


def _take(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Entries of [..., num_entries] at indices [num_points] or [..., num_points]."""
    if index.shape.rank == 1:
        return _at(table, index)
    return tf.gather(table, index, axis=-1, batch_dims=index.shape.rank - 1)
