"""Neural likelihoods where likelihood and posterior are known."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfi
from lfi.task import linear_gaussian


@pytest.fixture(scope="module")
def task():
    return linear_gaussian(2, 3, seed=1)


@pytest.fixture(scope="module")
def estimator(task):
    """Half of the simulations come from a proposal that is no prior."""
    theta, x = task.draw(1500, seed=1)
    estimator = lfi.NLE(task.prior, num_members=2, seed=1).append_simulations(theta, x)
    more = 0.5 + 0.7 * np.random.default_rng(1).normal(size=(1500, 2))
    estimator.append_simulations(more, task.simulate(more, seed=2), proposal="narrow")
    return estimator.fit(epochs=60, verbose=0)


def test_posterior_is_the_known_one(task, estimator):
    x_obs = task.draw(1, seed=7)[1][0]
    posterior = estimator.posterior(x_obs)
    draws = posterior.sample(4000, seed=1)
    assert draws.shape == (4000, 2) and posterior.r_hat.shape == (2,)
    assert np.all(posterior.r_hat < 1.01) and np.all(posterior.ess > 1000)
    exact = task.posterior(x_obs, 20_000, seed=2)
    # 3,000 simulations leave about a quarter of a standard deviation.
    np.testing.assert_allclose((draws.mean(0) - exact.mean(0)) / exact.std(0), 0, atol=0.3)
    np.testing.assert_allclose(draws.std(0), exact.std(0), rtol=0.2)
    assert [part.proposal for part in estimator.rounds] == ["prior", "narrow"]


def test_few_draws_of_long_chains_are_worth_no_more_than_they_are(task, estimator):
    posterior = estimator.posterior(task.draw(1, seed=7)[1][0])
    assert len(posterior.sample(20)) == 20
    # Chains have 25 draws at least; some of these are left out, and those are worth nothing.
    assert np.all(posterior.ess < 22)


def test_several_observations_at_once(task, estimator):
    x_obs = task.draw(3, seed=8)[1]
    posterior = estimator.posterior(x_obs, num_chains=10)
    draws = posterior.sample(600)
    assert draws.shape == (600, 3, 2) and posterior.ess.shape == (3, 2)
    for number in range(3):
        exact = task.posterior(x_obs[number], 5000)
        shift = (draws[:, number].mean(0) - exact.mean(0)) / exact.std(0)
        np.testing.assert_allclose(shift, 0, atol=0.5)
    together = posterior.log_prob(draws)
    alone = estimator.posterior(x_obs[2]).log_prob(draws[:, 2])
    np.testing.assert_allclose(together[:, 2], alone, atol=1e-4)


def test_another_prior(task, estimator):
    x_obs = task.draw(1, seed=7)[1][0]
    narrow = tfp.distributions.MultivariateNormalDiag(tf.zeros(2), tf.fill([2], 1e-3))
    draws = estimator.posterior(x_obs, prior=narrow).sample(500)
    np.testing.assert_allclose(draws.std(0), 1e-3, rtol=0.2)


def test_bad_input_is_refused(task, estimator):
    theta, x = task.draw(5)
    for call, message in (
        (lambda: lfi.NLE(task.prior).posterior(x[0]), "`estimator` must be trained"),
        (lambda: lfi.NLE(task.prior).log_likelihood(theta, x), "`estimator` must be trained"),
        (lambda: estimator.posterior(x[0][:2]), r"`x_obs` must have shape \[3\] or \[num, 3\]"),
        (lambda: estimator.posterior(np.nan * x[0]), "`x_obs` must be finite"),
        (lambda: estimator.posterior(x[0]).sample(0), "`num_samples` must be"),
        (lambda: estimator.posterior(x[0]).r_hat, "`r_hat` must be asked for after"),
        (lambda: estimator.posterior(np.zeros([0, 3])), "`x_obs` must have shape"),
        (
            lambda: estimator.posterior(x[:3]).log_prob(theta[:2]),
            r"`theta` must have shape \[num_s",
        ),
        (lambda: estimator.posterior(x[0]).log_prob(theta[0]), r"`theta` must have shape \[num_s"),
        (lambda: estimator.posterior(x[0], lfi.BoxPrior([0], [1])), "`prior` must have 2 param"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_prior_beyond_that_of_simulations_is_refused():
    inner, outer = lfi.BoxPrior([-1], [1]), lfi.BoxPrior([-5], [5])
    theta = inner.sample(300, 1).numpy()
    x = theta + 0.1 * np.random.default_rng(0).normal(size=theta.shape)
    nle = lfi.NLE(inner, "mdn", 1).append_simulations(theta, x).fit(epochs=2, verbose=0)
    with pytest.raises(ValueError, match="`prior` must lie inside of the prior of the simul"):
        nle.posterior([0.0], prior=outer)
    with pytest.raises(ValueError, match="`prior` must name parameters as simulations did"):
        nle.posterior([0.0], prior=lfi.BoxPrior([-1], [1], names=["another"]))
    nle.posterior([0.0], prior=lfi.BoxPrior([-0.5], [1]))  # names nothing
    before = nle.posterior([0.0])
    expected = before.log_prob(theta[:5])
    nle.fit(epochs=3, verbose=0)
    np.testing.assert_array_equal(before.log_prob(theta[:5]), expected)
    assert np.abs(nle.posterior([0.0]).log_prob(theta[:5]) - expected).max() > 1e-3
