"""Transfer functions of matter, T(k -> 0) = 1, for wavenumbers k in h/Mpc.

Each takes parameters of `Cosmology.columns` (with as many trailing axes as `k` needs) and k.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flowpm_ext.cosmology.parameters import Cosmology

Transfer = Callable[[Cosmology, tf.Tensor], tf.Tensor]


def eisenstein_hu(p: Cosmology, k: tf.Tensor) -> tf.Tensor:
    """Transfer function of baryons and cold dark matter with acoustic oscillations.

    The ratio of baryons to photons and the argument of G count from 1 + z_drag, as in the
    authors' own program and in CCL; the printed formulas have z_drag (4e-4 in the power).

    Args:
        p: Parameters, each [..., 1].
        k: Wavenumber (h/Mpc), shape [..., n].

    Returns:
        T, shape [..., n].

    References:
        Eisenstein & Hu 1998, arXiv:astro-ph/9709112, section 3.
    """
    k = k * p.h  # 1/Mpc
    matter, baryons, theta = p.Omega_m * p.h**2, p.Omega_b * p.h**2, p.T_cmb / 2.7
    f_b = p.Omega_b / p.Omega_m
    f_c = 1 - f_b
    z_eq = 2.5e4 * matter / theta**4
    k_eq = 0.0746 * matter / theta**2
    drag = 1 + _drag_redshift(matter, baryons)
    ratio_drag = 31.5 * baryons / theta**4 * 1000 / drag
    ratio_eq = 31.5 * baryons / theta**4 * 1000 / z_eq
    sound = 2 / (3 * k_eq) * tf.sqrt(6 / ratio_eq)
    sound *= tf.math.log(
        (tf.sqrt(1 + ratio_drag) + tf.sqrt(ratio_drag + ratio_eq)) / (1 + tf.sqrt(ratio_eq))
    )
    k_silk = 1.6 * baryons**0.52 * matter**0.73 * (1 + (10.4 * matter) ** -0.95)
    q = k / (13.41 * k_eq)
    ks = k * sound

    # Cold dark matter, equations 17 to 20.
    a1 = (46.9 * matter) ** 0.670 * (1 + (32.1 * matter) ** -0.532)
    a2 = (12.0 * matter) ** 0.424 * (1 + (45.0 * matter) ** -0.582)
    alpha_c = a1**-f_b * a2 ** (-(f_b**3))
    b1 = 0.944 / (1 + (458 * matter) ** -0.708)
    beta_c = 1 / (1 + b1 * (f_c ** ((0.395 * matter) ** -0.0266) - 1))
    blend = 1 / (1 + (ks / 5.4) ** 4)
    cold = blend * _pressureless(q, 1.0, beta_c) + (1 - blend) * _pressureless(q, alpha_c, beta_c)

    # Baryons, equations 21 to 24.
    y = z_eq / drag
    root = tf.sqrt(1 + y)
    g = y * (-6 * root + (2 + 3 * y) * tf.math.log((root + 1) / (root - 1)))
    alpha_b = 2.07 * k_eq * sound * (1 + ratio_drag) ** -0.75 * g
    beta_b = 0.5 + f_b + (3 - 2 * f_b) * tf.sqrt((17.2 * matter) ** 2 + 1)
    shifted = ks / (1 + (8.41 * matter**0.435 / ks) ** 3) ** (1 / 3)
    damping = tf.exp(-((k / k_silk) ** 1.4)) * alpha_b / (1 + (beta_b / ks) ** 3)
    envelope = _pressureless(q, 1.0, 1.0) / (1 + (ks / 5.2) ** 2) + damping
    return f_b * envelope * tf.sin(shifted) / shifted + f_c * cold


def eisenstein_hu_nowiggle(p: Cosmology, k: tf.Tensor) -> tf.Tensor:
    """Transfer function with baryonic suppression and no acoustic oscillations.

    Args:
        p: Parameters, each [..., 1].
        k: Wavenumber (h/Mpc), shape [..., n].

    Returns:
        T, shape [..., n].

    References:
        Eisenstein & Hu 1998, arXiv:astro-ph/9709112, section 4.2.
    """
    matter, baryons, theta = p.Omega_m * p.h**2, p.Omega_b * p.h**2, p.T_cmb / 2.7
    f_b = p.Omega_b / p.Omega_m
    sound = 44.5 * tf.math.log(9.83 / matter) / tf.sqrt(1 + 10 * baryons**0.75)
    alpha = 1 - 0.328 * tf.math.log(431 * matter) * f_b
    alpha += 0.38 * tf.math.log(22.3 * matter) * f_b**2
    gamma = p.Omega_m * p.h * (alpha + (1 - alpha) / (1 + (0.43 * k * p.h * sound) ** 4))
    q = k * theta**2 / gamma
    log = tf.math.log(2 * np.e + 1.8 * q)
    return log / (log + (14.2 + 731 / (1 + 62.5 * q)) * q**2)


def bbks(p: Cosmology, k: tf.Tensor) -> tf.Tensor:
    """Transfer function of cold dark matter, with the shape parameter corrected for baryons.

    Args:
        p: Parameters, each [..., 1].
        k: Wavenumber (h/Mpc), shape [..., n].

    Returns:
        T, shape [..., n].

    References:
        Bardeen, Bond, Kaiser & Szalay 1986, ApJ 304, 15; Sugiyama 1995, arXiv:astro-ph/9412025.
    """
    shape = p.Omega_m * p.h * tf.exp(-p.Omega_b * (1 + tf.sqrt(2 * p.h) / p.Omega_m))
    q = k * (p.T_cmb / 2.7) ** 2 / shape
    polynomial = 1 + 3.89 * q + (16.1 * q) ** 2 + (5.46 * q) ** 3 + (6.71 * q) ** 4
    return tf.math.log(1 + 2.34 * q) / (2.34 * q) * polynomial**-0.25


def drag_scale_factor(p: Cosmology) -> tf.Tensor:
    """Scale factor at which photons let go of the baryons.

    Args:
        p: Parameters, each [..., 1].

    Returns:
        Scale factor, shape [..., 1].

    References:
        Eisenstein & Hu 1998, arXiv:astro-ph/9709112, equation 4.
    """
    return 1 / (1 + _drag_redshift(p.Omega_m * p.h**2, p.Omega_b * p.h**2))


def _drag_redshift(matter: tf.Tensor, baryons: tf.Tensor) -> tf.Tensor:
    """Redshift of the drag epoch for densities Omega h**2, equation 4."""
    b1 = 0.313 * matter**-0.419 * (1 + 0.607 * matter**0.674)
    scale = 1291 * matter**0.251 / (1 + 0.659 * matter**0.828)
    return scale * (1 + b1 * baryons ** (0.238 * matter**0.223))


def _pressureless(q: tf.Tensor, alpha: tf.Tensor | float, beta: tf.Tensor | float) -> tf.Tensor:
    """Transfer function without pressure, equations 19 and 20."""
    log = tf.math.log(np.e + 1.8 * beta * q)
    return log / (log + (14.2 / alpha + 386 / (1 + 69.9 * q**1.08)) * q**2)


TRANSFERS: dict[str, Transfer] = {
    "eisenstein_hu": eisenstein_hu,
    "eisenstein_hu_nowiggle": eisenstein_hu_nowiggle,
    "bbks": bbks,
}
