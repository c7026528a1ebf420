"""Compile a heavy function whole when it is called eagerly; inside a graph leave it alone."""

import contextvars
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import Structure, is_fixed

# Whether eager calls run operation by operation: what is wanted once takes longer to compile.
_is_wanted_once = contextvars.ContextVar("is_wanted_once", default=False)


def compiled(function: Callable) -> Callable:
    """Decorator: an eager call runs as one XLA program, traced once for each shape.

    Numbers and arrays among the arguments become tensors, so that a new value is not a new
    trace; strings, booleans, None, integers outside of structures and the static fields of
    structures decide the trace. Called while a graph is being built, the function runs as
    written, and belongs to that graph. Gradients of any order and both modes pass through.
    Where a structure among the arguments is not compilable, the program is a graph without XLA.

    Args:
        function: Takes and returns tensors or structures of them.

    Returns:
        A function with the same arguments.
    """
    whole = kernel(function)
    graph = tf.function(function, autograph=False)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not tf.executing_eagerly() or _is_wanted_once.get():
            return function(*args, **kwargs)
        run = whole if _is_compilable((args, kwargs)) else graph
        args = [_as_tensors(value) for value in args]
        return run(*args, **{name: _as_tensors(value) for name, value in kwargs.items()})

    return call


def folded(function: Callable) -> Callable:
    """Decorator: what follows from numbers alone is a constant of the graph being built.

    Nothing differentiates numbers that are no tensors. What is made of them in float64 takes no
    time in the program then, and a program in float32 remains one, which is all that some devices
    run. Called eagerly, or with a tensor, the function runs as written.

    Args:
        function: Takes structures of numbers, arrays and tensors, and returns a structure of
            tensors.

    Returns:
        A function with the same arguments. In a graph, without tensors among them, it returns
        NumPy arrays.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_fixed((args, kwargs)) and not tf.executing_eagerly():
            with tf.init_scope():
                if tf.executing_eagerly():
                    before = _is_wanted_once.set(True)
                    try:
                        result = function(*args, **kwargs)
                    finally:
                        _is_wanted_once.reset(before)
                    return tf.nest.map_structure(np.asarray, result)
        return function(*args, **kwargs)

    return call


def kernel(function: Callable) -> Callable:
    """Decorator: a function that is one XLA program also within a graph that is none.

    Args:
        function: Takes and returns tensors; other arguments decide the trace.

    Returns:
        A function with the same arguments.
    """
    return tf.function(function, jit_compile=True, autograph=False)


def _is_compilable(value: Any) -> bool:
    """Whether no structure within this one, static fields included, says otherwise."""
    if isinstance(value, Structure):
        inner = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return value.is_compilable and _is_compilable(inner)
    if isinstance(value, dict):
        value = list(value.values())
    return not isinstance(value, list | tuple) or all(map(_is_compilable, value))


def _as_tensors(value: Any) -> Any:
    """Numbers and arrays as tensors: arrays in their own type, numbers in float64.

    Integers count as numbers in a structure, where options are static fields.
    """
    if isinstance(value, Structure):
        metadata, leaves = value.__tf_flatten__()
        leaves = tuple(float(x) if _is_integer(x) else x for x in leaves)
        return value.__tf_unflatten__(metadata, tuple(_as_tensors(x) for x in leaves))
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_as_tensors(x) for x in value)
    if isinstance(value, float | np.floating):
        return tf.constant(float(value), tf.float64)
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def unfolded(value: np.ndarray | float, dtype: tf.DType) -> tf.Tensor:
    """A constant that is no constant to the optimisers of graphs.

    What follows from constants alone they compute before the program runs, whatever its size,
    and may keep: for meshes that takes more time and memory than the program itself.

    Args:
        value: Small array.
        dtype: Of the result.

    Returns:
        The array as a tensor.
    """
    return tf.constant(value, dtype) + zeros([], dtype)


def zeros(shape: Sequence[int | tf.Tensor], dtype: tf.DType) -> tf.Tensor:
    """Zeros that no optimiser of graphs makes before the program runs; see `unfolded`.

    Args:
        shape: Shape of the result.
        dtype: Of the result.

    Returns:
        Tensor of zeros.
    """
    return tf.fill(shape, tf.raw_ops.Empty(shape=[], dtype=dtype, init=True))
