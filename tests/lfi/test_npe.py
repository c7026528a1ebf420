"""Neural posteriors where the posterior is known."""

import random

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
    each = np.stack([np.exp(member.log_prob(theta, x)) for member in ensemble.members])
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


def test_training_leaves_the_generators_of_the_process_alone():
    """A loop of the user's that draws and trains in turn must not draw the same every time."""
    prior, theta, x = simulations(200)

    def drawn():
        return random.random(), np.random.uniform(), float(tf.random.normal([]))  # noqa: NPY002

    found, draws = [], []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        expected = drawn()
        keras.utils.set_random_seed(seed)
        npe = lfi.NPE(prior, "mdn", 2).append_simulations(theta, x).fit(epochs=2, verbose=0)
        found.append((drawn(), expected))
        draws.append(npe.posterior(x[0], check=False).sample(10))
    for got, expected in found:
        assert got == expected
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-5)


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


def test_failures_that_depend_on_parameters(recwarn):
    """They bias what NLE learns, which says so; NPE is right, and parameters were the prior's."""
    prior, theta, x = simulations(1000)
    x[theta[:, 0] > 1.5] = np.nan
    lfi.NPE(prior).append_simulations(theta, x)
    (warning,) = recwarn
    assert str(warning.message).endswith("are left out.")
    with pytest.warns(UserWarning, match="lacks the probability of not failing"):
        lfi.NLE(prior).append_simulations(theta, x)
    x = simulations(1000)[2]
    x[::4] = np.nan
    with pytest.warns(UserWarning, match="are left out.$"):
        lfi.NLE(prior).append_simulations(theta, x)


def test_an_embedding_keeps_what_it_has_learned(tmp_path):
    """Of the sum and the difference of three numbers, it was told to show the first alone."""
    prior, theta, x = simulations(300)
    x = np.concatenate([x, x[:, :1] - x[:, 1:]], axis=1)

    def embedding(weight):
        layer = keras.layers.Dense(1, use_bias=False, trainable=False)
        layer.build((None, 3))
        layer.set_weights([np.array([[1.0], [0.0], [0.0]]) * weight])
        return layer

    def trained(weight):
        npe = lfi.NPE(prior, "mdn", num_members=1, embedding=embedding(weight))
        return npe.append_simulations(theta, x).fit(epochs=2, verbose=0, checkpoint=tmp_path)

    first = trained(2.0)
    member = first.ensemble.members[0]
    np.testing.assert_array_equal(member.embedding.get_weights()[0].ravel(), [2, 0, 0])
    draws = first.posterior(x[0], check=False).sample(20)
    np.testing.assert_array_equal(draws, trained(2.0).posterior(x[0], check=False).sample(20))
    other = trained(-3.0)  # another embedding does not go on from the first one's training
    np.testing.assert_array_equal(
        other.ensemble.members[0].embedding.get_weights()[0].ravel(), [-3, 0, 0]
    )


def test_densities_that_were_given_stay_as_they_are():
    prior, theta, x = simulations(300)
    given = MixtureDensity(2, 2, low=prior.low, high=prior.high)
    npe = lfi.NPE(prior, [given]).append_simulations(theta, x).fit(epochs=1, verbose=0)
    posterior = npe.posterior(x[0], check=False)
    before = posterior.log_prob(theta)
    npe.fit(epochs=3, verbose=0)
    np.testing.assert_array_equal(posterior.log_prob(theta), before)
    assert float(given.y_scale[0]) == 1  # never adapted


