"""Arguments of functions of fields in three dimensions: tensors on a mesh, or a refusal."""

from collections.abc import Sequence

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.mesh import AbstractMesh, LocalMesh
from flowpm_ext.mesh.base import mesh_sides


def mesh_of(shape: int | Sequence[int] | AbstractMesh, mesh: AbstractMesh | None) -> AbstractMesh:
    """The mesh to work on, all on this device unless one is given.

    Args:
        shape: Cells along each axis of the whole mesh: an integer for a cube, or three; or the
            mesh itself.
        mesh: A mesh of this shape, or None.

    Returns:
        The mesh.

    Raises:
        ValueError: If `shape` is not one or three positive integers, or not that of `mesh`.
    """
    sides = mesh_sides(shape)
    if mesh is None:
        return shape if isinstance(shape, AbstractMesh) else LocalMesh(sides)
    checks.require(mesh.shape == sides, "mesh", f"have shape {sides}", mesh.shape)
    return mesh


def field_on_mesh(
    value: TensorLike, name: str, mesh: AbstractMesh | None
) -> tuple[tf.Tensor, AbstractMesh]:
    """A real field as a tensor, and its mesh.

    Args:
        value: The field (any unit), shape [batch, *mesh.local_shape].
        name: Name of the argument, for messages.
        mesh: Its mesh; by default one of its sides, all on this device.

    Returns:
        The field, and the mesh.

    Raises:
        ValueError: If it is not finite, or has not a batch and the three sides of the mesh.
        TypeError: If it is not of float32 or float64.
    """
    value = tf.convert_to_tensor(value, name=name)
    is_real = value.dtype in (tf.float32, tf.float64)
    checks.require(is_real, name, "be float32 or float64", value.dtype.name, error=TypeError)
    checks.rank(value, name, 4)
    sides = checks.static_grid(value, name, ndim=3)
    mesh = LocalMesh(sides) if mesh is None else mesh
    expected = f"have shape [batch, {', '.join(map(str, mesh.local_shape))}]"
    checks.require(sides == mesh.local_shape, name, expected, value)
    checks.finite(value, name)
    return value, mesh


def per_field(value: TensorLike, name: str, field: tf.Tensor) -> tf.Tensor:
    """A number for all fields, or one for each, ready to multiply them.

    Args:
        value: The number (any unit), a scalar or [batch].
        name: Name of the argument, for messages.
        field: The fields, shape [batch, ...].

    Returns:
        In the dtype of the fields, shape [] or [batch, 1, ...].

    Raises:
        ValueError: If it has another shape, or is not finite.
    """
    checks.finite(value, name)
    value = cast(value, field.dtype)
    fits = value.shape.rank in (0, 1) and (
        value.shape.rank == 0 or field.shape[:1].is_compatible_with(value.shape)
    )
    checks.require(fits, name, "be one number, or one for each field", value)
    ones = [1] * (field.shape.rank - 1)
    return value if value.shape.rank == 0 else tf.reshape(value, [-1, *ones])
