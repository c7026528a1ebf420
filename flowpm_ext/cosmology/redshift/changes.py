"""Changes of a redshift distribution: a shift, and a stretch about the mean."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution, require_density


def systematic_shift(nz: RedshiftDistribution, dz: TensorLike) -> RedshiftDistribution:
    """Distribution moved in redshift, n(z - dz), without the part at negative redshift.

    Args:
        nz: Distribution to move.
        dz: Shift (redshift), positive towards higher redshift.

    Returns:
        The moved distribution, normalised, with the sky density of `nz`; differentiable in
        `dz` also where `nz` has steps, since its breakpoints move along.

    Raises:
        ValueError: If `dz` is not finite or leaves no galaxy at positive redshift.
        TypeError: If `nz` has no density.

    References:
        DES Collaboration 2018, arXiv:1708.01530.
    """
    require_density(nz)
    checks.finite(dz, "dz")
    moved = _Shifted(nz, dz, gals_per_arcmin2=nz.gals_per_arcmin2)
    end = known(moved.breakpoints()[-1])
    checks.require(
        end is None or end > 0, "dz", "leave galaxies at positive redshift", dz,
        "A negative shift must be smaller than the highest redshift.",
    )  # fmt: skip
    return moved


def stretch(nz: RedshiftDistribution, factor: TensorLike) -> RedshiftDistribution:
    """Distribution made wider or narrower about its mean.

    Args:
        nz: Distribution to stretch.
        factor: Width of the result over that of `nz` (dimensionless).

    Returns:
        n(mean + (z - mean) / factor), normalised, without the part at negative redshift and
        with the sky density of `nz`.

    Raises:
        ValueError: If `factor` is not positive.
        TypeError: If `nz` has no density.

    References:
        DES Collaboration 2022, arXiv:2105.13549.
    """
    require_density(nz)
    checks.positive(factor, "factor")
    return _Stretched(nz, factor, gals_per_arcmin2=nz.gals_per_arcmin2)


@dataclasses.dataclass(frozen=True, eq=False)
class _Shifted(RedshiftDistribution):
    nz: RedshiftDistribution
    dz: TensorLike

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        return tf.maximum(self.nz.breakpoints(dtype) + cast(self.dz, dtype), 0)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        return self.nz(z - cast(self.dz, z.dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class _Stretched(RedshiftDistribution):
    nz: RedshiftDistribution
    factor: TensorLike

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        mean, factor = self.nz.mean(dtype), cast(self.factor, dtype)
        return tf.maximum(mean + factor * (self.nz.breakpoints(dtype) - mean), 0)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        mean, factor = self.nz.mean(z.dtype), cast(self.factor, z.dtype)
        return self.nz(mean + (z - mean) / factor)
