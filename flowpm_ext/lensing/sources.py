"""Where the lensed galaxies are: nodes along n(z), and how lens planes act on them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import folded
from flowpm_ext.core.types import known
from flowpm_ext.cosmology import distances
from flowpm_ext.cosmology.expansion import HUBBLE_RADIUS, deeper
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.numerics import quadrature

NUM_NODES = 8  # in each panel of n(z)
BEYOND = 1e-3  # fraction of the galaxies of a bin that may lie behind the last plane


class Sources(NamedTuple):
    """Galaxies of one bin as a sum over nodes.

    Attributes:
        chi: Comoving distances (Mpc/h), [..., num_nodes].
        weight: Fraction of the galaxies at each node, [num_nodes]; the sum is one.
    """

    chi: tf.Tensor
    weight: tf.Tensor

    @classmethod
    def of(cls, cosmo: Cosmology, nz: RedshiftDistribution) -> "Sources":
        """Nodes of a distribution, in the dtype of the cosmology."""
        p, dtype = cosmo.columns(), cosmo.dtype
        edges = nz.breakpoints(dtype)
        if nz.has_density:
            z, weight = (tf.reshape(x, [-1]) for x in quadrature.panel_nodes(edges, NUM_NODES))
            weight = weight * nz(z)
        else:
            z, weight = edges[:1], tf.ones([1], dtype)
        return cls(distances.distance(p, 1 / (1 + z)), weight)


def check_bins(nz: Sequence[RedshiftDistribution]) -> None:
    """Refuse what is no list of distributions.

    Args:
        nz: What was received.

    Raises:
        ValueError: If there is none.
        TypeError: If one is no redshift distribution.
    """
    checks.require(isinstance(nz, Sequence) and len(nz) > 0, "nz", "hold at least one n(z)", nz)
    for one in nz:
        checks.require(
            isinstance(one, RedshiftDistribution), "nz", "hold redshift distributions", one,
            "See the functions of `cosmology.redshift`.", error=TypeError,
        )  # fmt: skip


@folded
def sources_of(cosmo: Cosmology, nz: Sequence[RedshiftDistribution]) -> list[Sources]:
    """The sources of each bin.

    Args:
        cosmo: Cosmology, or a batch.
        nz: n(z) of each bin.

    Returns:
        Nodes, for each bin.
    """
    return [Sources.of(cosmo, one) for one in nz]


def depth(sources: Sequence[Sources]) -> float | None:
    """Distance that all but a thousandth of the galaxies of every bin lie within (Mpc/h).

    Args:
        sources: Those of each bin.

    Returns:
        The largest such distance, over bins and cosmologies; None where it is not known yet.
    """
    farthest = 0.0
    for one in sources:
        chi, weight = (known(x) for x in one)
        if chi is None or weight is None:
            return None
        last = np.flatnonzero(np.cumsum(weight[::-1])[::-1] > BEYOND)[-1]
        farthest = max(farthest, float(np.max(chi[..., last])))
    return farthest


def kernel_peak(sources: Sources) -> float | None:
    """Distance at which matter lenses the galaxies of a bin most, in flat space (Mpc/h).

    Args:
        sources: The galaxies.

    Returns:
        The distance, over a batch of cosmologies the least; None where it is not known yet.
    """
    chi_s, weight = (known(x) for x in sources)
    if chi_s is None or weight is None:
        return None
    chi = np.linspace(0.0, np.max(chi_s), 200)[1:]
    behind = np.maximum(1 - chi[:, None] / chi_s[..., None, :], 0.0)
    return float(np.min(chi[np.argmax(chi * (behind @ weight), axis=-1)]))


def require_within(sources: Sequence[Sources], end: tf.Tensor) -> None:
    """Refuse sources behind the last plane.

    Args:
        sources: Those of each bin.
        end: Distance at which the last slab ends (Mpc/h).

    Raises:
        ValueError: If more than a thousandth of the galaxies of a bin lie behind it.
    """
    end = known(end)
    for number, one in enumerate(sources):
        chi, weight = (known(x) for x in one)
        if chi is None or weight is None or end is None:
            continue
        # 1e-6 lets a source at the very end pass.
        fraction = float(np.max(np.sum(np.where(chi > end * (1 + 1e-6), weight, 0), axis=-1)))
        checks.require(
            fraction <= BEYOND, f"nz[{number}]", "lie within the light cone",
            f"{fraction:.1%} of it beyond {end:.0f} Mpc/h", "Take more planes or thicker ones.",
        )  # fmt: skip


def lensing_weights(cosmo: Cosmology, nz: RedshiftDistribution, chi: tf.Tensor) -> tf.Tensor:
    """Convergence for each unit of (overdensity times thickness of the slab).

    3/2 Omega_m (H0/c)**2 f_K(chi) / a, times the mean over the sources behind the plane of
    f_K(chi_s - chi) / f_K(chi_s).

    Args:
        cosmo: Cosmology, or a batch.
        nz: n(z) of the sources.
        chi: Distances of the planes (Mpc/h), shape [num_planes].

    Returns:
        Weights (h/Mpc), shape [batch..., num_planes].

    References:
        Bartelmann & Schneider 2001, arXiv:astro-ph/9912508, section 6.1.
    """
    p, sources = cosmo.columns(), Sources.of(cosmo, nz)
    behind = tf.nn.relu(sources.chi[..., None, :] - chi[:, None])
    efficiency = distances.transverse(deeper(p), behind)
    efficiency /= distances.transverse(p, sources.chi)[..., None, :]
    reach = tf.linalg.matvec(efficiency, sources.weight)
    return strength(cosmo, chi) * distances.transverse(p, chi) * reach


def strength(cosmo: Cosmology, chi: tf.Tensor) -> tf.Tensor:
    """3/2 Omega_m (H0/c)**2 / a of planes at distances [num_planes] (h**2/Mpc**2), [..., n]."""
    a = distances.a_of_chi(cosmo, chi)
    return 1.5 * cosmo.columns().Omega_m / HUBBLE_RADIUS**2 / a
