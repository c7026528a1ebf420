"""Convergence to shear and back, on a flat, periodic patch of sky."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.numerics import fourier


class ConvergenceModes(NamedTuple):
    """The two convergence maps that a shear map splits into."""

    e: tf.Tensor
    """Convergence that the shear of a mass distribution comes from, shape [..., ny, nx]."""
    b: tf.Tensor
    """The part that lensing cannot make, a check of systematics, shape [..., ny, nx]."""


def shear(kappa: TensorLike) -> tf.Tensor:
    """Shear of convergence maps.

    gamma(l) = (l1 + i l2)**2 / |l|**2 · kappa(l), where l1 runs along the last axis, and
    gamma(0) = 0: the mean convergence leaves no shear. On the lines of the Nyquist frequency of
    an even side, where l and -l are one mode, gamma2 would not be real; there the multiplier is
    the sign of l1**2 - l2**2 (1 where that is zero), and so the operator is unitary on maps of
    any sides.

    Args:
        kappa: Real convergence (dimensionless), shape [..., ny, nx].

    Returns:
        Complex shear gamma1 + i gamma2, shape [..., ny, nx].

    Raises:
        ValueError: If the sides of the map are not known when the graph is built.
        TypeError: If `kappa` is complex.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
    """
    kappa = tf.convert_to_tensor(kappa, name="kappa")
    checks.require(kappa.dtype.is_floating, "kappa", "be real", kappa.dtype.name, error=TypeError)
    modes = fourier.rfft2(kappa)
    stacked = tf.stack([modes * part for part in _multipliers(kappa.shape[-2:], modes.dtype)])
    return tf.complex(*tf.unstack(fourier.irfft2(stacked, kappa.shape[-1])))


def convergence(gamma: TensorLike) -> ConvergenceModes:
    """Convergence maps of both parities of shear maps; the inverse and adjoint of `shear`.

    Args:
        gamma: Complex shear gamma1 + i gamma2 (dimensionless), shape [..., ny, nx].

    Returns:
        `ConvergenceModes` of zero mean; `b` is what `e` would be for the shear turned by 45
        degrees, -i gamma.

    Raises:
        ValueError: If the sides of the map are not known when the graph is built.
        TypeError: If `gamma` is real.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
    """
    gamma = tf.convert_to_tensor(gamma, name="gamma")
    checks.require(gamma.dtype.is_complex, "gamma", "be complex", gamma.dtype.name, error=TypeError)
    both = fourier.rfft2(tf.stack([tf.math.real(gamma), tf.math.imag(gamma)]))
    first, second = tf.unstack(both)
    cosine, sine = _multipliers(gamma.shape[-2:], first.dtype)
    modes = tf.stack([cosine * first + sine * second, cosine * second - sine * first])
    return ConvergenceModes(*tf.unstack(fourier.irfft2(modes, gamma.shape[-1])))


def _multipliers(shape: tuple[int, int], dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """cos and sin of twice the angle of l on the half plane, zero at l = 0."""
    ny, nx = shape
    l2, l1 = fourier.wavenumbers((ny, nx), spacing=1.0)
    squared = (l1 + 1j * l2) ** 2
    angle = np.divide(squared, np.abs(squared), out=np.ones_like(squared), where=squared != 0)
    nyquist = (2 * np.arange(ny)[:, None] == ny) | (2 * np.arange(nx // 2 + 1) == nx)
    # Rounding leaves the corner of a square map, where |l1| = |l2|, on either side of zero.
    angle = np.where(nyquist, np.where(angle.real > -1e-9, 1.0, -1.0), angle)
    angle[0, 0] = 0.0
    return tf.constant(angle.real, dtype), tf.constant(angle.imag, dtype)
