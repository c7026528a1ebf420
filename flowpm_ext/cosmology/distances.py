"""Distances as functions of (cosmo, a): comoving, in Mpc/h."""

import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.cosmology.expansion import (
    EARLIEST,
    HUBBLE_RADIUS,
    deeper,
    log_rate_slope,
    of_scale_factor,
    squared_rate,
)
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.numerics import quadrature
from flowpm_ext.numerics.roots import implicit_step, inverse_of_table

NUM_DISTANCE_NODES = 64  # the integrand is smooth in ln a: 1e-14 at z < 100


@of_scale_factor
def dchioverda(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Change of the comoving distance with the scale factor, c / (a**2 H) (Mpc/h).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        |d chi / d a| (Mpc/h), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return HUBBLE_RADIUS / (a**2 * tf.sqrt(squared_rate(cosmo, a)))


@of_scale_factor
def radial_comoving_distance(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Comoving distance along the line of sight to scale factor `a` (Mpc/h).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Distance chi (Mpc/h), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return distance(cosmo, a)


@of_scale_factor
def transverse_comoving_distance(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Comoving distance across the line of sight, f_K(chi) (Mpc/h).

    Smooth through Omega_k = 0, where it equals the radial distance.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Distance (Mpc/h), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return transverse(cosmo, distance(cosmo, a))


@of_scale_factor
def angular_diameter_distance(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Physical size over angle of a distant object, a f_K(chi) (Mpc/h).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Distance (Mpc/h), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return a * transverse(cosmo, distance(cosmo, a))


@of_scale_factor
def luminosity_distance(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Distance by which the light of an object has thinned, f_K(chi) / a (Mpc/h).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Distance (Mpc/h), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return transverse(cosmo, distance(cosmo, a)) / a


def a_of_chi(cosmo: Cosmology, chi: TensorLike) -> tf.Tensor:
    """Scale factor at a radial comoving distance, the inverse of `radial_comoving_distance`.

    A table gives a first guess, Newton steps on the exact distance the root, and an implicit
    step its first and second derivatives.

    Args:
        cosmo: Cosmology, or a batch.
        chi: Radial comoving distance (Mpc/h) or an astropy quantity, any shape, up to that of
            a = 1e-4.

    Returns:
        Scale factor, shape [batch..., *chi.shape].

    Raises:
        ValueError: If `chi` is negative, not finite or beyond a = 1e-4.

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    require_cosmology(cosmo)
    chi = units.to_value(chi, "Mpc/h", "chi", known(cosmo.h))
    checks.non_negative(chi, "chi")
    chi = cast(chi, cosmo.dtype)
    flat, p = tf.reshape(chi, [-1]), cosmo.columns()
    table = np.linspace(math.log(EARLIEST), 0.0, 129)
    chi_table = distance(p, tf.constant(np.exp(table), cosmo.dtype))  # [..., 129], decreasing
    if known(chi) is not None and known(chi_table) is not None:
        checks.in_range(chi, "chi", 0.0, float(np.min(known(chi_table)[..., 0])))
    log_a = inverse_of_table(table, chi_table, flat)  # [..., n]
    for _ in range(2):
        log_a += (distance(p, tf.exp(log_a)) - flat) / _distance_slope(p, tf.exp(log_a))
    log_a = tf.stop_gradient(log_a)
    a = tf.exp(log_a)
    slope = -_distance_slope(p, a)
    curvature = -slope * (1 + log_rate_slope(p, a))
    log_a += implicit_step(distance(p, a) - flat, slope, curvature)
    return tf.reshape(tf.exp(log_a), tf.concat([tf.shape(log_a)[:-1], tf.shape(chi)], axis=0))


def distance(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """`radial_comoving_distance` for parameters [..., 1] and a of [n] or [..., n]: [..., n]."""
    nodes, weights = (
        tf.constant(x, a.dtype) for x in quadrature.gauss_legendre(NUM_DISTANCE_NODES)
    )
    log_a = tf.math.log(a)[..., None]  # [..., n, 1]
    x = tf.exp(log_a * nodes)  # [..., n, nodes]
    integrand = 1 / (x * tf.sqrt(squared_rate(deeper(p), x)))
    return -HUBBLE_RADIUS * log_a[..., 0] * tf.linalg.matvec(integrand, weights)


def transverse(p: Cosmology, chi: tf.Tensor) -> tf.Tensor:
    """f_K(chi) (Mpc/h) for parameters [..., 1] and chi of [..., n]."""
    return chi * _series(p.Omega_k * (chi / HUBBLE_RADIUS) ** 2, first=1)


def curvature_cosine(p: Cosmology, chi: tf.Tensor) -> tf.Tensor:
    """d f_K / d chi for parameters [..., 1] and chi of [..., n]."""
    return _series(p.Omega_k * (chi / HUBBLE_RADIUS) ** 2, first=0)


def _series(x: tf.Tensor, first: int) -> tf.Tensor:
    """sum over n of x**n / (2 n + first)!: cosh(sqrt(x)), or sinh(sqrt(x)) / sqrt(x).

    Both are entire in x, so no branch is needed for open, flat and closed; fourteen terms
    reach machine precision for |x| < 10, beyond any universe of |Omega_k| < 1.
    """
    total = 1.0
    for n in range(14, 0, -1):
        total = 1 + total * x * (1 / ((2 * n + first) * (2 * n + first - 1)))
    return total


def _distance_slope(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """-d chi / d ln a (Mpc/h) for parameters [..., 1] and a of [..., n]: [..., n]."""
    return HUBBLE_RADIUS / (a * tf.sqrt(squared_rate(p, a)))
