"""Growth to second order against closed forms, CCL, and the equations it solves."""

import numpy as np
import pytest
from reference import cosmologies
from scipy import integrate, special

from flowpm_ext.cosmology import Cosmology, Planck15, background

VALUES = cosmologies.draw()
COSMO = Cosmology(**VALUES)
A = np.geomspace(0.02, 1.0, 25)


def test_growth_with_a_cosmological_constant_is_a_hypergeometric_function():
    cosmo = Cosmology(**{**VALUES, "Omega_k": 0.0, "w0": -1.0, "wa": 0.0})
    ratio = np.asarray(1 / cosmo.Omega_m - 1)[:, None]
    x = -ratio * A**3
    value, today = (special.hyp2f1(1 / 3, 1, 11 / 6, y) for y in (x, -ratio))
    slope = 3 * x * (1 / 3) / (11 / 6) * special.hyp2f1(4 / 3, 2, 17 / 6, x)
    # The bar is 5e-6; fourth order in steps of 0.0045 in ln a gives 1e-11.
    np.testing.assert_allclose(background.growth_factor(cosmo, A), A * value / today, rtol=1e-9)
    np.testing.assert_allclose(background.growth_rate(cosmo, A), 1 + slope / value, rtol=1e-9)


@pytest.mark.parametrize(
    "ours, theirs",
    [(background.growth_factor, "growth_factor"), (background.growth_rate, "growth_rate")],
    ids=["D1", "f1"],
)
def test_growth_is_that_of_ccl(ours, theirs):
    references = [cosmologies.ccl(cosmologies.one(VALUES, i)) for i in range(cosmologies.SIZE)]
    expected = [getattr(reference, theirs)(A) for reference in references]
    # The project's bar. CCL's own error, against the closed form, is about 1e-6.
    np.testing.assert_allclose(ours(COSMO, A), expected, rtol=5e-6)


def test_growth_with_radiation_is_that_of_ccl():
    reference = cosmologies.ccl({}, Omega_g=None)
    radiation = float(reference.omega_x(1.0, "radiation"))
    assert radiation > 4e-5
    cosmo = Cosmology(**cosmologies.PLANCK, Omega_r=radiation)
    # CCL starts without the slower growth of before, which leaves a decaying mode of this size.
    np.testing.assert_allclose(
        background.growth_factor(cosmo, A), reference.growth_factor(A), rtol=2e-5
    )
    np.testing.assert_allclose(
        background.growth_rate(cosmo, A), reference.growth_rate(A), rtol=2e-5
    )


@pytest.mark.parametrize(
    "change", [{}, {"Omega_k": 0.02}, {"Omega_k": -0.02, "w0": -0.9, "wa": 0.2}, {"Omega_r": 8e-5}]
)
def test_growth_solves_its_equations(change):
    cosmo = Planck15(**change)
    expected = integrated(cosmo, A)
    ours = [
        background.growth_factor(cosmo, A), background.growth_rate(cosmo, A),
        background.growth_factor_second(cosmo, A), background.growth_rate_second(cosmo, A),
    ]  # fmt: skip
    # The bar is 1e-6; D2, of 1024 steps, has an error of 6e-10.
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=3e-9)


