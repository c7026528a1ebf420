"""Simulated lensing surveys beside theory, and the posterior of their spectra."""

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.interpolate import PchipInterpolator

from flowpm_ext.core.seeds import fold
from flowpm_ext.cosmology import Planck15
from flowpm_ext.cosmology.angular_cl import angular_cl
from flowpm_ext.cosmology.probes import WeakLensing
from flowpm_ext.cosmology.redshift import gaussian_nz
from flowpm_ext.nn import SmallCNN
from lfi.compressors import Compressor
from lfi.hybrid import WithSpectra
from lfi.lensing_likelihood import PowerLikelihood
from lfi.survey import LensingTask

FIDUCIAL = (0.25, 0.8)
NUM = 1024


@pytest.fixture(scope="module")
def task():
    nz = (gaussian_nz(0.6, 0.1, gals_per_arcmin2=10.0), gaussian_nz(1.2, 0.1, 20.0))
    return LensingTask(nz, num_pixels=32)


@pytest.fixture(scope="module")
def maps(task):
    return task.maps(np.tile([FIDUCIAL], [NUM, 1]), seed=1)


@pytest.fixture(scope="module")
def likelihood(task):
    return PowerLikelihood(task, FIDUCIAL, num_simulations=NUM, seed=2)


def multipoles(task):
    """|ell| of all modes, from whole numbers of waves along each side."""
    n = task.num_pixels
    waves = (np.arange(n) + n // 2) % n - n // 2
    return 360 / task.field_size_deg * np.hypot(waves[:, None], waves)


def theory(task, theta):
    """C_ell of each mode of maps without noise, zero for the mean, [num_cl, ny, nx]."""
    knots = np.geomspace(70, 1200 * np.sqrt(2), 96)
    # As many cosmologies and multipoles as for maps: what is compiled then serves again.
    cosmo = Planck15(Omega_c=np.full(64, theta[0]), sigma8=np.full(64, theta[1]))
    cl = angular_cl(cosmo, knots, [WeakLensing(tuple(task.nz))])[0].numpy()
    ell = np.maximum(multipoles(task), 70)
    return np.exp(PchipInterpolator(np.log(knots), np.log(cl), axis=-1)(np.log(ell))) * (ell > 70)


def averaged(task, modes):
    """Mean of values [..., ny, nx] of modes over the bins, one bin at a time."""
    ell, bins = multipoles(task), itertools.pairwise(task.ell_edges)
    means = [modes[..., (ell >= low) & (ell < high)].mean(axis=-1) for low, high in bins]
    return np.stack(means, axis=-1)


def test_maps_have_the_spectrum_and_variance_of_theory(task, maps):
    cl = theory(task, np.array(FIDUCIAL))
    spectra = task.spectra(maps).astype(np.float64)
    error = spectra.std(axis=0) / np.sqrt(NUM)
    # 33 bins of one draw: 4 standard errors are exceeded once in five hundred times.
    assert np.all(np.abs(spectra.mean(axis=0) - averaged(task, cl).ravel()) < 4 * error)
    variance = cl[[0, 2]].sum(axis=(1, 2)) / np.deg2rad(task.field_size_deg) ** 2
    each = maps.astype(np.float64).var(axis=(1, 2))
    assert np.all(np.abs(each.mean(axis=0) - variance) < 4 * each.std(axis=0) / np.sqrt(NUM))
    assert np.all(stats.skew(maps, axis=(0, 1, 2)) > 0.3)  # lognormal


def test_mean_of_likelihood_is_theory_with_noise(task, likelihood):
    # Not a node of the splines, which are within 1e-4 where the scatter is 0.05 and more.
    theta = np.array([0.173, 0.971])
    expected = averaged(task, theory(task, theta))
    expected[[0, 2]] += (task.noise_std**2 * np.deg2rad(task.pixel_size_arcmin / 60) ** 2)[:, None]
    np.testing.assert_allclose(likelihood.mean([theta])[0], expected.ravel(), rtol=3e-4)


def test_noise_of_each_bin(task):
    zeros = np.zeros([64, 32, 32, 2], np.float32)
    seen = task.with_noise(zeros, seed=3)
    density = np.array([10.0, 20.0]) * (300 / 32) ** 2
    np.testing.assert_allclose(task.noise_std, 0.26 / np.sqrt(density), rtol=1e-6)
    # 65,536 pixels say a standard deviation to 0.3 %; four of that.
    np.testing.assert_allclose(seen.std(axis=(0, 1, 2)), task.noise_std, rtol=0.012)
    # The default: 30 galaxies per square arcminute, in pixels of 2.34 arcmin.
    assert LensingTask().noise_std == pytest.approx([0.26 / np.sqrt(30) / 2.34375])
    in_graph = tf.function(task.noise)(zeros, tf.constant([0, 5]))
    np.testing.assert_allclose(in_graph, task.noise(zeros, tf.constant([0, 5])), atol=1e-7)


def test_turned_maps_keep_their_spectrum(task, maps):
    turned = task.flips(maps[:64], seed=4).numpy()
    np.testing.assert_allclose(task.spectra(turned), task.spectra(maps[:64]), rtol=1e-4)
    for before, after in zip(maps[:64], turned, strict=True):
        ways = [np.rot90(one, k) for one in (before, before[::-1]) for k in range(4)]
        assert any(np.array_equal(way, after) for way in ways)
    same = [np.array_equal(x, y) for x, y in zip(maps, turned, strict=False)]
    assert 0 < sum(same) < 24  # one in eight, 8 +- 2.6


def test_spectra_of_two_bins_are_those_of_a_naive_transform(task):
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 2)).astype(np.float32)
    modes = np.fft.fft2(x.astype(np.float64), axes=(1, 2)) / 32**2
    area = np.deg2rad(task.field_size_deg) ** 2
    for number, one in enumerate(modes):
        pairs = [(one[..., i] * one[..., j].conj()).real for i, j in ((0, 0), (0, 1), (1, 1))]
        expected = averaged(task, area * np.stack(pairs)).ravel()
        # float32, and cross spectra that average to near zero.
        atol = 1e-5 * expected.max()
        np.testing.assert_allclose(task.spectra(x)[number], expected, rtol=1e-4, atol=atol)


