"""Cosmological parameters: presets, types, batches, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from reference import cosmologies

import flowpm_ext as fpm
from flowpm_ext.cosmology import Cosmology, Planck15, Planck18, radiation_density

BASE = {"Omega_c": 0.25, "Omega_b": 0.05, "h": 0.7, "n_s": 0.96, "sigma8": 0.8}


def test_presets_hold_the_published_parameters():
    p15, p18 = fpm.Planck15(), fpm.Planck18()
    assert (p15.Omega_c, p15.Omega_b, p15.h, p15.n_s, p15.sigma8) == (
        0.2589, 0.0486, 0.6774, 0.9667, 0.8159,
    )  # fmt: skip
    assert (p18.Omega_c, p18.Omega_b, p18.h, p18.n_s, p18.sigma8) == (
        0.2607, 0.0490, 0.6766, 0.9665, 0.8102,
    )  # fmt: skip
    assert (p15.Omega_k, p15.w0, p15.wa, p15.Omega_r, p15.T_cmb) == (0.0, -1.0, 0.0, 0.0, 2.726)


def test_presets_take_overrides():
    cosmo = Planck15(Omega_c=0.3, wa=0.1)
    assert (cosmo.Omega_c, cosmo.wa, cosmo.h) == (0.3, 0.1, 0.6774)
    assert Planck18(A_s=2.1e-9).sigma8 is None
    with pytest.raises(TypeError, match="Omega_x"):
        Planck15(Omega_x=0.3)


def test_densities_add_up_to_one():
    values = cosmologies.draw()
    cosmo = Cosmology(**values, Omega_r=1e-4)
    total = cosmo.Omega_m + cosmo.Omega_de + cosmo.Omega_k + cosmo.Omega_r
    np.testing.assert_allclose(total, 1.0, rtol=1e-15)  # rounding
    np.testing.assert_array_equal(cosmo.Omega_m, values["Omega_c"] + values["Omega_b"])


def test_numbers_mean_double_and_tensors_decide_the_precision():
    assert Planck15().dtype == tf.float64
    assert Planck15(h=np.float32([0.7, 0.6])).dtype == tf.float32
    single = Planck15(h=tf.constant(0.7))
    assert single.dtype == tf.float32
    assert {x.dtype for x in tf.nest.flatten(single.tensors())} == {tf.float32}
    # Python numbers keep all their digits on the way to a tensor.
    assert float(Planck15().tensors().h) == 0.6774


def test_parameters_of_mixed_precision_are_refused():
    with pytest.raises(TypeError, match=r"must have parameters of one floating type\. Received"):
        Planck15(h=tf.constant(0.7), n_s=tf.constant(0.96, tf.float64))


def test_columns_are_ready_to_meet_an_axis():
    columns = Planck15(h=np.array([0.6, 0.7])).columns()
    assert columns.h.shape == (2, 1)
    assert columns.n_s.shape == (1,)


def test_a_cosmology_is_frozen_and_replaced_with_checks():
    cosmo = Planck15()
    with pytest.raises(AttributeError):
        cosmo.h = 0.7
    assert cosmo.replace(h=0.7).h == 0.7
    with pytest.raises(ValueError, match="`h` must be positive"):
        cosmo.replace(h=-0.7)


def test_tensorflow_sees_through_a_cosmology():
    cosmo = Planck15().tensors()
    assert len(tf.nest.flatten(cosmo)) == 10  # all but A_s, which is None
    with tf.GradientTape() as tape:
        tape.watch(cosmo)
        value = cosmo.Omega_m * cosmo.h
    gradient = tape.gradient(value, cosmo)
    assert float(gradient.Omega_c) == pytest.approx(0.6774)
    assert float(gradient.h) == pytest.approx(0.3075)
    doubled = tf.function(lambda c: c.replace(h=2 * c.h))(cosmo)
    assert float(doubled.h) == pytest.approx(1.3548)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"Omega_b": 0.0}, r"`Omega_b` must be positive\. Received: 0\."),
        ({"Omega_b": -0.01}, r"`Omega_b` must be positive"),
        ({"Omega_c": -0.3}, r"`Omega_c` must be non-negative\. Received: -0\.3\."),
        ({"Omega_c": np.nan}, r"`Omega_c` must be finite\. Received: nan\."),
        ({"h": 0.0}, r"`h` must be positive"),
        ({"h": np.inf}, r"`h` must be finite"),
        ({"n_s": np.nan}, r"`n_s` must be finite"),
        ({"sigma8": 0.0}, r"`sigma8` must be positive"),
        ({"sigma8": -0.8}, r"`sigma8` must be positive"),
        ({"A_s": 2e-9}, r"`sigma8` must be None when `A_s` is given\. Received: 0\.8\."),
        ({"A_s": -2e-9, "sigma8": None}, r"`A_s` must be positive"),
        ({"Omega_r": -1e-4}, r"`Omega_r` must be non-negative"),
        ({"T_cmb": 0.0}, r"`T_cmb` must be positive"),
        ({"T_cmb": 2.7 * u.Mpc}, r"`T_cmb` must have a unit that converts to K"),
        ({"w0": -0.5, "wa": 0.5}, r"`w0 \+ wa` must be negative\. Received: 0\.0\. Dark energy"),
        ({"w0": np.inf}, r"`w0` must be finite"),
        ({"Omega_k": -4.0}, r"`E\(a\)\*\*2` must be positive\. Received: .* at a = .*Omega_k"),
        ({"Omega_c": np.array([0.25, -0.1])}, r"`Omega_c` must be non-negative"),
        ({"Omega_k": np.array([0.0, -4.0])}, r"`E\(a\)\*\*2` must be positive"),
    ],
)  # fmt: skip
def test_unphysical_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Cosmology(**{**BASE, **change})


def test_temperatures_come_with_units():
    assert Planck15(T_cmb=2725.5 * u.mK).T_cmb == pytest.approx(2.7255)


@pytest.mark.parametrize("h, N_eff", [(0.7, 3.046), (0.6, 0.0), (0.72, 3.5)])
def test_radiation_density_is_that_of_astropy(h, N_eff):
    reference = FlatLambdaCDM(100 * h, 0.3, Tcmb0=2.7255, Neff=N_eff)
    expected = reference.Ogamma0 + reference.Onu0
    # Six digits of the constant, as Newton's own is known no better.
    assert radiation_density(h, 2.7255, N_eff) == pytest.approx(expected, rel=5e-6)


@pytest.mark.parametrize("name", ["h", "T_cmb", "N_eff"])
def test_radiation_density_refuses_negative_numbers(name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        radiation_density(**{"h": 0.7, name: -1.0})
