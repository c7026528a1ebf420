"""Real Fourier transforms in two and three dimensions, differentiable to any order.

The one FFT module of the project. Forward transforms are not normalised, inverse ones carry
1 / number of cells. The last axis keeps the half space of n // 2 + 1 frequencies that
determines a real field; `half_plane_weights` counts what each of them stands for.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks


def rfft2(x: tf.Tensor) -> tf.Tensor:
    """Unnormalised transform of real maps.

    Args:
        x: Real maps, float32 or float64, shape [..., ny, nx].

    Returns:
        Complex modes, shape [..., ny, nx // 2 + 1], in the units of `x`.

    Raises:
        ValueError: If the sides of the map are not known when the graph is built.
    """
    sides = checks.static_grid(x, "x", ndim=2)
    return tf.signal.rfft2d(x, fft_length=sides)


def irfft2(y: tf.Tensor, nx: int) -> tf.Tensor:
    """Inverse of `rfft2`.

    Args:
        y: Complex modes, shape [..., ny, nx // 2 + 1].
        nx: Length of the last axis of the map, which the modes leave open.

    Returns:
        Real maps, shape [..., ny, nx], in the units of `y`.

    Raises:
        ValueError: If the sides are not known when the graph is built, or `nx` does not fit.
    """
    sides = _sides_of_modes(y, nx, ndim=2)
    return tf.signal.irfft2d(y, fft_length=sides)


def rfft3(x: tf.Tensor) -> tf.Tensor:
    """Unnormalised transform of real fields.

    Args:
        x: Real fields, float32 or float64, shape [..., nx, ny, nz].

    Returns:
        Complex modes, shape [..., nx, ny, nz // 2 + 1], in the units of `x`.

    Raises:
        ValueError: If the sides of the field are not known when the graph is built.
    """
    sides = checks.static_grid(x, "x", ndim=3)
    return tf.signal.rfft3d(x, fft_length=sides)


def irfft3(y: tf.Tensor, nz: int) -> tf.Tensor:
    """Inverse of `rfft3`.

    Args:
        y: Complex modes, shape [..., nx, ny, nz // 2 + 1].
        nz: Length of the last axis of the field, which the modes leave open.

    Returns:
        Real fields, shape [..., nx, ny, nz], in the units of `y`.

    Raises:
        ValueError: If the sides are not known when the graph is built, or `nz` does not fit.
    """
    sides = _sides_of_modes(y, nz, ndim=3)
    return tf.signal.irfft3d(y, fft_length=sides)


def filter2(x: tf.Tensor, transfer: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Periodic maps with each Fourier mode multiplied by a number.

    Args:
        x: Real maps, shape [..., ny, nx].
        transfer: Real or complex multiplier (dimensionless) on the half plane of `rfft2`,
            shape [..., ny, nx // 2 + 1].

    Returns:
        Real maps, shape [..., ny, nx], in the units of `x`.

    Raises:
        ValueError: If the sides of the map are not known when the graph is built.
    """
    modes = rfft2(x)
    return irfft2(modes * tf.cast(transfer, modes.dtype), x.shape[-1])


def half_plane(full: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
    """The part of an array in FFT layout that `rfft2` and `rfft3` keep.

    Args:
        full: Values at all frequencies, zero first (any unit), shape [..., n].

    Returns:
        Values at the frequencies kept, shape [..., n // 2 + 1].
    """
    return full[..., : full.shape[-1] // 2 + 1]


def half_plane_weights(n: int) -> np.ndarray:
    """Modes that each frequency of the last axis stands for.

    Args:
        n: Length of the last axis of the field.

    Returns:
        1 at zero and at the Nyquist frequency of an even side, else 2; shape [n // 2 + 1].
    """
    weights = np.full(n // 2 + 1, 2.0)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    return weights


def wavenumbers(
    shape: Sequence[int], spacing: float | Sequence[float], is_half: bool = True
) -> tuple[np.ndarray, ...]:
    """Angular wavenumbers along each axis, ready to broadcast against each other.

    Args:
        shape: Cells along each axis.
        spacing: Side of a cell (a length or an angle), one number or one for each axis.
        is_half: True for the layout of `rfft2` and `rfft3`, False for all frequencies.

    Returns:
        One float64 array for each axis (1 / the unit of `spacing`): [ny, 1] and [1, nx // 2 + 1]
        in two dimensions. The Nyquist frequency of an even side is negative on all axes but a
        halved one.

    References:
        The order of the frequencies is that of `numpy.fft.fftfreq`.
    """
    spacings = np.broadcast_to(np.asarray(spacing, np.float64), len(shape))
    axes = []
    for axis, (n, step) in enumerate(zip(shape, spacings, strict=True)):
        is_last = axis == len(shape) - 1
        frequency = np.fft.rfftfreq(n, step) if is_half and is_last else np.fft.fftfreq(n, step)
        sides = [1] * len(shape)
        sides[axis] = -1
        axes.append(2.0 * np.pi * frequency.reshape(sides))
    return tuple(axes)


def _sides_of_modes(y: tf.Tensor, last: int, ndim: int) -> tuple[int, ...]:
    """Sides of the real field whose modes are `y`."""
    *others, kept = checks.static_grid(y, "y", ndim=ndim)
    checks.require(
        last // 2 + 1 == kept, "nx" if ndim == 2 else "nz", f"be {2 * kept - 2} or {2 * kept - 1}",
        last, "It is the length of the last axis of the real field.",
    )  # fmt: skip
    return (*others, last)


# TensorFlow differentiates the real transforms in two dimensions and not those in three. A
# registered gradient serves reverse mode, forward mode and every order; `tf.custom_gradient`
# has no forward mode.
#
# With w the weights of the half space and N the number of cells, the inverse transform is
# x = Re sum_k w_k y_k exp(i k x) / N, for any y. So the adjoint of the inverse is w / N times
# the forward transform, and that of the forward transform is the inverse of N y / w.


def _rfft3_gradient(op: tf.Operation, dy: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Adjoint of the forward transform."""
    weights, size = _weights_and_size(op.inputs[1], dy.dtype.real_dtype)
    dx = tf.signal.irfft3d(dy / tf.cast(weights, dy.dtype), fft_length=op.inputs[1]) * size
    # Refuses transforms that crop their input, which would need padding here.
    return tf.reshape(dx, tf.shape(op.inputs[0])), None


def _irfft3_gradient(op: tf.Operation, dx: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Adjoint of the inverse transform."""
    weights, size = _weights_and_size(op.inputs[1], dx.dtype)
    dy = tf.signal.rfft3d(dx, fft_length=op.inputs[1])
    dy *= tf.cast(weights / size, dy.dtype)
    return tf.reshape(dy, tf.shape(op.inputs[0])), None


def _weights_and_size(length: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Weights of the half space along the last axis, and the number of cells."""
    n = length[-1]
    index = tf.range(n // 2 + 1)
    is_single = (index == 0) | (2 * index == n)
    weights = tf.where(is_single, tf.ones([], dtype), 2 * tf.ones([], dtype))
    return weights, tf.reduce_prod(tf.cast(length, dtype))


# A TensorFlow that brings its own gradients keeps them.
with contextlib.suppress(KeyError):
    tf.RegisterGradient("RFFT3D")(_rfft3_gradient)
with contextlib.suppress(KeyError):
    tf.RegisterGradient("IRFFT3D")(_irfft3_gradient)


def odd(wavenumbers: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Wavenumbers with zero at the Nyquist frequency, for odd derivatives.

    A real wave of that frequency is zero halfway between its crests: the sign of its wavenumber
    is open, and what changes with the sign vanishes at the lattice points.

    Args:
        wavenumbers: One array for each axis (radians per cell).

    Returns:
        The same, with zero where they are pi.
    """
    return [np.where(np.isclose(np.abs(k), np.pi), 0.0, k) for k in wavenumbers]
