"""The exact posterior of lensing maps, and the quick maps that it is made with."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.cosmology.redshift import gaussian_nz
from flowpm_ext.lensing import lognormal_maps
from lfi.full_field import FullFieldPosterior
from lfi.lensing_likelihood import PowerLikelihood
from lfi.lognormal_field import LognormalField
from lfi.survey import LensingTask
from lfi.survey_compressor import survey_compressor, train_on_stream


@pytest.fixture(scope="module")
def task():
    nz = (gaussian_nz(0.6, 0.1, gals_per_arcmin2=10.0), gaussian_nz(1.2, 0.1, 20.0))
    return LensingTask(nz, num_pixels=32)


@pytest.fixture(scope="module")
def field(task):
    return LognormalField(task)


@pytest.fixture(scope="module")
def posterior(task, field):
    return FullFieldPosterior(task, field, PowerLikelihood(task, num_simulations=500))


def test_quick_maps_are_those_of_theory(task, field):
    theta = task.prior.sample(64, 3).numpy()
    white = standard_normal([64, 2, 32, 32], 7)
    expected = lognormal_maps(task.cosmology(theta), task.nz, 5.0, 32, seed=7).numpy()
    found = field.maps(tf.constant(theta), white).numpy()
    # The interpolation is right to 1e-4, and single precision to 1e-6 of a map.
    assert np.abs(found - expected).max() < 3e-4 * expected.std()


def test_quick_maps_have_slopes_in_parameters(field):
    white = standard_normal([1, 2, 32, 32], 1)

    def power(theta):
        return tf.reduce_sum(field.maps(theta, white) ** 2, axis=[1, 2, 3])

    theta = tf.constant([[0.25, 0.8]])
    with tf.GradientTape() as tape:
        tape.watch(theta)
        value = power(theta)
    slope = tape.gradient(value, theta)[0].numpy()
    step = np.diag([0.02, 0.02]).astype(np.float32)
    for i in range(2):
        difference = (power(theta + step[i]) - power(theta - step[i]))[0] / 0.04
        assert slope[i] == pytest.approx(float(difference), rel=0.02)


def test_stream_has_no_end_and_no_repeats(task, field):
    batches = list(field.stream(4, seed=1).take(3).as_numpy_iterator())
    again = next(iter(field.stream(4, seed=1)))
    assert batches[0][0].shape == (4, 32, 32, 2)
    np.testing.assert_allclose(again[0], batches[0][0], atol=1e-6)
    theta = np.concatenate([part for _, part in batches])
    assert len(np.unique(theta[:, 0])) == 12
    assert np.all((theta >= task.low) & (theta <= task.high))
    assert not np.allclose(next(iter(field.stream(4, seed=2)))[1], batches[0][1])
    with pytest.raises(ValueError, match="`batch_size` must be"):
        field.stream(0)


def test_joint_density_is_that_of_normal_numbers(task, posterior):
    theta = task.prior.sample(2, 1)
    white = standard_normal([2, 2, 32, 32], 2)
    x = task.simulate(theta.numpy(), seed=3)
    maps = lognormal_maps(task.cosmology(theta.numpy()), task.nz, 5.0, 32, seed=2).numpy()
    expected = stats.norm(maps, task.noise_std).logpdf(x).sum((1, 2, 3))
    expected += stats.norm().logpdf(white.numpy()).sum((1, 2, 3))
    found = posterior.log_prob(theta, white, tf.constant(x)).numpy()
    # Up to a number; sums of a thousand terms in single precision.
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], abs=0.05)


def test_posterior_is_calibrated(task, posterior):
    """Ranks of the truth among draws, in 60 maps."""
    theta, x = task.draw(60, seed=11)
    draws = posterior.sample(x, 200, num_chains=2, num_warmup=150, seed=1, progress=False)
    assert draws.samples.shape == (200, 60, 2) and draws.r_hat.shape == (60, 2)
    assert np.abs(draws.acceptance.mean() - 0.8) < 0.1
    assert np.median(draws.r_hat) < 1.1
    for i in range(2):
        rank = np.mean(draws.samples[..., i] < theta[:, i], axis=0)
        # One of a thousand exact ones would be refused.
        assert stats.kstest(rank, "uniform").pvalue > 1e-3
    # Posteriors know more than the prior: of the product S8 most.
    s8 = draws.samples[..., 1] * np.sqrt(draws.samples[..., 0])
    truth = theta[:, 1] * np.sqrt(theta[:, 0])
    assert np.corrcoef(s8.mean(0), truth)[0, 1] > 0.9


def test_bad_input_is_refused(task, posterior):
    x = task.draw(1, seed=1)[1]
    for call, message in (
        (lambda: posterior.sample(x[:, :8], 10), "`maps` must have shape"),
        (lambda: posterior.sample(np.nan * x, 10), "must be finite"),
        (lambda: posterior.sample(x, 0), "`num_samples` must be"),
        (lambda: train_on_stream(None, None, 0), "`num_steps` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_network_learns_from_the_stream(task, field):
    """With hardly any noise the spectra say nearly all, and a few steps find much of it."""
    quiet = dataclasses.replace(task, sigma_e=0.01)
    model = survey_compressor(quiet, channels=(4, 8), seed=1)
    history = train_on_stream(model, field, 300, num_epochs=3, seed=1, verbose=0).history
    log_volume = np.log(0.4 * 0.6)
    # Nats more than the prior knows.
    assert -history["val_loss"][-1] + log_volume > 1.0
    assert len(history["loss"]) == 3
    summaries = model.compress(quiet.draw(10, seed=5)[1])
    assert summaries.shape == (10, 2) and np.all(np.isfinite(summaries))
