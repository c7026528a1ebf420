"""Derivatives and their inverses on a mesh, as multipliers of Fourier modes.

They are made of one array for each axis where they are used, so that no array of the size of the
mesh is stored for them.
"""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import unfolded
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier

GRADIENTS = ("finite_difference", "spectral")


def squared_wavenumber(mesh: AbstractMesh, dtype: tf.DType) -> tf.Tensor:
    """k**2 of each mode (radians per cell, squared).

    Args:
        mesh: The mesh.
        dtype: float32 or float64.

    Returns:
        Real tensor of the shape of the modes.
    """
    x, y, z = (unfolded(k**2, dtype) for k in mesh.wavenumbers())
    return x + y + z


def inverse_laplacian(mesh: AbstractMesh, dtype: tf.DType) -> tf.Tensor:
    """-1 / k**2 (cells**2), and 0 for the mean.

    Args:
        mesh: The mesh.
        dtype: float32 or float64.

    Returns:
        Real tensor of the shape of the modes.
    """
    return -tf.math.reciprocal_no_nan(squared_wavenumber(mesh, dtype))


def gradient_field(
    mesh: AbstractMesh, modes: tf.Tensor, kind: str, is_wide: bool = False
) -> tf.Tensor:
    """Gradient of a field given by its modes, zero at the Nyquist frequency.

    Args:
        mesh: The mesh.
        modes: Modes of a field of any unit, [batch, ...] as `mesh.rfft3` gives them.
        kind: "spectral", exact for waves; or "finite_difference", the central difference of
            fourth order, which damps waves near the Nyquist frequency and needs one transform
            instead of three.
        is_wide: Whether the gradient is wanted on all cells that particles held here may reach.

    Returns:
        Gradient (unit of the field / cell), shape [batch, *mesh.local_shape, 3], or
        [batch, cells of the wide part of the mesh, 3].

    Raises:
        ValueError: If `kind` is unknown.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    checks.one_of(kind, "gradient_kernel", GRADIENTS)
    if kind == "finite_difference":
        return mesh.differences(mesh.irfft3(modes), is_wide)
    slopes = mesh.irfft3(mesh.alone(_slopes)(modes, mesh))
    slopes = mesh.alone(tf.transpose)(slopes, [0, 2, 3, 4, 1])
    return mesh.widened(slopes) if is_wide else slopes


def _slopes(modes: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Modes of the gradient, [batch, 3, ...]."""
    slopes = [modes * unfolded(1j * k, modes.dtype) for k in fourier.odd(mesh.wavenumbers())]
    return tf.stack(slopes, axis=1)
