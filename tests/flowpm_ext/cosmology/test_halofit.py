"""Halofit against CCL, CAMB and a naive version of its own."""

import numpy as np
import pytest
import tensorflow as tf
from reference import cosmologies, derivatives, halofit

from flowpm_ext.cosmology import Cosmology, Planck15, background, power
from flowpm_ext.cosmology.halofit import effective_equation_of_state
from flowpm_ext.cosmology.transfer import drag_scale_factor

VALUES = cosmologies.draw()
COSMO = Cosmology(**VALUES)
K = np.geomspace(1e-3, 10.0, 60)
Z = np.array([0.0, 0.5, 1.0, 2.0, 3.0])


def test_nonlinear_power_is_that_of_ccl():
    ours = power.nonlinear_matter_power(COSMO, K, 1 / (1 + Z), effective_w=False).numpy()
    for i, wa in enumerate(VALUES["wa"]):
        reference, h = cosmologies.ccl(cosmologies.one(VALUES, i)), VALUES["h"][i]
        expected = [reference.nonlin_matter_power(K * h, 1 / (1 + z)) * h**3 for z in Z]
        # The project's bars. This CCL takes w0 where wa is not zero, hence effective_w=False.
        np.testing.assert_allclose(ours[i], expected, rtol=2e-4 if wa == 0 else 2e-3)


@pytest.mark.parametrize("index", range(0, cosmologies.SIZE, 5))
@pytest.mark.parametrize("effective_w", [True, False])
def test_nonlinear_power_is_the_naive_one(index, effective_w):
    parameters = cosmologies.one(VALUES, index)
    cosmo = Cosmology(**parameters)
    k = np.geomspace(1e-4, 1e4, 8001)  # for the tails of the variance, and for interpolation
    a = 1 / (1 + Z)
    linear = power.linear_matter_power(cosmo, k, a).numpy()
    ours = power.nonlinear_matter_power(cosmo, K, a, effective_w=effective_w).numpy()
    drag = float(drag_scale_factor(cosmo.columns())[0])
    for row, spectrum, x in zip(ours, linear, a, strict=True):
        if effective_w:
            w = halofit.effective_w(parameters, x, drag)
            now = cosmo.replace(w0=w, wa=0.0)
        else:
            w, now = cosmo.w0, cosmo
        densities = [float(f(now, x)) for f in (background.Omega_m_a, background.Omega_de_a)]
        expected = halofit.nonlinear(K, k, spectrum, *densities, w)
        # Both exact; linear interpolation in a table of 1000 points a decade costs 2e-6.
        np.testing.assert_allclose(row, expected, rtol=2e-5)


def test_effective_equation_of_state_is_the_root_of_the_distances():
    a = np.array([1.0, 0.7, 0.4, 0.2])
    p = COSMO.columns()
    ours, drag = effective_equation_of_state(p, tf.constant(a)).numpy(), drag_scale_factor(p)
    for i in range(0, cosmologies.SIZE, 3):
        parameters = cosmologies.one(VALUES, i)
        expected = [halofit.effective_w(parameters, x, float(drag[i, 0])) for x in a]
        # Where dark energy hardly matters, w is the ratio of two small numbers.
        np.testing.assert_allclose(ours[i], expected, atol=1e-7)
    constant = VALUES["wa"] == 0
    np.testing.assert_allclose(
        ours[constant], np.tile(VALUES["w0"][constant][:, None], 4), atol=1e-9
    )


@pytest.mark.parametrize("change", [{"w0": -0.9, "wa": 0.2}, {"w0": -1.1, "wa": -0.3}])
def test_changing_dark_energy_is_that_of_casarini_in_camb(change):
    import camb

    cosmo = Planck15(**change)
    table = power.camb_power(cosmo)
    settings = camb.set_params(
        ombh2=cosmo.Omega_b * cosmo.h**2, omch2=cosmo.Omega_c * cosmo.h**2, H0=100 * cosmo.h,
        ns=cosmo.n_s, As=2.1e-9, mnu=0.0, TCMB=2.726, w=cosmo.w0, wa=cosmo.wa,
        dark_energy_model="ppf", redshifts=[1.0, 0.0], kmax=20.0, WantCls=False,
        halofit_version="casarini",
    )  # fmt: skip
    sigma8 = camb.get_results(settings).get_sigma8_0()
    settings.InitPower.set_params(As=2.1e-9 * (cosmo.sigma8 / sigma8) ** 2, ns=cosmo.n_s)
    expected = camb.get_results(settings).get_matter_power_interpolator(nonlinear=True)
    # From 0.05 h/Mpc on: on larger scales dark energy has perturbations in CAMB, and at all
    # scales radiation slows growth a little, so that z = 1 differs.
    k = np.geomspace(0.05, 5.0, 50)
    ours = power.nonlinear_matter_power(cosmo, k, [1.0, 0.5], table).numpy()
    np.testing.assert_allclose(ours, expected.P([0.0, 1.0], k), rtol=2e-3)  # the project's bar
    # The option matters: without it the difference is much larger.
    without = power.nonlinear_matter_power(cosmo, k, [1.0, 0.5], table, effective_w=False)
    assert np.max(np.abs(without / expected.P([0.0, 1.0], k) - 1)) > 4e-3


