"""Derivatives of angular spectra in eight parameters: both modes, twice, and without jumps."""

import numpy as np
import pytest
import tensorflow as tf
from reference import ccl_spectra, cosmologies, derivatives

from flowpm_ext.cosmology import Cosmology, Planck15, background, power, probes, redshift
from flowpm_ext.cosmology.angular_cl import angular_cl

NAMES = tuple(cosmologies.PLANCK)
THETA = np.array(list(cosmologies.PLANCK.values()))  # Omega_k = 0, w0 = -1, wa = 0 among them
# Steps of about a per cent, for differences of fourth order.
STEPS = np.array([1, 0.5, 1, 2, 2, 2, 5, 5]) * 1e-3
ELL = np.array([10.0, 100.0, 1000.0])
SHEAR = [redshift.gaussian_nz(0.6, 0.15), redshift.gaussian_nz(1.0, 0.15)]
PROBES = [
    probes.WeakLensing(SHEAR[1:], ia_bias=1.0),
    probes.NumberCounts([redshift.gaussian_nz(0.6, 0.1)], 1.5),
]
pytestmark = pytest.mark.usefixtures("without_compilation")


def cosmology(theta):
    """Cosmologies of parameters [..., 8]."""
    return Cosmology(**dict(zip(NAMES, tf.unstack(theta, axis=-1), strict=True)))


def spectra(theta):
    """Spectra of `PROBES`, [batch, 3, 3]."""
    return angular_cl(cosmology(theta), ELL, PROBES)


