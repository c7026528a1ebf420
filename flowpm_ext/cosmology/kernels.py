"""Kernels of projected tracers, for Limber integrals along a line of sight."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.cosmology import distances, expansion
from flowpm_ext.cosmology.expansion import HUBBLE_RADIUS
from flowpm_ext.cosmology.line_of_sight import LineOfSight
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.numerics import quadrature


class Kernels(NamedTuple):
    """Kernels of the tracers of a probe, as sums of products of distance and multipole.

    Attributes:
        radial: Functions of distance (h/Mpc), [..., num_rows, n].
        factor: Function of ell that goes with each row, [num_rows, num_ell].
        owner: Tracer to which each row belongs, one number a row.
        rest: What is no such product, [..., num_tracers, num_ell, n], or None.
    """

    radial: tf.Tensor
    factor: tf.Tensor
    owner: tuple[int, ...]
    rest: tf.Tensor | None = None


def stacked(radial: Sequence[tf.Tensor]) -> tf.Tensor:
    """Kernels [..., n] of each tracer as [..., num_tracers, n]."""
    return tf.stack(list(radial), axis=-2)


def one_row_each(radial: tf.Tensor, factor: tf.Tensor) -> Kernels:
    """Kernels that share one function of ell, [num_ell]."""
    count = radial.shape[-2]
    return Kernels(radial, tf.tile(factor[None], [count, 1]), tuple(range(count)))


def joined(first: Kernels, second: Kernels) -> Kernels:
    """Two terms of the same tracers."""
    return Kernels(
        tf.concat([first.radial, second.radial], axis=-2),
        tf.concat([first.factor, second.factor], axis=0),
        first.owner + second.owner,
    )


def convergence(sight: LineOfSight, nz: RedshiftDistribution) -> tf.Tensor:
    """Lensing kernel of a bin, [..., n]."""
    if not nz.has_density:
        return sight.lensing_weight_of_plane(nz.breakpoints(sight.z.dtype)[0])
    return sight.lensing_weight(nz(sight.fine_z))


def redshift_distortions(
    sight: LineOfSight, ell: tf.Tensor, bins: Sequence[RedshiftDistribution]
) -> tf.Tensor:
    """Kernels of linear infall, [..., num_tracers, num_ell, n].

    In the Limber approximation the second derivative of the Bessel function becomes values
    at two distances, where k f_K = ell + 1/2 and where k f_K = ell + 3/2:
    f n dz/dchi (1 + 8 ell) / (2 ell + 1)**2 at the first, minus 4 / (2 ell + 3)
    sqrt((2 ell + 1) / (2 ell + 3)) f n dz/dchi D / D(first) at the second.
    """
    ell = ell[:, None]
    z = _farther(sight, (2 * ell + 3) / (2 * ell + 1))  # [..., num_ell, n]
    deep = expansion.deeper(sight.parameters)
    a = 1 / (1 + z)
    rate = tf.sqrt(expansion.squared_rate(deep, a)) / HUBBLE_RADIUS
    flat = tf.reshape(a, tf.concat([tf.shape(a)[:-2], [-1]], axis=0))
    growth = tf.reshape(sight.growth.factor(flat) * sight.growth.rate(flat), tf.shape(a))
    near = (1 + 8 * ell) / (2 * ell + 1) ** 2
    far = 4 / (2 * ell + 3) * tf.sqrt((2 * ell + 1) / (2 * ell + 3))
    here = (sight.growth.rate(sight.a) * sight.density_of_redshift)[..., None, :] * near
    there = rate * growth / sight.growth.factor(sight.a)[..., None, :] * far
    return tf.stack([nz(sight.z) * here - nz(z) * there for nz in bins], axis=-3)


def _farther(sight: LineOfSight, ratio: tf.Tensor) -> tf.Tensor:
    """Redshift where f_K is `ratio` [num_ell, 1] times that of each node: [..., num_ell, n].

    Bounded well behind the last node, because for distant nodes it may lie beyond the horizon.
    """
    p = expansion.deeper(sight.parameters)
    nodes, weights = (tf.constant(x, ratio.dtype) for x in quadrature.gauss_legendre(8))
    start, goal = sight.z, ratio * sight.transverse[..., None, :]
    z = start + (ratio - 1) * (sight.transverse * sight.rate)[..., None, :] / HUBBLE_RADIUS
    limit = 1 + 2 * sight.z[-1]
    z = tf.minimum(z, limit)
    for step in range(5):  # Newton; the last two steps carry the gradients
        z = z if step == 4 else tf.stop_gradient(z)
        between = start[:, None] + (z - start)[..., None] * nodes  # [..., num_ell, n, nodes]
        inverse = tf.math.rsqrt(expansion.squared_rate(expansion.deeper(p), 1 / (1 + between)))
        more = HUBBLE_RADIUS * (z - start) * tf.linalg.matvec(inverse, weights)
        sine, cosine = distances.transverse(p, more), distances.curvature_cosine(p, more)
        reached = sight.transverse[..., None, :] * cosine + sight.cosine[..., None, :] * sine
        slope = HUBBLE_RADIUS * tf.math.rsqrt(expansion.squared_rate(p, 1 / (1 + z)))
        bend = p.Omega_k / HUBBLE_RADIUS**2 * sight.transverse[..., None, :] * sine
        slope *= sight.cosine[..., None, :] * cosine + bend
        z = tf.clip_by_value(z - (reached - goal) / slope, 0.0, limit)
    return z


def scalar_factor(ell: tf.Tensor) -> tf.Tensor:
    """ell (ell + 1) / (ell + 1/2)**2, of a convergence from the potential."""
    return ell * (ell + 1) / (ell + 0.5) ** 2
