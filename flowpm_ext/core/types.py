"""Types shared by all layers: what a tensor argument may be, and records of tensors."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf

TensorLike = tf.Tensor | tf.Variable | np.ndarray | Sequence[float] | float


def static(**options: Any) -> Any:
    """Dataclass field of a `Structure` that is fixed when a graph is traced."""
    return dataclasses.field(metadata={"static": True}, **options)


class Structure:
    """Base of frozen dataclasses that TensorFlow sees through, as it sees through a tuple.

    The fields are the leaves: a structure may be an argument or a result of a `tf.function`,
    be watched by a `GradientTape`, and be walked by `tf.nest`. Fields made with `static()`
    are not leaves; they must be hashable, and another value of them is another trace.
    """

    def __tf_flatten__(self) -> tuple[tuple, tuple]:
        """Static fields, and the leaves."""
        metadata = tuple(getattr(self, f.name) for f in _fields(self) if _is_static(f))
        components = tuple(getattr(self, f.name) for f in _fields(self) if not _is_static(f))
        return metadata, components

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple, components: tuple) -> Self:
        """The structure again, without its checks: leaves may be symbolic or None here."""
        made = object.__new__(cls)
        statics, leaves = iter(metadata), iter(components)
        for field in dataclasses.fields(cls):
            value = next(statics) if _is_static(field) else next(leaves)
            object.__setattr__(made, field.name, value)
        return made

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        return dataclasses.replace(self, **changes)


def known(value: Any) -> np.ndarray | None:
    """The value as a NumPy array where it is known now; None for a tensor of a graph."""
    if isinstance(value, tf.Tensor | tf.Variable):
        if tf.is_symbolic_tensor(value):
            return tf.get_static_value(value)
        return value.numpy() if hasattr(value, "numpy") else None
    return np.asarray(value)


def _fields(structure: Structure) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(structure)


def _is_static(field: dataclasses.Field) -> bool:
    return bool(field.metadata.get("static"))
