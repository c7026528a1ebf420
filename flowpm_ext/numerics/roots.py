"""Roots that carry exact derivatives with respect to what the equation depends on."""

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