def test_bad_input_is_refused(estimator):
    prior, theta, x = simulations(20)
    for call, message in (
        (lambda: lfi.BoxPrior([0.0], [0.0]), "`low` must be below"),
        (lambda: lfi.BoxPrior([0.0], [1.0, 2.0]), "`high` must have the shape"),
        (lambda: lfi.BoxPrior([0.0], [1.0], ["a", "b"]), "`names` must be 1 different"),
        (lambda: lfi.NPE(prior, "nsf"), "`density` must be one of"),
        (lambda: lfi.NPE(tfp.distributions.Sample(tfp.distributions.Normal(np.float64(0), 1.0), 2)),
         "`prior` must draw float32.*float64.*Make it of float32"),
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
        (lambda: estimator.posterior(x[0]).log_prob(theta[0]), "`theta` must have shape"),
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
    first = [member.trainable_variables[0].numpy() for member in members]
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


def test_parameters_on_a_bound_are_learned_from():
    """A regular grid has some, and so do points of Sobol."""
    prior = lfi.BoxPrior([0, 100], [1, 101])
    line = np.linspace(0, 1, 21)
    theta = np.stack(np.meshgrid(line, 100 + line, indexing="ij"), -1).reshape(-1, 2)
    x = theta + 0.1 * np.random.default_rng(0).normal(size=theta.shape)
    npe = lfi.NPE(prior, "mdn", num_members=1).append_simulations(theta, x)
    npe.fit(epochs=5, verbose=0)
    assert np.all(np.isfinite(npe.ensemble.histories[0]["val_loss"]))
    assert np.all(np.isfinite(npe.posterior([0.5, 100.5]).log_prob([[0.4, 100.4]])))


@pytest.mark.parametrize("prior", [
    tfp.distributions.Sample(tfp.distributions.Uniform(0.0, 1.0), 1),
    tfp.distributions.Sample(tfp.distributions.Gamma(2.0, 4.0), 1),
])  # fmt: skip
def test_draws_stay_inside_of_priors_of_tfp(prior):
    theta = prior.sample(400, seed=1).numpy()
    x = theta + 0.2 * np.random.default_rng(0).normal(size=theta.shape)
    npe = lfi.NPE(prior, "maf", num_members=1).append_simulations(theta, x)
    npe.fit(epochs=5, verbose=0)
    draws = npe.posterior([0.02], check=False).sample(2000)
    assert np.all(np.isfinite(prior.log_prob(draws)))


@pytest.mark.parametrize("value", [0.0, 0.1, 123.4])
def test_data_that_never_vary_are_refused(value):
    """Float32 would give numbers like 0.1 a spread of 1e-8."""
    prior, theta, x = simulations(500)
    x[:, 1] = value
    for method in (lfi.NPE, lfi.NLE):
        estimator = method(prior, "mdn", num_members=1).append_simulations(theta, x)
        with pytest.raises(ValueError, match=r"must vary in every component.*components \[1\]"):
            estimator.fit(epochs=1, verbose=0)


def test_data_far_from_zero_are_standardised():
    prior, theta, x = simulations(500)
    npe = lfi.NPE(prior, "mdn", num_members=1).append_simulations(theta, 1e4 + x)
    member = npe.fit(epochs=1, verbose=0).ensemble.members[0]
    # A tenth was held out: 50 of 500 scatter by 0.03 of a spread of 2.
    np.testing.assert_allclose(member.context_mean, 1e4 + x.mean(0), atol=0.2)
    np.testing.assert_allclose(member.context_scale, x.std(0), rtol=0.1)


# Keras warns so of itself where a loss is not a number.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_members_that_fail_are_left_out():
    class Broken(MixtureDensity):
        def standard_log_prob(self, z, seen):
            return super().standard_log_prob(z, seen) * float("nan")

    prior, theta, x = simulations(300)
    npe = lfi.NPE(prior, [Broken(2, 2), MixtureDensity(2, 2)]).append_simulations(theta, x)
    with pytest.warns(UserWarning, match=r"Members \[0\] give no finite densities"):
        npe.fit(epochs=2, verbose=0)
    np.testing.assert_array_equal(npe.ensemble.weights, [0, 1])
    npe = lfi.NPE(prior, [Broken(2, 2)]).append_simulations(theta, x)
    with pytest.raises(ValueError, match="`members` must give finite densities"):
        npe.fit(epochs=2, verbose=0)


def test_each_member_has_an_embedding_of_its_own():
    """Maps of 3 x 3 pixels whose mean is all there is to know."""
    prior = lfi.BoxPrior([-3], [3])
    theta = prior.sample(600, 0).numpy()
    x = theta[:, :, None] + np.random.default_rng(0).normal(size=(600, 3, 3))
    embedding = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    npe = lfi.NPE(prior, "mdn", 2, embedding=embedding).append_simulations(theta, x)
    npe.fit(epochs=30, verbose=0)
    first, second = (member.embedding for member in npe.ensemble.members)
    assert first is not second and first is not embedding
    draws = npe.posterior(np.ones([3, 3])).sample(500)
    assert draws.mean() == pytest.approx(1, abs=0.4) and draws.std() < 0.8
    with pytest.raises(ValueError, match=r"`x` must be vectors.*Compress maps first"):
        lfi.NPE(prior).append_simulations(theta, x).fit(verbose=0)


def test_strange_observations_are_told(estimator):
    with pytest.warns(lfi.diagnostics.MisspecificationWarning, match="x_1 is most off"):
        estimator.posterior([0.0, 30.0])
    assert estimator.posterior([0.0, 30.0], check=False).sample(3).shape == (3, 2)


def test_interrupted_training_goes_on(tmp_path):
    prior, theta, x = simulations(400)

    def trained(interrupted=False, epochs=3, folder=tmp_path):
        trained = []

        class Count(keras.callbacks.Callback):
            def __init__(self, number):
                super().__init__()
                trained.append(number)

            def on_epoch_end(self, epoch, logs=None):
                if interrupted and trained[-1] == 1:
                    raise KeyboardInterrupt

        npe = lfi.NPE(prior, "mdn", 2, seed=1).append_simulations(theta, x)
        options = {"callbacks": lambda number: [Count(number)], "checkpoint": folder}
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                npe.fit(epochs, verbose=0, **options)
        else:
            npe.fit(epochs, verbose=0, **options)
        return npe, trained

    assert trained(interrupted=True)[1] == [0, 1]
    again, numbers = trained()
    assert numbers == [1]
    straight, _ = trained(folder=None)
    np.testing.assert_allclose(again.ensemble.weights, straight.ensemble.weights, atol=1e-5)
    np.testing.assert_allclose(
        again.posterior([0, 3]).log_prob(theta[:5]), straight.posterior([0, 3]).log_prob(theta[:5]),
        atol=1e-4,
    )  # fmt: skip
    assert len(again.ensemble.histories[0]["loss"]) == 3
    assert trained(epochs=4)[1] == [0, 1]  # other options


def test_names_and_numbers_of_densities():
    prior = lfi.BoxPrior([0], [1])
    assert lfi.NPE(prior, ["mdn", "maf", "spline", "coupling"]).num_members == 4
    with pytest.raises(ValueError, match="`num_members` must be at least 3"):
        lfi.NPE(prior, ["mdn", "maf", "spline"], num_members=2)
    with pytest.raises(ValueError, match="`density` must be names, or untrained densities"):
        lfi.NPE(prior, [MixtureDensity(1, 1), "maf"])
    for num in (2, 3):
        with pytest.raises(ValueError, match="`theta` must have 1 parameters"):
            lfi.NLE(prior).append_simulations(np.zeros([9, num]), np.zeros([9, 2]))