def relative(jacobian, scale):
    """Derivatives in each parameter over the largest of each spectrum."""
    return jacobian / np.max(np.abs(scale), axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def expected():
    return derivatives.differences(spectra, THETA, STEPS)


@pytest.mark.parametrize("mode", [derivatives.forward, derivatives.reverse])
def test_spectra_have_the_derivatives_of_finite_differences(expected, mode):
    ours = mode(spectra, THETA)
    # The project's bar: steps of a per cent to the fourth, 1e-8, times fifth derivatives.
    np.testing.assert_allclose(relative(ours, expected), relative(expected, expected), atol=1e-6)


def test_derivatives_of_shear_are_those_of_ccl():
    shear = [probes.WeakLensing(SHEAR)]
    ell = np.geomspace(10.0, 3000.0, 6)
    ours = derivatives.reverse(
        lambda theta: angular_cl(cosmology(theta), ell, shear, effective_w=False), THETA
    )
    tracers = [("shear", ccl_spectra.gaussian(mean, 0.15)) for mean in (0.6, 1.0)]

    def theirs(rows):
        return np.stack([
            ccl_spectra.spectra(
                cosmologies.ccl(dict(zip(NAMES, row.tolist(), strict=True))), tracers, ell
            )
            for row in rows.numpy()
        ])  # fmt: skip

    # Steps large enough for the noise of CCL's own quadrature and tables.
    steps = np.array([0.01, 0.005, 0.02, 0.02, 0.02, 0.01, 0.04, 0.04])
    expected = derivatives.differences(theirs, THETA, steps)
    difference = relative(ours - expected, expected)
    worst = dict(zip(NAMES, np.max(np.abs(difference), axis=(1, 2)), strict=True))
    # The project's bars. In Omega_k CCL's integral has chi for f_K.
    for name, error in worst.items():
        assert error < (3e-2 if name in ("Omega_k", "wa") else 2e-3), name


@pytest.mark.parametrize(
    "function",
    [
        lambda cosmo: angular_cl(cosmo, ELL[:2], PROBES, nonlinear="linear")[:, :-1],
        lambda cosmo: power.nonlinear_matter_power(cosmo, [0.05, 0.3, 3.0], [0.9, 0.4]),
        lambda cosmo: background.a_of_chi(cosmo, [30.0, 300.0, 3000.0]),
        lambda cosmo: background.growth_factor_second(cosmo, [0.9, 0.4]),
    ],
    ids=["spectra", "halofit", "a_of_chi", "D2"],
)
def test_gradients_have_no_jumps(function):
    # Quadrature nodes and tables stay where they are, so that a scan is as smooth as its function.
    theta = np.tile(THETA, [200, 1])
    theta[:, 0] = 0.25 + 1e-4 * np.arange(200)
    rows = tf.constant(theta)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        total = tf.reduce_sum(tf.math.log(tf.abs(function(cosmology(rows)))))
    scan = tape.gradient(total, rows).numpy()
    # Differences of fourth order see a jump, and nothing of what is smooth.
    scale = np.max(np.abs(scan), axis=0)
    rough = np.abs(np.diff(scan, 4, axis=0)) / np.where(scale > 0, scale, 1.0)
    assert np.max(rough) < 1e-7  # the project's bar for a jump is 1e-5


def test_second_derivatives_are_those_of_finite_differences():
    weights = np.random.default_rng(3).uniform(0.5, 1.0, [3, 3])

    def gradient(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            total = tf.reduce_sum(weights * tf.math.log(spectra(theta)))
        return tape.gradient(total, theta)

    theta = np.append(THETA[:5], [0.01, -0.95, 0.1])
    hessian = derivatives.reverse(gradient, theta)
    numeric = derivatives.differences(gradient, theta, STEPS)
    scale = np.sqrt(np.abs(np.diag(numeric)))
    scale = scale[:, None] * scale
    # As the first derivatives, relative to the diagonal.
    np.testing.assert_allclose(hessian / scale, numeric / scale, atol=1e-5)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-9 * np.max(np.abs(hessian)))


FUNCTIONS = {
    "distance": lambda cosmo: background.transverse_comoving_distance(cosmo, [0.9, 0.3]),
    "a_of_chi": lambda cosmo: background.a_of_chi(cosmo, [300.0, 4000.0]),
    "growth_factor": lambda cosmo: background.growth_factor(cosmo, [0.9, 0.3]),
    "growth_rate": lambda cosmo: background.growth_rate(cosmo, [0.9, 0.3]),
    "growth_factor_second": lambda cosmo: background.growth_factor_second(cosmo, [0.9, 0.3]),
    "growth_rate_second": lambda cosmo: background.growth_rate_second(cosmo, [0.9, 0.3]),
    "eisenstein_hu": lambda cosmo: power.linear_matter_power(cosmo, [0.01, 0.2], 0.5),
    "nowiggle": lambda cosmo: power.linear_matter_power(
        cosmo, [0.01, 0.2], 0.5, "eisenstein_hu_nowiggle"
    ),
    "bbks": lambda cosmo: power.linear_matter_power(cosmo, [0.01, 0.2], 0.5, "bbks"),
    "halofit": lambda cosmo: power.nonlinear_matter_power(cosmo, [0.1, 2.0], 0.5),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_ingredients_have_the_derivatives_of_finite_differences(function):
    def rows(theta):
        return function(cosmology(theta))

    theta = np.append(THETA[:5], [0.0, -0.95, 0.1])
    numeric = derivatives.differences(rows, theta, STEPS)
    value = np.abs(rows(tf.constant(theta)[None]).numpy()[0])
    for mode in (derivatives.forward, derivatives.reverse):
        # Relative to the value, per unit of a parameter; the oscillations have the largest
        # fifth derivatives.
        np.testing.assert_allclose(mode(rows, theta) / value, numeric / value, atol=3e-6)


@pytest.mark.parametrize("name", ["A_s", "Omega_r", "T_cmb"])
def test_other_parameters_have_derivatives_too(name):
    center, step = {"A_s": (2e-9, 1e-11), "Omega_r": (8e-5, 1e-6), "T_cmb": (2.726, 1e-3)}[name]

    def logarithm(values):
        change = {name: values[:, 0]}
        value = power.nonlinear_matter_power(Planck15(**change), [0.1, 2.0], 0.5)
        return tf.math.log(value)

    numeric = derivatives.differences(logarithm, [center], [step])
    # Differences of fourth order with a step of a per cent or less.
    np.testing.assert_allclose(derivatives.reverse(logarithm, [center]), numeric, rtol=1e-6)
