"""Redshift distributions given by a formula: Smail, Gaussian, and a single redshift."""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.redshift.base import (
    RedshiftDistribution,
    require_density,
    spread,
)

NUM_SIGMA = 6.0  # a Gaussian ends here: 2e-9 of the galaxies lie outside


def smail_nz(
    a: TensorLike,
    b: TensorLike,
    z0: TensorLike,
    gals_per_arcmin2: TensorLike = 1.0,
    zmax: TensorLike = 10.0,
) -> RedshiftDistribution:
    """Smail distribution, n(z) proportional to z**a exp(-(z / z0)**b).

    Args:
        a: Power at low redshift (dimensionless).
        b: Power of the cut-off (dimensionless).
        z0: Redshift of the cut-off.
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).
        zmax: Redshift above which there are no galaxies.

    Returns:
        The distribution, differentiable in all arguments.

    Raises:
        ValueError: If an argument is not positive (`a`: negative).

    References:
        Smail, Ellis & Fitchett 1994, arXiv:astro-ph/9402048.
    """
    return _Smail(a, b, z0, zmax, gals_per_arcmin2=gals_per_arcmin2)


def gaussian_nz(
    z0: TensorLike, sigma: TensorLike, gals_per_arcmin2: TensorLike = 1.0
) -> RedshiftDistribution:
    """Gaussian distribution, without the part at negative redshift.

    Args:
        z0: Redshift of the maximum.
        sigma: Width (redshift).
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Returns:
        The distribution, differentiable in all arguments.

    Raises:
        ValueError: If an argument is not positive.
    """
    return _Gaussian(z0, sigma, gals_per_arcmin2=gals_per_arcmin2)


def delta_nz(z0: TensorLike, gals_per_arcmin2: TensorLike = 1.0) -> "DeltaRedshift":
    """All galaxies at one redshift.

    Args:
        z0: The redshift.
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Returns:
        The distribution: a source plane, which has no density.

    Raises:
        ValueError: If an argument is not positive.
    """
    return DeltaRedshift(z0, gals_per_arcmin2=gals_per_arcmin2)


@dataclasses.dataclass(frozen=True, eq=False)
class DeltaRedshift(RedshiftDistribution):
    """All galaxies at one redshift; made by `delta_nz`.

    Args:
        z0: The redshift.
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Raises:
        ValueError: If an argument is not positive.
        TypeError: When called: there is no density.
    """

    has_density: ClassVar[bool] = False
    z0: TensorLike

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive(self.z0, "z0")

    def __call__(self, z: TensorLike) -> tf.Tensor:
        """Refused: a delta function has no density.

        Args:
            z: Redshift, any shape.

        Returns:
            Nothing.

        Raises:
            TypeError: Always.
        """
        require_density(self)

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        """The one redshift.

        Args:
            dtype: Floating type of the result.

        Returns:
            Redshift, shape [1].
        """
        return cast(self.z0, dtype)[None]

    def mean(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        """The one redshift.

        Args:
            dtype: Floating type of the result.

        Returns:
            Redshift, a scalar.
        """
        return cast(self.z0, dtype)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        require_density(self)


@dataclasses.dataclass(frozen=True, eq=False)
class _Smail(RedshiftDistribution):
    a: TensorLike
    b: TensorLike
    z0: TensorLike
    zmax: TensorLike

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.non_negative(self.a, "a")
        for name in ("b", "z0", "zmax"):
            checks.positive(getattr(self, name), name)

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        a, b, z0, zmax = (cast(x, dtype) for x in (self.a, self.b, self.z0, self.zmax))
        # (z / z0)**b follows a gamma distribution of this shape; 1e-9 of it lies beyond the end.
        gamma = (a + 1) / b
        end = tf.minimum(zmax, z0 * (gamma + 22 + 7 * tf.sqrt(gamma)) ** (1 / b))
        # Cubic steps: narrow where z**a is not a polynomial, wide in the tail.
        return spread(tf.zeros_like(end), end, np.linspace(0, 1, 21) ** 3)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        a, b, z0 = (cast(x, z.dtype) for x in (self.a, self.b, self.z0))
        # In units of the maximum, so that large powers neither vanish nor overflow.
        peak = z0 * (tf.maximum(a, 1e-3) / b) ** (1 / b)
        return (z / peak) ** a * tf.exp((peak / z0) ** b - (z / z0) ** b)


@dataclasses.dataclass(frozen=True, eq=False)
class _Gaussian(RedshiftDistribution):
    z0: TensorLike
    sigma: TensorLike

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive(self.z0, "z0")
        checks.positive(self.sigma, "sigma")

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        z0, reach = cast(self.z0, dtype), NUM_SIGMA * cast(self.sigma, dtype)
        return spread(tf.maximum(z0 - reach, 0), z0 + reach, np.linspace(0, 1, 9))

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        t = (z - cast(self.z0, z.dtype)) / cast(self.sigma, z.dtype)
        return tf.exp(-0.5 * t**2)
