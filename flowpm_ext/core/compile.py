"""Compile a heavy function whole when it is called eagerly; inside a graph leave it alone."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf


def compiled(function: Callable) -> Callable:
    """Decorator: an eager call runs as one XLA program, traced once for each shape.

    Numbers and arrays among the arguments become tensors, so that a new value is not a new
    trace; strings, booleans, integers, None and the static fields of structures decide
    the trace. Called while a graph is being built, the function runs as written, and belongs
    to that graph. Gradients of any order and both modes pass through.

    Args:
        function: Takes and returns tensors or structures of them.

    Returns:
        A function with the same arguments.
    """
    whole = tf.function(function, jit_compile=True, autograph=False)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly():
            return function(*args, **kwargs)
        args, kwargs = tf.nest.map_structure(_as_tensor, (args, kwargs))
        return whole(*args, **kwargs)

    return call


def _as_tensor(leaf: Any) -> Any:
    """Floats and arrays as tensors (float64 unless they say otherwise), the rest unchanged."""
    if isinstance(leaf, float | np.ndarray | np.floating):
        return tf.convert_to_tensor(leaf, dtype=tf.float64 if isinstance(leaf, float) else None)
    return leaf
