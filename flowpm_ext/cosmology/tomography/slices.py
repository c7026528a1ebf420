"""Spectra between thin slices of redshift, from which those of any tomographic bins follow.

Spectra are bilinear in the redshift distributions: with n_i the galaxies of bin i in slices,
C_ij(ell) = n_i K_ell n_j exactly, and so are their derivatives by the cosmology. K needs no bins.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast, static
from flowpm_ext.cosmology.bias import Bias, as_bias, inverse_growth_linear_bias
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.halofit import Halofit
from flowpm_ext.cosmology.line_of_sight import LineOfSight
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.probes import ALIGNMENT
from flowpm_ext.cosmology.spectrum import LinearSpectrum
from flowpm_ext.numerics.jacobian import jacobian

# Parameters that are free in the challenge, arXiv:2108.13418, section 2.
PARAMETERS = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "w0", "wa")
# Its cosmology: w0 and wa are free about a cosmological constant.
CHALLENGE = Cosmology(Omega_c=0.27, Omega_b=0.045, h=0.67, n_s=0.96, sigma8=0.8404844953840714)
ALIGNMENT_PARAMETER = "alignment"  # amplitude of the nonlinear alignment model, zero here


@dataclasses.dataclass(frozen=True)
class SliceSpectra(Structure):
    """Spectra between slices of redshift with their derivatives; see `slice_spectra`.

    The first of the leading axis are the spectra, the others their derivatives.

    Args:
        edges: Redshifts between slices, [num_slices + 1].
        ell: Multipoles, [num_ell].
        half_modes: Half the modes on the whole sky of bins that meet halfway between them,
            (ell + 1/2) delta_ell, [num_ell].
        shear: Shear with shear, [1 + num_parameters, num_ell, num_slices, num_slices].
        cross: Counts (third axis) with shear (last), the same shape.
        counts: Counts with counts, which are zero between slices in the Limber approximation,
            [1 + num_parameters, num_ell, num_slices].
        parameters: Names of what the spectra are differentiated by.
    """

    edges: TensorLike
    ell: TensorLike
    half_modes: TensorLike
    shear: TensorLike
    cross: TensorLike
    counts: TensorLike
    parameters: tuple[str, ...] = static(default=PARAMETERS)

    @property
    def num_slices(self) -> int:
        """Number of slices."""
        return self.counts.shape[-1]


def slice_spectra(
    cosmo: Cosmology,
    edges: TensorLike,
    ell: TensorLike,
    bias: Bias | TensorLike | None = None,
    parameters: Sequence[str] = PARAMETERS,
    dark_energy: str = "effective",
) -> SliceSpectra:
    """Spectra of shear and counts between slices, and their derivatives by the cosmology.

    Galaxies are spread evenly over each slice. Spectra are those of `angular_cl` for
    `WeakLensing` and `NumberCounts` (density alone) with histograms of these edges.

    Args:
        cosmo: Cosmology with `sigma8`.
        edges: Redshifts between slices, increasing, shape [num_slices + 1].
        ell: Multipoles, 1 or more and increasing, shape [num_ell]; at least two.
        bias: Galaxy bias, as of `NumberCounts`; None for 1 / D1(z), which varies with the
            cosmology so that clustering says nothing about growth.
        parameters: What to differentiate by: fields of `Cosmology`, or "alignment", the
            amplitude of the nonlinear alignment model about zero.
        dark_energy: Equation of state that halofit takes where it varies: "effective" for the
            constant one with the same distances, as in `angular_cl`; "local" for that of each
            time, as in the challenge, whose figures of merit of w0 and wa are 15 % lower for it.

    Returns:
        The spectra.

    Raises:
        ValueError: If `edges` or `ell` do not increase, a multipole is below 1, or a parameter is
            unknown.
        TypeError: If `cosmo` is no cosmology.

    References:
        Zuntz et al. 2021, arXiv:2108.13418; Limber 1953, ApJ 117, 134; Bridle & King 2007,
        arXiv:0705.0166 (alignments).
    """
    require_cosmology(cosmo)
    checks.one_of(dark_energy, "dark_energy", ("effective", "local"))
    _check(edges, ell, parameters)
    cosmo = cosmo.tensors()
    half_modes = (np.asarray(ell) + 0.5) * np.gradient(np.asarray(ell, np.float64))
    edges, ell, half_modes = (cast(x, cosmo.dtype) for x in (edges, ell, half_modes))
    bias = inverse_growth_linear_bias(1.0) if bias is None else as_bias(bias, "bias")
    num_slices, num_ell = edges.shape[0] - 1, ell.shape[0]

    def factors(theta: tf.Tensor) -> tf.Tensor:
        """All factors of the Limber integrals, one after the other along the first axis."""
        changed = dict(zip(parameters, tf.unstack(theta), strict=True))
        aligned = changed.pop(ALIGNMENT_PARAMETER, tf.zeros([], theta.dtype))
        p = cosmo.replace(**changed)
        return tf.concat(_factors(p, aligned, edges, ell, bias, dark_energy), axis=0)

    fiducial = {ALIGNMENT_PARAMETER: 0.0}
    theta = tf.stack([cast(fiducial.get(n, getattr(cosmo, n, 0.0)), ell.dtype) for n in parameters])
    # As one program: the factors are small beside the spectra, and so are their slopes.
    slopes = jacobian(factors, theta, jit_compile=False)
    slopes = tf.transpose(slopes, [2, 0, 1])  # [num_parameters, rows, n]
    value = factors(theta)
    sizes = [num_slices, num_slices, num_ell]
    value, slopes = (_Factors(*tf.split(x, sizes, axis=-2)) for x in (value, slopes))
    spin = tf.sqrt((ell + 2) * (ell + 1) * ell * (ell - 1)) / (ell + 0.5) ** 2
    return SliceSpectra(edges, ell, half_modes, *_products(value, slopes, spin), tuple(parameters))


class _Factors(NamedTuple):
    """Factors of Limber integrals at n nodes, [..., num_slices or num_ell, n]."""

    shear: tf.Tensor
    counts: tf.Tensor
    power: tf.Tensor


def _factors(
    cosmo: Cosmology,
    aligned: tf.Tensor,
    edges: tf.Tensor,
    ell: tf.Tensor,
    bias: Bias,
    dark_energy: str,
) -> _Factors:
    p = cosmo.columns()
    growth = GrowthTable.of(p)
    sight = LineOfSight.of(p, growth, [edges], [])
    k = (ell + 0.5) / sight.transverse[:, None]  # [n, num_ell]
    linear = LinearSpectrum.of(p, growth, "eisenstein_hu")
    halofit = Halofit.of(linear, growth, sight.a, dark_energy == "effective")
    if dark_energy == "local":
        halofit = halofit.with_local_pressure(sight.a)
    power = halofit(k)  # [n, num_ell]
    factor = growth.factor(sight.a)
    density = _densities(edges, sight.z) * sight.density_of_redshift  # [num_slices, n]
    shear = sight.lensing_weight(_densities(edges, sight.fine_z))
    shear -= aligned * ALIGNMENT * p.Omega_m / factor * density
    power = tf.transpose(sight.limber_measure[:, None] * power)
    return _Factors(shear, bias(sight.z, factor) * density, power)


def _densities(edges: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """Density in redshift of galaxies in each slice, [num_slices, *z.shape]."""
    low, high = (tf.reshape(x, [-1] + [1] * z.shape.rank) for x in (edges[:-1], edges[1:]))
    return tf.where((z >= low) & (z < high), 1 / (high - low), 0)


def _products(value: _Factors, slope: _Factors, spin: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Spectra and their derivatives, by the product rule."""
    spin = spin[:, None, None]

    def project(left: tf.Tensor, right: tf.Tensor, power: tf.Tensor) -> tf.Tensor:
        weighted = left[..., None, :, :] * power[..., :, None, :]  # [..., num_ell, s, n]
        return tf.matmul(weighted, right[..., None, :, :], transpose_b=True)

    def stacked(spectra: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
        return tf.concat([spectra[None], slopes], axis=0)

    moved = project(slope.shear, value.shear, value.power)
    moved += tf.linalg.matrix_transpose(moved)
    moved += project(value.shear, value.shear, slope.power)
    shear = stacked(project(value.shear, value.shear, value.power), moved) * spin**2

    moved = project(slope.counts, value.shear, value.power)
    moved += project(value.counts, slope.shear, value.power)
    moved += project(value.counts, value.shear, slope.power)
    cross = stacked(project(value.counts, value.shear, value.power), moved) * spin

    def diagonal(squared: tf.Tensor, power: tf.Tensor) -> tf.Tensor:
        return tf.matmul(power, squared, transpose_b=True)  # [..., num_ell, s]

    moved = diagonal(2 * slope.counts * value.counts, value.power)
    moved += diagonal(value.counts**2, slope.power)
    return shear, cross, stacked(diagonal(value.counts**2, value.power), moved)


def _check(edges: TensorLike, ell: TensorLike, parameters: Sequence[str]) -> None:
    for name, array in (("edges", edges), ("ell", ell)):
        checks.rank(array, name, 1)
        checks.non_negative(array, name)
        checks.increasing(array, name)
        checks.require(len(array) >= 2, name, "hold at least two", array)
    lowest = float(np.min(ell))
    # Shear has no spectrum below, where the square of its prefactor is negative.
    checks.require(lowest >= 1, "ell", "be at least 1", lowest)
    known = {field.name for field in dataclasses.fields(Cosmology)} | {ALIGNMENT_PARAMETER}
    unknown = sorted(set(parameters) - known)
    rule = f"be fields of Cosmology or {ALIGNMENT_PARAMETER!r}"
    is_list = len(set(parameters)) == len(tuple(parameters)) > 0
    checks.require(is_list and not unknown, "parameters", rule, tuple(parameters))


def challenge_ell(num_ell: int = 100) -> np.ndarray:
    """The centres of bins in multipole of the challenge, even in their logarithm, from 100 to 2000.

    Args:
        num_ell: How many; 100 in the challenge. With 25, which take less time, signal to
            noise and DETF change by .4 %, the other figure of merit by up to 3 %.

    Returns:
        Multipoles, shape [num_ell].

    Raises:
        ValueError: If `num_ell` is not a positive integer.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2.
    """
    checks.positive_integers(num_ell=num_ell)
    edges = np.geomspace(100.0, 2000.0, num_ell + 1)
    return 0.5 * (edges[1:] + edges[:-1])


def challenge_spectra(
    z_max: float = 3.0,
    num_slices: int = 60,
    num_ell: int = 100,
    parameters: Sequence[str] = PARAMETERS,
) -> SliceSpectra:
    """Spectra between slices in the cosmology of the challenge, which metrics need.

    Args:
        z_max: Redshift of the last galaxies.
        num_slices: Slices; with 60 to redshift 3 the signal to noise of 9 bins is 1 % low.
        num_ell: Bins in multipole; see `challenge_ell`.
        parameters: As for `slice_spectra`.

    Returns:
        The spectra; they take 20 s, most of it to trace, and 0.5 MB for each multipole.

    Raises:
        ValueError: If a number is not positive.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2.
    """
    checks.positive(z_max, "z_max")
    checks.positive_integers(num_slices=num_slices)
    edges, ell = np.linspace(0.0, z_max, num_slices + 1), challenge_ell(num_ell)
    return slice_spectra(CHALLENGE, edges, ell, parameters=parameters, dark_energy="local")
