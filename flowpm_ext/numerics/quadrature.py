"""Gauss-Legendre quadrature on one interval or on panels, with running integrals.

A panel is an interval on which the integrand is smooth. Nodes may be tensors and move with
the parameters; only their number is fixed.
"""

import functools
from typing import TypeVar

import numpy as np
import tensorflow as tf

Edges = TypeVar("Edges", tf.Tensor, np.ndarray)


@functools.lru_cache
def gauss_legendre(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the Gauss-Legendre rule on [0, 1].

    Args:
        num_nodes: Number of nodes n; polynomials up to degree 2 n - 1 are integrated exactly.

    Returns:
        Nodes, increasing, and weights, whose sum is one; float64 [num_nodes] each.
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    return 0.5 * (nodes + 1.0), 0.5 * weights


@functools.lru_cache
def running_weights(num_nodes: int) -> np.ndarray:
    """Weights of the integrals from 0 to each node of the rule on [0, 1].

    Args:
        num_nodes: Number of nodes of the rule.

    Returns:
        Matrix w, float64 [num_nodes, num_nodes]: the integral of f from 0 to node i is
        sum over j of w[i, j] f(node j), exact for polynomials of degree num_nodes - 1.
    """
    nodes, weights = gauss_legendre(num_nodes)
    legendre = np.polynomial.legendre
    degrees = np.arange(num_nodes)
    values = legendre.legvander(2 * nodes - 1, num_nodes - 1)  # [node, degree]
    # f is the sum of its Legendre coefficients, which the rule itself yields exactly.
    coefficients = (2 * degrees + 1)[:, None] * (values * weights[:, None]).T  # [degree, node]
    integrals = [
        0.5 * legendre.legval(2 * nodes - 1, legendre.legint(np.eye(num_nodes)[d], lbnd=-1))
        for d in degrees
    ]
    return np.stack(integrals, axis=1) @ coefficients


def panel_nodes(edges: Edges, num_nodes: int) -> tuple[Edges, Edges]:
    """Nodes and weights of a composite rule on consecutive panels.

    Args:
        edges: Edges of the panels, not decreasing, shape [..., num_panels + 1]. NumPy edges
            give a fixed rule in NumPy, tensors one that moves with them.
        num_nodes: Nodes in each panel.

    Returns:
        Nodes and weights, shape [..., num_panels, num_nodes] each.
    """
    nodes, weights = gauss_legendre(num_nodes)
    if not isinstance(edges, np.ndarray):
        nodes, weights = tf.constant(nodes, edges.dtype), tf.constant(weights, edges.dtype)
    width = (edges[..., 1:] - edges[..., :-1])[..., None]  # [..., num_panels, 1]
    return edges[..., :-1, None] + width * nodes, width * weights


def running_integral(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Integral from the first edge to every edge of a composite rule.

    Args:
        values: Integrand at the nodes of `panel_nodes`, shape [..., num_panels, num_nodes].
        weights: Weights of `panel_nodes`, broadcast against `values`.

    Returns:
        Integrals, shape [..., num_panels + 1], the first of them zero.
    """
    panels = tf.reduce_sum(values * weights, axis=-1)  # [..., num_panels]
    total = tf.cumsum(panels, axis=-1)
    return tf.concat([tf.zeros_like(total[..., :1]), total], axis=-1)
