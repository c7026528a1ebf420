"""Lognormal random maps: skewed like the convergence, with a given two-point function."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.fields import gaussian


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
    modes = tf.math.real(tf.signal.fft2d(_complex(tf.math.log1p(contrast))))
    kept = tf.nn.relu(modes)
    return UnderlyingPower(kept, tf.reduce_sum(kept - modes) / tf.reduce_sum(kept))


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


def _complex(x: tf.Tensor) -> tf.Tensor:
    return tf.complex(x, tf.zeros_like(x))
