"""Cubic interpolation between unequal knots that may be tensors."""

import tensorflow as tf

from flowpm_ext.numerics.interpolate import hermite_table


def monotone_cubic(x_new: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Monotone piecewise cubic of class C1 through a table.

    Between two entries the result stays between their values. It is differentiable in `y`
    and `x_new`, and the knots may be tensors that are not known when the graph is traced.

    Args:
        x_new: Where, between the first and the last knot, any shape.
        x: Knots, increasing, shape [num_knots]; at least three.
        y: Values at the knots (any unit), shape [num_knots].

    Returns:
        Interpolated values, in the unit of `y` and the shape of `x_new`.

    References:
        Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300 (the slopes inside).
    """
    width = x[1:] - x[:-1]  # [num_knots - 1]
    return hermite_table(x_new, x, y, _slopes(width, (y[1:] - y[:-1]) / width))


def _slopes(width: tf.Tensor, secant: tf.Tensor) -> tf.Tensor:
    """Slope at each knot: zero at an extremum, else a weighted harmonic mean of the secants."""
    left, right = secant[:-1], secant[1:]
    w_left, w_right = 2 * width[1:] + width[:-1], width[1:] + 2 * width[:-1]
    is_slope = left * right > 0
    # The harmonic mean divides by the secants; at an extremum they are replaced before that.
    left, right = tf.where(is_slope, left, 1), tf.where(is_slope, right, 1)
    inside = (w_left + w_right) / (w_left / left + w_right / right)
    inside = tf.where(is_slope, inside, 0)
    first = _end_slope(width[0], width[1], secant[0], secant[1])
    last = _end_slope(width[-1], width[-2], secant[-1], secant[-2])
    return tf.concat([first[None], inside, last[None]], axis=0)


def _end_slope(
    h: tf.Tensor, h_next: tf.Tensor, secant: tf.Tensor, following: tf.Tensor
) -> tf.Tensor:
    """One-sided slope of three points, limited so that the first interval stays monotone."""
    slope = ((2 * h + h_next) * secant - h * following) / (h + h_next)
    slope = tf.where(slope * secant > 0, slope, 0)
    is_steep = (secant * following <= 0) & (tf.abs(slope) > 3 * tf.abs(secant))
    return tf.where(is_steep, 3 * secant, slope)
