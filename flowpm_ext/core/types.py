"""Types shared by all layers: what a tensor argument may be, and records of tensors."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow as tf

TensorLike = tf.Tensor | tf.Variable | np.ndarray | Sequence[float] | float


def static(**options: Any) -> Any:
    """Dataclass field of a `Structure` that is fixed when a graph is traced.

    Args:
        **options: As for `dataclasses.field`, for example `default`.

    Returns:
        The field.
    """
    return dataclasses.field(metadata={"static": True}, **options)


class Structure:
    """Base of frozen dataclasses that TensorFlow sees through, as it sees through a tuple.

    The fields are the leaves: a structure may be an argument or a result of a `tf.function`,
    be watched by a `GradientTape`, and be walked by `tf.nest`. Fields made with `static()`
    are not leaves; they must be hashable, and another value of them is another trace.

    Attributes:
        is_compilable: Whether XLA can compile what is done with it. It cannot where devices talk
            to each other.
    """

    is_compilable: ClassVar[bool] = True

    def __tf_flatten__(self) -> tuple[tuple, tuple]:
        """What decides the trace (static fields, and which leaves there are), and the leaves."""
        static_values, names, leaves = [], [], []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata.get("static"):
                static_values.append((field.name, value))
            elif value is not None:  # None is not a leaf: tapes refuse it
                names.append(field.name)
                leaves.append(value)
        return (tuple(static_values), tuple(names)), tuple(leaves)

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple, components: tuple) -> Self:
        """The structure again, without its checks: leaves may be symbolic or None here."""
        static_values, names = metadata
        made = object.__new__(cls)
        for field in dataclasses.fields(cls):
            object.__setattr__(made, field.name, None)
        for name, value in (*static_values, *zip(names, components, strict=True)):
            object.__setattr__(made, name, value)
        return made

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        return dataclasses.replace(self, **changes)


def known(value: Any) -> np.ndarray | None:
    """The value as an array where it is known now.

    Args:
        value: A tensor, an array or a number, any shape.

    Returns:
        A NumPy array of the same shape, or None for a tensor of a graph.
    """
    if tf.is_tensor(value):
        value = value if isinstance(value, tf.Tensor | tf.Variable) else tf.convert_to_tensor(value)
        if tf.is_symbolic_tensor(value):
            return tf.get_static_value(value)
        return value.numpy() if hasattr(value, "numpy") else None
    if isinstance(value, list | tuple):
        parts = [known(part) for part in value]
        return None if any(part is None for part in parts) else np.asarray(parts)
    return np.asarray(value)


def is_fixed(value: Any) -> bool:
    """Whether there are no tensors in a structure: nothing differentiates its numbers.

    Args:
        value: A structure of tensors, arrays and numbers.

    Returns:
        True for arrays and numbers alone.
    """
    return not any(tf.is_tensor(leaf) for leaf in tf.nest.flatten(value))


def cast(value: TensorLike, dtype: tf.DType) -> tf.Tensor:
    """The value as a tensor of this type, differentiable where it is one already.

    `tf.cast(0.7, tf.float64)` goes through float32 and keeps seven digits; this keeps all.

    Args:
        value: A tensor, an array or a number, any shape.
        dtype: Type of the result.

    Returns:
        A tensor of the same shape.
    """
    # Variables of Keras are tensors to TensorFlow, without being of its classes.
    if tf.is_tensor(value):
        return tf.cast(value, dtype)
    # Here and not in the program, where float64 may have no place.
    with np.errstate(over="ignore"):
        return tf.constant(np.asarray(value).astype(tf.as_dtype(dtype).as_numpy_dtype))


def floating(value: TensorLike) -> tf.DType:
    """Floating type in which to work on an argument.

    Args:
        value: A tensor, an array or a number, any shape.

    Returns:
        The type of a floating tensor or array; float64 for anything else.
    """
    dtype = tf.as_dtype(value.dtype) if hasattr(value, "dtype") else tf.float64
    return dtype if dtype.is_floating else tf.float64
