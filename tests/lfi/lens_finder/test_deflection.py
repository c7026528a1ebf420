"""Deflections against integrals over the mass, and against what is known of simple lenses."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import quad

from lfi.lens_finder import isothermal_deflection, shear_deflection

THETA, ANGLE = 1.3, 0.4
X, Y = np.array([0.9, -0.31, 1.7, 0.02, -1.1]), np.array([0.2, 1.4, -0.8, 0.05, -0.03])


def constants(*values):
    return [tf.constant(value, tf.float64) for value in values]


def integrated(x, y, q, core):
    """Deflection by ellipses of mass, shell by shell (Keeton 2001, astro-ph/0102341, eq. 6)."""

    def mean(power):
        def shell(t):  # u = t**2, because the integrand has a root in its denominator
            u = t**2
            stretch = 1 - (1 - q**2) * u
            xi2 = u * (x**2 + y**2 / stretch)
            kappa = 0.5 * THETA / np.sqrt(q) / np.sqrt(core**2 + xi2)
            return 2 * t * kappa / stretch ** (power + 0.5)

        return quad(shell, 0, 1, epsabs=1e-12, epsrel=1e-12)[0]

    return q * x * mean(0), q * y * mean(1)


@pytest.mark.parametrize("core", [0.0, 0.2])
@pytest.mark.parametrize("q", [0.2, 0.7, 0.999, 1.0])
def test_deflection_is_an_integral_over_the_mass(q, core):
    found = isothermal_deflection(*constants(X, Y, THETA, q, 0.0, core))
    expected = np.array([integrated(x, y, q, core) for x, y in zip(X, Y, strict=True)]).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)  # of the integrals


@pytest.mark.parametrize("q, core", [(0.3, 0.0), (0.8, 0.1), (1.0, 0.0)])
def test_divergence_is_the_mass_and_there_is_no_curl(q, core):
    x, y = constants(X, Y)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((x, y))
        bent = isothermal_deflection(x, y, *constants(THETA, q, ANGLE, core))
        tide = shear_deflection(x, y, *constants(0.07, -0.03))
    (xx, xy), (yx, yy) = ([tape.gradient(alpha, at) for at in (x, y)] for alpha in bent)
    u = np.cos(ANGLE) * X + np.sin(ANGLE) * Y
    v = np.cos(ANGLE) * Y - np.sin(ANGLE) * X
    kappa = 0.5 * THETA / np.sqrt(q * (core**2 + u**2) + v**2 / q)
    # Rounding of float64, which divisions by distances of 0.03 magnify.
    np.testing.assert_allclose(0.5 * (xx + yy), kappa, rtol=1e-10)
    np.testing.assert_allclose(xy, yx, rtol=0, atol=1e-10 * kappa.max())
    (sxx, sxy), (syx, syy) = ([tape.gradient(alpha, at) for at in (x, y)] for alpha in tide)
    for found, expected in ((sxx, 0.07), (syy, -0.07), (sxy, -0.03), (syx, -0.03)):
        np.testing.assert_allclose(found, np.full_like(X, expected), rtol=1e-12)


def test_round_limit_and_its_slope():
    at = constants(X, Y, THETA)
    r = np.hypot(X, Y)
    np.testing.assert_allclose(
        isothermal_deflection(*at, *constants(1.0, ANGLE)), THETA * np.array([X, Y]) / r, rtol=1e-13
    )
    # Where the series meets the closed form both must agree: 1 - q**2 passes 1e-3 times a ratio.
    q = tf.constant(np.linspace(0.98, 1.0, 401), tf.float64)[:, None]
    with tf.GradientTape() as tape:
        tape.watch(q)
        alpha = isothermal_deflection(*at, q, tf.constant(ANGLE, tf.float64))[0]
    slope = tape.gradient(alpha, q).numpy()[:, 0]
    assert np.all(np.isfinite(slope))
    numerical = np.gradient(alpha.numpy().sum(axis=1), q.numpy()[:, 0])
    # Second order in the step of 5e-5; a jump of 1e-9 of the deflection would show as 2e-5.
    np.testing.assert_allclose(slope[1:-1], numerical[1:-1], rtol=0, atol=1e-6)


def test_images_of_a_point_behind_an_isothermal_sphere():
    beta = 0.5
    images = tf.constant([beta + THETA, beta - THETA], tf.float64)  # both sides of the lens
    x, y = images, tf.zeros_like(images)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((x, y))
        bent = isothermal_deflection(x, y, *constants(THETA, 1.0, 0.0))
        source = [x - bent[0], y - bent[1]]
    np.testing.assert_allclose(source[0], [beta, beta], rtol=1e-13)
    np.testing.assert_allclose(source[1], [0, 0], atol=1e-13)
    rows = [[tape.gradient(part, at).numpy() for at in (x, y)] for part in source]
    determinant = rows[0][0] * rows[1][1] - rows[0][1] * rows[1][0]
    # Schneider, Ehlers & Falco 1992, equation 8.36: 1 / mu = 1 - theta_E / |theta|.
    expected = 1 / (1 - THETA / np.abs(images.numpy()))
    np.testing.assert_allclose(1 / determinant, expected, rtol=1e-11)
    np.testing.assert_allclose(np.sum(np.abs(1 / determinant)), 2 * THETA / beta, rtol=1e-11)


def test_nothing_is_infinite_at_the_centre():
    x = tf.zeros([1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        alpha = isothermal_deflection(x, x, *constants(THETA, 0.5, ANGLE))
    assert np.all(np.isfinite(tape.gradient(alpha, x)))
    np.testing.assert_array_equal(alpha, 0)
