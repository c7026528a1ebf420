"""Linear spectra and their amplitude against CCL, CAMB, a published table and quadrature."""

import numpy as np
import pytest
import tensorflow as tf
from astropy import units as u
from astropy.cosmology import units as cu
from reference import cosmologies
from scipy import integrate

from flowpm_ext.cosmology import Cosmology, Planck15, background, power

VALUES = cosmologies.draw()
COSMO = Cosmology(**VALUES)
K = np.geomspace(1e-4, 10.0, 200)
A = np.array([1.0, 0.5, 0.25])
SHAPES = {
    "eisenstein_hu": ("eisenstein_hu", 5e-5),
    "eisenstein_hu_nowiggle": ("eisenstein_hu_nowiggles", 1e-5),
    "bbks": ("bbks", 1e-5),
}
both = pytest.mark.parametrize(
    "function", [power.linear_matter_power, power.nonlinear_matter_power], ids=lambda f: f.__name__
)


def of_ccl(reference, k, a, method="linear_matter_power"):
    """A spectrum of CCL, which works in Mpc, in Mpc/h: [na, nk]."""
    h = reference["h"]
    return np.stack([getattr(reference, method)(k * h, x) * h**3 for x in a])


def variance_in_spheres(k, spectrum):
    """Variance in spheres of 8 Mpc/h by Simpson's rule."""
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    return integrate.simpson(k**3 * spectrum * window**2 / (2 * np.pi**2), x=np.log(k))


@pytest.mark.parametrize("transfer, theirs, bar", [(n, *v) for n, v in SHAPES.items()])
def test_linear_power_is_that_of_ccl(transfer, theirs, bar):
    ours = power.linear_matter_power(COSMO, K, A, transfer).numpy()
    for i in range(cosmologies.SIZE):
        reference = cosmologies.ccl(cosmologies.one(VALUES, i), theirs)
        # The project's bars. Both normalise by quadrature and CCL's growth is good to 1e-6.
        np.testing.assert_allclose(ours[i], of_ccl(reference, K, A), rtol=bar)


def test_linear_power_with_radiation_is_that_of_ccl():
    reference = cosmologies.ccl({}, Omega_g=None)
    radiation = float(reference.omega_x(1.0, "radiation"))
    ours = power.linear_matter_power(Cosmology(**cosmologies.PLANCK, Omega_r=radiation), K, A)
    # Twice the difference in growth, see the test of that.
    np.testing.assert_allclose(ours, of_ccl(reference, K, A), rtol=5e-5)


@pytest.mark.parametrize("transfer", SHAPES)
def test_amplitude_is_the_sigma8_asked_for(transfer):
    k = np.geomspace(1e-5, 60.0, 30001)  # fine enough for Simpson's rule: 1e-9
    spectra = power.linear_matter_power(COSMO, k, transfer=transfer).numpy()
    ours = np.sqrt([variance_in_spheres(k, row) for row in spectra])
    np.testing.assert_allclose(ours, VALUES["sigma8"], rtol=1e-6)  # the project's bar
    np.testing.assert_allclose(power.sigma8(COSMO, transfer), VALUES["sigma8"], rtol=1e-12)


def test_sigma8_of_our_spectrum_by_ccl():
    import pyccl

    k = np.geomspace(1e-5, 50.0, 3000)
    for i in range(0, cosmologies.SIZE, 6):
        parameters = cosmologies.one(VALUES, i)
        h = parameters["h"]
        a = np.linspace(0.5, 1.0, 6)
        spectrum = power.linear_matter_power(Cosmology(**parameters), k, a).numpy()
        table = {"a": a, "k": k * h, "delta_matter:delta_matter": spectrum / h**3}
        reference = pyccl.CosmologyCalculator(
            **parameters, Neff=0, Omega_g=0, T_CMB=2.726, pk_linear=table
        )
        # CCL integrates ln k from 5e-5 to 10 / Mpc, which leaves 1e-7 out.
        assert reference.sigma8() == pytest.approx(VALUES["sigma8"][i], rel=1e-6)


