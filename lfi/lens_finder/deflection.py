"""How galaxies bend light: isothermal ellipsoids and external shear."""

import tensorflow as tf

SMALL = 1e-3  # square below which a series is as exact as float64


def isothermal_deflection(
    x: tf.Tensor,
    y: tf.Tensor,
    einstein_radius: tf.Tensor,
    axis_ratio: tf.Tensor,
    angle: tf.Tensor,
    core: tf.Tensor | float = 0.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Deflection by an isothermal ellipsoid, which may have a core.

    Its convergence is einstein_radius / 2 over the root of q u² + v² / q, where u and v are along
    the major and the minor axis and q is the axis ratio; a core adds q core² under that root.
    Lengths are in any one unit; all arguments broadcast.

    Args:
        x: Positions from the centre.
        y: The same along the other axis.
        einstein_radius: For q = 1 and no core the radius of the ring; else that of a circle of as
            much mass.
        axis_ratio: Minor over major axis of the convergence, 0 < q <= 1.
        angle: Of the major axis, from x to y (radians).
        core: Radius of the core along the major axis. Without one, there is no deflection at the
            centre itself by convention.

    Returns:
        The deflection along x and y.

    References:
        Kormann, Schneider & Bartelmann 1994, A&A 284, 285; Keeton 2001, astro-ph/0102341.
    """
    q, s = axis_ratio, core
    u, v = turned(x, y, angle)
    omega2 = q**2 * (s**2 + u**2) + v**2
    # No root of zero, whose slope is infinite: the quotients below are zero there.
    omega = tf.sqrt(tf.where(omega2 > 0, omega2, tf.ones_like(omega2)))
    f2, scale = 1 - q**2, einstein_radius * tf.sqrt(q)
    along, across = u / (omega + s), v / (omega + q**2 * s)
    alpha_u = scale * along * _arctan_ratio(f2 * along**2)
    alpha_v = scale * across * _artanh_ratio(f2 * across**2)
    return turned(alpha_u, alpha_v, -angle)


def shear_deflection(
    x: tf.Tensor, y: tf.Tensor, shear_1: tf.Tensor, shear_2: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Deflection by a uniform tidal field.

    Args:
        x: Positions from the centre.
        y: The same along the other axis.
        shear_1: Stretch along x.
        shear_2: Stretch along the diagonal.

    Returns:
        The deflection along x and y.

    References:
        Schneider, Ehlers & Falco 1992, Gravitational Lenses, section 5.2.
    """
    return shear_1 * x + shear_2 * y, shear_2 * x - shear_1 * y


def turned(x: tf.Tensor, y: tf.Tensor, angle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Coordinates along axes turned by an angle.

    Args:
        x: Coordinates.
        y: The same along the other axis.
        angle: From x to y (radians).

    Returns:
        Both coordinates.

    References:
        A rotation.
    """
    c, s = tf.cos(angle), tf.sin(angle)
    return c * x + s * y, c * y - s * x


def _arctan_ratio(t2: tf.Tensor) -> tf.Tensor:
    """arctan(t) / t from the square of t."""
    series = 1 - t2 * (1 / 3 - t2 * (1 / 5 - t2 * (1 / 7 - t2 / 9)))
    t = tf.sqrt(tf.maximum(t2, SMALL))
    return tf.where(t2 < SMALL, series, tf.atan(t) / t)


def _artanh_ratio(t2: tf.Tensor) -> tf.Tensor:
    """artanh(t) / t from the square of t."""
    series = 1 + t2 * (1 / 3 + t2 * (1 / 5 + t2 * (1 / 7 + t2 / 9)))
    t = tf.sqrt(tf.maximum(t2, SMALL))
    return tf.where(t2 < SMALL, series, tf.atanh(t) / t)
