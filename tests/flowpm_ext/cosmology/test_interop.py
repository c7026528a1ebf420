"""Cosmologies taken over from astropy."""

import warnings

import numpy as np
import pytest
from astropy import cosmology as ac
from astropy import units as u

from flowpm_ext.cosmology import Cosmology, background

Z = np.geomspace(1e-3, 10.0, 20)
COLD = {"Ob0": 0.05, "Tcmb0": 0}
CLASSES = [
    ac.FlatLambdaCDM(70, 0.3, **COLD),
    ac.LambdaCDM(70, 0.3, 0.68, **COLD),
    ac.LambdaCDM(65, 0.32, 0.71, **COLD),
    ac.FlatwCDM(70, 0.3, w0=-0.9, **COLD),
    ac.wCDM(70, 0.3, 0.72, w0=-1.1, **COLD),
    ac.Flatw0waCDM(70, 0.3, w0=-0.9, wa=0.2, **COLD),
    ac.w0waCDM(70, 0.3, 0.72, w0=-1.1, wa=-0.3, **COLD),
]


@pytest.mark.parametrize("reference", CLASSES, ids=lambda c: f"{type(c).__name__}-{c.Ode0:.2f}")
def test_distances_are_those_of_astropy(reference):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is dropped, so nothing is said
        cosmo = Cosmology.from_astropy(reference, sigma8=0.8, n_s=0.96)
    ours = background.transverse_comoving_distance(cosmo, 1 / (1 + Z))
    expected = reference.comoving_transverse_distance(Z).value * reference.h
    # Both are double precision quadratures.
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


def test_amplitude_and_slope_come_from_the_metadata():
    with pytest.warns(UserWarning):
        cosmo = Cosmology.from_astropy(ac.Planck18)
    assert (cosmo.sigma8, cosmo.n_s) == (0.8102, 0.9665)
    assert cosmo.Omega_b == pytest.approx(0.04897)
    assert cosmo.T_cmb == pytest.approx(2.7255)
    with pytest.warns(UserWarning):
        assert Cosmology.from_astropy(ac.Planck18, sigma8=0.7).sigma8 == 0.7


def test_warning_states_the_error_of_dropping_radiation():
    with pytest.warns(UserWarning, match="Dropped radiation and massive neutrinos") as caught:
        cosmo = Cosmology.from_astropy(ac.Planck18)
    assert caught[0].filename == __file__
    message = str(caught[0].message)
    assert "`keep_radiation=True` keeps radiation." in message
    z = np.geomspace(0.01, 10.0, 50)
    ours = background.radial_comoving_distance(cosmo, 1 / (1 + z)).numpy()
    error = np.max(np.abs(ours / (ac.Planck18.comoving_distance(z).value * ac.Planck18.h) - 1))
    assert f"up to {error:.1e}." in message
    assert 1e-4 < error < 1e-2


def test_massless_radiation_can_be_kept():
    reference = ac.FlatLambdaCDM(70, 0.3, Tcmb0=2.7255, Neff=3.046, Ob0=0.05)
    cosmo = Cosmology.from_astropy(reference, 0.8, 0.96, keep_radiation=True)  # no warning
    ours = background.radial_comoving_distance(cosmo, 1 / (1 + Z))
    expected = reference.comoving_distance(Z).value * reference.h
    np.testing.assert_allclose(ours, expected, rtol=1e-11)  # both double precision


def test_kept_radiation_still_loses_the_masses_of_neutrinos():
    with pytest.warns(UserWarning, match="Dropped the masses of neutrinos: .*up to") as caught:
        Cosmology.from_astropy(ac.Planck15, keep_radiation=True)
    assert "keep_radiation" not in str(caught[0].message)


@pytest.mark.parametrize(
    "reference, options, message",
    [
        (ac.w0wzCDM(70, 0.3, 0.7, Ob0=0.05), {"n_s": 1.0}, "must be a .Flat.Lambda.*w0wz"),
        (ac.FlatLambdaCDM(70, 0.3, Tcmb0=0), {"n_s": 1.0}, "must have a baryon density"),
        (CLASSES[0], {}, "`n_s` must be given: the cosmology does not know it. Received: None"),
        (0.3, {"n_s": 1.0}, "`cosmology` must be a .*Received: 'float'"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_over_is_refused(reference, options, message):
    with pytest.raises(ValueError, match=message):
        Cosmology.from_astropy(reference, **options)


def test_hubble_constants_keep_their_unit():
    reference = ac.FlatLambdaCDM(0.07 * u.km / u.s / u.kpc, 0.3, **COLD)
    assert Cosmology.from_astropy(reference, 0.8, 0.96).h == pytest.approx(0.7)
