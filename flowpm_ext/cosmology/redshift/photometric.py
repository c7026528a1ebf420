"""Tomographic bins: what a cut in photometric redshift selects in true redshift."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating, known
from flowpm_ext.cosmology.redshift.base import (
    NUM_NODES,
    RedshiftDistribution,
    require_density,
)
from flowpm_ext.cosmology.redshift.shapes import NUM_SIGMA
from flowpm_ext.numerics import interpolate, quadrature

NUM_HALVINGS = 40  # of the interval that holds an edge: 1e-11 in redshift
STEPS = np.linspace(-NUM_SIGMA, NUM_SIGMA, 7)  # panels of an error function, in sigma


def photoz_bin(
    nz: RedshiftDistribution,
    low: TensorLike,
    high: TensorLike,
    sigma0: TensorLike,
    bias: TensorLike = 0.0,
) -> RedshiftDistribution:
    """Galaxies whose photometric redshift lies between two edges.

    The photometric redshift of a galaxy at z is Gaussian around z + bias (1 + z), with
    standard deviation sigma0 (1 + z).

    Args:
        nz: Distribution of all galaxies in true redshift.
        low: Lower edge (photometric redshift).
        high: Upper edge (photometric redshift).
        sigma0: Scatter at redshift zero; 1e-3 makes nearly sharp edges.
        bias: Offset at redshift zero.

    Returns:
        The distribution of the bin in true redshift, differentiable in all arguments. Its sky
        density is that of `nz` times the fraction of galaxies in the bin.

    Raises:
        ValueError: If `high` is not above `low`, `sigma0` is not positive, `bias` is not
            finite or not above -1, or the bin holds no galaxy.
        TypeError: If `nz` has no density.

    References:
        Ma, Hu & Huterer 2006, arXiv:astro-ph/0506614, equation 6.
    """
    require_density(nz)
    checks.finite(low, "low")
    edges = known(low), known(high)
    checks.require(
        None in edges or edges[1] > edges[0], "high", "be above `low`", f"{low} and {high}"
    )
    checks.positive(sigma0, "sigma0")
    checks.in_range(bias, "bias", -0.9, 9)
    made = _PhotozBin(nz, low, high, sigma0, bias)
    fraction = made.fraction()
    # Beyond the last six sigma of any galaxy the fraction is rounding, not galaxies.
    empty = known(fraction) is not None and not known(fraction) > 1e-12
    checks.require(not empty, "low and high", "select some galaxies", f"{low} and {high}")
    density = cast(nz.gals_per_arcmin2, fraction.dtype) * fraction
    return made.replace(gals_per_arcmin2=density)


def tomographic_bins(
    nz: RedshiftDistribution,
    bins: int | Sequence[float],
    sigma0: TensorLike,
    bias: TensorLike = 0.0,
) -> list[RedshiftDistribution]:
    """Galaxies divided by photometric redshift into bins.

    Args:
        nz: Distribution of all galaxies in true redshift.
        bins: Number of bins with equally many galaxies in each, or their edges (photometric
            redshift), increasing, [num_bins + 1]. Edges found here are fixed numbers: no
            gradient flows through their position.
        sigma0: Scatter of the photometric redshifts at redshift zero; see `photoz_bin`.
        bias: Their offset at redshift zero.

    Returns:
        One distribution for each bin, from low to high redshift; their sky densities sum to
        that of `nz` times the fraction of galaxies between the outer edges.

    Raises:
        ValueError: If there is no bin, edges do not increase, a bin holds no galaxy, or as
            `photoz_bin`.
        TypeError: If `nz` has no density.

    References:
        Ma, Hu & Huterer 2006, arXiv:astro-ph/0506614, equation 6.
    """
    require_density(nz)
    if isinstance(bins, int | np.integer):
        checks.require(bins >= 1, "bins", "be at least one", bins)
        checks.positive(sigma0, "sigma0")
        bins = _equal_edges(nz, int(bins), sigma0, bias)
    edges = cast(bins, floating(bins))
    checks.rank(edges, "bins", 1)
    checks.require(edges.shape[0] >= 2, "bins", "hold at least two edges", bins)
    checks.increasing(edges, "bins")
    return [photoz_bin(nz, *pair, sigma0, bias) for pair in itertools.pairwise(tf.unstack(edges))]


@dataclasses.dataclass(frozen=True, eq=False)
class _PhotozBin(RedshiftDistribution):
    nz: RedshiftDistribution
    low: TensorLike
    high: TensorLike
    sigma0: TensorLike
    bias: TensorLike

    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        edges = self.nz.breakpoints(dtype)
        below, above = self._transition(self.low, dtype), self._transition(self.high, dtype)
        first, last = tf.maximum(edges[0], below[0]), tf.minimum(edges[-1], above[-1])
        every = tf.sort(tf.concat([edges, below, above], axis=0))
        return tf.clip_by_value(every, first, last)

    def fraction(self) -> tf.Tensor:
        """Fraction of all galaxies that the bin selects."""
        return self._total(self.breakpoints())

    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        scatter = math.sqrt(2) * cast(self.sigma0, z.dtype) * (1 + z)
        centre = z + cast(self.bias, z.dtype) * (1 + z)
        above_low = tf.math.erf((cast(self.low, z.dtype) - centre) / scatter)
        above_high = tf.math.erf((cast(self.high, z.dtype) - centre) / scatter)
        return self.nz(z) * 0.5 * (above_high - above_low)

    def _transition(self, edge: TensorLike, dtype: tf.DType) -> tf.Tensor:
        """True redshifts around which galaxies cross an edge, in steps of two sigma, [7]."""
        edge, sigma0, bias = (cast(x, dtype) for x in (edge, self.sigma0, self.bias))
        return _crossing(edge, tf.constant(STEPS[::-1], dtype), sigma0, bias)


def _crossing(edge: tf.Tensor, k: tf.Tensor, sigma0: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """True redshift z at which a galaxy with an error of k sigma is observed at an edge."""
    # (1 + z) (1 + bias + k sigma0) = 1 + edge; where no z solves this, ten times is far enough.
    return (1 + edge) / tf.maximum(1 + bias + k * sigma0, 0.1) - 1


def _equal_edges(
    nz: RedshiftDistribution, num_bins: int, sigma0: TensorLike, bias: TensorLike
) -> tf.Tensor:
    """Photometric redshifts that divide the galaxies into equal numbers, [num_bins + 1]."""
    sigma0, bias = cast(sigma0, tf.float64), cast(bias, tf.float64)
    table = _cumulative(nz)
    k, weights = quadrature.panel_nodes(tf.constant(STEPS), NUM_NODES)
    k, weights = tf.reshape(k, [-1]), tf.reshape(weights * tf.exp(-0.5 * k**2), [-1])
    ends = tf.stack([table[0][0], table[0][-1]])
    reach = tf.constant([-NUM_SIGMA, NUM_SIGMA], tf.float64)
    low, high = tf.unstack(ends + (1 + ends) * (bias + reach * sigma0))
    wanted = tf.constant(np.arange(1, num_bins) / num_bins)

    def halve(left: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        middle = 0.5 * (left + right)
        z = tf.clip_by_value(_crossing(middle[:, None], k, sigma0, bias), ends[0], ends[1])
        # A galaxy with an error of k sigma lies below the edge if its redshift is below z.
        below = tf.linalg.matvec(interpolate.hermite_table(z, *table), weights)
        is_low = below < wanted * tf.reduce_sum(weights)
        return tf.where(is_low, middle, left), tf.where(is_low, right, middle)

    inner = (tf.ones_like(wanted) * low, tf.ones_like(wanted) * high)
    inner = tf.while_loop(lambda *_: True, halve, inner, maximum_iterations=NUM_HALVINGS)[0]
    return tf.stop_gradient(tf.concat([low[None], inner, high[None]], axis=0))


def _cumulative(nz: RedshiftDistribution) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Knots in redshift, fraction of the galaxies below each, and the density there."""
    edges = nz.breakpoints()
    z, weights = quadrature.panel_nodes(edges, NUM_NODES)
    density = nz(z)  # [num_panels, num_nodes]
    start = quadrature.running_integral(density, weights)
    within = tf.matmul(density, quadrature.running_weights(NUM_NODES), transpose_b=True)
    below = start[:-1, None] + (edges[1:] - edges[:-1])[:, None] * within
    first, last = edges[:1], edges[-1:]
    knots = tf.concat([first, tf.reshape(z, [-1]), last], axis=0)
    values = tf.concat([start[:1], tf.reshape(below, [-1]), start[-1:]], axis=0)
    return knots, values, nz(knots)
