"""Roots: a first guess from a table, and derivatives of what the equation depends on."""

import numpy as np
import tensorflow as tf


def implicit_step(residual: tf.Tensor, slope: tf.Tensor, curvature: tf.Tensor) -> tf.Tensor:
    """Correction of a root that was found without gradients.

    At a root x0 of F(x0, theta) = 0 found for the present theta, the step
    -F / F' - F'' F**2 / (2 F'**3), with F, F' and F'' differentiable in theta at fixed x0, is
    zero in value and follows the implicit function x(theta) to second order. A second Newton
    step would do the same at the price of another evaluation of F.

    Args:
        residual: F at x0, any shape.
        slope: dF/dx there, same shape; where it is zero the step is zero.
        curvature: d2F/dx2 there, same shape.

    Returns:
        What to add to x0, same shape.

    References:
        Householder 1970, The Numerical Treatment of a Single Nonlinear Equation.
    """
    newton = tf.math.divide_no_nan(residual, slope)
    return -newton * (1 + 0.5 * tf.math.divide_no_nan(curvature, slope) * newton)


def inverse_of_table(x: np.ndarray, table: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Where a decreasing function reaches some values, by linear interpolation of a table.

    Args:
        x: Evenly spaced arguments (any unit), NumPy [m].
        table: The function there (any unit), decreasing, shape [..., m].
        target: Values to reach, in the unit of `table`, shape [n] or [..., n].

    Returns:
        Arguments, in the unit of `x`, shape [..., n]; continued as a line beyond the table.

    References:
        Press et al. 2007, Numerical Recipes, section 3.1.
    """
    larger = tf.cast(table[..., None, :] > target[..., None], tf.int32)
    cell = tf.clip_by_value(tf.reduce_sum(larger, axis=-1) - 1, 0, x.size - 2)
    left = tf.gather(table, cell, axis=-1, batch_dims=table.shape.rank - 1)
    right = tf.gather(table, cell + 1, axis=-1, batch_dims=table.shape.rank - 1)
    start = tf.gather(tf.constant(x, table.dtype), cell)
    return start + (x[1] - x[0]) * (left - target) / (left - right)