def test_bins_are_of_one_sky(task, maps):
    near, cross, far = task.spectra(maps).reshape(NUM, 3, -1).mean(axis=0)
    correlation = cross / np.sqrt(near * far)
    assert np.all((correlation > 0.5) & (correlation < 0.95))


def test_posterior_is_that_of_weighted_draws_of_the_prior(task, likelihood):
    x = likelihood.mean([FIDUCIAL])[0]
    draws = likelihood.posterior(x[None], 20_000, seed=1)[:, 0]
    theta = task.prior.sample(50_000, seed=9).numpy()
    # Hartlap's factor, as a covariance that is larger by its inverse.
    covariance = likelihood.covariance * (NUM - 1) / (NUM - len(x) - 2)
    scale = np.sqrt(np.diag(covariance))
    white = stats.multivariate_normal(cov=covariance / np.outer(scale, scale))
    weight = np.exp(white.logpdf((likelihood.mean(theta) - x) / scale))
    mean = np.average(theta, axis=0, weights=weight)
    expected = np.cov(theta.T, aweights=weight)
    # A thousand draws of the prior count: 3 % of a deviation, 5 % of a variance; three of those.
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 0.1 * np.sqrt(expected.diagonal()))
    np.testing.assert_allclose(np.cov(draws.T), expected, rtol=0.15)


def test_posterior_of_spectra_is_calibrated_near_the_fiducial(task):
    # A prior so narrow that the covariance is about the same all over it.
    near = dataclasses.replace(task, low=(0.2, 0.72), high=(0.3, 0.88))
    theta, x = near.draw(120, seed=11)
    draws = PowerLikelihood(near, FIDUCIAL, NUM, seed=2).posterior(near.spectra(x), 99, seed=3)
    assert draws.shape == (99, 120, 2) and draws.dtype == np.float32
    amplitude = [one[..., 1] * np.sqrt(one[..., 0] + 0.0486) for one in (draws, theta)]
    for values, truth in ((draws[..., 1], theta[:, 1]), amplitude):
        part = (np.sum(values < truth, axis=0) + 0.5) / 100
        assert stats.kstest(part, "uniform").pvalue > 1e-3
    assert amplitude[0].std(axis=0).mean() < 0.8 * amplitude[1].std()  # something is learned


def test_spectra_are_a_task_with_an_exact_posterior(likelihood):
    problem = likelihood.as_task()
    theta, x = problem.draw(4000, seed=1)
    white = (x - likelihood.mean(theta)) @ likelihood._whiten
    # What is left is unit noise: 4,000 draws of some 30 data, a scatter of .022 in a variance.
    np.testing.assert_allclose(np.var(white, axis=0), 1, atol=0.1)
    np.testing.assert_array_equal(x, problem.simulate(theta, fold(1, 1)))
    draws = np.stack([problem.posterior(one, 99, seed=i) for i, one in enumerate(x[:200])], axis=1)
    for number in range(2):
        part = (np.sum(draws[..., number] < theta[:200, number], axis=0) + 0.5) / 100
        assert stats.kstest(part, "uniform").pvalue > 1e-3


