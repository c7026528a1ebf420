"""Convergence maps drawn from theory alone: Gaussian and lognormal, correlated between bins."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import standard_normal, stateless_seed
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.angular_cl import angular_cl, tracer_pairs
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.probes import WeakLensing
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.fields.spectrum import root, scaled
from flowpm_ext.lensing.sources import check_bins
from flowpm_ext.numerics import fourier
from flowpm_ext.numerics.interpolate import cubic_spline

NUM_ELL = 96  # log-spaced; C_ell between them to 1e-4

# Square map per mode, [..., ny, nx // 2 + 1], of each pair of bins (0, 0), (0, 1), ..., (1, 1), ...
Pairs = dict[tuple[int, int], tf.Tensor]


def gaussian_maps(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    batch_size: int = 1,
    seed: int | tf.Tensor = 0,
    *,
    ia_bias: TensorLike | None = None,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Periodic Gaussian convergence maps of all bins, with the C_ell of theory.

    Each map holds values at points of a field without structure beyond the corner of the Fourier
    plane of its pixels. Differentiable with respect to the cosmology and n(z).

    Args:
        cosmo: Cosmology, or a batch as long as that of the maps.
        nz: n(z) of each bin; `delta_nz` for sources at one redshift.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        batch_size: Number of maps; that of the cosmologies where they are a batch.
        seed: An integer, or a stateless seed of shape [2].
        ia_bias: Intrinsic alignments, as for `WeakLensing`.
        dtype: Of the maps, float32 or float64.

    Returns:
        Convergence, shape [batch_size, num_pixels, num_pixels, num_bins].

    Raises:
        ValueError: If a number is not positive, or batches do not fit.
        TypeError: If a bin is no redshift distribution.

    References:
        Limber 1953, ApJ 117, 134.
    """
    return _theory_maps(
        cosmo, nz, field_size_deg, num_pixels, batch_size, seed, ia_bias, dtype, None
    )


