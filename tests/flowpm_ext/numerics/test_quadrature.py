"""Quadrature rules: exact for polynomials, of the right order, differentiable in their edges."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate

from flowpm_ext.numerics import quadrature


@pytest.mark.parametrize("num_nodes", [1, 2, 4, 8, 32])
def test_rule_is_exact_for_polynomials(num_nodes):
    nodes, weights = quadrature.gauss_legendre(num_nodes)
    assert np.all(np.diff(nodes) > 0)
    for degree in range(2 * num_nodes):
        # Rounding of sums of numbers below one.
        assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), abs=1e-14)
    missed = abs(weights @ nodes ** (2 * num_nodes) - 1 / (2 * num_nodes + 1))
    assert missed > 1e-14 or num_nodes > 8  # not by accident


@pytest.mark.parametrize("num_nodes", [1, 3, 4, 8])
def test_running_weights_are_exact_for_polynomials(num_nodes):
    nodes, weights = quadrature.gauss_legendre(num_nodes)
    running = quadrature.running_weights(num_nodes)
    for degree in range(num_nodes):
        expected = nodes ** (degree + 1) / (degree + 1)
        np.testing.assert_allclose(running @ nodes**degree, expected, atol=1e-14)
    # Integration by parts: double integrals of the rule and of the running rule agree.
    ahead = weights @ running
    np.testing.assert_allclose(ahead, weights * (1 - nodes), atol=1e-14 if num_nodes > 1 else 1)


def test_panels_converge_at_the_order_of_the_rule():
    def error(num_panels):
        edges = tf.constant(np.linspace(0.0, 2.0, num_panels + 1))
        nodes, weights = quadrature.panel_nodes(edges, 2)
        return abs(float(tf.reduce_sum(weights * tf.exp(nodes))) - (np.exp(2.0) - 1))

    # Two nodes: fourth order.
    assert np.log2(error(8) / error(16)) == pytest.approx(4.0, abs=0.02)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_running_integral_matches_scipy(dtype):
    edges = np.array([0.0, 0.1, 0.1, 0.7, 2.0, 3.5])  # one panel without width
    whole = tf.function(lambda edges: running_sine(edges), jit_compile=True, reduce_retracing=True)
    expected = [integrate.quad(np.sin, 0.0, edge)[0] for edge in edges]
    tight = 1e-6 if dtype == tf.float32 else 1e-9  # rounding; eight nodes on 1.5 radians
    for call in (running_sine, whole):
        found = call(tf.constant(edges, dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=tight)


def running_sine(edges):
    nodes, weights = quadrature.panel_nodes(edges, 8)
    return quadrature.running_integral(tf.sin(nodes), weights)


def test_batches_of_edges_lead():
    edges = np.array([[0.0, 1.0, 2.0], [1.0, 1.5, 4.0]])
    found = running_sine(tf.constant(edges))
    single = [running_sine(tf.constant(row)) for row in edges]
    np.testing.assert_allclose(found, single, rtol=1e-14)


def test_numpy_edges_give_a_numpy_rule():
    nodes, weights = quadrature.panel_nodes(np.array([0.0, 1.0, 3.0]), 4)
    assert isinstance(nodes, np.ndarray)
    assert np.sum(weights * nodes**3) == pytest.approx(81 / 4, rel=1e-15)


def test_gradient_in_the_edges_is_the_integrand_there():
    edges = tf.constant([0.2, 0.5, 1.7], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(edges)
        total = running_sine(edges)[-1]
    # The inner edge only moves nodes: it changes the error, of order 1e-16, alone.
    expected = [-np.sin(0.2), 0.0, np.sin(1.7)]
    np.testing.assert_allclose(tape.gradient(total, edges), expected, atol=1e-11)
