"""Light of galaxies: Sersic profiles, spiral arms, rings."""

import math

import tensorflow as tf

from lfi.lens_finder.deflection import turned


def sersic(
    x: tf.Tensor,
    y: tf.Tensor,
    radius: tf.Tensor,
    index: tf.Tensor,
    axis_ratio: tf.Tensor,
    angle: tf.Tensor,
    softening: float = 1e-3,
) -> tf.Tensor:
    """Surface brightness of a Sersic profile whose flux is one.

    All arguments broadcast.

    Args:
        x: Positions from the centre.
        y: The same along the other axis.
        radius: Half-light radius, the geometric mean of both half axes.
        index: Sersic index, at least 0.36.
        axis_ratio: Minor over major axis.
        angle: Of the major axis, from x to y (radians).
        softening: Part of `radius` at which a cusp ends, for finite slopes.

    Returns:
        Flux per unit of area.

    References:
        Sersic 1963, Bol. Asoc. Argent. Astron. 6, 41; Ciotti & Bertin 1999, A&A 352, 447.
    """
    b = _half_light(index)
    squared = _elliptical_square(x, y, axis_ratio, angle) / radius**2 + softening**2
    log_flux = tf.math.log(2 * math.pi * index) + tf.math.lgamma(2 * index)
    log_flux += 2 * tf.math.log(radius) - 2 * index * tf.math.log(b)
    return tf.exp(-b * tf.exp(tf.math.log(squared) / (2 * index)) - log_flux)


def spiral_arms(
    x: tf.Tensor,
    y: tf.Tensor,
    scale: tf.Tensor,
    axis_ratio: tf.Tensor,
    angle: tf.Tensor,
    winding: tf.Tensor,
    sharpness: tf.Tensor,
    phase: tf.Tensor,
    num_arms: tf.Tensor,
) -> tf.Tensor:
    """Spiral arms of an exponential disc, up to a constant, with a hole at the centre.

    All arguments broadcast.

    Args:
        x: Positions from the centre.
        y: The same along the other axis.
        scale: Scale radius of the disc along its major axis.
        axis_ratio: Minor over major axis of the disc on the sky.
        angle: Of the major axis, from x to y (radians).
        winding: Radians of an arm's turn over a factor e of radius, times the number of arms.
        sharpness: Contrast of arms: exp(2 sharpness) is that of crest and trough.
        phase: Of the arms (radians).
        num_arms: Number of arms.

    Returns:
        Surface brightness up to a constant.

    References:
        Metcalf et al. 2019, arXiv:1802.03609, section 3.
    """
    u, v = turned(x, y, angle)
    v = v / axis_ratio
    squared = (u**2 + v**2) / scale**2 + 1e-6
    wave = num_arms * tf.atan2(v, u) + 0.5 * winding * tf.math.log(4 * squared) + phase
    hole = squared**2 / (squared**2 + 0.25)
    return hole * tf.exp(sharpness * (tf.cos(wave) - 1) - tf.sqrt(squared))


def ring(
    x: tf.Tensor,
    y: tf.Tensor,
    radius: tf.Tensor,
    width: tf.Tensor,
    axis_ratio: tf.Tensor,
    angle: tf.Tensor,
    contrast: tf.Tensor,
    phase: tf.Tensor,
    num_knots: tf.Tensor,
) -> tf.Tensor:
    """A ring of stars that may be brighter in some directions, up to a constant.

    All arguments broadcast.

    Args:
        x: Positions from the centre.
        y: The same along the other axis.
        radius: Of the ring, the geometric mean of both half axes.
        width: Standard deviation of its profile.
        axis_ratio: Minor over major axis.
        angle: Of the major axis, from x to y (radians).
        contrast: Of bright and faint directions, below one.
        phase: Of the brightest direction (radians).
        num_knots: Bright directions.

    Returns:
        Surface brightness up to a constant.

    References:
        Buta & Combes 1996, Fundam. Cosmic Phys. 17, 95 (rings of galaxies).
    """
    u, v = turned(x, y, angle)
    r = tf.sqrt(_elliptical_square(x, y, axis_ratio, angle) + (0.01 * radius) ** 2)
    knots = 1 + contrast * tf.cos(num_knots * tf.atan2(v, u + 1e-6 * radius) + phase)
    return knots * tf.exp(-0.5 * ((r - radius) / width) ** 2)


def _elliptical_square(
    x: tf.Tensor, y: tf.Tensor, axis_ratio: tf.Tensor, angle: tf.Tensor
) -> tf.Tensor:
    """Square of the geometric mean of the half axes of the ellipse through each point."""
    u, v = turned(x, y, angle)
    return axis_ratio * u**2 + v**2 / axis_ratio


def _half_light(n: tf.Tensor) -> tf.Tensor:
    """b of exp(-b r^(1/n)) whose half light is within r = 1."""
    last = 131 / 1148175 - 2194697 / 30690717750 / n
    return 2 * n - 1 / 3 + (4 / 405 + (46 / 25515 + last / n) / n) / n