def lognormal_maps(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    batch_size: int = 1,
    seed: int | tf.Tensor = 0,
    *,
    shift: TensorLike | None = None,
    ia_bias: TensorLike | None = None,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Periodic lognormal convergence maps of all bins, with the C_ell of theory.

    kappa_i = shift_i (exp(g_i - var(g_i) / 2) - 1) with g Gaussian and correlated between bins:
    on the pixels of the map, the correlation functions of g are
    log(1 + xi_ij / (shift_i shift_j)), with xi_ij those of C_ij. Their transforms are the
    covariance of the modes of g, one matrix for each mode, and its Cholesky factor turns white
    noise into g. Where no matrix of this kind exists a pivot is negative, and is set to zero. The
    skewness of a pixel of variance v is (3 + v / shift**2) sqrt(v) / shift. Differentiable with
    respect to the cosmology, n(z) and the shifts.

    Args:
        cosmo: Cosmology, or a batch as long as that of the maps.
        nz: n(z) of each bin; `delta_nz` for sources at one redshift.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        batch_size: Number of maps; that of the cosmologies where they are a batch.
        seed: An integer, or a stateless seed of shape [2].
        shift: Minus the lowest convergence, a number or one for each bin, shape [num_bins]; by
            default `empty_beam_shift` at the mean redshift of the bin.
        ia_bias: Intrinsic alignments, as for `WeakLensing`.
        dtype: Of the maps, float32 or float64.

    Returns:
        Convergence, shape [batch_size, num_pixels, num_pixels, num_bins].

    Raises:
        ValueError: If a number is not positive, or batches do not fit.
        TypeError: If a bin is no redshift distribution.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503; Hilbert, Hartlap & Schneider 2011,
        arXiv:1105.3980.
    """
    return _theory_maps(
        cosmo, nz, field_size_deg, num_pixels, batch_size, seed, ia_bias, dtype,
        lognormal_shift(nz, shift),
    )  # fmt: skip


def empty_beam_shift(z: TensorLike) -> tf.Tensor:
    """Minus the convergence of an empty beam, as fitted to ray tracing.

    Args:
        z: Redshift of the sources, any shape.

    Returns:
        Shift of a lognormal distribution (dimensionless), float64, in the shape of `z`.

    References:
        Hilbert, Hartlap & Schneider 2011, arXiv:1105.3980.
    """
    z = cast(z, tf.float64)
    return z * (0.008 + z * (0.029 + z * (-0.0079 + z * 0.00065)))


def number_of_maps(cosmo: Cosmology, batch_size: int) -> int:
    """Number of maps: that of cosmologies in a batch.

    Args:
        cosmo: Cosmology, or a batch.
        batch_size: What was asked for; 1 where the cosmologies say it.

    Returns:
        The number.

    Raises:
        ValueError: If it is neither 1 nor that of the cosmologies.
    """
    size = cosmo.batch_size
    checks.require(
        size is None or batch_size in (1, size), "batch_size", "be that of the cosmologies",
        batch_size,
    )  # fmt: skip
    return size or batch_size


def _theory_maps(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    batch_size: int,
    seed: int | tf.Tensor,
    ia_bias: TensorLike | None,
    dtype: tf.DType,
    shift: tf.Tensor | None,
) -> tf.Tensor:
    """Checks, and maps that are Gaussian where there is no shift."""
    checks.positive_integers(batch_size=batch_size)
    cl, pixel_size = _theory(cosmo, nz, field_size_deg, num_pixels, ia_bias)
    batch_size = number_of_maps(cosmo, batch_size)
    seed = stateless_seed(seed)  # as a tensor: another seed is not another trace
    return _drawn(cl, seed, float(pixel_size), num_pixels, batch_size, dtype.name, shift)


def _theory(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    ia_bias: TensorLike | None,
) -> tuple[tf.Tensor, float]:
    """C_ell at the multipoles of `_knots`, after checks, and the side of a pixel (radians)."""
    require_cosmology(cosmo)
    check_bins(nz)
    checks.positive(field_size_deg, "field_size_deg")
    checks.positive_integers(num_pixels=num_pixels)
    pixel_size = np.deg2rad(field_size_deg) / num_pixels
    ell = _knots(num_pixels) / pixel_size
    return angular_cl(cosmo, ell, [WeakLensing(tuple(nz), ia_bias)]), pixel_size


@compiled
def _drawn(
    cl: tf.Tensor,
    seed: int | tf.Tensor,
    pixel_size: tf.Tensor,
    num_pixels: int,
    batch_size: int,
    dtype: str,
    shift: tf.Tensor | None,
) -> tf.Tensor:
    """Maps with spectra [..., num_cl, num_ell] at the multipoles of `_knots`."""
    factor = _factor(cl, pixel_size, num_pixels, shift)
    num_bins = len(_pairs_of_rows(factor.shape[-3]))
    white = standard_normal([batch_size, num_bins, num_pixels, num_pixels], seed, dtype)
    return coloured(white, factor, shift)


def lognormal_factor(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    *,
    shift: TensorLike | None = None,
    ia_bias: TensorLike | None = None,
) -> tf.Tensor:
    """What `coloured` makes the maps of `lognormal_maps` with, from white noise.

    Args:
        cosmo: Cosmology, or a batch.
        nz: n(z) of each bin.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        shift: As for `lognormal_maps`.
        ia_bias: As for `lognormal_maps`.

    Returns:
        Cholesky factors of the covariance of the modes of all bins, rows (0, 0), (1, 0), (1, 1),
        ..., shape [..., num_pairs, num_pixels, num_pixels // 2 + 1], float64.

    Raises:
        ValueError: If a number is not positive.
        TypeError: If a bin is no redshift distribution.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
    """
    shift = lognormal_shift(nz, shift)
    cl, pixel_size = _theory(cosmo, nz, field_size_deg, num_pixels, ia_bias)
    return _compiled_factor(cl, float(pixel_size), num_pixels, shift)


def lognormal_shift(
    nz: Sequence[RedshiftDistribution], shift: TensorLike | None = None
) -> tf.Tensor:
    """Minus the lowest convergence of each bin.

    Args:
        nz: n(z) of each bin.
        shift: A number, or one for each bin; `empty_beam_shift` at their mean redshifts if None.

    Returns:
        Shape [num_bins], float64.

    Raises:
        ValueError: If a shift is not positive.
        TypeError: If a bin is no redshift distribution.

    References:
        Hilbert, Hartlap & Schneider 2011, arXiv:1105.3980.
    """
    check_bins(nz)
    if shift is None:
        shift = tf.stack([empty_beam_shift(one.mean()) for one in nz])
    checks.positive(shift, "shift")
    return tf.broadcast_to(cast(shift, tf.float64), [len(nz)])


def coloured(white: tf.Tensor, factor: tf.Tensor, shift: tf.Tensor | None) -> tf.Tensor:
    """Maps from white noise: lognormal, or Gaussian where there is no shift.

    Args:
        white: Normal numbers, shape [batch, num_bins, num_pixels, num_pixels].
        factor: Of `lognormal_factor`, for all maps or for each.
        shift: Minus the lowest convergence of each bin, [num_bins], or None.

    Returns:
        Convergence, shape [batch, num_pixels, num_pixels, num_bins], in the dtype of `white`.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
    """
    num_pixels, modes = white.shape[-1], tf.unstack(fourier.rfft2(white), axis=1)
    rows = tf.unstack(tf.cast(factor, white.dtype), axis=-3)
    mixed, variances = [], []
    for row in _pairs_of_rows(len(rows)):
        parts = [scaled(modes[j], rows[number]) for j, number in enumerate(row)]
        mixed.append(tf.add_n(parts))
        if shift is not None:  # of a pixel, by Parseval's theorem
            power = tf.add_n([rows[number] ** 2 for number in row])
            count = fourier.half_plane_weights(num_pixels) / num_pixels**2
            variances.append(tf.reduce_sum(power * tf.constant(count, power.dtype), axis=[-2, -1]))
    maps = tf.transpose(fourier.irfft2(tf.stack(mixed, axis=1), num_pixels), [0, 2, 3, 1])
    if shift is None:
        return maps
    variance = tf.stack(variances, axis=-1)[..., None, None, :]
    return tf.cast(shift, white.dtype) * tf.math.expm1(maps - variance / 2)


def _pairs_of_rows(num_pairs: int) -> list[range]:
    """Places of the entries of each row of a lower triangle."""
    rows, start = [], 0
    while start < num_pairs:
        rows.append(range(start, start + len(rows) + 1))
        start = rows[-1].stop
    return rows


def _factor(
    cl: tf.Tensor, pixel_size: tf.Tensor, num_pixels: int, shift: tf.Tensor | None
) -> tf.Tensor:
    power = _on_modes(cl, pixel_size, num_pixels)
    if shift is not None:
        power = _underlying(power, tf.cast(shift, cl.dtype), num_pixels)
    factor = _cholesky(power)
    return tf.stack([factor[pair] for pair in sorted(factor)], axis=-3)


_compiled_factor = compiled(_factor)


def _on_modes(cl: tf.Tensor, pixel_size: tf.Tensor, num_pixels: int) -> Pairs:
    """Variance C_ell / pixel area of each mode, zero for the mean."""
    l2, l1 = fourier.wavenumbers((num_pixels, num_pixels), 1.0)
    length, place = np.unique(np.round(np.hypot(l1, l2), 12), return_inverse=True)
    knots = np.log(_knots(num_pixels))
    # ell C_ell changes slowly with ln ell, and may have either sign.
    curve = cubic_spline(tf.constant(np.log(length[1:]), cl.dtype), knots, cl * np.exp(knots))
    curve = curve / tf.constant(length[1:], cl.dtype) / tf.cast(pixel_size, cl.dtype) ** 2
    curve = tf.concat([tf.zeros_like(curve[..., :1]), curve], axis=-1)
    modes = tf.gather(curve, place.reshape(num_pixels, -1).astype(np.int32), axis=-1)
    return dict(zip(_pairs(cl.shape[-2]), tf.unstack(modes, axis=-3), strict=True))


def _knots(num_pixels: int) -> np.ndarray:
    """Multipoles (radians per pixel) from the longest wave to the corner of the Fourier plane."""
    return np.geomspace(1.99 * np.pi / num_pixels, 1.001 * np.sqrt(2) * np.pi, NUM_ELL)


def _pairs(num_cl: int) -> list[tuple[int, int]]:
    """Pairs of bins in the order of `angular_cl`."""
    num_bins = int((np.sqrt(8 * num_cl + 1) - 1) / 2 + 0.5)
    return list(zip(*tracer_pairs(num_bins), strict=True))


def _underlying(power: Pairs, shift: tf.Tensor, num_pixels: int) -> Pairs:
    """Covariance of the modes of the Gaussian maps."""
    together = tf.stack([tf.complex(p, tf.zeros_like(p)) for p in power.values()], axis=-3)
    correlation = fourier.irfft2(together, num_pixels)
    i, j = np.array(list(power)).T
    contrast = correlation / (tf.gather(shift, i) * tf.gather(shift, j))[:, None, None]
    correlation = tf.math.log1p(contrast)
    modes = tf.math.real(fourier.rfft2(correlation))
    return dict(zip(power, tf.unstack(modes, axis=-3), strict=True))


def _cholesky(power: Pairs) -> Pairs:
    """Lower factor of the matrix of each mode; a pivot that is not positive makes no noise."""
    num_bins = 1 + max(i for i, _ in power)
    factor: Pairs = {}
    for j in range(num_bins):
        pivot = root(tf.nn.relu(power[j, j] - _dot(factor, j, j)))
        factor[j, j] = pivot
        for i in range(j + 1, num_bins):
            factor[i, j] = tf.math.divide_no_nan(power[j, i] - _dot(factor, i, j), pivot)
    return factor


def _dot(factor: Pairs, i: int, j: int) -> tf.Tensor | float:
    """Product of rows i and j of the factor, as far as it is known."""
    return sum((factor[i, m] * factor[j, m] for m in range(j)), start=0.0)
