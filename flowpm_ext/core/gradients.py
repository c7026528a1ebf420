"""Gradients that TensorFlow lacks under XLA, registered once when `core` is imported."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

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


def with_own_gradient(function: Callable) -> Callable:
    """Decorator: a function of structures with a gradient of its own.

    `tf.custom_gradient` knows flat lists of tensors; this knows structures of them.

    Args:
        function: Takes structures of floating tensors, by position, and returns a structure and
            a function from gradients by that to a tuple of gradients by the arguments, all of
            them structures.

    Returns:
        A function of the same arguments that returns the first structure.
    """

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        results = []

        @tf.custom_gradient
        def run(*flat: tf.Tensor) -> tuple[list[tf.Tensor], Callable]:
            result, pull = function(*tf.nest.pack_sequence_as(args, flat))
            results.append(result)

            def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
                return tf.nest.flatten(pull(tf.nest.pack_sequence_as(result, upstream)))

            return tf.nest.flatten(result), gradient

        flat = run(*tf.nest.flatten(args))
        return tf.nest.pack_sequence_as(results[-1], tf.nest.flatten(flat))

    return call


def recomputed(function: Callable) -> Callable:
    """Decorator: a gradient that runs the function again, and keeps nothing but its arguments.

    What a tape keeps of a loop cannot leave a compiled program, so that compiled functions with
    loops need this to be differentiated from outside; and so do their gradients, which are
    recomputed in turn.

    Args:
        function: Takes and returns structures of floating tensors.

    Returns:
        A function of the same arguments, by position.
    """

    @functools.wraps(function)
    @with_own_gradient
    def call(*args: Any) -> tuple[Any, Callable]:
        return function(*args), lambda upstream: recomputed(vjp)(args, upstream)

    def vjp(args: tuple, upstream: Any) -> list[tf.Tensor]:
        flat = tf.nest.flatten(args)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            again = function(*args)
        return tape.gradient(
            tf.nest.flatten(again), flat, output_gradients=tf.nest.flatten(upstream),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )  # fmt: skip

    return call
