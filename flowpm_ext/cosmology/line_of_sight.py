"""The line of sight on quadrature nodes: where Limber integrals and lensing kernels live.

Nodes are Gauss-Legendre on panels between redshifts where kernels may bend. A finer set of
panels, whose edges include all nodes, carries the running integrals over source distributions,
so that lensing kernels come out at the nodes without interpolation.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import Structure
from flowpm_ext.cosmology import distances, expansion
from flowpm_ext.cosmology.expansion import HUBBLE_RADIUS
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.numerics import quadrature

NUM_NODES = 4  # in each panel
NUM_PANELS = 28  # from the observer to the end of the galaxies
FAR_PANELS = 20  # from there to a screen behind them, as the last scattering surface
NEAREST = 1e-5  # redshift: nearer structure is beyond k = 100 h/Mpc for every ell > 3


@dataclasses.dataclass(frozen=True)
class LineOfSight(Structure):
    """Nodes in redshift with the background there, and panels for running integrals.

    Attributes:
        parameters: The cosmology, each parameter [..., 1].
        growth: Its growth table.
        z: Redshifts of the nodes, [n], increasing.
        weights: Quadrature weights in redshift, [n].
        rate: E(z) at the nodes, [..., n].
        chi: Radial comoving distance (Mpc/h), [..., n].
        transverse: f_K(chi) (Mpc/h), [..., n].
        cosine: d f_K / d chi, [..., n].
        fine_z: Redshifts of the fine nodes, [m, 4].
        fine_weights: Their weights, [m, 4].
        fine_transverse: f_K at the fine nodes (Mpc/h), [..., m, 4].
        fine_cosine: d f_K / d chi there, [..., m, 4].
        place: Index among the edges of the fine panels of each node, int32 [n].
    """

    parameters: Cosmology
    growth: GrowthTable
    z: tf.Tensor
    weights: tf.Tensor
    rate: tf.Tensor
    chi: tf.Tensor
    transverse: tf.Tensor
    cosine: tf.Tensor
    fine_z: tf.Tensor
    fine_weights: tf.Tensor
    fine_transverse: tf.Tensor
    fine_cosine: tf.Tensor
    place: tf.Tensor

    @classmethod
    def of(
        cls,
        p: Cosmology,
        growth: GrowthTable,
        bends: Sequence[tf.Tensor],
        sources: Sequence[tf.Tensor],
        planes: Sequence[tf.Tensor] = (),
    ) -> "LineOfSight":
        """Lay the nodes.

        Args:
            p: Parameters, each [..., 1].
            growth: Growth table of `p`.
            bends: Redshifts where kernels may bend, [.] each.
            sources: Redshifts where only the densities of lensed sources do, [.] each.
            planes: Redshifts of source planes, near or far, a scalar each.

        Returns:
            The line of sight.
        """
        edges = _panel_edges(p.h.dtype, bends, sources, planes)
        z, weights = (tf.reshape(x, [-1]) for x in quadrature.panel_nodes(edges, NUM_NODES))
        fine_edges, place = _fine_edges(z, [*bends, *sources])
        fine_z, fine_weights = quadrature.panel_nodes(fine_edges, NUM_NODES)  # [m, 4]
        inverse = _inverse_rate(p, fine_z)  # [..., m, 4]
        at_edges = quadrature.running_integral(inverse, fine_weights)  # [..., m + 1]
        inside = tf.constant(quadrature.running_weights(NUM_NODES), z.dtype)
        widths = (fine_edges[1:] - fine_edges[:-1])[:, None]
        fine_chi = at_edges[..., :-1, None] + widths * tf.linalg.matvec(inside, inverse)
        fine_chi = HUBBLE_RADIUS * fine_chi
        chi = HUBBLE_RADIUS * tf.gather(at_edges, place, axis=-1)
        deep = expansion.deeper(p)
        return cls(
            p, growth, z, weights, tf.sqrt(expansion.squared_rate(p, 1 / (1 + z))), chi,
            distances.transverse(p, chi), distances.curvature_cosine(p, chi), fine_z,
            fine_weights, distances.transverse(deep, fine_chi),
            distances.curvature_cosine(deep, fine_chi), place,
        )  # fmt: skip

    @property
    def a(self) -> tf.Tensor:
        """Scale factors of the nodes, [n]."""
        return 1 / (1 + self.z)

    @property
    def density_of_redshift(self) -> tf.Tensor:
        """dz / dchi (h/Mpc), [..., n]."""
        return self.rate / HUBBLE_RADIUS

    @property
    def limber_measure(self) -> tf.Tensor:
        """Weights of integrals over distance of what is divided by f_K**2 (h/Mpc), [..., n]."""
        return self.weights * HUBBLE_RADIUS / (self.rate * self.transverse**2)

    def lensing_weight(self, source_density: tf.Tensor) -> tf.Tensor:
        """Kernel of convergence for sources with a density in redshift.

        3/2 Omega_m (H0/c)**2 (1 + z) f_K(chi) int dz' n(z') f_K(chi' - chi) / f_K(chi'), with
        the difference of distances split by the addition theorem into two running integrals.

        Args:
            source_density: n at the fine nodes, [m, 4].

        Returns:
            Kernel in chi (h/Mpc), [..., n].
        """
        ahead = self._integral_ahead(source_density)
        slope = self._integral_ahead(source_density * self.fine_cosine / self.fine_transverse)
        return self._lensing_factor() * (self.cosine * ahead - self.transverse * slope)

    def lensing_weight_of_plane(self, z_source: tf.Tensor) -> tf.Tensor:
        """Kernel of convergence for sources at one redshift, a scalar: [..., n]."""
        chi = distances.distance(self.parameters, tf.reshape(1 / (1 + z_source), [1]))
        far = distances.transverse(self.parameters, chi)  # [..., 1]
        slope = distances.curvature_cosine(self.parameters, chi) / far
        weight = self._lensing_factor() * (self.cosine - self.transverse * slope)
        return tf.where(self.z < z_source, weight, tf.zeros_like(weight))

    def _lensing_factor(self) -> tf.Tensor:
        """3/2 Omega_m (H0/c)**2 (1 + z) f_K, [..., n]."""
        return 1.5 * self.parameters.Omega_m / HUBBLE_RADIUS**2 * (1 + self.z) * self.transverse

    def _integral_ahead(self, values: tf.Tensor) -> tf.Tensor:
        """Integral in redshift from each node to the end, [..., n]."""
        running = quadrature.running_integral(values, self.fine_weights)
        return tf.gather(running[..., -1:] - running, self.place, axis=-1)


def _panel_edges(
    dtype: tf.DType,
    bends: Sequence[tf.Tensor],
    sources: Sequence[tf.Tensor],
    planes: Sequence[tf.Tensor],
) -> tf.Tensor:
    """Edges of the panels: quadratic in redshift to the last galaxy, then even in ln(1 + z)."""
    # Without galaxies the near panels still reach to where structure lenses most.
    galaxies = [*bends, *sources] or [tf.minimum(tf.stack(list(planes)), 2.0)]
    last = tf.maximum(tf.reduce_max(tf.concat(galaxies, axis=0)), 10 * NEAREST)
    steps = tf.constant((np.arange(NUM_PANELS + 1) / NUM_PANELS) ** 2, dtype)
    edges = [NEAREST + (last - NEAREST) * steps, *bends]
    if planes:
        end = tf.maximum(last, tf.reduce_max(tf.stack(list(planes))))
        far = tf.constant(np.arange(FAR_PANELS + 1) / FAR_PANELS, dtype)
        edges += [tf.stack(list(planes)), (1 + last) * ((1 + end) / (1 + last)) ** far - 1]
        last = end
    edges = tf.clip_by_value(tf.concat(edges, axis=0), NEAREST, last)
    return tf.gather(edges, tf.argsort(tf.stop_gradient(edges)))


def _fine_edges(z: tf.Tensor, points: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Zero, the nodes and the points in order, and the index there of each node."""
    # No panel of zero width at the observer, where f_K vanishes.
    points = [tf.maximum(point, NEAREST) for point in points]
    edges = tf.concat([z, tf.zeros([1], z.dtype), *points], axis=0)
    order = tf.argsort(tf.stop_gradient(edges))
    return tf.gather(edges, order), tf.argsort(order)[: z.shape[0]]


def _inverse_rate(p: Cosmology, z: tf.Tensor) -> tf.Tensor:
    """1 / E at redshifts [m, 4]: [..., m, 4]."""
    return tf.math.rsqrt(expansion.squared_rate(expansion.deeper(p), 1 / (1 + z)))
