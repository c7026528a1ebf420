"""The expanding background: rates and densities as functions of (cosmo, a).

Rates are in km/s/(Mpc/h), so that H(a=1) = 100.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology

HUBBLE_RADIUS = 2997.92458  # c / (100 km/s/Mpc), in Mpc/h
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
        require_cosmology(cosmo)
        a = units.to_value(a, "", "a")
        checks.in_range(a, "a", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
        a = cast(a, cosmo.dtype)
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


def deeper(p: Cosmology) -> Cosmology:
    """Parameters [..., 1] as [..., 1, 1]."""
    return tf.nest.map_structure(lambda x: x[..., None], p)
