"""Clouds in cells as users call them: checked, and compiled when called eagerly."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.mesh import painting

_paint = compiled(painting.paint)
_readout = compiled(painting.readout)


def cic_paint(mesh: tf.Tensor, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
    """A mesh with particles added to it by clouds in cells.

    Particles of unit mass, one for each cell, make a density of mean 1.

    Args:
        mesh: What is there already, shape [batch, nx, ny, nz] or [batch, ny, nx].
        position: Positions in cells (they wrap around), shape [batch, num_particles, num_axes].
        weight: Mass of each particle, shape [batch, num_particles]; 1 by default.

    Returns:
        The mesh, in the shape given.

    Raises:
        ValueError: If shapes do not fit, or values are not finite.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    mesh, position = tf.convert_to_tensor(mesh), tf.convert_to_tensor(position)
    checks.finite(position, "position")
    if weight is not None:
        weight = tf.convert_to_tensor(weight)
        checks.finite(weight, "weight")
    return _paint(mesh, position, weight)


def cic_readout(mesh: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Values of a mesh at positions, by clouds in cells; the adjoint of `cic_paint`.

    Args:
        mesh: Mesh of any unit, shape [batch, nx, ny, nz] or [batch, ny, nx].
        position: Positions in cells (they wrap around), shape [batch, num_particles, num_axes].

    Returns:
        Values in the unit of the mesh, shape [batch, num_particles].

    Raises:
        ValueError: If shapes do not fit, or positions are not finite.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    mesh, position = tf.convert_to_tensor(mesh), tf.convert_to_tensor(position)
    checks.finite(position, "position")
    return _readout(mesh, position)
