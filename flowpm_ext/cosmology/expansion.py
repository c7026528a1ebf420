"""The expanding background: rates, densities and distances as functions of (cosmo, a).

Distances are comoving (Mpc/h), rates in km/s/(Mpc/h), so that H(a=1) = 100.
"""

import functools
import math
from collections.abc import Callable

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.numerics import quadrature
from flowpm_ext.numerics.roots import implicit_step

HUBBLE_RADIUS = 2997.92458  # c / (100 km/s/Mpc), in Mpc/h
NUM_DISTANCE_NODES = 64  # the integrand is smooth in ln a: 1e-14 at z < 100
EARLIEST = 1e-4  # tables start here: far into matter domination


def of_scale_factor(function: Callable) -> Callable:
    """Decorator: lets a function of (parameters [..., 1], a [n]) take any shape of `a`.

    Args:
        function: Takes `cosmo.columns()` and a flat tensor of scale factors, and returns
            [..., n].

    Returns:
        A function of (cosmo, a) whose result has the shape of the batch of cosmologies
        followed by the shape of `a`. It raises ValueError unless 0 < a <= 1.
    """

    @functools.wraps(function)
    def call(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
        checks.in_range(a, "a", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
        a = tf.convert_to_tensor(a) if isinstance(a, tf.Variable) else a
        a = tf.cast(a, cosmo.dtype) if isinstance(a, tf.Tensor) else tf.constant(a, cosmo.dtype)
        value = function(cosmo.columns(), tf.reshape(a, [-1]))
        return tf.reshape(value, tf.concat([tf.shape(value)[:-1], tf.shape(a)], axis=0))

    return call


@of_scale_factor
def w(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Equation of state of dark energy, w0 + wa (1 - a).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Pressure over density, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Linder 2003, arXiv:astro-ph/0208512.
    """
    return cosmo.w0 + cosmo.wa * (1 - a)


@of_scale_factor
def f_de(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Density of dark energy over its density today, a**(-3 (1 + w0 + wa)) exp(-3 wa (1 - a)).

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Ratio of densities, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Linder 2003, arXiv:astro-ph/0208512.
    """
    return dark_energy(cosmo, a)


@of_scale_factor
def Esqr(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Squared expansion rate in units of today's, E(a)**2 = (H(a) / H0)**2.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        E squared, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return squared_rate(cosmo, a)


@of_scale_factor
def H(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Expansion rate (km/s/(Mpc/h)); 100 at a = 1.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Expansion rate, shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return 100 * tf.sqrt(squared_rate(cosmo, a))


@of_scale_factor
def Omega_m_a(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Matter density over the critical density of the time.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Omega_m(a), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return matter_fraction(cosmo, a)


@of_scale_factor
def Omega_de_a(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """Dark energy density over the critical density of the time.

    Args:
        cosmo: Cosmology, or a batch.
        a: Scale factor, any shape.

    Returns:
        Omega_de(a), shape [batch..., *a.shape].

    Raises:
        ValueError: If `a` is outside (0, 1].

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    return cosmo.Omega_de * dark_energy(cosmo, a) / squared_rate(cosmo, a)


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
        chi: Radial comoving distance (Mpc/h), any shape, up to that of a = 1e-4.

    Returns:
        Scale factor, shape [batch..., *chi.shape].

    Raises:
        ValueError: If `chi` is negative or not finite.

    References:
        Hogg 1999, arXiv:astro-ph/9905116.
    """
    checks.non_negative(chi, "chi")
    chi = cast(chi, cosmo.dtype)
    flat, p = tf.reshape(chi, [-1]), cosmo.columns()
    spacing = math.log(1 / EARLIEST) / 128
    table = math.log(EARLIEST) + spacing * tf.range(129, dtype=cosmo.dtype)
    chi_table = distance(p, tf.exp(table))  # [..., 129], decreasing
    farther = tf.cast(chi_table[..., None, :] > flat[:, None], tf.int32)
    cell = tf.clip_by_value(tf.reduce_sum(farther, axis=-1) - 1, 0, 127)  # [..., n]
    batch_axes = chi_table.shape.rank - 1
    left = tf.gather(chi_table, cell, axis=-1, batch_dims=batch_axes)
    right = tf.gather(chi_table, cell + 1, axis=-1, batch_dims=batch_axes)
    log_a = tf.gather(table, cell) + spacing * (left - flat) / (left - right)
    for _ in range(2):
        log_a += (distance(p, tf.exp(log_a)) - flat) / _distance_slope(p, tf.exp(log_a))
    log_a = tf.stop_gradient(log_a)
    a = tf.exp(log_a)
    slope = -_distance_slope(p, a)
    curvature = -slope * (1 + log_rate_slope(p, a))
    log_a += implicit_step(distance(p, a) - flat, slope, curvature)
    return tf.reshape(tf.exp(log_a), tf.concat([tf.shape(log_a)[:-1], tf.shape(chi)], axis=0))


def dark_energy(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """`f_de` for parameters [..., 1] and a of [n] or [..., n]: [..., n]."""
    return tf.exp(-3 * ((1 + p.w0 + p.wa) * tf.math.log(a) + p.wa * (1 - a)))


def squared_rate(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """`Esqr` for parameters [..., 1] and a of [n] or [..., n]: [..., n]."""
    inverse = 1 / a
    slow = p.Omega_k + inverse * (p.Omega_m + inverse * p.Omega_r)
    return inverse**2 * slow + p.Omega_de * dark_energy(p, a)


def log_rate_slope(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """d ln E / d ln a for parameters [..., 1] and a of [n]: [..., n]."""
    inverse = 1 / a
    slow = 2 * p.Omega_k + inverse * (3 * p.Omega_m + 4 * inverse * p.Omega_r)
    dark = 3 * (1 + p.w0 + p.wa * (1 - a)) * p.Omega_de * dark_energy(p, a)
    return -0.5 * (inverse**2 * slow + dark) / squared_rate(p, a)


def matter_fraction(p: Cosmology, a: tf.Tensor) -> tf.Tensor:
    """`Omega_m_a` for parameters [..., 1] and a of [n]: [..., n]."""
    return p.Omega_m / (a**3 * squared_rate(p, a))


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


def deeper(p: Cosmology) -> Cosmology:
    """Parameters [..., 1] as [..., 1, 1]."""
    return tf.nest.map_structure(lambda x: x[..., None], p)