def test_constant_dark_energy_is_the_same_either_way():
    cosmo = Planck15(w0=-0.8, Omega_k=0.01)
    on, off = (power.nonlinear_matter_power(cosmo, K, 0.5, effective_w=e) for e in (True, False))
    np.testing.assert_allclose(on, off, rtol=1e-10)  # the root is found to rounding


def test_nonlinear_power_is_linear_on_large_scales_and_long_ago():
    # Gravity changes the spectrum by a few parts in a thousand at 1e-3 h/Mpc, less above.
    ratio = power.nonlinear_matter_power(COSMO, 1e-4) / power.linear_matter_power(COSMO, 1e-4)
    np.testing.assert_allclose(ratio, np.ones(cosmologies.SIZE), atol=1e-3)
    early = [f(COSMO, K, 0.02) for f in (power.nonlinear_matter_power, power.linear_matter_power)]
    np.testing.assert_array_equal(*early)


def test_small_scales_gain_power():
    ratio = power.nonlinear_matter_power(COSMO, 1.0) / power.linear_matter_power(COSMO, 1.0)
    assert np.all(ratio.numpy() > 3)


def test_matter_alone_is_a_smooth_limit():
    # Omega_m(a) passes through one where halofit divides by 1 - Omega_m.
    matter = tf.constant([0.9999, 1.0, 1.0001], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(matter)
        cosmo = Cosmology(Omega_c=matter - 0.05, Omega_b=0.05, h=0.6, n_s=1.0, sigma8=0.8)
        value = tf.math.log(power.nonlinear_matter_power(cosmo, 1.0))
    slope = tape.gradient(value, matter).numpy()
    below, middle, above = value.numpy()
    assert np.all(np.isfinite(slope))
    # Second derivatives are of order one.
    assert middle == pytest.approx((below + above) / 2, abs=1e-7)
    assert slope[1] == pytest.approx((above - below) / 2e-4, abs=1e-5)


NAMES = tuple(cosmologies.PLANCK)
THETA = np.array([0.26, 0.05, 0.68, 0.96, 0.81, 0.01, -0.95, 0.1])
STEPS = np.array([1, 0.5, 1, 2, 2, 2, 5, 5]) * 1e-3


def log_power(theta):
    """ln P at three wavenumbers and two epochs, [batch, 6], of parameters [batch, 8]."""
    cosmo = Cosmology(**dict(zip(NAMES, tf.unstack(theta, axis=-1), strict=True)))
    value = power.nonlinear_matter_power(cosmo, [0.05, 0.5, 5.0], [1.0, 0.6])
    return tf.reshape(tf.math.log(value), [-1, 6])


def test_gradient_is_that_of_finite_differences():
    expected = derivatives.differences(log_power, THETA, STEPS)
    ours = derivatives.reverse(log_power, THETA)
    # The differences are of fourth order in steps of a per cent: about 1e-8 of the largest.
    scale = np.max(np.abs(expected), axis=1, keepdims=True)
    np.testing.assert_allclose(ours / scale, expected / scale, atol=1e-6)


def test_second_derivatives_pass_through_the_roots():
    def gradient(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = tf.reduce_sum(log_power(theta)[:, 1:5:2])
        return tape.gradient(value, theta)

    expected = derivatives.differences(gradient, THETA, STEPS)
    ours = derivatives.reverse(gradient, THETA)
    scale = np.sqrt(np.abs(np.diag(expected)))
    # As for the gradient, relative to the diagonal; wa and Omega_k have the smallest.
    np.testing.assert_allclose(
        ours / scale / scale[:, None], expected / scale / scale[:, None], atol=1e-5
    )
    np.testing.assert_allclose(ours, ours.T, atol=1e-9 * np.max(np.abs(ours)))  # rounding
