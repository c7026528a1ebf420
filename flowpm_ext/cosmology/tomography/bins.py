"""Tomographic bins as galaxies in slices of redshift, from n(z) or from assignments of galaxies."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating, known
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution, require_density
from flowpm_ext.numerics import quadrature

NUM_NODES = 8  # in each slice


class Bins(NamedTuple):
    """Galaxies of tomographic bins, as fractions of all galaxies.

    Attributes:
        counts: Fraction of all galaxies in a bin and a slice of redshift, [num_bins, num_slices].
        overlap: Mean over all galaxies of the product of their weights in two bins,
            [num_bins, num_bins]: the fraction in each bin on the diagonal where bins are hard.
    """

    counts: tf.Tensor
    overlap: tf.Tensor


def hard_bins(counts: TensorLike) -> Bins:
    """Bins that share no galaxy.

    Args:
        counts: Fraction of all galaxies in each bin and slice, shape [num_bins, num_slices].

    Returns:
        The bins.

    Raises:
        ValueError: If `counts` are negative, not finite, or no matrix.
    """
    checks.rank(counts, "counts", 2)
    checks.non_negative(counts, "counts")
    counts = cast(counts, floating(counts))
    return Bins(counts, tf.linalg.diag(tf.reduce_sum(counts, axis=-1)))


def bins_of_nz(
    redshift_bins: Sequence[RedshiftDistribution], edges: TensorLike, gals_per_arcmin2: TensorLike
) -> Bins:
    """Bins that are given by their redshift distributions.

    Args:
        redshift_bins: n(z) of each bin, with its density on the sky.
        edges: Redshifts between slices, increasing, shape [num_slices + 1]; galaxies beyond
            the last are lost.
        gals_per_arcmin2: Density of all galaxies (1 / arcmin**2), in a bin or not.

    Returns:
        The bins, differentiable in the parameters of the distributions.

    Raises:
        ValueError: If there is no bin, `edges` do not increase or the density is not positive.
        TypeError: If a bin has no density.
    """
    is_list = isinstance(redshift_bins, list | tuple) and len(redshift_bins) > 0
    rule = "be a list of redshift distributions"
    checks.require(is_list, "redshift_bins", rule, redshift_bins, "Write [nz] for one bin.")
    checks.increasing(edges, "edges")
    checks.positive(gals_per_arcmin2, "gals_per_arcmin2")
    z, weights = quadrature.panel_nodes(cast(edges, floating(edges)), NUM_NODES)
    rows = []
    for nz in redshift_bins:
        require_density(nz)
        share = cast(nz.gals_per_arcmin2, z.dtype) / cast(gals_per_arcmin2, z.dtype)
        rows.append(share * tf.reduce_sum(weights * nz(z), axis=-1))
    return hard_bins(tf.stack(rows))


def bins_of_weights(
    weights: TensorLike, slice_of: TensorLike, num_slices: int, is_sorted: bool = False
) -> Bins:
    """Bins that galaxies are assigned to, in part or as a whole.

    A galaxy that is in several bins in part brings shot noise to their cross spectra as well;
    so what is best for soft bins is best for hard ones.

    Args:
        weights: Weight of each galaxy in each bin, 0 to 1, shape [num_galaxies, num_bins]; a
            galaxy whose weights sum to less than one is lost in part.
        slice_of: Slice of the redshift of each galaxy, int [num_galaxies], below `num_slices`; a
            galaxy outside of all slices has a negative number and brings noise alone.
        num_slices: Number of slices.
        is_sorted: Whether the galaxies come in order of their slices and none is outside, which
            takes a third of the time.

    Returns:
        The bins, float64, differentiable in the weights.

    Raises:
        ValueError: If there is no galaxy, weights are not from 0 to 1, or there is not a slice for
            each galaxy.
        TypeError: If slices are not integers.
    """
    checks.rank(weights, "weights", 2)
    # Those that were divided by their sum may be above one by rounding.
    checks.in_range(weights, "weights", 0.0, 1.0 + 1e-6)
    weights, slice_of = cast(weights, floating(weights)), tf.convert_to_tensor(slice_of)
    _check_slices(slice_of, weights.shape, num_slices, is_sorted)
    num = tf.shape(weights)[0]
    if is_sorted:  # a last one without weight, so that the number of sums is known
        end = tf.constant([num_slices], slice_of.dtype)
        padded = tf.pad(weights, [[0, 1], [0, 0]])
        counts = tf.math.segment_sum(padded, tf.concat([slice_of, end], axis=0))
        counts = tf.ensure_shape(counts, [num_slices + 1, weights.shape[1]])[:num_slices]
    else:
        counts = tf.math.unsorted_segment_sum(weights, slice_of, num_slices)
    overlap = tf.matmul(weights, weights, transpose_a=True)
    total = tf.cast(num, tf.float64)
    return Bins(
        tf.transpose(tf.cast(counts, tf.float64)) / total, tf.cast(overlap, tf.float64) / total
    )


def _check_slices(
    slice_of: tf.Tensor, shape: tf.TensorShape, num_slices: int, is_sorted: bool
) -> None:
    """Refuse slices of other galaxies than the weights have, and some that there are not."""
    checks.require(shape[0] != 0, "weights", "be of at least one galaxy", f"shape {shape}")
    rule = f"be one slice for each of {shape[0]} galaxies"
    checks.require(slice_of.dtype.is_integer, "slice_of", rule, slice_of.dtype, error=TypeError)
    checks.require(slice_of.shape.is_compatible_with(shape[:1]), "slice_of", rule, slice_of)
    array = known(slice_of)
    if array is not None:
        fits = array.max() < num_slices and (array.min() >= 0 or not is_sorted)
        rule = f"be from 0 to {num_slices - 1}" + ("" if is_sorted else ", or negative")
        checks.require(bool(fits), "slice_of", rule, f"{array.min()} to {array.max()}")


def slices_of_redshifts(z: TensorLike, edges: TensorLike) -> tf.Tensor:
    """Slice that each redshift is in.

    Args:
        z: Redshifts, shape [num_galaxies].
        edges: Redshifts between slices, increasing, shape [num_slices + 1].

    Returns:
        Number of the slice, int32 [num_galaxies]; -1 outside of all slices.

    Raises:
        ValueError: If a redshift is not finite, or `edges` do not increase.

    References:
        Zuntz et al. 2021, arXiv:2108.13418.
    """
    checks.finite(z, "z")
    checks.increasing(edges, "edges")
    edges = cast(edges, floating(edges))
    found = tf.searchsorted(edges, cast(z, edges.dtype), side="right") - 1
    return tf.where(found < edges.shape[0] - 1, found, -1)
