"""Lognormal random fields: skewed like matter is, with a given two-point function.

In two dimensions these are maps, and in three overdensities.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.fields import gaussian, linear, spectrum
from flowpm_ext.mesh import AbstractMesh


class UnderlyingPower(NamedTuple):
    """Power of the Gaussian map that a lognormal map is the exponential of."""

    power: tf.Tensor  # [ny, nx], variance of each mode in FFT layout (dimensionless)
    clipped_fraction: tf.Tensor  # [], negative power set to zero, as a fraction of what is kept


def underlying_power(power: TensorLike, shift: float | tf.Tensor) -> UnderlyingPower:
    """Gaussian power whose exponential has the requested power.

    With xi the correlation function of the requested power, that of the Gaussian map is
    xi_g = log(1 + xi / shift**2), pixel by pixel. Not every spectrum belongs to a lognormal
    map: where the transform of xi_g is negative it is set to zero, and the map then has
    a little more power than was asked for. The mean, whose power is requested as zero, is
    always among these modes; for a convergence in pixels of 0.3 arcmin (deviation 0.023) it is the
    only one, and raises the power of the others by 3e-4 for a shift of 0.02, 3e-3 for 0.01.

    Args:
        power: Variance of each mode of the lognormal map in FFT layout (square of the map's
            unit), shape [ny, nx].
        shift: Minus the lowest value of the map (the map's unit), scalar.

    Returns:
        `UnderlyingPower`, in the dtype of `power`.

    Raises:
        ValueError: If `power` has not two axes, is negative, not finite or not the same for
            opposite frequencies; if `shift` is not positive, or too small for the correlation.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503; Clerkin et al. 2017,
        arXiv:1605.02036.
    """
    power = gaussian.checked_power(power)
    checks.positive(shift, "shift")
    shift = cast(shift, power.dtype)
    contrast = tf.math.real(tf.signal.ifft2d(_complex(power))) / shift**2
    values = known(contrast)
    checks.require(
        values is None or np.all(values > -1), "shift", "be larger", shift,
        "The correlation of `power` is lower than -shift**2, which no lognormal map can have.",
    )  # fmt: skip
    kept, clipped = _gaussian_power(contrast, lambda x: tf.signal.fft2d(_complex(x)))
    return UnderlyingPower(kept, tf.reduce_sum(clipped) / tf.reduce_sum(kept))


def lognormal_map(
    power: TensorLike, shift: float | tf.Tensor, seed: int | tf.Tensor, batch_size: int = 1
) -> tf.Tensor:
    """Periodic lognormal maps of zero mean with a given power.

    map = shift · (exp(g - var(g) / 2) - 1) with g Gaussian of the power that `underlying_power`
    gives, so that it stays above -shift and is skewed to high values. For a convergence, `shift`
    is minus that of an empty beam. Differentiable with respect to `power` and `shift`.

    Args:
        power: Variance of each mode in FFT layout (square of the map's unit), shape [ny, nx],
            as `power_map` gives it.
        shift: Minus the lowest value of the map (the map's unit), scalar.
        seed: An integer, or a stateless seed of shape [2].
        batch_size: Number of maps.

    Returns:
        Maps, shape [batch_size, ny, nx], in the dtype of `power`.

    Raises:
        ValueError: If `power` has not two axes, is negative, not finite or not the same for
            opposite frequencies; if `shift` is not positive, or too small for the correlation.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503; Clerkin et al. 2017,
        arXiv:1605.02036.
    """
    underlying = underlying_power(power, shift).power
    g = gaussian.gaussian_map(underlying, seed, batch_size)
    variance = tf.reduce_mean(underlying)  # that of one pixel, by Parseval's theorem
    return cast(shift, g.dtype) * tf.math.expm1(g - variance / 2)


def lognormal_field(
    mesh_shape: int | Sequence[int],
    box_size: float | Sequence[float],
    pk: spectrum.Spectrum,
    batch_size: int = 1,
    seed: int | tf.Tensor = 0,
    *,
    white_noise: TensorLike | None = None,
    dtype: tf.DType = tf.float32,
    mesh: AbstractMesh | None = None,
) -> tf.Tensor:
    """Lognormal overdensity with a given power spectrum, in a periodic box.

    1 + overdensity = exp(g - var(g) / 2) with g Gaussian, whose correlation function is
    log(1 + xi) with xi that of P, cell by cell: so the overdensity is above -1 and has the power
    P at every mode but the mean, up to the modes of g that would have negative power and have
    none. For the linear spectrum of Planck15 today on 64**3 cells of 8 Mpc/h, that is the mean
    alone, which raises the power of the others by 1e-5; in cells of 2 Mpc/h, whose deviation
    is 2.5, it is 1 % of the modes too, all in the corners beyond the Nyquist frequency. They
    have up to 17 % too much power, and those below it 0.1 %.
    Differentiable with respect to what `pk` gives and to `white_noise`.

    Args:
        mesh_shape: Cells along each axis: an integer for a cube, or three.
        box_size: Sides of the box (Mpc/h): one number for a cube, or three. Cells are cubes.
        pk: Spectrum of the overdensity ((Mpc/h)**3), as for `linear_field`.
        batch_size: Number of fields.
        seed: An integer, or a stateless seed of shape [2].
        white_noise: Unit noise to use instead of that of `seed`, shape [batch, nx, ny, nz]; its
            batch and dtype are those of the result.
        dtype: float32 or float64, unless there is `white_noise`.
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        Overdensity, shape [batch_size, nx, ny, nz].

    Raises:
        ValueError: For the reasons of `linear_field`, or if the correlation function of P is
            below -1 somewhere, which no lognormal field can have.
        TypeError: If `pk` is neither a function nor a pair.

    References:
        Coles & Jones 1991, MNRAS 248, 1; Agrawal et al. 2017, arXiv:1706.09195.
    """
    mesh, power, white = linear.noise_and_power(
        mesh_shape, box_size, pk, batch_size, seed, white_noise, dtype, mesh
    )
    # In float64, since the largest scales have much more power than the smallest.
    correlation = _correlation(tf.cast(power, tf.float64), mesh)
    values = known(correlation)
    checks.require(
        values is None or np.all(values > -1), "pk", "have a correlation function above -1",
        None if values is None else values.min(), "Take less power, or larger cells.",
    )  # fmt: skip
    return _exponential(white, correlation, mesh)


@compiled
def _correlation(power: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Correlation function [..., *mesh.local_shape] of the power of shells."""
    modes = spectrum.on_modes(power, mesh)
    return mesh.irfft3(_complex(modes))


@compiled
def _exponential(white: tf.Tensor, correlation: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Lognormal field of white noise and the correlation function it shall have."""
    power, _ = _gaussian_power(correlation, mesh.rfft3)
    amplitude = tf.cast(spectrum.root(power), white.dtype)
    g = mesh.irfft3(spectrum.scaled(mesh.rfft3(white), amplitude))
    weights = tf.constant(mesh.mode_weights(), power.dtype)
    variance = mesh.replicated(mesh.sum(power * weights, axis=(-3, -2, -1)))
    variance /= float(np.prod(mesh.shape))
    return tf.math.expm1(g - tf.cast(variance, g.dtype)[..., None, None, None] / 2)


def _gaussian_power(
    correlation: tf.Tensor, transform: Callable[[tf.Tensor], tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Power of the Gaussian field whose exponential has a correlation function.

    `transform` goes to Fourier modes, not normalised. Negative power is set to zero, and what
    was cut off comes second.
    """
    modes = tf.math.real(transform(tf.math.log1p(correlation)))
    kept = tf.nn.relu(modes)
    return kept, kept - modes


def _complex(x: tf.Tensor) -> tf.Tensor:
    return tf.complex(x, tf.zeros_like(x))
