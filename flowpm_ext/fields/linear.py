"""Gaussian fields in three dimensions: the linear overdensity, drawn from its power spectrum."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.memory import require_memory
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields import arguments, spectrum
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.mesh.box import cell_size

# Numbers of 8 bytes held at once for each cell while lengths of wavevectors are sorted.
NUMBERS_PER_MODE = 3


def linear_field(
    mesh_shape: int | Sequence[int] | AbstractMesh,
    box_size: float | Sequence[float],
    pk: spectrum.Spectrum,
    batch_size: int = 1,
    seed: int | tf.Tensor = 0,
    *,
    white_noise: TensorLike | None = None,
    is_fixed: bool = False,
    is_paired: bool = False,
    dtype: tf.DType = tf.float32,
    mesh: AbstractMesh | None = None,
) -> tf.Tensor:
    """Gaussian overdensity with a given power spectrum, in a periodic box.

    With delta_k = FFT / number of cells and V the volume of the box, <|delta_k|**2> = P(k) / V,
    and the mean is zero. With P at a = 1, this is the linear field that `lpt_init` takes.
    Differentiable with respect to what `pk` gives and to `white_noise`.

    Two fields of opposite phases, whose mean power has less scatter once they have evolved, are
    two calls with the same seed, `is_paired` False and True.

    Args:
        mesh_shape: Cells along each axis: an integer for a cube, or three; or the mesh to work on.
        box_size: Sides of the box (Mpc/h): one number for a cube, or three. Cells are cubes.
        pk: Function of k (h/Mpc), a NumPy array [nk] in float64 without k = 0, that gives P
            ((Mpc/h)**3), [nk] or, one row for each field, [batch_size, nk]; or a pair (k, P),
            interpolated and continued as power laws. It is called once for each
            length of the wavevectors, by NumPy or TensorFlow; P(0) = 0.
        batch_size: Number of fields.
        seed: An integer, or a stateless seed of shape [2].
        white_noise: Unit noise to use instead of that of `seed`, shape [batch, nx, ny, nz]; its
            batch and dtype are those of the result.
        is_fixed: Whether |delta_k| is exactly sqrt(P / V), with random phases.
        is_paired: Whether to return the field with opposite sign.
        dtype: float32 or float64, unless there is `white_noise`.
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        Overdensity, shape [batch_size, nx, ny, nz]; the part of it that this device holds.

    Raises:
        ValueError: If the mesh or box is not positive, cells are not cubes, P is negative, not
            finite or not of the right shape, `white_noise` is not finite or does not fit the mesh
            and `batch_size`, or `batch_size` is not positive.
        TypeError: If `pk` is neither a function nor a pair.

    References:
        Angulo & Pontzen 2016, arXiv:1603.05253, for fixed and paired fields.
    """
    mesh, power, white = noise_and_power(
        mesh_shape, box_size, pk, batch_size, seed, white_noise, dtype, mesh
    )
    return _coloured(white, power, mesh, is_fixed, is_paired)


def noise_and_power(
    mesh_shape: int | Sequence[int] | AbstractMesh,
    box_size: float | Sequence[float],
    pk: spectrum.Spectrum,
    batch_size: int,
    seed: int | tf.Tensor,
    white_noise: TensorLike | None,
    dtype: tf.DType,
    mesh: AbstractMesh | None,
) -> tuple[AbstractMesh, tf.Tensor, tf.Tensor]:
    """What a random field is made of, from checked arguments.

    Args:
        mesh_shape: Cells along each axis: an integer for a cube, or three.
        box_size: Sides of the box (Mpc/h): one number for a cube, or three.
        pk: Spectrum, as for `linear_field`.
        batch_size: Number of fields.
        seed: An integer, or a stateless seed of shape [2].
        white_noise: Unit noise, shape [batch, nx, ny, nz], or None to draw it.
        dtype: Type of the noise that is drawn.
        mesh: The mesh to work on, or None.

    Returns:
        The mesh; the power P / cell volume for each length of k, [nk] or [batch, nk]; and the
        noise, [batch, nx, ny, nz].

    Raises:
        ValueError: For the reasons of `linear_field`.
        TypeError: If `pk` is neither a function nor a pair.
    """
    mesh = arguments.mesh_of(mesh_shape, mesh)
    size = cell_size(mesh.shape, box_size)
    checks.positive_integers(batch_size=batch_size)
    numbers = (batch_size + NUMBERS_PER_MODE) * math.prod(mesh.local_shape)
    require_memory(8 * numbers, f"A field of {mesh.shape} cells", "Take a smaller mesh.")
    dtype = tf.as_dtype(dtype)
    checks.require(dtype in (tf.float32, tf.float64), "dtype", "be float32 or float64", dtype)
    if white_noise is not None:
        white_noise, _ = arguments.field_on_mesh(white_noise, "white_noise", mesh)
        batch = white_noise.shape[0]
        fits = batch_size == 1 or batch in (None, batch_size)
        checks.require(fits, "batch_size", f"be the {batch} of `white_noise`", batch_size)
        batch_size = batch
    power = spectrum.power_of_shells(pk, mesh, size, batch_size)
    if white_noise is None:
        white_noise = _drawn(mesh, stateless_seed(seed), batch_size, dtype)
    return mesh, power, white_noise


@compiled
def _drawn(mesh: AbstractMesh, seed: tf.Tensor, batch_size: int, dtype: tf.DType) -> tf.Tensor:
    return mesh.white_noise(seed, batch_size, dtype)


@compiled
def _coloured(
    white: tf.Tensor, power: tf.Tensor, mesh: AbstractMesh, is_fixed: bool, is_paired: bool
) -> tf.Tensor:
    """White noise with its modes multiplied by the root of their power."""
    modes = mesh.rfft3(white)
    if is_fixed:
        modes = float(np.prod(mesh.shape)) ** 0.5 * _phases(modes)
    amplitude = tf.cast(spectrum.root(mesh.replicated(power)), white.dtype)
    field = mesh.irfft3(spectrum.scaled(modes, spectrum.on_modes(amplitude, mesh)))
    return -field if is_paired else field


def _phases(modes: tf.Tensor) -> tf.Tensor:
    """Modes over their moduli, and 1 where there is none."""
    square = tf.math.real(modes) ** 2 + tf.math.imag(modes) ** 2
    has_phase = square > 0
    inverse = tf.math.rsqrt(tf.where(has_phase, square, tf.ones_like(square)))
    return tf.where(has_phase, spectrum.scaled(modes, inverse), tf.ones_like(modes))
