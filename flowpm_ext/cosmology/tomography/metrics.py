"""How well tomographic bins constrain cosmology: signal to noise and figures of merit.

Tracers are weighted galaxies and not their mean: row i of all spectra is that of the means times
the fraction f_i of galaxies in bin i. No metric changes by that, and nothing is divided by f_i, so
that an empty bin is a tracer without signal, and every metric and gradient is finite.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import Structure, TensorLike, cast
from flowpm_ext.cosmology.redshift.base import ARCMIN2_PER_STERADIAN
from flowpm_ext.cosmology.tomography.bins import Bins
from flowpm_ext.cosmology.tomography.slices import SliceSpectra

PROBES = ("ww", "gg", "3x2")
PAIRS = {"fom": ("Omega_c", "sigma8"), "detf": ("w0", "wa")}
METRICS = ("snr", *PAIRS)
# Area of an ellipse of 95 % of the probability over that of one sigma, as the challenge has it.
CONTOUR = 6.17
# Shot noise that every bin has beside that of its galaxies, as a fraction of all galaxies: it
# keeps the noise of empty or identical bins from being singular, and changes others by 1e-10.
FLOOR = 1e-11
LEAST_PIVOT = 1e-14  # below it a pivot is rounding: the parameter is one of those before it
TINY = 1e-30  # least square, so that its root has a finite slope


@dataclasses.dataclass(frozen=True)
class Survey(Structure):
    """What is observed; metrics are differentiable in all of it.

    Args:
        f_sky: Fraction of the sky, at most 1.
        gals_per_arcmin2: Density of all galaxies (1 / arcmin**2).
        sigma_e: Dispersion of one component of the ellipticities.

    Raises:
        ValueError: If a number is not positive, or `f_sky` is above 1.
    """

    f_sky: TensorLike = 0.25
    gals_per_arcmin2: TensorLike = 20.0
    sigma_e: TensorLike = 0.26

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            checks.positive(getattr(self, field.name), field.name)
        checks.in_range(self.f_sky, "f_sky", 0, 1, "Divide square degrees by 41253.")


class BinnedSpectra(NamedTuple):
    """Spectra of the bins: those of shear, then those of counts.

    Attributes:
        signal: Spectra and their derivatives (steradian), each times the fractions of galaxies in
            both bins, [1 + num_parameters, num_ell, 2 num_bins, 2 num_bins].
        noise: Noise, [2 num_bins, 2 num_bins].
        num_modes: Half the modes of each multipole, [num_ell].
    """

    signal: tf.Tensor
    noise: tf.Tensor
    num_modes: tf.Tensor


def binned_spectra(spectra: SliceSpectra, bins: Bins, survey: Survey) -> BinnedSpectra:
    """Spectra of bins, as quadratic forms in their galaxies.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.

    Returns:
        The spectra.

    Raises:
        ValueError: If the bins have other slices than the spectra.
    """
    n, rule = bins.counts, f"be galaxies in {spectra.num_slices} slices"
    checks.require(n.shape[-1] == spectra.num_slices, "bins", rule, n)
    shear, cross, counts = (
        cast(x, n.dtype) for x in (spectra.shear, spectra.cross, spectra.counts)
    )
    shear, cross = _projected(shear, n), _projected(cross, n)  # [..., num_ell, bins, bins]
    counts = tf.matmul(counts, _pairs(n), transpose_b=True)
    counts = tf.reshape(counts, shear.shape)
    top = tf.concat([shear, tf.linalg.matrix_transpose(cross)], axis=-1)
    signal = tf.concat([top, tf.concat([cross, counts], axis=-1)], axis=-2)
    modes = cast(spectra.half_modes, n.dtype) * cast(survey.f_sky, n.dtype)
    return BinnedSpectra(signal, _noise(bins, survey), modes)


def signal_to_noise(
    spectra: SliceSpectra, bins: Bins, survey: Survey, probes: str = "3x2"
) -> tf.Tensor:
    """Significance of the spectra: sqrt(mu C**-1 mu).

    It is the square root of the sum over multipoles of half the modes times
    tr[((S + N)**-1 S)**2], S and N the matrices of all spectra: no covariance of spectra is made.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.
        probes: "ww" for shear, "gg" for clustering, "3x2" for both and their cross spectra.

    Returns:
        A scalar.

    Raises:
        ValueError: If `probes` is unknown, or the bins have other slices than the spectra.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2; Tegmark et al. 1997,
        arXiv:astro-ph/9603021.
    """
    binned = _chosen(binned_spectra(spectra, bins, survey), probes)
    response = _responses(binned, slice(1))[0]  # [num_ell, t, t]
    squared = tf.reduce_sum(response * tf.linalg.matrix_transpose(response), axis=[-2, -1])
    return tf.sqrt(tf.maximum(tf.reduce_sum(binned.num_modes * squared), TINY))


def fisher_matrix(
    spectra: SliceSpectra, bins: Bins, survey: Survey, probes: str = "3x2"
) -> tf.Tensor:
    """Fisher information about the parameters of the spectra, for a fixed covariance.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.
        probes: As for `signal_to_noise`.

    Returns:
        Fisher matrix, shape [num_parameters, num_parameters].

    Raises:
        ValueError: If `probes` is unknown, or the bins have other slices than the spectra.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    return fisher_of_binned(binned_spectra(spectra, bins, survey), probes)


