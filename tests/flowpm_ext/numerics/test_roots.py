"""Roots whose answer is a closed form: the square root of a number."""

import numpy as np
import tensorflow as tf

from flowpm_ext.numerics.roots import implicit_step, inverse_of_table


def square_root(c):
    """Root of x**2 = c, found without gradients and followed by one step."""
    x = tf.stop_gradient(tf.sqrt(c))
    return x + implicit_step(x**2 - c, 2 * x, 2 * tf.ones_like(x))


def test_an_implicit_step_has_the_first_two_derivatives_of_the_root():
    c = tf.constant([0.5, 2.0, 9.0], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(c)
        with tf.GradientTape() as inner:
            inner.watch(c)
            root = square_root(c)
        first = inner.gradient(root, c)
    second = outer.gradient(first, c)
    # Rounding of a closed form.
    np.testing.assert_allclose(root, np.sqrt(c), rtol=1e-15)
    np.testing.assert_allclose(first, 0.5 * c.numpy() ** -0.5, rtol=1e-14)
    np.testing.assert_allclose(second, -0.25 * c.numpy() ** -1.5, rtol=1e-14)


def test_a_step_where_the_slope_vanishes_is_zero():
    zero = tf.zeros([2], tf.float64)
    np.testing.assert_array_equal(implicit_step(zero + 1, zero, zero + 3), [0.0, 0.0])


def test_a_decreasing_table_is_inverted_in_each_row():
    x = np.linspace(-1.0, 2.0, 7)
    table = tf.constant(np.stack([5 - 2 * x, 1 - x]))
    target = tf.constant([7.5, 3.0, 1.2, 0.5], tf.float64)
    expected = np.stack([(5 - target) / 2, 1 - target])  # lines are exact, beyond the ends too
    compiled = tf.function(lambda *args: inverse_of_table(x, *args), jit_compile=True)
    for run in (lambda *args: inverse_of_table(x, *args), compiled):
        np.testing.assert_allclose(run(table, target), expected, atol=1e-14)
        np.testing.assert_allclose(run(table[0], target), expected[0], atol=1e-14)
