"""Redshift distributions given by data: a histogram, a table, or a sample of galaxies."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, known, static
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution, spread
from flowpm_ext.cosmology.redshift.shapes import NUM_SIGMA
from flowpm_ext.numerics import monotone


def histogram_nz(
    edges: TensorLike, n: TensorLike, gals_per_arcmin2: TensorLike = 1.0
) -> RedshiftDistribution:
    """Distribution that is constant in each bin of a histogram.

    Args:
        edges: Edges of the bins (redshift), increasing, shape [num_bins + 1].
        n: Galaxies or weight in each bin, not the density, shape [num_bins].
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Returns:
        The distribution, differentiable in `n`. Empty bins at either end are left out.

    Raises:
        ValueError: If `edges` are negative, not finite or do not increase, if `n` is negative,
            not finite or sums to zero, or if their sizes do not fit.
    """
    checks.rank(edges, "edges", 1)
    checks.rank(n, "n", 1)
    edges, n = _array(edges), _array(n)
    num_bins = edges.shape[0] - 1
    checks.require(n.shape[0] == num_bins, "n", f"have a value for each of {num_bins} bins", n)
    _check_table(edges, "edges", n, "n")
    filled = np.flatnonzero(known(n)) if known(n) is not None else np.arange(num_bins)
    first, last = filled[0], filled[-1] + 1
    return _Histogram(edges[first : last + 1], n[first:last], gals_per_arcmin2=gals_per_arcmin2)


def tabulated_nz(
    z: TensorLike, n: TensorLike, gals_per_arcmin2: TensorLike = 1.0
) -> RedshiftDistribution:
    """Distribution through a table, by a monotone cubic of class C1; zero outside the table.

    It stays between neighbouring values, so that it never becomes negative, as a spline would.

    Args:
        z: Redshifts, increasing, shape [num_z]; at least three.
        n: Density at those redshifts, up to a factor, shape [num_z].
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Returns:
        The distribution, differentiable in `n`.

    Raises:
        ValueError: If `z` is negative, not finite or does not increase, if `n` is negative,
            not finite or zero everywhere, or if their sizes do not fit.

    References:
        Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300.
    """
    checks.rank(z, "z", 1)
    checks.rank(n, "n", 1)
    z, n = _array(z), _array(n)
    checks.require(z.shape[0] >= 3, "z", "hold at least three redshifts", z)
    checks.require(n.shape[0] == z.shape[0], "n", f"hold {z.shape[0]} values, one for each `z`", n)
    _check_table(z, "z", n, "n")
    return _Table(z, n, gals_per_arcmin2=gals_per_arcmin2)


def kde_nz(
    redshifts: TensorLike,
    weights: TensorLike | None = None,
    bandwidth: TensorLike = 0.01,
    gals_per_arcmin2: TensorLike = 1.0,
    *,
    num_panels: int | None = None,
) -> RedshiftDistribution:
    """Sum of a Gaussian for each galaxy of a sample, without the part at negative redshift.

    The cost is that of one Gaussian for each galaxy and redshift: make a histogram of samples
    of more than about 10 000 galaxies.

    Args:
        redshifts: Redshift of each galaxy, in any order, shape [num_galaxies].
        weights: Weight of each galaxy, shape [num_galaxies]; None for equal weights.
        bandwidth: Width of the Gaussians (redshift).
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).
        num_panels: Panels for integrals over the distribution; by default one for every
            1.5 bandwidths of the sample's range.

    Returns:
        The distribution, differentiable in all but `num_panels`.

    Raises:
        ValueError: If `redshifts` or `weights` are negative or not finite, the weights sum to
            zero, their sizes do not fit, `bandwidth` is not positive, or `num_panels` is
            needed because the sample is not known when the graph is traced.

    References:
        Silverman 1986, Density Estimation for Statistics and Data Analysis, section 2.4.
    """
    checks.rank(redshifts, "redshifts", 1)
    redshifts = _array(redshifts)
    weights = np.ones(redshifts.shape) if weights is None else _array(weights)
    checks.require(
        weights.shape == redshifts.shape, "weights", "have one entry for each galaxy", weights
    )
    checks.positive(bandwidth, "bandwidth")
    checks.non_negative(redshifts, "redshifts")
    _check_weights(weights, "weights")
    if num_panels is None:
        num_panels = _panels_of_sample(redshifts, bandwidth)
    return _Kernels(redshifts, weights, bandwidth, num_panels, gals_per_arcmin2=gals_per_arcmin2)


@dataclasses.dataclass(frozen=True, eq=False)
class _Histogram(RedshiftDistribution):
    edges: TensorLike
    n: TensorLike

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        return cast(self.edges, dtype)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        edges, n = cast(self.edges, z.dtype), cast(self.n, z.dtype)
        cell = tf.searchsorted(edges, tf.reshape(z, [-1]), side="right") - 1
        cell = tf.clip_by_value(cell, 0, n.shape[0] - 1)
        return tf.reshape(tf.gather(n / (edges[1:] - edges[:-1]), cell), tf.shape(z))

    def _total(self, edges: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(cast(self.n, edges.dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class _Table(RedshiftDistribution):
    z: TensorLike
    n: TensorLike

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        return cast(self.z, dtype)

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        return monotone.monotone_cubic(z, cast(self.z, z.dtype), cast(self.n, z.dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class _Kernels(RedshiftDistribution):
    redshifts: TensorLike
    weights: TensorLike
    bandwidth: TensorLike
    num_panels: int = static()

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        redshifts, reach = cast(self.redshifts, dtype), NUM_SIGMA * cast(self.bandwidth, dtype)
        low, high = tf.reduce_min(redshifts) - reach, tf.reduce_max(redshifts) + reach
        return spread(tf.maximum(low, 0), high, np.linspace(0, 1, self.num_panels + 1))

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        redshifts, weights, bandwidth = self._tensors(z.dtype)
        t = (z[..., None] - redshifts) / bandwidth  # [..., num_galaxies]
        return tf.reduce_sum(weights * tf.exp(-0.5 * t**2), axis=-1)

    def _total(self, edges: tf.Tensor) -> tf.Tensor:
        redshifts, weights, bandwidth = self._tensors(edges.dtype)
        scale = math.sqrt(2) * bandwidth
        inside = tf.math.erf((edges[-1] - redshifts) / scale)
        inside -= tf.math.erf((edges[0] - redshifts) / scale)
        return math.sqrt(math.pi) / 2 * scale * tf.reduce_sum(weights * inside)

    def _tensors(self, dtype: tf.DType) -> tuple[tf.Tensor, ...]:
        return tuple(cast(x, dtype) for x in (self.redshifts, self.weights, self.bandwidth))


def _array(value: TensorLike) -> tf.Tensor | np.ndarray:
    """Tensors as they are, the rest as float64 arrays."""
    return value if isinstance(value, tf.Tensor | tf.Variable) else np.asarray(value, np.float64)


def _check_table(z: TensorLike, z_name: str, n: TensorLike, n_name: str) -> None:
    checks.increasing(z, z_name)
    checks.non_negative(z, z_name)
    _check_weights(n, n_name)


def _check_weights(n: TensorLike, name: str) -> None:
    checks.non_negative(n, name)
    total = None if known(n) is None else np.sum(known(n))
    checks.require(total is None or total > 0, name, "have a positive sum", n)


def _panels_of_sample(redshifts: TensorLike, bandwidth: TensorLike) -> int:
    """One panel for every 1.5 bandwidths of the range, where both are known."""
    sample, width = known(redshifts), known(bandwidth)
    checks.require(
        sample is not None and width is not None, "num_panels", "be given here", None,
        "The sample or the bandwidth is not known when the graph is traced.",
    )  # fmt: skip
    length = np.ptp(sample) / width + 2 * NUM_SIGMA
    return int(np.ceil(length / 1.5))