def test_amplitude_from_the_primordial_spectrum():
    cosmo = Planck15(A_s=2.1e-9, Omega_k=0.01, w0=-0.9)
    k = 1e-6  # where the transfer function is one to 2e-4
    matter, h, n_s = cosmo.Omega_m, cosmo.h, cosmo.n_s
    early = 1e-3  # growth since matter dominated, when D was a to 1e-4
    growth = early / float(background.growth_factor(cosmo, early))
    primordial = 2 * np.pi**2 / k**3 * 2.1e-9 * (k * h / 0.05) ** (n_s - 1)
    expected = primordial * (0.4 * (k * 2997.92458) ** 2 / matter * growth) ** 2
    ours = float(power.linear_matter_power(cosmo, k))
    assert ours == pytest.approx(expected, rel=1e-3)  # the transfer function, and growth at 1e-3


def test_amplitude_from_the_primordial_spectrum_is_near_that_of_camb():
    import camb

    settings = camb.set_params(
        H0=67.74, ombh2=0.0486 * 0.6774**2, omch2=0.2589 * 0.6774**2, ns=0.9667, As=2.14e-9,
        mnu=0.0, kmax=10.0, redshifts=[0.0], WantCls=False,
    )  # fmt: skip
    expected = camb.get_results(settings).get_sigma8_0()
    # The fit of the transfer function is good to a few per cent, and CAMB has radiation.
    assert float(power.sigma8(Planck15(A_s=2.14e-9))) == pytest.approx(expected, rel=0.03)


def test_amplitudes_scale_and_agree():
    two = power.sigma8(Planck15(A_s=np.array([2e-9, 8e-9]))).numpy()
    assert two[1] == pytest.approx(2 * two[0], rel=1e-12)  # rounding
    by_A_s = power.linear_matter_power(Planck15(A_s=2e-9), K)
    by_sigma8 = power.linear_matter_power(Planck15(sigma8=two[0]), K)
    np.testing.assert_allclose(by_A_s, by_sigma8, rtol=1e-12)


def test_published_table_agrees_with_ours(data_folder):
    k, expected = np.loadtxt(data_folder / "linear_power_planck15_eh.txt").T
    inside = (k > 1e-4) & (k < 10)
    ours = power.linear_matter_power(Planck15(), k[inside]).numpy()
    # The table has a little more matter than its name says (massive neutrinos are some of it):
    np.testing.assert_allclose(ours, expected[inside], rtol=2.5e-2)
    ours = power.linear_matter_power(Planck15(Omega_c=0.261), k[inside]).numpy()
    # with this much it is the same spectrum, up to what else is different.
    np.testing.assert_allclose(ours, expected[inside], rtol=4e-3)


def test_published_table_serves_as_spectrum(data_folder):
    k, expected = np.loadtxt(data_folder / "linear_power_planck15_eh.txt").T
    table = power.TabulatedPower(k, expected)
    rescaled = power.linear_matter_power(Planck15(), k, 0.5, table).numpy()
    growth = float(background.growth_factor(Planck15(), 0.5))
    np.testing.assert_allclose(np.ptp(rescaled / expected), 0.0, atol=1e-12)  # one factor
    # Simpson's rule on the points of the table.
    assert np.sqrt(variance_in_spheres(k, rescaled)) / growth == pytest.approx(0.8159, rel=1e-5)


