"""Fields and maps at the public door of statistics: real, finite, of the right shape."""

from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating
from flowpm_ext.mesh import AbstractMesh, LocalMesh


def fields_on_mesh(mesh: AbstractMesh | None, **fields: TensorLike) -> tuple[Any, ...]:
    """The mesh, and fields as tensors of one type, or a refusal.

    Args:
        mesh: Mesh of the fields; None for one on this device.
        **fields: Fields of any unit by the names of their arguments, [batch, nx, ny, nz].

    Returns:
        The mesh, and the fields in their order, float64 where one of them is.

    Raises:
        ValueError: If a field has not four axes of known sides, is not finite, not on the mesh,
            or has another shape than the first.
        TypeError: If a field is not real.
    """
    tensors = {name: _real(field, name) for name, field in fields.items()}
    (first_name, first), *_ = tensors.items()
    for name, field in tensors.items():
        checks.rank(field, name, 4)
        checks.require(
            first.shape.is_compatible_with(field.shape),
            name, f"have the shape of `{first_name}`, {first.shape}", field.shape,
        )  # fmt: skip
    sides = checks.static_grid(first, first_name, ndim=3)
    mesh = LocalMesh(sides) if mesh is None else mesh
    fits = sides == mesh.local_shape
    checks.require(fits, first_name, f"have the sides of the mesh, {mesh.local_shape}", sides)
    for name, field in tensors.items():
        checks.finite(field, name)
    is_double = any(field.dtype == tf.float64 for field in tensors.values())
    dtype = tf.float64 if is_double else first.dtype
    return (mesh, *(tf.cast(field, dtype) for field in tensors.values()))


def _real(field: TensorLike, name: str) -> tf.Tensor:
    """A field as a floating tensor."""
    field = field if hasattr(field, "dtype") else np.asarray(field)
    dtype = tf.as_dtype(field.dtype)
    is_real = dtype in (tf.float32, tf.float64) or dtype.is_integer or dtype.is_bool
    checks.require(is_real, name, "be of type float32 or float64", dtype.name, error=TypeError)
    return cast(field, floating(field))


def real_maps(maps: TensorLike, name: str = "maps") -> tf.Tensor:
    """Maps as a tensor, or a refusal.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        name: Name of the argument, for messages.

    Returns:
        The maps, float32 or float64.

    Raises:
        ValueError: If there are not four axes, with sides and channels known when the graph is
            built, or a pixel is not finite.
        TypeError: If the maps are not real.
    """
    tensor = _real(maps, name)
    checks.rank(tensor, name, 4)
    checks.static_grid(tensor, name, ndim=3)
    checks.finite(tensor, name)
    return tensor