def fisher_of_binned(binned: BinnedSpectra, probes: str = "3x2") -> tf.Tensor:
    """Fisher information of spectra whose derivatives are known.

    Args:
        binned: Spectra of the bins; their derivatives by more parameters may have been added.
        probes: As for `signal_to_noise`.

    Returns:
        Fisher matrix, shape [num_parameters, num_parameters].

    Raises:
        ValueError: If `probes` is unknown.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    binned = _chosen(binned, probes)
    responses = _responses(binned, slice(1, None))
    weighted = responses * binned.num_modes[:, None, None]
    size = math.prod(responses.shape[1:])
    left = tf.reshape(weighted, [-1, size])
    right = tf.reshape(tf.linalg.matrix_transpose(responses), [-1, size])
    return tf.matmul(left, right, transpose_b=True)


def figure_of_merit(
    fisher: tf.Tensor, parameters: Sequence[str], pair: tuple[str, str] = PAIRS["detf"]
) -> tf.Tensor:
    """Inverse area of the error ellipse of two parameters, all others free, as in the challenge.

    1 / (6.17 pi sqrt(det C)): `fisher.figure_of_merit` over 6.17 pi. The others are eliminated one
    after the other, and one that nothing is known about leaves zero, not NaN.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].
        parameters: Their names; nuisances that follow them have none.
        pair: The two.

    Returns:
        Figure of merit, a scalar.

    Raises:
        ValueError: If one of the two is not among `parameters`.

    References:
        Albrecht et al. 2006, arXiv:astro-ph/0609591; Zuntz et al. 2021, arXiv:2108.13418.
    """
    names = tuple(parameters)
    rule = f"hold {' and '.join(pair)}"
    checks.require(set(pair) <= set(names), "parameters", rule, names)
    kept = [names.index(name) for name in pair]
    order = [*np.setdiff1d(np.arange(fisher.shape[0])[::-1], kept), *kept]
    rest = tf.gather(tf.gather(fisher, order, axis=0), order, axis=1)
    # In units of the error of each parameter alone: they differ by many orders.
    scale = tf.math.rsqrt(tf.maximum(tf.linalg.diag_part(rest), TINY))
    rest *= scale[:, None] * scale
    for _ in range(len(order) - 2):
        pivot = tf.maximum(rest[0, 0], LEAST_PIVOT)
        rest = rest[1:, 1:] - rest[1:, :1] * rest[:1, 1:] / pivot
    determinant = rest[0, 0] * rest[1, 1] - rest[0, 1] * rest[1, 0]
    area = tf.sqrt(tf.maximum(determinant, TINY)) / (scale[-1] * scale[-2])
    return area / (CONTOUR * math.pi)


@compiled
def metric(
    spectra: SliceSpectra,
    bins: Bins,
    survey: Survey,
    kind: str = "detf",
    probes: str = "3x2",
) -> tf.Tensor:
    """One of the metrics of the challenge. An eager call compiles itself once.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.
        kind: "snr" for signal to noise, "fom" for the figure of merit of Omega_c and sigma8,
            "detf" for that of w0 and wa.
        probes: As for `signal_to_noise`.

    Returns:
        The metric, a scalar.

    Raises:
        ValueError: If an option is unknown, or as `signal_to_noise`.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2.
    """
    checks.one_of(kind, "kind", METRICS)
    if kind == "snr":
        return signal_to_noise(spectra, bins, survey, probes)
    fisher = fisher_matrix(spectra, bins, survey, probes)
    return figure_of_merit(fisher, spectra.parameters, PAIRS[kind])


def _projected(spectra: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """n K n', [..., num_bins, num_bins]: first one product of two matrices for all K."""
    *leading, num_slices, _ = spectra.shape
    half = tf.matmul(tf.reshape(spectra, [-1, num_slices]), n, transpose_b=True)
    return tf.matmul(n, tf.reshape(half, [*leading, num_slices, n.shape[0]]))


def _pairs(n: tf.Tensor) -> tf.Tensor:
    """Products of the galaxies of two bins, [num_bins**2, num_slices]."""
    return tf.reshape(n[:, None] * n, [n.shape[0] ** 2, n.shape[1]])


def _noise(bins: Bins, survey: Survey) -> tf.Tensor:
    """Shape and shot noise, [2 num_bins, 2 num_bins]."""
    dtype = bins.counts.dtype
    shot = 1 / (cast(survey.gals_per_arcmin2, dtype) * ARCMIN2_PER_STERADIAN)
    shared = bins.overlap + FLOOR * tf.eye(bins.overlap.shape[-1], dtype=dtype)
    both = tf.linalg.diag(tf.stack([cast(survey.sigma_e, dtype) ** 2, tf.ones([], dtype)]) * shot)
    size = 2 * bins.overlap.shape[-1]
    return tf.reshape(tf.einsum("ab,ij->aibj", both, shared), [size, size])


def _chosen(binned: BinnedSpectra, probes: str) -> BinnedSpectra:
    """Shear, counts or both."""
    checks.one_of(probes, "probes", PROBES)
    half = binned.noise.shape[-1] // 2
    part = {"ww": slice(half), "gg": slice(half, None), "3x2": slice(None)}[probes]
    return binned._replace(
        signal=binned.signal[..., part, part], noise=binned.noise[..., part, part]
    )


def _responses(binned: BinnedSpectra, which: slice) -> tf.Tensor:
    """(S + N)**-1 times some of the signals, [..., num_ell, num_tracers, num_tracers]."""
    total = binned.signal[0] + binned.noise
    # Shear is 1e-5 of counts: the matrix is inverted in units of the variance of each tracer.
    scale = tf.math.rsqrt(tf.linalg.diag_part(total))
    scales = scale[..., :, None] * scale[..., None, :]
    return tf.matmul(tf.linalg.inv(total * scales) * scales, binned.signal[which])