class TestTabulatedPower:
    K = np.geomspace(1e-4, 100.0, 400)
    TRUE = power.linear_matter_power(Planck15(), K).numpy()

    def test_our_own_table_gives_our_own_spectrum(self):
        table = power.TabulatedPower(self.K, self.TRUE)
        k = np.geomspace(2e-4, 80.0, 333)
        # A cubic spline through 67 points in each decade, with acoustic oscillations.
        expected = power.linear_matter_power(Planck15(), k, A)
        ours = power.linear_matter_power(Planck15(), k, A, table)
        np.testing.assert_allclose(ours, expected, rtol=1e-4)
        nonlinear = power.nonlinear_matter_power(Planck15(), k, A, table)
        expected = power.nonlinear_matter_power(Planck15(), k, A)
        np.testing.assert_allclose(nonlinear, expected, rtol=1e-4)

    def test_amplitude_is_kept_or_rescaled(self):
        table = power.TabulatedPower(self.K, 2 * self.TRUE)
        kept = power.linear_matter_power(Planck15(sigma8=None), self.K, transfer=table)
        np.testing.assert_allclose(kept, 2 * self.TRUE, rtol=1e-12)  # rounding
        rescaled = power.linear_matter_power(Planck15(), self.K, transfer=table)
        np.testing.assert_allclose(rescaled, self.TRUE, rtol=1e-6)  # the ends of the table
        assert float(power.sigma8(Planck15(sigma8=None), table)) == pytest.approx(
            0.8159 * np.sqrt(2), rel=1e-6
        )

    def test_outside_it_is_a_power_law(self):
        table = power.TabulatedPower(self.K, self.K**-1.5)
        k = np.array([1e-6, 1e-5, 1e3, 1e4])
        ours = power.linear_matter_power(Planck15(sigma8=None), k, transfer=table)
        np.testing.assert_allclose(ours, k**-1.5, rtol=1e-10)  # rounding of the slope

    def test_units_are_converted(self):
        h = 0.6774
        k = self.K * h / u.Mpc
        with cu_enabled(h):
            table = power.TabulatedPower(self.K * cu.littleh / u.Mpc, self.TRUE)
        assert table.k == pytest.approx(self.K)
        with pytest.raises(ValueError, match="`k` must have a unit that converts to h/Mpc"):
            power.TabulatedPower(k, self.TRUE)  # without a cosmology there is no h

    def test_it_is_differentiable(self):
        spectrum = tf.constant(self.TRUE)
        with tf.GradientTape() as tape:
            tape.watch(spectrum)
            table = power.TabulatedPower(self.K, spectrum)
            value = power.sigma8(Planck15(sigma8=None), table)
        gradient = tape.gradient(value, spectrum).numpy()
        # sigma8 is of degree one half in the spectrum (Euler).
        assert np.sum(gradient * self.TRUE) == pytest.approx(float(value) / 2, rel=1e-12)

    @pytest.mark.parametrize(
        "k, spectrum, message",
        [
            ([1.0, 2.0, 2.0, 3.0], np.ones(4), r"`k` must increase\. Received: \[1"),
            ([0.0, 1.0, 2.0, 3.0], np.ones(4), "`k` must be positive"),
            ([1.0, 2.0, 3.0, np.nan], np.ones(4), "`k` must be positive"),
            ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, -1.0, 1.0], "`power` must be positive"),
            ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, np.nan, 1.0], "`power` must be positive"),
            ([1.0, 2.0, 3.0, 4.0], np.ones(5), "`power` must have as many values as `k`, 4"),
            ([1.0, 2.0, 3.0], np.ones(3), "`power` must have as many values as `k`"),
        ],
    )
    def test_bad_tables_are_refused(self, k, spectrum, message):
        with pytest.raises(ValueError, match=message):
            power.TabulatedPower(k, spectrum)

    def test_a_table_has_its_own_amplitude(self):
        table = power.TabulatedPower(self.K, self.TRUE)
        with pytest.raises(ValueError, match="`A_s` must be None with a tabulated spectrum"):
            power.sigma8(Planck15(A_s=2e-9), table)


def cu_enabled(h):
    """Astropy's littleh at this h."""
    return u.set_enabled_equivalencies(cu.with_H0(100 * h * u.km / u.s / u.Mpc))


