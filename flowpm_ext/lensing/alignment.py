"""Intrinsic alignments of galaxies with the matter around them."""

from collections.abc import Sequence

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.cosmology import distances, expansion
from flowpm_ext.cosmology.bias import as_bias
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.cosmology.probes import ALIGNMENT
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.numerics import quadrature

NUM_NODES = 8  # in each slab


def alignment_weights(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    chi: tf.Tensor,
    thickness: tf.Tensor,
    ia_bias: TensorLike,
) -> tf.Tensor:
    """Convergence that aligned galaxies seem to show, for each unit of overdensity of a slab.

    The nonlinear alignment model: -A C1 rho_crit Omega_m / D1 times the fraction of the
    galaxies that are in the slab, with the overdensity of the slab as theirs.

    Args:
        cosmo: Cosmology, or a batch.
        nz: n(z) of each bin, with a density.
        chi: Distances of the middle of the slabs (Mpc/h), shape [num_planes].
        thickness: Of a slab (Mpc/h), a scalar.
        ia_bias: A number, a bias model or a function of (z, growth_factor).

    Returns:
        Weights, shape [batch..., num_planes, num_bins].

    Raises:
        ValueError: If an n(z) is a delta function, or `ia_bias` is not finite.

    References:
        Hirata & Seljak 2004, arXiv:astro-ph/0406275; Bridle & King 2007, arXiv:0705.0166.
    """
    for one in nz:
        checks.require(one.has_density, "nz", "have a density, for alignments", one)
    p, a = cosmo.columns(), distances.a_of_chi(cosmo, chi)
    growth = GrowthTable.of(p).factor(a)
    nodes, node_weights = (tf.constant(x, chi.dtype) for x in quadrature.gauss_legendre(NUM_NODES))
    inside = distances.a_of_chi(cosmo, chi[:, None] + (nodes - 0.5) * thickness)
    rate = tf.sqrt(expansion.squared_rate(expansion.deeper(p), inside)) / expansion.HUBBLE_RADIUS
    weight = thickness * rate * node_weights
    fractions = [tf.reduce_sum(one(1 / inside - 1) * weight, axis=-1) for one in nz]
    amplitude = as_bias(ia_bias, "ia_bias")(1 / a - 1, growth)
    strength = -ALIGNMENT * p.Omega_m * amplitude / growth
    return strength[..., None] * tf.stack(fractions, axis=-1)
