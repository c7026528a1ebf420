"""L-BFGS on functions with known minima, and its budget."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.inference import minimize

SCALES = np.geomspace(1, 30, 40).reshape(4, 10)
CENTRE = np.linspace(-1, 1, 40).reshape(4, 10)


def counted(function):
    """The function, and a list that grows by one with each evaluation."""
    calls = []

    def call(x):
        calls.append(1)
        return function(x)

    return call, calls


def quadratic(x):
    offset = x - tf.cast(CENTRE, x.dtype)
    gradient = tf.cast(SCALES, x.dtype) * offset
    # Far below zero: no tolerance may depend on the sign of the value.
    return 0.5 * tf.reduce_sum(gradient * offset) - 1000.0, gradient


def rosenbrock(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    return value, tape.gradient(value, x)


@pytest.mark.parametrize("method", ["scipy", "tfp"])
def test_quadratic(method):
    found = minimize(quadratic, np.zeros((4, 10)), 100, method, tolerance=1e-5)
    # A slope of 1e-5 along the widest direction is an offset of 1e-5.
    np.testing.assert_allclose(found.x, CENTRE, atol=1.1e-5)
    np.testing.assert_allclose(found.value, -1000, rtol=1e-13)
    # 40 scales, over a decade and a half; the line search of the graph looks twice at a step.
    assert found.num_evaluations < {"scipy": 60, "tfp": 100}[method]


@pytest.mark.parametrize("method", ["scipy", "tfp"])
def test_rosenbrock(method):
    found = minimize(rosenbrock, np.full(6, -1.0), 300, method, tolerance=1e-8)
    # From here the valley leads to the global minimum or to the local one near -1.
    assert found.value < 4.0 and np.abs(rosenbrock(found.x)[1]).max() < 1e-6


def test_budget_is_kept_to_the_gradient():
    function, calls = counted(quadratic)
    seen = []
    found = minimize(function, np.zeros((4, 10)), 7, callback=lambda *x: seen.append(x))
    assert len(calls) == found.num_evaluations == 7
    assert [number for number, _ in seen] == list(range(1, 8))
    np.testing.assert_array_equal(found.history, [value for _, value in seen])
    assert found.value == found.history.min() == quadratic(found.x)[0]


def test_first_step_makes_a_sphere_easy():
    def sphere(x):
        return 0.5 * tf.reduce_sum((x - 300.0) ** 2), x - 300.0

    found = minimize(sphere, np.zeros(50), 10, first_step=1.0, tolerance=1e-9)
    assert found.num_evaluations == 2 and np.all(found.x == 300)
    np.testing.assert_array_equal(found.history, [0.5 * 50 * 300.0**2, 0])
    assert minimize(sphere, np.zeros(50), 10, tolerance=1e-9).num_evaluations > 4
    with pytest.raises(ValueError, match="`first_step` must be positive"):
        minimize(sphere, np.zeros(50), 10, first_step=-1.0)
    with pytest.raises(ValueError, match="`first_step` must be None"):
        minimize(sphere, np.zeros(50), 10, "tfp", first_step=1.0)


def test_line_searches_of_the_graph_end_soon_after_the_budget():
    found = minimize(quadratic, np.zeros((4, 10)), 7, "tfp")
    assert 7 <= found.num_evaluations <= 12 and "spent" in found.message


def test_type_of_the_start_is_kept():
    start = np.zeros((4, 10), np.float32)
    for method in ("scipy", "tfp"):
        found = minimize(quadratic, start, 60, method)
        assert found.x.dtype == tf.float32
        np.testing.assert_allclose(found.x, CENTRE, atol=0.02)  # the same of float32: 0.01


def test_refusals():
    with pytest.raises(ValueError, match="`start` must be finite"):
        minimize(quadratic, np.full((4, 10), np.nan), 5)
    with pytest.raises(ValueError, match="`method` must be"):
        minimize(quadratic, np.zeros((4, 10)), 5, "newton")
    with pytest.raises(ValueError, match="`num_evaluations` must be a positive integer"):
        minimize(quadratic, np.zeros((4, 10)), 0)
    with pytest.raises(ValueError, match="`value_and_gradient` must be finite at the start"):
        minimize(lambda x: (np.nan * tf.reduce_sum(x), x), np.zeros(3), 5)
