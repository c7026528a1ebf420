"""Derivatives and their inverses on a mesh, as multipliers of Fourier modes.

They are made of one array for each axis where they are used, so that no array of the size of the
mesh is stored for them.
"""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import kernel, unfolded
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier

GRADIENTS = ("finite_difference", "spectral")
NEIGHBOURS = (-1, 1, -2, 2)  # shifts that bring the next cell, the last one, and those beyond


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


def gradient_field(mesh: AbstractMesh, modes: tf.Tensor, kind: str) -> tf.Tensor:
    """Gradient of a field given by its modes, zero at the Nyquist frequency.

    Args:
        mesh: The mesh.
        modes: Modes of a field of any unit, [batch, ...] as `mesh.rfft3` gives them.
        kind: "spectral", exact for waves; or "finite_difference", the central difference of
            fourth order, which damps waves near the Nyquist frequency and needs one transform
            instead of three.

    Returns:
        Gradient (unit of the field / cell), shape [batch, *mesh.local_shape, 3].

    Raises:
        ValueError: If `kind` is unknown.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    checks.one_of(kind, "gradient_kernel", GRADIENTS)
    if kind == "finite_difference":
        field = mesh.irfft3(modes)
        differences = _differences if mesh.is_compilable else _compiled_differences
        return differences(field, *mesh.rolls(field, NEIGHBOURS, 0))
    slopes = [modes * unfolded(1j * k, modes.dtype) for k in fourier.odd(mesh.wavenumbers())]
    return tf.transpose(mesh.irfft3(tf.stack(slopes, axis=1)), [0, 2, 3, 4, 1])


def _differences(field: tf.Tensor, *along_x: tf.Tensor) -> tf.Tensor:
    """Central differences of fourth order along the axes, given the neighbours along the first."""
    along = [along_x, *([tf.roll(field, i, axis) for i in NEIGHBOURS] for axis in (2, 3))]
    return tf.stack(
        [(8 * (next_one - last_one) - (next_two - last_two)) / 12
         for next_one, last_one, next_two, last_two in along], axis=-1,
    )  # fmt: skip


# Within a graph that XLA does not compile, the arithmetic of a process still is.
_compiled_differences = kernel(_differences)
