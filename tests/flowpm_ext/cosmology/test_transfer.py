"""Transfer functions: limits and shape; their spectra are tested with those of `power`."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import Planck15
from flowpm_ext.cosmology.transfer import TRANSFERS, drag_scale_factor, eisenstein_hu

K = np.geomspace(1e-4, 50.0, 300)
each = pytest.mark.parametrize("name", TRANSFERS)


def of(name, k, **change):
    return TRANSFERS[name](Planck15(**change).columns(), tf.constant(k, tf.float64)).numpy()


@each
def test_large_scales_keep_their_power(name):
    # T = 1 - O(q) with a coefficient of about ten, and q is 1e-6 / 0.2 here.
    assert of(name, [1e-6])[0] == pytest.approx(1.0, abs=2e-4)
    assert np.all(np.diff(of(name, np.geomspace(1e-6, 1e-2, 50))) < 0)


@each
def test_small_scales_fall_as_the_logarithm_over_k_squared(name):
    # ln k / k**2: between 1e3 and 1e4 the power of k is -2 with a correction of 1 / ln q.
    small = of(name, [1e3, 1e4])
    slope = np.log10(small[1] / small[0])
    assert -2 < slope < -1.8


def test_acoustic_oscillations_have_the_scale_of_the_sound_horizon():
    k = np.linspace(0.1, 0.4, 3000)
    ratio = of("eisenstein_hu", k) / of("eisenstein_hu_nowiggle", k)
    peaks = k[1:-1][(ratio[1:-1] > ratio[:-2]) & (ratio[1:-1] > ratio[2:])]
    # Two pi over the distance of the peaks is the sound horizon at the drag epoch, which Planck
    # 2015 finds to be 147.4 Mpc; the fit of it is good to 2 per cent, damping moves the peaks.
    assert 2 * np.pi / np.mean(np.diff(peaks)) == pytest.approx(147.4 * 0.6774, rel=0.04)


def test_without_baryons_there_are_no_oscillations():
    ratio = of("eisenstein_hu", K, Omega_b=1e-5) / of("eisenstein_hu_nowiggle", K, Omega_b=1e-5)
    # What is left is the difference of the two fits to the same smooth curve.
    assert np.ptp(ratio) < 0.03


def test_drag_epoch_is_near_that_of_planck():
    a = drag_scale_factor(Planck15().columns())
    # The fit is 4 per cent from the 1059.6 of a Boltzmann code, as its authors say.
    assert 1 / float(a[0]) - 1 == pytest.approx(1059.6, rel=0.05)


def test_a_hotter_universe_leaves_less_small_scale_power():
    assert np.all(of("eisenstein_hu", [1.0, 10.0], T_cmb=3.0) < of("eisenstein_hu", [1.0, 10.0]))


@each
def test_rows_of_wavenumbers_meet_columns_of_parameters(name):
    batch = Planck15(h=np.array([0.6, 0.7])).columns()
    rows = tf.constant(np.stack([K, 2 * K]))
    together = TRANSFERS[name](batch, rows)
    for i, h in enumerate((0.6, 0.7)):
        np.testing.assert_allclose(together[i], of(name, rows[i], h=h), rtol=1e-13)  # rounding


def test_gradient_in_k():
    k = tf.constant(K[50:250])
    with tf.GradientTape() as tape:
        tape.watch(k)
        value = eisenstein_hu(Planck15().columns(), k)
    slope = tape.gradient(value, k).numpy()
    step = 1e-4 * k.numpy()
    numeric = (of("eisenstein_hu", k + step) - of("eisenstein_hu", k - step)) / (2 * step)
    # Second-order differences with a relative step of 1e-4, on a sine of argument up to 1000.
    np.testing.assert_allclose(slope * k, numeric * k, atol=1e-6)
