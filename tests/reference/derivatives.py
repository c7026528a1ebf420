"""Jacobians of functions of many cosmologies at once: by differences, forward and reverse.

Each takes `function`, from parameters [batch, P] to results [batch, ...] where every row is
on its own, and one row of parameters. The rows carry the stencil, the tangents or the
results, so that one call gives the Jacobian [P, ...].
"""

import numpy as np
import tensorflow as tf

STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))


def differences(function, theta, steps):
    """Central differences of fourth order."""
    theta, steps = np.asarray(theta, np.float64), np.asarray(steps, np.float64)
    rows = [theta + shift * np.diag(steps) for shift, _ in STENCIL]  # [P, P] each
    values = np.asarray(function(tf.constant(np.concatenate(rows))))
    values = values.reshape(len(STENCIL), theta.size, *values.shape[1:])
    total = np.tensordot([weight for _, weight in STENCIL], values, axes=1)
    return total / steps.reshape(-1, *[1] * (total.ndim - 1))


def forward(function, theta):
    """Forward mode: row i is pushed along parameter i."""
    rows = tf.constant(np.tile(np.asarray(theta, np.float64), [len(theta), 1]))
    with tf.autodiff.ForwardAccumulator(rows, tf.eye(len(theta), dtype=rows.dtype)) as pushed:
        value = function(rows)
    return pushed.jvp(value).numpy()


def reverse(function, theta):
    """Reverse mode: row i is pulled back from result i."""
    theta = np.asarray(theta, np.float64)
    shape = function(tf.constant(theta[None])).shape[1:]
    size = shape.num_elements()
    rows = tf.constant(np.tile(theta, [size, 1]))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        diagonal = tf.linalg.trace(tf.reshape(function(rows), [size, size]))
    return tape.gradient(diagonal, rows).numpy().T.reshape(-1, *shape)
