"""Gaussian and lognormal maps against the spectra and moments they are drawn with."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import angular_cl, probes, redshift
from flowpm_ext.lensing import empty_beam_shift, gaussian_maps, lognormal_maps

COSMO = fpm.Planck15()
NZ = [redshift.gaussian_nz(0.5, 0.1), redshift.gaussian_nz(1.0, 0.1)]
FIELD, N, NUM = 5.0, 64, 2000
PAIRS = ((0, 0), (0, 1), (1, 1))


def draw(make, **options):
    return np.concatenate([make(COSMO, NZ, FIELD, N, 200, s, **options) for s in range(NUM // 200)])


@pytest.fixture(scope="module")
def maps():
    return {make: draw(make) for make in (gaussian_maps, lognormal_maps)}


@pytest.mark.parametrize("make", [gaussian_maps, lognormal_maps])
def test_mean_spectra_are_those_of_theory(maps, make):
    pixel = np.deg2rad(FIELD) / N
    l1 = 2 * np.pi * np.fft.fftfreq(N, pixel)
    ell = np.hypot(l1[:, None], l1)
    edges = np.geomspace(100, 0.5 * np.pi / pixel, 9)
    modes = np.fft.fft2(maps[make], axes=(1, 2)) * pixel**2 / np.deg2rad(FIELD)
    fine = np.geomspace(50, 1e4, 300)
    theory = angular_cl.angular_cl(COSMO, fine, [probes.WeakLensing(NZ)]).numpy()
    for row, (i, j) in enumerate(PAIRS):
        power = (modes[..., i] * modes[..., j].conj()).real
        expected_map = np.exp(np.interp(np.log(ell.clip(50)), np.log(fine), np.log(theory[row])))
        for low, high in itertools.pairwise(edges):
            inside = (ell >= low) & (ell < high)
            each = power[:, inside].mean(axis=1)
            expected, error = expected_map[inside].mean(), each.std() / np.sqrt(NUM)
            # The bar of the correctness of maps: one per cent, and the scatter of the mean.
            assert abs(each.mean() - expected) < 0.01 * expected + 3 * error


def test_skewness_is_that_of_the_closed_form(maps):
    kappa = maps[lognormal_maps]
    variance = kappa.var(axis=(0, 1, 2))
    skewness = ((kappa - kappa.mean(axis=(0, 1, 2))) ** 3).mean(axis=(0, 1, 2)) / variance**1.5
    shift = np.array([empty_beam_shift(nz.mean()) for nz in NZ])
    expected = (3 + variance / shift**2) * np.sqrt(variance) / shift
    # The tails of 8 million pixels leave two per cent.
    np.testing.assert_allclose(skewness, expected, rtol=0.05)
    assert np.abs(maps[gaussian_maps].mean()) < 1e-4
    assert kappa.min(axis=(0, 1, 2))[0] > -shift[0]


def test_empty_beam_is_the_fit():
    assert float(empty_beam_shift(1.0)) == pytest.approx(0.008 + 0.029 - 0.0079 + 0.00065)


def test_batch_of_cosmologies_is_as_one_by_one():
    values = [0.7, 0.9]
    batch = fpm.Planck15(sigma8=tf.constant(values, tf.float64))
    together = lognormal_maps(batch, NZ, FIELD, 16, seed=4, dtype=tf.float64)
    for row, value in enumerate(values):
        one = lognormal_maps(fpm.Planck15(sigma8=value), NZ, FIELD, 16, 2, 4, dtype=tf.float64)
        np.testing.assert_allclose(together[row], one[row], atol=1e-10)


def test_gradient_by_sigma8():
    def statistic(sigma8):
        kappa = lognormal_maps(fpm.Planck15(sigma8=sigma8), NZ, FIELD, 16, dtype=tf.float64)
        return 1e3 * tf.reduce_mean(kappa**2)

    value, h = tf.constant(0.8, tf.float64), 1e-5
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = statistic(value)
    difference = (statistic(value + h) - statistic(value - h)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(loss, value), difference, rtol=1e-6)


def test_alignments_change_the_spectrum():
    """Near galaxies point at the matter that shears far ones the other way."""
    plain = gaussian_maps(COSMO, NZ, FIELD, 16, 50, 1)
    aligned = gaussian_maps(COSMO, NZ, FIELD, 16, 50, 1, ia_bias=3.0)
    cross = [np.mean(maps[..., 0] * maps[..., 1]) for maps in (plain, aligned)]
    assert 0 < cross[1] < 0.9 * cross[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nz": []}, "`nz` must hold at least one"),
        ({"field_size_deg": -1.0}, "`field_size_deg` must be positive"),
        ({"num_pixels": 0}, "`num_pixels` must be a positive integer"),
        ({"shift": 0.0}, "`shift` must be positive"),
    ],
)
def test_bad_input_to_theory_maps(change, words):
    arguments = {"nz": NZ, "field_size_deg": 5.0, "num_pixels": 8} | change
    with pytest.raises(ValueError, match=words):
        lognormal_maps(COSMO, **arguments)