class TestCamb:
    def test_table_has_the_amplitude_and_the_shape_of_camb(self):
        table = power.camb_power(Planck15())
        assert float(power.sigma8(Planck15(sigma8=None), table)) == pytest.approx(0.8159, rel=1e-6)
        ratio = power.linear_matter_power(Planck15(), K, 1.0, table) / power.linear_matter_power(
            Planck15(), K
        )
        # The fit of Eisenstein and Hu is up to 4 per cent off, and not less than one.
        assert 0.01 < np.max(np.abs(ratio.numpy() - 1)) < 0.06

    def test_amplitude_from_the_primordial_spectrum(self):
        table = power.camb_power(Planck15(A_s=2e-9), k=np.geomspace(1e-3, 10.0, 200))
        assert table.k[0] == pytest.approx(1e-3)
        sigma8 = float(power.sigma8(Planck15(sigma8=None), table))
        assert sigma8 == pytest.approx(float(power.sigma8(Planck15(A_s=2e-9))), rel=0.03)

    @pytest.mark.parametrize("h", [np.array([0.6, 0.7]), "symbolic"])
    def test_parameters_must_be_known_numbers(self, h):
        with pytest.raises(ValueError, match="`cosmo` must be one cosmology of known numbers"):
            if isinstance(h, str):
                tf.function(lambda h: power.camb_power(Planck15(h=h)).power)(
                    tf.constant(0.7, tf.float64)
                )
            else:
                power.camb_power(Planck15(h=h))


@both
def test_scalars_are_squeezed_and_batches_lead(function):
    assert function(Planck15(), 0.1).shape == ()
    assert function(Planck15(), K[:5]).shape == (5,)
    assert function(Planck15(), K[:5], A).shape == (3, 5)
    assert function(Planck15(), K[:6].reshape(2, 3), A).shape == (3, 2, 3)
    assert function(COSMO, K[:5], A).shape == (cosmologies.SIZE, 3, 5)
    assert function(COSMO, 0.1).shape == (cosmologies.SIZE,)


@both
def test_wavenumbers_come_with_units(function):
    cosmo = Planck15()
    expected = function(cosmo, 0.1)
    np.testing.assert_allclose(function(cosmo, 0.1 * 0.6774 / u.Mpc), expected, rtol=1e-12)
    np.testing.assert_allclose(function(cosmo, 0.1 * cu.littleh / u.Mpc), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="`k` must have a unit that converts to h/Mpc"):
        function(cosmo, 0.1 * u.Mpc)


@both
@pytest.mark.parametrize(
    "change, message",
    [
        ({"k": 0.0}, r"`k` must lie in \[1e-07, 1e\+06\]\. Received: 0.*Wavenumbers are in h/Mpc"),
        ({"k": -1.0}, "`k` must lie in"),
        ({"k": np.nan}, "`k` must lie in"),
        ({"a": 0.0}, r"`a` must lie in \[1e-08, 1\]"),
        ({"a": 2.0}, "`a` must lie in .*The scale factor today is 1"),
        ({"transfer": "camb"}, "`transfer` must be one of 'eisenstein_hu'.*Received: 'camb'"),
        ({"cosmo": Planck15(sigma8=None)}, "`sigma8` must be given, or `A_s`, for a power spec"),
    ],
)
def test_bad_arguments_are_refused(function, change, message):
    with pytest.raises(ValueError, match=message):
        function(**{"cosmo": Planck15(), "k": 0.1, **change})


@pytest.mark.parametrize("Omega_k", [-0.02, 0.05])
def test_camb_tables_of_curved_universes(Omega_k):
    cosmo = Planck15(Omega_k=Omega_k)
    # CAMB begins at larger k in a closed universe; the table is normalised all the same.
    np.testing.assert_allclose(power.sigma8(cosmo, power.camb_power(cosmo)), 0.8159, rtol=1e-10)
    with pytest.raises(ValueError, match=r"`k` must not be below"):
        power.camb_power(cosmo, np.geomspace(1e-6, 1.0, 50))
