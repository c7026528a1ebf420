"""Gradients that TensorFlow lacks under XLA, registered once when `core` is imported."""

import contextlib

import tensorflow as tf


def _dynamic_update_slice_gradient(
    op: tf.Operation, dy: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, None]:
    """Gradient of writing `update` into `array` at `start`."""
    _, update, start = op.inputs
    d_update = tf.slice(dy, start, tf.shape(update))
    # What was overwritten has no influence.
    after = tf.shape(dy) - start - tf.shape(update)
    return dy - tf.pad(d_update, tf.stack([start, after], axis=1)), d_update, None


# In a compiled graph the gradient of a slice writes into zeros with this operation, which has
# no gradient of its own: without it no Hessian passes through a slice or a concatenation. A
# TensorFlow that brings its own keeps it.
with contextlib.suppress(KeyError):
    tf.RegisterGradient("XlaDynamicUpdateSlice")(_dynamic_update_slice_gradient)
