"""Learned summaries where what they can say is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.nn import SmallCNN
from lfi.compressors import Compressor
from lfi.compressors.gaussian import GaussianAround
from lfi.density import MixtureDensity

NUM_PARAMETERS, NUM_DATA = 2, 10
SLOPES = np.random.default_rng(0).normal(size=(NUM_DATA, NUM_PARAMETERS))
SIGMA = np.linspace(1, 3, NUM_DATA)
# Parameters of the prior N(5, 2**2), so that standardising counts.
COVARIANCE = np.linalg.inv(SLOPES.T / SIGMA**2 @ SLOPES + np.eye(2) / 4)
ENTROPY = NUM_PARAMETERS * (0.5 * np.log(2 * np.pi * np.e) + np.log(2))


def simulations(num, seed=0):
    rng = np.random.default_rng(seed)
    theta = 5 + 2 * rng.normal(size=(num, NUM_PARAMETERS))
    return theta @ SLOPES.T + SIGMA * rng.normal(size=(num, NUM_DATA)), theta


def posterior_mean(x):
    return 5 + (x - SLOPES @ [5, 5]) / SIGMA**2 @ SLOPES @ COVARIANCE


def network(width=32):
    return keras.Sequential([keras.layers.Dense(width, activation="relu")])


def trained(loss, **options):
    keras.utils.set_random_seed(1)
    model = Compressor(network(), NUM_PARAMETERS, loss, **options)
    x, theta = simulations(10_000)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 600)))
    model.fit(x, theta, batch_size=200, epochs=12, verbose=0)
    return model


@pytest.mark.parametrize("loss", ["vmim", "gnll"])
def test_mutual_information_is_the_exact_one(loss):
    model = trained(loss)
    x, theta = simulations(4000, seed=1)
    bound, error = model.mutual_information(x, theta, ENTROPY)
    exact = 0.5 * np.linalg.slogdet(np.linalg.inv(COVARIANCE) * 4)[1]
    # The same simulations with the exact posterior: their scatter is no part of the difference.
    offset = theta - posterior_mean(x)
    best = ENTROPY + stats.multivariate_normal(cov=COVARIANCE).logpdf(offset).mean()
    assert best == pytest.approx(exact, abs=4 * error)
    # What 10,000 simulations leave unlearned, of 1.92 nats; never above but by overfitting.
    assert -0.01 < best - bound < 0.04
    # The log density of two normal numbers scatters by one nat, and by that of what q misses.
    assert error == pytest.approx(1 / np.sqrt(4000), rel=0.15)
    assert model.evaluate(x, theta, verbose=0) == pytest.approx(ENTROPY - bound, rel=1e-4)


@pytest.mark.parametrize("loss", ["gnll", "mse", "mae"])
def test_estimates_are_posterior_means(loss):
    model = trained(loss)
    x, _ = simulations(1000, seed=1)
    error = np.std(model.compress(x) - posterior_mean(x), axis=0)
    # A fifth of the posterior width adds two per cent to it.
    assert np.all(error < 0.2 * np.sqrt(np.diag(COVARIANCE)))


def test_parameters_on_a_bound_count_as_those_beside_it():
    """A grid or a Sobol sequence has them, in training and among what is held out."""
    found = []
    for edge in (0.0, 1e-5):
        theta = np.random.default_rng(0).uniform(size=(200, 1)).astype(np.float32)
        theta[[0, -1]] = edge
        x = np.concatenate([theta, theta**2], axis=1)
        keras.utils.set_random_seed(0)
        model = Compressor(keras.layers.Dense(4), 1, "vmim", low=[0.0], high=[1.0])
        model.adapt(x, theta)
        model.compile()
        loss = model.evaluate(x[-20:], theta[-20:], verbose=0)
        found.append([*np.atleast_1d(loss), *model.mutual_information(x, theta, 0.0)])
    assert np.all(np.isfinite(found))
    # Logits of the edge differ by 2.3, in one of 20 and in two of 200.
    assert np.max(np.abs(np.diff(found, axis=0))) < 0.5


def test_covariance_of_gnll_is_that_of_the_posterior():
    model = trained("gnll")
    x, _ = simulations(1, seed=1)
    draws = model.density.sample(20_000, model(x))[:, 0].numpy()
    np.testing.assert_allclose(draws.mean(0), model(x)[0], atol=0.05)
    # A tenth learned from 10,000 simulations, and a per cent from 20,000 draws.
    np.testing.assert_allclose(np.cov(draws.T), COVARIANCE, atol=0.12 * COVARIANCE.max())


def test_gaussian_density_is_that_of_scipy():
    model = GaussianAround(2)
    for number, weight in enumerate(model.trainable_variables):
        rng = np.random.default_rng(number)
        weight.assign_add(0.3 * rng.normal(size=weight.shape))
    mean, scale = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    model.standardise(mean, scale)
    y, context = np.random.default_rng(9).normal(size=(2, 5, 2))
    triangle = model.triangle((context - mean) / scale).numpy() / scale
    expected = [
        stats.multivariate_normal(c, np.linalg.inv(t.T @ t)).logpdf(v)
        for c, t, v in zip(context, triangle, y, strict=True)
    ]
    np.testing.assert_allclose(model.log_prob(y, context), expected, rtol=1e-4)


@keras.saving.register_keras_serializable("test_compressors")
def add_noise(x, seed):
    return x + tf.random.stateless_normal(tf.shape(x), seed)


@keras.saving.register_keras_serializable("test_compressors")
def fail(x, seed):
    raise AssertionError("drawn where nothing should be")


def small(**options):
    keras.utils.set_random_seed(0)
    model = Compressor(network(8), NUM_PARAMETERS, "mse", **options)
    model.compile("adam")
    return model


def test_noise_is_new_in_training_and_the_same_in_evaluation():
    x, theta = simulations(300)
    seen = []

    def noise(x, seed):
        if tf.is_symbolic_tensor(x):
            tf.py_function(lambda s: seen.append(s.numpy().tolist()), [seed], [])
        return add_noise(x, seed)

    model = small(noise=noise)
    model.fit(x, theta, batch_size=100, epochs=2, verbose=0)
    assert len(seen) == len({tuple(seed) for seed in seen}) == 6
    seen.clear()
    first = model.evaluate(x, theta, batch_size=100, verbose=0)
    assert model.evaluate(x, theta, batch_size=100, verbose=0) == first
    assert seen[:3] == seen[3:] and len({tuple(seed) for seed in seen}) == 3
    noiseless = np.mean(((model.compress(x) - theta) / theta.std(0)) ** 2)
    assert abs(first - noiseless) > 1e-4
    np.testing.assert_array_equal(model.compress(x, seed=3), model.compress(x, seed=3))
    assert np.abs(model.compress(x, seed=3) - model.compress(x)).max() > 1e-3


def test_what_is_observed_is_not_changed():
    x, theta = simulations(20)
    model = small(augment=fail, noise=fail)
    assert model(x).shape == model.predict(x, verbose=0).shape == (20, 2)
    only_training = small(augment=fail)
    only_training.adapt(x, theta)
    assert np.isfinite(only_training.evaluate(x, theta, verbose=0))
    with pytest.raises(AssertionError, match="drawn where nothing should be"):
        only_training.fit(x, theta, verbose=0)


def test_noise_counts_in_the_scale_of_the_data():
    x, theta = np.zeros((4000, 3)), simulations(4000)[1]
    model = small(noise=lambda x, seed: x + 7 * standard_normal(x.shape, seed))
    model.adapt(x, theta)
    # The scatter of 4,000 numbers is known to a hundredth.
    np.testing.assert_allclose(model.x_scale, [7.0] * 3, rtol=0.05)
    np.testing.assert_allclose(model.objective.mean, theta.mean(0), rtol=1e-5)


@pytest.mark.parametrize("shape", [(300, 5), (300, 4, 6), (300, 4, 6, 2)])
def test_a_dataset_is_standardised_as_arrays_are(shape):
    x = 3 + np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[-1] + 1)
    theta = simulations(300)[1]
    axes = tuple(range(len(shape) - 1)) if len(shape) != 3 else None
    for pairs in ((x, theta), (tf.data.Dataset.from_tensor_slices((x, theta)).batch(64), None)):
        model = Compressor(keras.layers.Flatten(), NUM_PARAMETERS, "mse")
        model.compile()
        model.fit(*pairs, epochs=1, verbose=0)
        np.testing.assert_allclose(model.x_mean, x.mean(axes), rtol=1e-5)
        np.testing.assert_allclose(model.x_scale, x.std(axes), rtol=1e-5)
        scale = model.x_scale.numpy()
        model.fit(2 * x, theta, epochs=1, verbose=0)  # a second fit goes on
        np.testing.assert_array_equal(model.x_scale, scale)


def test_maps_of_a_network_of_convolutions_and_a_file(tmp_path):
    model = Compressor(SmallCNN(8, (4, 6)), NUM_PARAMETERS, "mse")
    model.compile()
    x = np.random.default_rng(0).normal(size=(40, 8, 8))
    model.fit(x, simulations(40)[1], verbose=0)
    model.save(tmp_path / "maps.keras")
    again = keras.models.load_model(tmp_path / "maps.keras")
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    larger = np.random.default_rng(1).normal(size=(3, 12, 16))
    assert again(larger).shape == again.predict(larger, verbose=0).shape == (3, 2)


@pytest.mark.parametrize("loss", ["vmim", "gnll", "mse", "mae"])
def test_compressor_comes_back_from_a_file(loss, tmp_path):
    x, theta = simulations(200)
    bounds = {"low": [-50, -50], "high": [50, 50]}  # others have no use for them
    model = Compressor(network(), NUM_PARAMETERS, loss, noise=add_noise, **bounds)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(x, theta, epochs=2, verbose=0)
    model.save(tmp_path / "compressor.keras")
    again = keras.models.load_model(tmp_path / "compressor.keras")
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    assert again.noise is add_noise and again.augment is None
    assert again.evaluate(x, theta, verbose=0) == model.evaluate(x, theta, verbose=0)
    for one in (model, again):  # the optimiser goes on where it was
        keras.utils.set_random_seed(3)
        one.fit(x, theta, epochs=1, verbose=0)
    np.testing.assert_allclose(again(x), model(x), atol=1e-5)


def test_a_file_says_what_it_does_not_keep():
    model = small(augment=lambda x, seed: x)
    with pytest.warns(UserWarning, match="`augment` is not saved. Register it"):
        assert model.get_config()["augment"] is None


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_and_calls_run_compiled(jit_compile):
    x, theta = simulations(64)
    density = MixtureDensity(2, 2, hidden=(8,))  # quick to compile
    model = Compressor(network(), NUM_PARAMETERS, density=density, noise=add_noise)
    model.compile("adam", jit_compile=jit_compile)
    history = model.fit(x, theta, validation_data=(x, theta), verbose=0, batch_size=32).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()
    compiled = tf.function(model, jit_compile=jit_compile)(tf.constant(x, tf.float32))
    np.testing.assert_allclose(compiled, model(x), atol=1e-5)


def test_weights_of_examples_and_regularisers_count():
    x, theta = simulations(50)
    dense = keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.5))
    model = Compressor(dense, NUM_PARAMETERS, "mse")
    model.compile()
    model.adapt(x, theta)
    error = np.mean(((model(x) - theta) / theta.std(0)) ** 2, axis=1)
    weight = np.linspace(0, 1, 50)
    expected = np.average(error, weights=weight) + 0.5 * np.sum(dense.kernel.numpy() ** 2)
    found = model.evaluate(x, theta, sample_weight=weight, batch_size=50, verbose=0)
    assert found == pytest.approx(expected, rel=1e-4)


def with_nan(x):
    x = x.copy()
    x[3, 1] = np.nan
    return x


def fitted(loss="mse", x=None, theta=None, **options):
    own_x, own_theta = simulations(20)
    model = Compressor(network(), NUM_PARAMETERS, loss, **options)
    model.compile()
    model.fit(own_x if x is None else x, own_theta if theta is None else theta, verbose=0)


X, THETA = simulations(20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Compressor(network(), 2, "huber"), "`loss` must be one of 'vmim'"),
        (lambda: Compressor(network(), 0), "`num_parameters` must be a positive integer"),
        (lambda: Compressor(network(), 2, "mse", 3), "`num_summaries` must be as many as param"),
        (
            lambda: Compressor(network(), 2, density=MixtureDensity(3, 2)),
            "`density` must have 2 dimensions and 2 components of context",
        ),
        (
            lambda: Compressor(network(), 2, "mse", density=MixtureDensity(2, 2)),
            "`density` must be left out unless the loss is 'vmim'",
        ),
        (lambda: Compressor(network(), 2)(np.zeros((2, 3, 4))), r"`network` must give \[batch"),
        (lambda: fitted(theta=THETA[:, :1]), r"`theta` must have shape \[num, 2\]"),
        (lambda: fitted(theta=THETA[:, 0]), r"`theta` must have shape \[num, 2\]"),
        (lambda: fitted(theta=THETA[:-1]), "`x` must hold 19 examples, as many as `theta`"),
        (lambda: fitted(x=with_nan(X)), "`x` must be finite.*from number 0"),
        (lambda: fitted(theta=with_nan(THETA)), "`theta` must be finite"),
        (lambda: fitted(theta=THETA * [1, 0]), "`theta` must vary in every component"),
        (
            lambda: fitted("vmim", low=[0, 0], high=[5, 5]),
            "`theta` must lie inside of the bounds `low` and `high`",
        ),
        (
            lambda: small().mutual_information(X, THETA, 1.0),
            "`loss` must be 'vmim' or 'gnll' for a mutual information",
        ),
        (
            lambda: Compressor(network(), 2).mutual_information(X[:5], THETA, 1.0),
            "`x` must be as many as `theta`, 20",
        ),
        (lambda: small().adapt(iter([(X, THETA)])), "`x` must be an array with `theta`, or a data"),
        (
            lambda: small().adapt(tf.data.Dataset.from_tensor_slices(X).batch(4)),
            r"`x` must give pairs \(x, theta\)",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