def test_compressor_with_noise_and_flips_survives_a_file(task, maps, tmp_path):
    layers = [keras.layers.AveragePooling2D(16), keras.layers.Flatten()]
    model = Compressor(
        keras.Sequential(layers), 2, "mse", augment=task.flips, noise=task.noise, seed=1
    )
    model.compile(keras.optimizers.Adam(1e-3))
    theta = task.prior.sample(128, seed=1).numpy()
    model.fit(maps[:128], theta, batch_size=64, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.noise == task.noise and again.augment is task.flips
    one, two = (each.compress(maps[:64], seed=2) for each in (model, again))
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_network_that_is_given_spectra(task, maps, tmp_path):
    cnn = SmallCNN(2, (4, 4))
    model = keras.Sequential([WithSpectra(cnn, task.pixel_size_arcmin, task.ell_edges)])
    found = model(maps[:64]).numpy()
    assert found.shape == (64, 2 + 33) and model.output_shape[1:] == (35,)
    near, cross, far = task.spectra(maps[:64]).reshape(64, 3, 11).transpose(1, 0, 2)
    area = np.deg2rad(task.pixel_size_arcmin / 60) ** 2
    expected = [np.log(near / area), np.log(far / area), cross / np.sqrt(near * far)]
    np.testing.assert_allclose(found[:, :2], cnn(maps[:64]), rtol=1e-5)
    np.testing.assert_allclose(found[:, 2:], np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "hybrid.keras")
    again = keras.models.load_model(tmp_path / "hybrid.keras")
    np.testing.assert_allclose(again(maps[:64]), found, rtol=1e-5)


def test_seeds_and_numbers_of_maps(task, maps):
    theta = np.tile([FIDUCIAL], [70, 1])
    again = task.maps(theta, seed=1)
    assert again.shape == (70, 32, 32, 2)
    np.testing.assert_array_equal(again, maps[:70])  # whatever fills the last batch
    assert not np.allclose(task.maps(theta[:1], seed=2), maps[:1])
    drawn, x = task.draw(3, seed=5)
    assert x.shape == (3, 32, 32, 2) and x.dtype == drawn.dtype == np.float32
    np.testing.assert_array_equal(task.draw(3, seed=5)[1], x)
    assert np.all((drawn >= task.low) & (drawn <= task.high))
    noise = task.simulate(theta, seed=8) - task.simulate(theta, seed=9)
    assert noise.std() > 1.4 * task.noise_std[0]


def test_progress_is_shown_where_asked(task, capsys):
    task.maps([FIDUCIAL], progress=True)
    assert "maps" in capsys.readouterr().err
    task.maps([FIDUCIAL])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "theta, text",
    [
        ([0.25, 0.8], r"`theta` must have shape \[num, 2\]"),
        ([[0.25, 0.8, 0.1]], r"`theta` must have shape \[num, 2\]"),
        ([[np.nan, 0.8]], "`theta` must be finite"),
        ([[0.25, 1.2], [0.3, 0.8]], "`theta` must lie inside of the prior. Received: '1 of 2"),
    ],
)
def test_bad_parameters_are_refused(task, likelihood, theta, text):
    for function in (task.maps, task.simulate, likelihood.mean):
        with pytest.raises(ValueError, match=text):
            function(theta)


def test_bad_arguments_are_refused(task, likelihood):
    spectra = likelihood.mean([FIDUCIAL])
    for text, function in (
        ("`field_size_deg` must be positive", lambda: LensingTask(field_size_deg=0.0)),
        ("`num_pixels` must be a positive integer", lambda: LensingTask(num_pixels=1.5)),
        ("`nz` must hold a bin", lambda: LensingTask(())),
        ("`sigma_e` must be non-negative", lambda: LensingTask(sigma_e=-0.1)),
        ("`low` must be below", lambda: LensingTask(low=(0.6, 0.5))),
        ("`num` must be a positive integer", lambda: task.draw(0)),
        (r"`maps` must have shape \[num, 32, 32, 2\]", lambda: task.spectra(np.zeros([2, 8, 8]))),
        ("`x` must hold an example", lambda: task.with_noise(np.zeros([0, 32, 32, 2]))),
        ("must lie inside of the prior", lambda: PowerLikelihood(task, (0.9, 0.8))),
        ("`num_simulations` must be more than", lambda: PowerLikelihood(task, FIDUCIAL, 10)),
        (r"`x_obs` must have shape \[num_obs, 33\]", lambda: likelihood.posterior(spectra[0], 9)),
        ("`x_obs` must be finite", lambda: likelihood.posterior(np.nan * spectra, 9)),
        ("`num` must be a positive integer", lambda: likelihood.posterior(spectra, 0)),
    ):
        with pytest.raises(ValueError, match=text):
            function()
