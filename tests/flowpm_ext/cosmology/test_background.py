"""Expansion and distances against astropy, closed forms and finite differences."""

import astropy.cosmology
import numpy as np
import pytest
import tensorflow as tf
from astropy import units
from reference import cosmologies, derivatives

from flowpm_ext.cosmology import Cosmology, Planck15, background, radiation_density

VALUES = cosmologies.draw()
COSMO = Cosmology(**VALUES)
REFERENCES = [cosmologies.astropy(cosmologies.one(VALUES, i)) for i in range(cosmologies.SIZE)]
Z = np.geomspace(1e-3, 10.0, 30)
A = 1 / (1 + Z)
SPEED = 2997.92458  # c / (100 km/s/Mpc)
EVERY = [
    background.w, background.f_de, background.Esqr, background.H, background.Omega_m_a,
    background.Omega_de_a, background.dchioverda, background.radial_comoving_distance,
    background.transverse_comoving_distance, background.angular_diameter_distance,
    background.luminosity_distance, background.growth_factor, background.growth_rate,
    background.growth_factor_second, background.growth_rate_second,
]  # fmt: skip
each = pytest.mark.parametrize("function", EVERY, ids=lambda f: f.__name__)


def of_astropy(method, h_powers=0):
    """A method of the astropy cosmologies at Z, times h to a power, [cosmologies, redshifts]."""
    columns = [np.asarray(getattr(c, method)(Z)) * c.h**h_powers for c in REFERENCES]
    return np.stack(columns)