def integrated(cosmo, a):
    """D1, f1, D2, f2 by an adaptive integrator, from deep in matter or radiation domination."""
    p = cosmo
    matter = p.Omega_c + p.Omega_b

    def rates(a):
        dark = p.Omega_de * a ** (-3 * (1 + p.w0 + p.wa)) * np.exp(-3 * p.wa * (1 - a))
        terms = np.array([matter / a**3, p.Omega_r / a**4, p.Omega_k / a**2, dark])
        powers = np.array([-3, -4, -2, -3 * (1 + p.w0 + p.wa * (1 - a))])
        return matter / a**3 / terms.sum(), 0.5 * (powers * terms).sum() / terms.sum()

    def equations(x, y):
        fraction, slope = rates(np.exp(x))
        d1, v1, d2, v2 = y
        pull = 1.5 * fraction
        return [v1, pull * d1 - (2 + slope) * v1, v2, pull * (d2 - d1**2) - (2 + slope) * v2]

    start, equality = (1e-10 if p.Omega_r else 1e-6), p.Omega_r / matter
    d1 = start + 2 / 3 * equality  # exact; D2 is its first term at early times
    d2, v2 = -3 / 7 * start**2, -6 / 7 * start**2
    if p.Omega_r:
        d2 = v2 = -2 / 3 * start * equality
    first = [d1, start, d2, v2]
    result = integrate.solve_ivp(
        equations, [np.log(start), 0.0], first, "DOP853", np.log(a), rtol=1e-12, atol=0.0
    )
    d1, v1, d2, v2 = result.y
    return d1 / d1[-1], v1 / d1, d2 / d1[-1] ** 2, v2 / d2


def test_second_order_residual_of_its_equation():
    # A step in ln a for which differences of sixth order and the rounding of D2 are both small.
    step, shifts = 0.02, np.arange(-3, 4)
    a = A[(A > 0.03) & (A < 0.9)]
    stencil = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
    around = a[:, None] * np.exp(step * shifts)
    second = background.growth_factor_second(COSMO, around).numpy()
    slope = second * background.growth_rate_second(COSMO, around).numpy()
    rate = np.log(background.Esqr(COSMO, around).numpy()) / 2
    friction = 2 + rate @ stencil / step
    pull = 1.5 * background.Omega_m_a(COSMO, a).numpy()
    drive = pull * (second[..., 3] - background.growth_factor(COSMO, a).numpy() ** 2)
    residual = slope @ stencil / step + friction * slope[..., 3] - drive
    assert np.max(np.abs(residual / drive)) < 1e-8  # the project's bar
    # And the rate is the derivative of the factor.
    np.testing.assert_allclose(second @ stencil / step, slope[..., 3], rtol=1e-8)


def test_einstein_and_de_sitter():
    cosmo = Cosmology(Omega_c=0.95, Omega_b=0.05, h=0.7, n_s=1.0)
    # Exact up to rounding, gathered over 2000 steps.
    np.testing.assert_allclose(background.growth_factor(cosmo, A), A, rtol=1e-11)
    np.testing.assert_allclose(background.growth_rate(cosmo, A), np.ones_like(A), rtol=1e-11)
    np.testing.assert_allclose(
        background.growth_factor_second(cosmo, A), -3 / 7 * A**2, rtol=1e-9
    )  # bar 1e-6
    np.testing.assert_allclose(background.growth_rate_second(cosmo, A), 2 + 0 * A, rtol=1e-9)


def test_second_order_stays_near_its_limit():
    first, second = (
        f(COSMO, A).numpy() for f in (background.growth_factor, background.growth_factor_second)
    )
    matter = background.Omega_m_a(COSMO, A).numpy()
    flat = VALUES["Omega_k"] == 0
    # Bouchet et al. 1995 give the power -1/143 for a cosmological constant, to half a per cent.
    limit = -3 / 7 * first**2 * matter ** (-1 / 143)
    np.testing.assert_allclose(second[flat], limit[flat], rtol=5e-3)
    assert np.all(second < 0)


def test_growth_is_one_today_and_the_scale_factor_long_ago():
    np.testing.assert_array_equal(background.growth_factor(COSMO, 1.0), np.ones(cosmologies.SIZE))
    early = background.growth_factor(COSMO, np.array([1e-4, 2e-4])).numpy()
    np.testing.assert_allclose(early[:, 1] / early[:, 0], 2.0, rtol=2e-5)  # curvature: 1e-4 Omega_k
    # Before the table growth is that of matter alone.
    before = background.growth_factor(COSMO, np.array([1e-6, 1e-5])).numpy()
    np.testing.assert_allclose(before[:, 1] / before[:, 0], 10.0, rtol=1e-14)
