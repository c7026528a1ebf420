"""Weak lensing on a flat, periodic patch: convergence to shear and back."""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.numerics import fourier
from priors.operators import base


class ConvergenceModes(NamedTuple):
    """The two convergence maps that a shear map splits into."""

    e: tf.Tensor  # [..., ny, nx], convergence that the shear of a mass distribution comes from
    b: tf.Tensor  # [..., ny, nx], the part that lensing cannot make, a check of systematics


@dataclasses.dataclass(frozen=True)
class KaiserSquires(base.AbstractLinearOperator):
    """Linear operator from convergence to shear.

    gamma(l) = (l1 + i l2)**2 / |l|**2 · kappa(l), where l1 runs along the last axis, and
    gamma(0) = 0: the mean convergence leaves no shear, so that `op.adjoint(op(kappa))` is
    `kappa` minus its mean. On the lines of the Nyquist frequency of an even side, where l and
    -l are one mode, gamma2 would not be real; there the multiplier is the sign of l1**2 - l2**2
    (1 where that is zero), and so the operator is unitary on maps of any sides.

    Attributes:
        shape: Pixels of the map, (ny, nx).

    Raises:
        ValueError: If `shape` is not two positive integers.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
    """

    shape: tuple[int, int] = static()

    gives_complex = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", base.map_shape(self.shape))

    def modes(self, gamma: TensorLike) -> ConvergenceModes:
        """E- and B-mode convergence of a shear map.

        Args:
            gamma: Complex shear gamma1 + i gamma2 (dimensionless), shape [..., ny, nx].

        Returns:
            `ConvergenceModes` (dimensionless), each map real and of shape [..., ny, nx]; `e` is
            `op.adjoint(gamma)` and `b` that of the shear turned by 45 degrees,
            `op.adjoint(-1j * gamma)`.

        Raises:
            ValueError: If `gamma` does not end in the sides of the map.
            TypeError: If `gamma` is real.
        """
        gamma = base.checked(gamma, "gamma", self.shape, is_complex=True)
        first, second = self._shear_modes(gamma)
        cosine, sine = self._multipliers(first.dtype)
        stacked = tf.stack([cosine * first + sine * second, cosine * second - sine * first])
        return ConvergenceModes(*tf.unstack(fourier.irfft2(stacked, self.shape[1])))

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        modes = fourier.rfft2(x)
        stacked = tf.stack([modes * part for part in self._multipliers(modes.dtype)])
        return tf.complex(*tf.unstack(fourier.irfft2(stacked, self.shape[1])))

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        first, second = self._shear_modes(y)
        cosine, sine = self._multipliers(first.dtype)
        return fourier.irfft2(cosine * first + sine * second, self.shape[1])

    def _shear_modes(self, gamma: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Transforms of gamma1 and of gamma2, each [..., ny, nx // 2 + 1]."""
        both = fourier.rfft2(tf.stack([tf.math.real(gamma), tf.math.imag(gamma)]))
        return both[0], both[1]

    def _multipliers(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """cos and sin of twice the angle of l on the half plane, zero at l = 0."""
        ny, nx = self.shape
        l2, l1 = fourier.wavenumbers(self.shape, spacing=1.0)
        squared = (l1 + 1j * l2) ** 2
        angle = np.divide(squared, np.abs(squared), out=np.ones_like(squared), where=squared != 0)
        nyquist = (2 * np.arange(ny)[:, None] == ny) | (2 * np.arange(nx // 2 + 1) == nx)
        # Rounding leaves the corner of a square map, where |l1| = |l2|, on either side of zero.
        angle = np.where(nyquist, np.where(angle.real > -1e-9, 1.0, -1.0), angle)
        angle[0, 0] = 0.0
        return tf.constant(angle.real, dtype), tf.constant(angle.imag, dtype)
