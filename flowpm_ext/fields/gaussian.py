"""Gaussian random maps on a periodic patch of sky, and the power spectra they are drawn from."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks, units
from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import TensorLike, known
from flowpm_ext.fields import spectrum
from flowpm_ext.numerics import fourier


def power_map(
    cl: Callable[[np.ndarray], TensorLike] | tuple[ArrayLike, TensorLike],
    shape: tuple[int, int],
    pixel_size: float,
) -> tf.Tensor:
    """Variance of each mode of a periodic map with a given angular power spectrum.

    power = C_ell / pixel area, the variance of fft2(map) / sqrt(ny nx). The mean of a map is
    fixed at zero: power[0, 0] = 0. Differentiable with respect to the values of `cl`.

    Args:
        cl: Function of ell, float64 [num_ell] and positive, that gives C_ell (square of the
            map's unit times steradian); or a pair (ell, C_ell), interpolated and continued as
            power laws.
        shape: Pixels of the map, (ny, nx).
        pixel_size: Side of a square pixel (radians), or an astropy quantity.

    Returns:
        Power in FFT layout (square of the map's unit), float64 unless `cl` gives another
        type, shape [ny, nx].

    Raises:
        ValueError: If `shape` or `pixel_size` is not positive, the table does not hold at least
            two increasing positive ell with positive C_ell, or C_ell is negative or not finite.
    """
    good = len(shape) == 2 and all(int(n) == n and n >= 1 for n in shape)
    checks.require(good, "shape", "be two positive integers, (ny, nx)", shape)
    pixel_size = units.to_value(pixel_size, "rad", "pixel_size")
    checks.positive(pixel_size, "pixel_size")
    l2, l1 = fourier.wavenumbers(shape, pixel_size, is_half=False)
    ell, place = np.unique(np.sqrt(l1**2 + l2**2), return_inverse=True)
    values = tf.convert_to_tensor(
        (cl if callable(cl) else spectrum.power_law_table(*cl, "ell", "cl"))(ell[1:])
    )
    checks.require(values.shape == ell[1:].shape, "cl", "give one value for each ell", values)
    checks.non_negative(values, "cl")
    power = tf.concat([tf.zeros([1], values.dtype), values / pixel_size**2], axis=0)
    return tf.gather(power, place.reshape(shape))


def gaussian_map(power: TensorLike, seed: int | tf.Tensor, batch_size: int = 1) -> tf.Tensor:
    """Periodic Gaussian maps with a given power; differentiable with respect to it.

    Args:
        power: Variance of each mode in FFT layout (square of the map's unit), shape [ny, nx],
            as `power_map` gives it.
        seed: An integer, or a stateless seed of shape [2].
        batch_size: Number of maps.

    Returns:
        Maps, shape [batch_size, ny, nx], in the dtype of `power`.

    Raises:
        ValueError: If `power` has not two axes, is negative or not finite, or is not the same
            for opposite frequencies.
    """
    power = checked_power(power)
    white = standard_normal([batch_size, *power.shape], seed, power.dtype)
    return fourier.filter2(white, amplitude(power))


def amplitude(power: tf.Tensor) -> tf.Tensor:
    """Square root of a power on the half plane, with a zero gradient where it is zero.

    Args:
        power: Variance of each mode in FFT layout (square of the map's unit), shape [..., ny, nx].

    Returns:
        Standard deviations (the map's unit), shape [..., ny, nx // 2 + 1].
    """
    return spectrum.root(fourier.half_plane(power))


def checked_power(power: TensorLike, shape: tuple[int, int] | None = None) -> tf.Tensor:
    """A power in FFT layout as a tensor, or a refusal.

    Args:
        power: Variance of each mode (square of the map's unit), shape [ny, nx].
        shape: Pixels the map must have, (ny, nx); None for any.

    Returns:
        The power, shape [ny, nx].

    Raises:
        ValueError: If `power` has not two axes of the right sides, is negative or not finite, or
            is not the same for opposite frequencies.
    """
    power = tf.convert_to_tensor(power, name="power")
    checks.rank(power, "power", 2)
    sides = checks.static_grid(power, "power", ndim=2)
    fits = shape is None or sides == tuple(shape)
    checks.require(fits, "power", f"have shape {shape}", sides)
    checks.non_negative(power, "power")
    values = known(power)
    if values is not None:
        opposite = np.roll(values[::-1, ::-1], 1, axis=(0, 1))
        # 1e-4 lets the rounding of a spectrum computed in float32 pass, not a shifted layout.
        is_even = np.allclose(values, opposite, rtol=1e-4, atol=1e-6 * values.max(initial=0))
        checks.require(
            is_even, "power", "be the same for opposite frequencies", power,
            "It is in FFT layout, with the zero frequency first.",
        )  # fmt: skip
    return power
