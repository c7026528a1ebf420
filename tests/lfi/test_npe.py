"""Neural posteriors where the posterior is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfi
from lfi.density import MixtureDensity
from lfi.diagnostics import c2st
from lfi.ensemble import stacking_weights

WIDTH = 0.4


def simulations(num, seed=0):
    """Two parameters in a box, each seen with noise; far from its sides a normal posterior."""
    prior = lfi.BoxPrior([-3, 0], [3, 6], names=["a", "b"])
    theta = prior.sample(num, seed).numpy()
    noise = np.random.default_rng(seed).normal(size=theta.shape)
    return prior, theta, theta + WIDTH * noise


@pytest.fixture(scope="module")
def estimator():
    prior, theta, x = simulations(4000)
    return lfi.NPE(prior, num_members=2, seed=1).append_simulations(theta, x).fit(verbose=0)


def test_posterior_is_the_known_one(estimator):
    x_obs = np.random.default_rng(3).uniform([-1.5, 1.5], [1.5, 4.5], (8, 2))
    draws = estimator.posterior(x_obs).sample(4000, seed=2)
    # 4,000 simulations leave a quarter of a standard deviation, and a little to see for c2st.
    shift = (draws.mean(0) - x_obs) / WIDTH
    assert np.sqrt(np.mean(shift**2)) < 0.3
    np.testing.assert_allclose(np.mean(draws.std(0), axis=0), WIDTH, rtol=0.1)
    exact = x_obs[0] + WIDTH * np.random.default_rng(5).normal(size=(4000, 2))
    assert c2st(exact, draws[:, 0]) < 0.6
    normal = -0.5 * np.sum(((exact - x_obs[0]) / WIDTH) ** 2, 1)
    normal -= 2 * np.log(WIDTH) + np.log(2 * np.pi)
    assert np.mean(normal - estimator.posterior(x_obs[0]).log_prob(exact)) < 0.08


def test_several_observations_at_once(estimator):
    x_obs = np.array([[0.0, 3.0], [1.0, 1.5], [-1.0, 4.0]])
    posterior = estimator.posterior(x_obs)
    draws = posterior.sample(500)
    assert draws.shape == (500, 3, 2)
    np.testing.assert_allclose(draws.mean(0), x_obs, atol=0.35 * WIDTH)
    together = posterior.log_prob(draws)
    alone = estimator.posterior(x_obs[1]).log_prob(draws[:, 1])
    np.testing.assert_allclose(together[:, 1], alone, atol=1e-4)


def test_draws_stay_inside_of_the_prior(estimator):
    draws = estimator.posterior([2.9, 0.1]).sample(2000)
    assert np.all((draws > [-3, 0]) & (draws < [3, 6]))
    assert np.isneginf(estimator.posterior([2.9, 0.1]).log_prob([[3.1, 1.0]]))[0]


def test_calibrated_on_new_simulations(estimator):
    """Ranks of the truth among draws are uniform."""
    _, theta, x = simulations(300, seed=9)
    draws = estimator.posterior(x).sample(99)
    ranks = np.sum(draws < theta, axis=0) / 100
    for column in ranks.T:
        distance = np.abs(np.sort(column) - np.linspace(0, 1, 300)).max()
        # Kolmogorov: 1.95 / sqrt(300) is passed by one of a thousand.
        assert distance < 1.95 / np.sqrt(300) + 0.01


@pytest.mark.parametrize("density", ["mdn", "maf", "coupling"])
def test_other_densities_learn(density):
    prior, theta, x = simulations(1500)
    estimator = lfi.NPE(prior, density, num_members=1)
    estimator.append_simulations(theta[:700], x[:700]).append_simulations(theta[700:], x[700:])
    draws = estimator.fit(epochs=60, verbose=0).posterior([0.0, 3.0]).sample(2000)
    np.testing.assert_allclose(draws.mean(0), [0, 3], atol=0.5 * WIDTH)
    np.testing.assert_allclose(draws.std(0), WIDTH, rtol=0.3)


def test_ensemble_is_the_weighted_mixture_of_its_members():
    prior, theta, x = simulations(400)
    members = [MixtureDensity(2, 2, 1, low=prior.low, high=prior.high) for _ in range(2)]
    estimator = lfi.NPE(prior, members).append_simulations(theta, x).fit(epochs=3, verbose=0)
    ensemble = estimator.ensemble
    each = np.stack([np.exp(member.log_prob(theta, x)) for member in members])
    expected = np.log(ensemble.weights @ each)
    np.testing.assert_allclose(ensemble.log_prob(theta, x), expected, rtol=1e-4)
    ensemble.weights = np.array([1.0, 0.0])
    draws = ensemble.sample(50, x[:3])
    assert draws.shape == (50, 3, 2)


def test_same_seed_same_posterior():
    prior, theta, x = simulations(300)
    draws = []
    for seed in (3, 3, 4):
        estimator = lfi.NPE(prior, "mdn", num_members=1, seed=seed)
        estimator.append_simulations(theta, x).fit(epochs=2, verbose=0)
        draws.append(estimator.posterior(x[0]).sample(10))
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-5)
    assert np.abs(draws[0] - draws[2]).max() > 1e-3


def test_callbacks_are_called():
    class Count(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch, logs=None):
            Count.epochs += 1

    prior, theta, x = simulations(200)
    estimator = lfi.NPE(prior, "mdn", num_members=2).append_simulations(theta, x)
    estimator.fit(epochs=3, callbacks=[Count()], verbose=0)
    assert Count.epochs == 6


def test_classifier_tells_what_can_be_told():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2000, 2))
    assert c2st(a, b) == pytest.approx(0.5, abs=0.03)
    assert c2st(a, b + 5) > 0.99
    # Two unit normals a distance d apart are told apart with probability Phi(d / 2).
    assert c2st(a, b + np.array([1.0, 0.0])) == pytest.approx(0.6915, abs=0.03)


def test_prior_is_uniform_in_its_box():
    prior = lfi.BoxPrior([0, 10], [1, 30])
    theta = prior.sample(4000, seed=1).numpy()
    np.testing.assert_allclose(theta.mean(0), [0.5, 20], rtol=0.03)
    np.testing.assert_allclose(theta.var(0), np.array([1, 400]) / 12, rtol=0.06)
    np.testing.assert_allclose(prior.log_prob(theta), -np.log(20), rtol=1e-6)
    assert np.isneginf(prior.log_prob([[0.5, 9.0]]))[0]
    assert prior.names == ["theta_0", "theta_1"]


def test_broken_simulations_are_left_out_and_counted():
    prior, theta, x = simulations(50)
    x[3] = np.nan
    x[7, 0] = np.inf
    with pytest.warns(UserWarning, match="2 of 50 simulations have NaN or infinite data"):
        estimator = lfi.NPE(prior).append_simulations(theta, x)
    assert len(estimator.x) == 48


def test_bad_input_is_refused(estimator):
    prior, theta, x = simulations(20)
    for call, message in (
        (lambda: lfi.BoxPrior([0.0], [0.0]), "`low` must be below"),
        (lambda: lfi.BoxPrior([0.0], [1.0, 2.0]), "`high` must have the shape"),
        (lambda: lfi.BoxPrior([0.0], [1.0], ["a", "b"]), "`names` must be 1 different"),
        (lambda: lfi.NPE(prior, "nsf"), "`density` must be one of"),
        (lambda: lfi.NPE(prior).fit(), "`theta` must be given by `append_simulations`"),
        (lambda: lfi.NPE(prior).posterior(x[0]), "`estimator` must be trained"),
        (lambda: lfi.NPE(prior).append_simulations(theta + 9, x), "must lie inside of the prior"),
        (lambda: lfi.NPE(prior).append_simulations(theta, x[:5]), r"`x` must have shape \[20"),
        (lambda: lfi.NPE(prior).append_simulations(theta, x).append_simulations(
            theta, x[:, :1]), r"`x` must have shape \[num, 2\], as before"),
        (lambda: lfi.NPE(prior).append_simulations(theta[:3], x[:3]).fit(verbose=0),
         "`y` must be more than 2"),
        (lambda: lfi.NPE(prior).append_simulations(theta, 0 * x).fit(verbose=0), "must vary"),
        (lambda: estimator.posterior([1.0, np.nan]), "`x_obs` must be finite"),
        (lambda: estimator.posterior([1.0]), "`x_obs` must have shape"),
        (lambda: estimator.posterior(x[0]).sample(0), "`num_samples` must be"),
        (lambda: estimator.posterior(x[0]).log_prob(theta[0]), "`theta` must have 2 axes"),
        (lambda: lfi.NPE(prior).append_simulations(theta, x, proposal="posterior"),
         "`proposal` must be the prior.* Use NLE"),
        (lambda: lfi.NPE(tfp.distributions.Normal([0.0, 0.0], 1.0)),
         "`prior` must draw .* Wrap independent parameters"),
        (lambda: c2st(theta, theta[:5]), "`b` must have the shape"),
        (lambda: c2st(theta, np.nan * theta), "`b` must be finite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()


def test_draws_of_a_proposal_are_noticed():
    prior, theta, x = simulations(500)
    near = np.abs(theta).max(1) < 2.5
    with pytest.warns(UserWarning, match="Parameter 1 does not look drawn from the prior"):
        lfi.NPE(prior).append_simulations(theta[near], x[near])


def test_datasets_and_arrays_are_the_same():
    prior, theta, x = simulations(50)
    dataset = tf.data.Dataset.from_tensor_slices((theta, x)).batch(16)
    estimator = lfi.NPE(prior).append_simulations(dataset)
    np.testing.assert_array_equal(estimator.theta, theta)
    np.testing.assert_allclose(estimator.x, x, rtol=1e-6)
    with pytest.raises(ValueError, match="`theta` must be a dataset that ends"):
        lfi.NPE(prior).append_simulations(dataset.repeat())


def test_members_of_an_ensemble_differ():
    prior, theta, x = simulations(200)
    estimator = lfi.NPE(prior, "mdn", num_members=3).append_simulations(theta, x)
    members = estimator.fit(epochs=1, verbose=0).ensemble.members
    first = [member.get_weights()[4] for member in members]
    assert not np.allclose(first[0], first[1]) and not np.allclose(first[1], first[2])


def test_stacking_finds_the_mixture_that_data_come_from():
    rng = np.random.default_rng(1)
    y = np.where(
        rng.uniform(size=20_000) < 0.3, rng.normal(-1, 1, 20_000), rng.normal(1, 1, 20_000)
    )
    log_prob = [-0.5 * (y - centre) ** 2 for centre in (-1, 1, 40)]
    # One sigma of the weights is about 0.005.
    np.testing.assert_allclose(stacking_weights(log_prob), [0.3, 0.7, 0], atol=0.02)
    assert stacking_weights(log_prob)[2] == 0
