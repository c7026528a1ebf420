"""Linear differential equations against closed forms and scipy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate

from flowpm_ext.numerics.ode import solve_linear

NUM_STEPS, END = 13, 2.0  # neither a power of two nor even
STEP = END / NUM_STEPS


def oscillator(x, frequency=1.0):
    """Matrix [n, 2, 2] of y'' = -(frequency**2 + x) y - x y'."""
    x = tf.convert_to_tensor(x)
    stiffness = tf.cast(frequency, x.dtype) ** 2 + x
    rows = [[tf.zeros_like(x), tf.ones_like(x)], [-stiffness, -x]]
    return tf.transpose(tf.convert_to_tensor(rows), [2, 0, 1])


def grid(num_steps=NUM_STEPS, dtype=np.float64):
    return np.linspace(0.0, END, 2 * num_steps + 1, dtype=dtype)


def forced(num_steps=NUM_STEPS, dtype=np.float64):
    """Solution for a source (cos x, x**2) from (1, -1/2)."""
    x = grid(num_steps, dtype)
    source = tf.constant(np.stack([np.cos(x), x**2], axis=-1))
    return solve_linear(oscillator(x), source, tf.constant([1.0, -0.5], dtype), END / num_steps)


def scipy_solution(times):
    def slope(x, y):
        return oscillator(np.array([x])).numpy()[0] @ y + [np.cos(x), x**2]

    exact = integrate.solve_ivp(
        slope, (0, END), [1.0, -0.5], "DOP853", times, rtol=1e-12, atol=1e-13
    )
    return exact.y.T


def step_by_step(matrix, initial, step):
    """Classical Runge-Kutta in NumPy, one step after the other."""
    states = [np.asarray(initial)]
    for n in range(len(matrix) // 2):
        start, middle, end = matrix[2 * n : 2 * n + 3]
        y = states[-1]
        k1 = start @ y
        k2 = middle @ (y + step / 2 * k1)
        k3 = middle @ (y + step / 2 * k2)
        k4 = end @ (y + step * k3)
        states.append(y + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.stack(states)


def test_each_step_is_that_of_the_classical_method():
    matrix = oscillator(grid())
    expected = step_by_step(matrix.numpy(), [1.0, -0.5], STEP)
    found = solve_linear(matrix, None, tf.constant([1.0, -0.5], tf.float64), STEP)
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # rounding


def test_solution_converges_at_fourth_order():
    exact = scipy_solution(np.linspace(0, END, 17))
    errors = [np.max(np.abs(forced(n)[:: n // 16].numpy() - exact)) for n in (32, 64)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.1)
    assert errors[1] < 1e-7


def test_single_precision_and_compiled_solutions_agree():
    expected = forced()
    whole = tf.function(forced, jit_compile=True)
    np.testing.assert_allclose(whole(), expected, rtol=1e-12)
    single = forced(dtype=np.float32)
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, expected, atol=1e-6)  # rounding of 13 steps


def test_batches_of_equations_lead():
    frequencies = [0.5, 2.0, 3.0]
    matrix = tf.stack([oscillator(grid(), f) for f in frequencies])
    initial = tf.constant(np.random.default_rng(0).normal(size=[3, 2]))
    found = solve_linear(matrix, None, initial, STEP)
    for row in range(3):
        expected = solve_linear(matrix[row], None, initial[row], STEP)
        np.testing.assert_allclose(found[row], expected, rtol=1e-13)


def test_energy_is_kept_to_the_order_of_the_method():
    """A free oscillator: the amplitude falls by step**6 / 144 in each step."""
    x = tf.zeros(2 * NUM_STEPS + 1, tf.float64)
    path = solve_linear(oscillator(x), None, tf.constant([1.0, 0.0], tf.float64), STEP)
    energy = tf.reduce_sum(path**2, axis=-1).numpy()
    ratio = 1 - STEP**6 / 72 + STEP**8 / 576
    np.testing.assert_allclose(energy, ratio ** np.arange(NUM_STEPS + 1), rtol=1e-13)


def test_gradients_match_finite_differences():
    def final(frequency):
        matrix = oscillator(grid(), frequency)
        source = tf.stack([tf.sin(frequency * grid()), tf.ones_like(grid())], axis=-1)
        initial = tf.stack([frequency, -frequency])
        return tf.reduce_sum(solve_linear(matrix, source, initial, STEP)[-1])

    frequency = tf.constant(1.3, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(frequency)
        value = final(frequency)
    step = 1e-5
    finite = float(final(frequency + step) - final(frequency - step)) / (2 * step)
    slope = float(tape.gradient(value, frequency))
    # Truncation step**2 = 1e-10, rounding 1e-15 / step.
    assert slope == pytest.approx(finite, rel=1e-8)
    with tf.autodiff.ForwardAccumulator(frequency, tf.ones_like(frequency)) as accumulator:
        value = final(frequency)
    assert float(accumulator.jvp(value)) == pytest.approx(slope, rel=1e-12)
