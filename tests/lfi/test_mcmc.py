"""Posteriors of likelihoods that are known, many observations at once."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.stats import truncnorm

import lfi
from lfi.mcmc import PosteriorSampler

WIDTH = 0.3


def gaussian(theta, x):
    return -0.5 * tf.reduce_sum(((x - theta) / WIDTH) ** 2, axis=-1)


def two_points(theta, x):
    """A narrow mode with weight 0.3 at the observation, and a wide one with 0.7 across."""
    log = []
    for weight, width, centre in ((0.3, 0.02, x), (0.7, 0.1, -x)):
        square = tf.reduce_sum(((theta - centre) / width) ** 2, axis=-1)
        log.append(np.log(weight) - 2 * np.log(width) - 0.5 * square)
    return tf.reduce_logsumexp(tf.stack(log), axis=0)


def test_many_observations_in_one_call():
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(10))
    x_obs = np.random.default_rng(0).normal(size=(30, 10)).astype(np.float32)
    draws = PosteriorSampler(gaussian, prior).sample(x_obs, 400, seed=1, progress=False)
    assert draws.samples.shape == (400, 30, 10)
    assert draws.r_hat.shape == draws.ess.shape == (30, 10)
    precision = 1 / WIDTH**2 + 1
    mean, std = x_obs / WIDTH**2 / precision, precision**-0.5
    # Four standard errors of 300 means, of draws worth ess.
    error = std / np.sqrt(draws.ess)
    assert np.max(np.abs(draws.samples.mean(0) - mean) / error) < 4.5
    # 3.5 % is one sigma of independent draws; squares forget more slowly than numbers.
    np.testing.assert_allclose(draws.samples.std(0), std, rtol=0.3)
    assert np.abs(draws.acceptance - 0.8).max() < 0.15


def test_one_observation_near_the_side_of_a_box():
    prior = lfi.BoxPrior([-1, -1], [1, 1])
    draws = PosteriorSampler(gaussian, prior).sample(
        np.array([[0.9, 0.0]], np.float32), 8000, seed=2, progress=False
    )
    assert np.all(draws.r_hat < 1.01) and np.all(draws.ess > 1000)
    for number, x in enumerate((0.9, 0.0)):
        exact = truncnorm((-1 - x) / WIDTH, (1 - x) / WIDTH, x, WIDTH)
        got = draws.samples[:, 0, number]
        np.testing.assert_allclose(got.mean(), exact.mean(), atol=0.02)
        levels = [0.05, 0.5, 0.95]
        np.testing.assert_allclose(np.quantile(got, levels), exact.ppf(levels), atol=0.03)


@pytest.fixture(scope="module")
def sampler():
    return PosteriorSampler(two_points, lfi.BoxPrior([-1, -1], [1, 1]))


def test_modes_have_their_shape(sampler):
    x_obs = np.array([[0.5, 0.4]], np.float32)
    draws = sampler.sample(x_obs, 10_000, seed=3, progress=False)
    is_narrow = draws.samples[:, 0, 0] > 0
    for chosen, width, sign in ((is_narrow, 0.02, 1), (~is_narrow, 0.1, -1)):
        mode = draws.samples[chosen, 0]
        np.testing.assert_allclose(mode.mean(0), [sign * 0.5, sign * 0.4], atol=0.15 * width)
        np.testing.assert_allclose(mode.std(0), width, rtol=0.15)


@pytest.mark.parametrize(("num_samples", "tolerance"), [(500, 0.06), (5000, 0.03)])
def test_modes_keep_their_weights(sampler, num_samples, tolerance):
    """Whole chains stay in a mode: one of 20 is 0.05, one of 100 is 0.01."""
    x_obs = np.tile(np.array([[0.5, 0.4]], np.float32), [20, 1])
    draws = sampler.sample(x_obs, num_samples, num_points=1500, seed=1, progress=False)
    weight = np.mean(draws.samples[..., 0] > 0, axis=0)
    # A population of 1,000 that count knows them to 0.02 each.
    assert np.sqrt(np.mean((weight - 0.3) ** 2)) < tolerance
    assert weight.mean() == pytest.approx(0.3, abs=0.02)
    assert draws.r_hat.min() > 1.1  # chains do not cross, and it shows


def test_draws_of_the_prior_on_its_bound_do_no_harm():
    """One number of ten million in this box is its bound; all of them are, here."""

    class OnBound(lfi.BoxPrior):
        def sample(self, num, seed=0):
            theta = super().sample(num, seed).numpy()
            theta[::2, 0] = self.low[0]
            return tf.constant(theta)

    draws = PosteriorSampler(gaussian, OnBound([100.0], [102.0])).sample(
        np.array([[101.0]], np.float32), 500, seed=1, progress=False
    )
    assert draws.samples.mean() == pytest.approx(101, abs=0.06)


def test_a_posterior_far_narrower_than_the_prior_is_found():
    """One millionth of the volume of the prior: importance sampling alone would miss it."""
    prior = lfi.BoxPrior([-50] * 4, [50] * 4)
    x_obs = np.array([[3.0, -20.0, 44.0, 0.5]], np.float32)
    draws = PosteriorSampler(gaussian, prior).sample(x_obs, 2000, seed=4, progress=False)
    np.testing.assert_allclose(draws.samples[:, 0].mean(0), x_obs[0], atol=0.05)
    np.testing.assert_allclose(draws.samples[:, 0].std(0), WIDTH, rtol=0.12)


def test_a_likelihood_that_is_nowhere_is_refused():
    def nowhere(theta, x):
        return tf.fill(tf.shape(theta)[:1], -np.inf)

    sampler = PosteriorSampler(nowhere, lfi.BoxPrior([0.0], [1.0]))
    with pytest.raises(ValueError, match="`x_obs` must have a finite likelihood"):
        sampler.sample(np.zeros([1, 1], np.float32), 10, progress=False)