@pytest.mark.parametrize(
    "function, method, h_powers, factor",
    [
        (background.w, "w", 0, 1),
        (background.f_de, "de_density_scale", 0, 1),
        (background.H, "efunc", 0, 100),
        (background.Omega_m_a, "Om", 0, 1),
        (background.Omega_de_a, "Ode", 0, 1),
        (background.radial_comoving_distance, "comoving_distance", 1, 1),
        (background.transverse_comoving_distance, "comoving_transverse_distance", 1, 1),
        (background.angular_diameter_distance, "angular_diameter_distance", 1, 1),
        (background.luminosity_distance, "luminosity_distance", 1, 1),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_background_is_that_of_astropy(function, method, h_powers, factor):
    expected = factor * of_astropy(method, h_powers)
    # The project's bar is 1e-9 (1e-10 for rates); both quadratures reach about 1e-13.
    np.testing.assert_allclose(function(COSMO, A), expected, rtol=1e-11)


def test_rates_square_and_distances_change_as_they_should():
    rate = np.asarray(background.H(COSMO, A)) / 100
    np.testing.assert_allclose(background.Esqr(COSMO, A), rate**2, rtol=1e-14)  # rounding
    np.testing.assert_allclose(background.dchioverda(COSMO, A), SPEED / (A**2 * rate), rtol=1e-14)
    assert float(background.H(Planck15(), 1.0)) == 100.0


def test_distance_of_einstein_and_de_sitter():
    cosmo = Cosmology(Omega_c=0.95, Omega_b=0.05, h=0.7, n_s=1.0)
    # 64 nodes in ln a leave nothing but rounding, of the result (1e-13) or of 1 - sqrt(a).
    expected = 2 * SPEED * (1 - np.sqrt(A))
    np.testing.assert_allclose(background.radial_comoving_distance(cosmo, A), expected, rtol=1e-12)


@pytest.mark.parametrize("Tcmb0", [2.7255, 3.0])
def test_radiation_is_that_of_astropy(Tcmb0):
    reference = astropy.cosmology.FlatLambdaCDM(70, 0.3, Tcmb0=Tcmb0, Neff=3.046, Ob0=0.05)
    radiation = reference.Ogamma0 + reference.Onu0
    cosmo = Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=1.0, Omega_r=radiation)
    z = np.append(Z, [100.0, 1100.0])
    rate, distance = reference.efunc(z), reference.comoving_distance(z).value * 0.7
    np.testing.assert_allclose(background.H(cosmo, 1 / (1 + z)), 100 * rate, rtol=1e-12)
    # Astropy's own quadrature asks for 1.5e-8.
    ours = background.radial_comoving_distance(cosmo, 1 / (1 + z))
    np.testing.assert_allclose(ours, distance, rtol=1e-8)
    assert radiation_density(0.7, Tcmb0) == pytest.approx(radiation, rel=5e-6)


def test_scale_factor_of_a_distance_is_the_inverse_of_the_distance():
    distances = np.geomspace(0.1, 8000.0, 40)  # up to z = 25 or so
    together = background.a_of_chi(COSMO, distances)
    assert together.shape == (cosmologies.SIZE, 40)
    for i, a in enumerate(together):  # each cosmology has its own scale factors
        cosmo = Cosmology(**cosmologies.one(VALUES, i))
        # Newton steps from a table converge to rounding; the bar is 1e-7.
        back = background.radial_comoving_distance(cosmo, a)
        np.testing.assert_allclose(back, distances, rtol=1e-11)
    assert float(background.a_of_chi(Planck15(), 0.0)) == pytest.approx(1.0, abs=1e-15)


def test_scale_factor_of_a_distance_has_exact_derivatives():
    chi, cosmo = tf.constant(2000.0, tf.float64), Planck15(Omega_k=0.01, wa=0.1)
    with tf.GradientTape() as outer:
        outer.watch(chi)
        with tf.GradientTape() as inner:
            inner.watch(chi)
            a = background.a_of_chi(cosmo, chi)
        first = inner.gradient(a, chi)
    second = outer.gradient(first, chi)
    # da/dchi = -a**2 H / c, and its derivative by the chain rule.
    slope = -1 / background.dchioverda(cosmo, a)
    assert float(first) == pytest.approx(float(slope), rel=1e-12)  # rounding
    step = 1e-3
    near = [-1 / float(background.dchioverda(cosmo, a + shift)) for shift in (-step, step)]
    # A central difference of this step is good to 1e-6.
    assert float(second) == pytest.approx((near[1] - near[0]) / (2 * step) * float(slope), rel=1e-5)


@pytest.mark.parametrize("name", ["transverse_comoving_distance", "growth_factor", "growth_rate"])
def test_nothing_happens_at_zero_curvature(name):
    function = getattr(background, name)
    curvature = tf.constant([-1e-6, 0.0, 1e-6], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(curvature)
        values = function(Planck15(Omega_k=curvature), 0.4)
    below, middle, above = values.numpy()
    slopes = tape.gradient(values, curvature).numpy()
    # Second derivatives are of order ten, so 1e-6 away nothing changes by more than 1e-5.
    assert middle == pytest.approx((below + above) / 2, rel=1e-11)
    np.testing.assert_allclose(slopes, (above - below) / 2e-6, rtol=3e-5)
    if name == "transverse_comoving_distance":
        radial = background.radial_comoving_distance(Planck15(), 0.4)
        assert middle == float(radial)


def test_transverse_distance_is_a_sine_or_a_hyperbolic_sine():
    for curvature in (0.3, -0.3):
        cosmo = Planck15(Omega_k=curvature)
        chi = background.radial_comoving_distance(cosmo, A).numpy() / SPEED
        root = np.sqrt(abs(curvature))
        expected = SPEED * (np.sinh if curvature > 0 else np.sin)(root * chi) / root
        ours = background.transverse_comoving_distance(cosmo, A)
        np.testing.assert_allclose(ours, expected, rtol=1e-13)  # rounding


@each
def test_scalars_are_squeezed_and_batches_lead(function):
    assert function(Planck15(), 0.5).shape == ()
    assert function(Planck15(), np.full([2, 3], 0.5)).shape == (2, 3)
    batch = Planck15(h=np.full(4, 0.7), wa=np.linspace(0, 0.1, 4))
    assert function(batch, 0.5).shape == (4,)
    assert function(batch, np.full([2, 3], 0.5)).shape == (4, 2, 3)


@each
def test_a_batch_is_a_loop(function):
    together = function(COSMO, A[::6])
    for i in range(0, cosmologies.SIZE, 5):
        alone = function(Cosmology(**cosmologies.one(VALUES, i)), A[::6])
        # The same operations, up to the order of sums.
        np.testing.assert_allclose(together[i], alone, rtol=1e-12)


@each
def test_single_precision_follows_the_cosmology(function):
    single = Cosmology(**{name: tf.constant(x, tf.float32) for name, x in VALUES.items()})
    a = A[6::6]  # not z = 1e-3, whose distance has lost three digits in a itself
    result = function(single, a)
    assert result.dtype == tf.float32
    # Rounding of 6e-8, gathered over about a thousand steps where there is an equation to solve.
    np.testing.assert_allclose(result, function(COSMO, a), rtol=2e-5)


@each
def test_derivatives_in_the_scale_factor(function):
    a = tf.constant([0.2, 0.5, 0.9], tf.float64)
    cosmo = Planck15(Omega_k=0.02, w0=-0.9, wa=0.2)
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = function(cosmo, a)
    step = 1e-3
    slope = sum(weight * function(cosmo, a + shift * step) for shift, weight in derivatives.STENCIL)
    # Differences of fourth order with a step of 1e-3: errors of 1e-12 f''''' (and rounding).
    scale = np.max(np.abs(slope / step))
    np.testing.assert_allclose(tape.gradient(value, a), slope / step, atol=1e-6 * scale)


@each
@pytest.mark.parametrize("a", [0.0, -0.5, 1.1, np.nan])
def test_scale_factors_out_of_range_are_refused(function, a):
    with pytest.raises(
        ValueError, match=r"`a` must lie in \[1e-08, 1\]\. Received: .*today is 1\."
    ):
        function(Planck15(), np.array([0.5, a]))


@pytest.mark.parametrize("chi", [-1.0, np.nan, np.inf])
def test_distances_that_are_none_are_refused(chi):
    with pytest.raises(ValueError, match="`chi` must be non-negative"):
        background.a_of_chi(Planck15(), chi)


def test_distances_come_with_units_or_are_refused():
    cosmo = Planck15()
    chi = 1000.0 * units.Mpc  # 677.4 Mpc/h
    np.testing.assert_allclose(
        background.a_of_chi(cosmo, chi), background.a_of_chi(cosmo, 677.4), rtol=1e-14
    )
    with pytest.raises(ValueError, match=r"`chi` must have a unit that converts to Mpc/h"):
        background.a_of_chi(cosmo, 1000.0 * units.s)
    with pytest.raises(ValueError, match=r"`a` must have a unit"):
        background.H(cosmo, 0.5 * units.Mpc)
    with pytest.raises(ValueError, match=r"`Omega_c` must have a unit"):
        Planck15(Omega_c=0.3 * units.kg)
    hubble = 67.74 * units.km / units.s / units.Mpc
    np.testing.assert_allclose(Planck15(h=hubble).h, 0.6774, rtol=1e-14)


def test_a_distance_beyond_the_tables_is_refused():
    with pytest.raises(ValueError, match=r"`chi` must lie in \[0, 9701"):
        background.a_of_chi(Planck15(), 1e6)


def test_kinds_that_are_no_cosmology_or_no_number_are_refused():
    with pytest.raises(TypeError, match=r"`cosmo` must be a Cosmology. Received: 'planck18'"):
        background.H("planck18", 0.5)
    with pytest.raises(TypeError, match=r"`a` must be a number. Received: 'today'"):
        background.H(Planck15(), "today")
