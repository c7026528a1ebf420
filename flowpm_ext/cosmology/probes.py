"""What surveys measure on the sky: shear, galaxy counts, lensing of the microwave background.

A probe holds tracers (tomographic bins) and gives the kernel of each in comoving distance.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast, static
from flowpm_ext.cosmology.bias import Bias, as_bias
from flowpm_ext.cosmology.kernels import (
    Kernels,
    convergence,
    joined,
    one_row_each,
    redshift_distortions,
    scalar_factor,
    stacked,
)
from flowpm_ext.cosmology.line_of_sight import LineOfSight
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution

# Alignment strength 5e-14 (Mpc/h)**3 / (Msun/h) times the critical density of h = 1, from
# Hirata & Seljak 2004, arXiv:astro-ph/0406275, after the fit of Brown et al. 2002.
ALIGNMENT = 5e-14 * 2.775366e11


class AbstractProbe(Structure, abc.ABC):
    """A set of tracers observed in the same way."""

    @property
    @abc.abstractmethod
    def num_tracers(self) -> int:
        """How many kernels, and rows of the spectra, this probe has."""

    @abc.abstractmethod
    def noise(self, dtype: tf.DType) -> tf.Tensor:
        """White noise power of each tracer (steradian), [num_tracers]."""

    @abc.abstractmethod
    def kernels(self, sight: LineOfSight, ell: tf.Tensor) -> Kernels:
        """Kernels in comoving distance at the n nodes of a line of sight.

        Args:
            sight: The line of sight.
            ell: Multipoles, [num_ell].

        Returns:
            The kernels.
        """

    def bends(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Redshifts where the kernels may bend, [.] each."""
        return []

    def sources(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Redshifts where only the densities of lensed sources may, [.] each."""
        return []

    def planes(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Redshifts of source planes, a scalar each."""
        return []


@dataclasses.dataclass(frozen=True)
class WeakLensing(AbstractProbe):
    """Shear of galaxies in tomographic bins.

    Args:
        redshift_bins: n(z) of each bin.
        ia_bias: Amplitude of intrinsic alignments in the nonlinear alignment model: a number,
            a bias model or a function of (z, growth_factor); None for no alignment.
        multiplicative_bias: m of the calibration, one number or one for each bin.
        sigma_e: Dispersion of one component of the ellipticities, one number or one per bin.

    Raises:
        ValueError: If there is no bin, or a number is not finite, or `sigma_e` is negative.
        TypeError: If a bin is not a redshift distribution, or has no density while
            alignments need it.

    References:
        Bartelmann & Schneider 2001, arXiv:astro-ph/9912508; Bridle & King 2007,
        arXiv:0705.0166 (alignments); Kilbinger et al. 2017, arXiv:1702.05301 (factor of ell).
    """

    redshift_bins: Sequence[RedshiftDistribution]
    ia_bias: Bias | TensorLike | None = None
    multiplicative_bias: TensorLike | Sequence[TensorLike] = 0.0
    sigma_e: TensorLike | Sequence[TensorLike] = 0.26

    def __post_init__(self) -> None:
        _check_bins(self.redshift_bins, need_density=self.ia_bias is not None)
        object.__setattr__(self, "redshift_bins", tuple(self.redshift_bins))
        checks.non_negative(self.sigma_e, "sigma_e")
        checks.finite(self.multiplicative_bias, "multiplicative_bias")
        if self.ia_bias is not None:
            object.__setattr__(self, "ia_bias", as_bias(self.ia_bias, "ia_bias"))

    @property
    def num_tracers(self) -> int:
        """Number of bins."""
        return len(self.redshift_bins)

    def noise(self, dtype: tf.DType) -> tf.Tensor:
        """Shape noise, sigma_e**2 over galaxies per steradian, [num_tracers]."""
        return _each(self, "sigma_e", dtype) ** 2 / _densities(self, dtype)

    def bends(self, dtype: tf.DType) -> list[tf.Tensor]:
        """All of n(z) when galaxies are aligned."""
        return self._edges(dtype) if self.ia_bias is not None else []

    def planes(self, dtype: tf.DType) -> list[tf.Tensor]:
        """The bins at one redshift."""
        return [nz.breakpoints(dtype)[0] for nz in self.redshift_bins if not nz.has_density]

    def sources(self, dtype: tf.DType) -> list[tf.Tensor]:
        """The n(z), unless they are among the bends already."""
        return self._edges(dtype) if self.ia_bias is None else []

    def _edges(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Panels of the bins that have a density."""
        return [nz.breakpoints(dtype) for nz in self.redshift_bins if nz.has_density]

    def kernels(self, sight: LineOfSight, ell: tf.Tensor) -> Kernels:
        """Lensing and alignment, with the spin-2 factor of ell."""
        radial = [convergence(sight, nz) for nz in self.redshift_bins]
        if self.ia_bias is not None:
            growth = sight.growth.factor(sight.a)
            strength = -ALIGNMENT * sight.parameters.Omega_m * self.ia_bias(sight.z, growth)
            strength *= sight.density_of_redshift / growth
            aligned = (strength * nz(sight.z) for nz in self.redshift_bins)
            radial = [kernel + extra for kernel, extra in zip(radial, aligned, strict=True)]
        calibration = 1 + _each(self, "multiplicative_bias", ell.dtype)
        spin = tf.sqrt(tf.maximum((ell + 2) * (ell + 1) * ell * (ell - 1), 0.0)) / (ell + 0.5) ** 2
        return one_row_each(calibration[:, None] * stacked(radial), spin)


@dataclasses.dataclass(frozen=True)
class NumberCounts(AbstractProbe):
    """Number counts of galaxies in tomographic bins.

    Args:
        redshift_bins: n(z) of each bin.
        bias: Galaxy bias: a number, a bias model or a function of (z, growth_factor), one
            for all bins or one for each.
        has_rsd: Whether redshift-space distortions are added. Where n(z) has steps, as a
            histogram has, this term is good to 0.6 % of the spectrum at ell = 2 and 0.1 % above
            ell = 20, and its derivative with respect to a shift of n(z) misses the steps.
        magnification_bias: Slope s = d log10 N(< m) / dm of the counts at the magnitude
            limit, a number for all bins or one for each; None for no magnification.

    Raises:
        ValueError: If there is no bin, or not one bias (slope) or one for each bin.
        TypeError: If a bin is not a redshift distribution with a density.

    References:
        Chisari et al. 2019, arXiv:1812.05995, section 2.4 (all three terms).
    """

    redshift_bins: Sequence[RedshiftDistribution]
    bias: Bias | TensorLike | Sequence[Any]
    has_rsd: bool = static(default=False)
    magnification_bias: TensorLike | Sequence[TensorLike] | None = None

    def __post_init__(self) -> None:
        _check_bins(self.redshift_bins, need_density=True)
        object.__setattr__(self, "redshift_bins", tuple(self.redshift_bins))
        several = isinstance(self.bias, list | tuple)
        biases = self.bias if several else [self.bias] * self.num_tracers
        checks.require(
            len(biases) == self.num_tracers, "bias",
            f"be one, or one for each of {self.num_tracers} bins", len(biases),
        )  # fmt: skip
        object.__setattr__(self, "bias", tuple(as_bias(b, "bias") for b in biases))
        if self.magnification_bias is not None:
            checks.finite(self.magnification_bias, "magnification_bias")

    @property
    def num_tracers(self) -> int:
        """Number of bins."""
        return len(self.redshift_bins)

    def noise(self, dtype: tf.DType) -> tf.Tensor:
        """Shot noise, one over galaxies per steradian, [num_tracers]."""
        return 1 / _densities(self, dtype)

    def bends(self, dtype: tf.DType) -> list[tf.Tensor]:
        """All of n(z)."""
        return [nz.breakpoints(dtype) for nz in self.redshift_bins]

    def kernels(self, sight: LineOfSight, ell: tf.Tensor) -> Kernels:
        """Density, magnification and redshift-space distortion."""
        growth = sight.growth.factor(sight.a)
        counts = [
            bias(sight.z, growth) * nz(sight.z) * sight.density_of_redshift
            for nz, bias in zip(self.redshift_bins, self.bias, strict=True)
        ]
        kernels = one_row_each(stacked(counts), tf.ones_like(ell))
        if self.magnification_bias is not None:
            slope = 5 * _each(self, "magnification_bias", ell.dtype) - 2
            lensed = stacked([convergence(sight, nz) for nz in self.redshift_bins])
            kernels = joined(kernels, one_row_each(slope[:, None] * lensed, scalar_factor(ell)))
        if self.has_rsd:
            kernels = kernels._replace(rest=redshift_distortions(sight, ell, self.redshift_bins))
        return kernels


@dataclasses.dataclass(frozen=True)
class CMBLensing(AbstractProbe):
    """Convergence of the cosmic microwave background.

    Args:
        z_source: Redshift of last scattering.
        noise_power: White noise power of the reconstruction (steradian).

    Raises:
        ValueError: If `z_source` is not positive or `noise_power` is negative.

    References:
        Lewis & Challinor 2006, arXiv:astro-ph/0601594.
    """

    z_source: TensorLike = 1100.0
    noise_power: TensorLike = 0.0

    def __post_init__(self) -> None:
        checks.positive(self.z_source, "z_source")
        checks.non_negative(self.noise_power, "noise_power")

    @property
    def num_tracers(self) -> int:
        """One map."""
        return 1

    def noise(self, dtype: tf.DType) -> tf.Tensor:
        """The white noise, [1]."""
        return _each(self, "noise_power", dtype)

    def planes(self, dtype: tf.DType) -> list[tf.Tensor]:
        """The last scattering surface."""
        return [cast(self.z_source, dtype)]

    def kernels(self, sight: LineOfSight, ell: tf.Tensor) -> Kernels:
        """Convergence of a source plane."""
        radial = sight.lensing_weight_of_plane(cast(self.z_source, ell.dtype))
        return one_row_each(radial[..., None, :], scalar_factor(ell))


def _check_bins(bins: Sequence[Any], need_density: bool) -> None:
    is_list = isinstance(bins, list | tuple)
    checks.require(
        is_list and len(bins) > 0, "redshift_bins", "be a list of redshift distributions", bins,
        "Write [nz] for one bin.",
    )  # fmt: skip
    for nz in bins:
        is_nz = isinstance(nz, RedshiftDistribution)
        checks.require(
            is_nz, "redshift_bins", "hold redshift distributions", nz,
            "See the functions of `redshift`.", error=TypeError,
        )  # fmt: skip
        checks.require(
            nz.has_density or not need_density, "redshift_bins",
            "hold distributions with a density here", nz, "A delta function has none.",
            error=TypeError,
        )  # fmt: skip


def _densities(probe: WeakLensing | NumberCounts, dtype: tf.DType) -> tf.Tensor:
    """Galaxies per steradian of each bin, [num_tracers]."""
    return tf.stack([cast(nz.gals_per_steradian, dtype) for nz in probe.redshift_bins])


def _each(probe: AbstractProbe, name: str, dtype: tf.DType) -> tf.Tensor:
    """An attribute that is one number for all tracers, or one for each, as [num_tracers]."""
    value, count = getattr(probe, name), probe.num_tracers
    values = value if isinstance(value, list | tuple) else [value]
    tensor = tf.concat([tf.reshape(cast(v, dtype), [-1]) for v in values], axis=0)
    checks.require(
        tensor.shape[0] in (1, count), name, f"be one number, or one for each of {count} tracers",
        tensor.shape[0],
    )  # fmt: skip
    return tf.broadcast_to(tensor, [count])
