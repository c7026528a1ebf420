"""A denoiser that is told the parameters of simulations, against fields whose mean is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import priors

SIDE, RANGE = 16, {"sigma_min": 0.1, "sigma_max": 4.0}


def power(theta, side=SIDE):
    """Variance of each mode for an amplitude from .5 to 2 and a slope from 0 to 2."""
    amplitude, slope = theta
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side)], indexing="ij"))
    found = np.where(frequency > 0, np.maximum(frequency, 1 / side) ** -slope, 0.0)
    return (amplitude**2 * found / found.mean()).astype(np.float32)


def fields(theta, seed):
    """A Gaussian field for each row of parameters, [num, side, side]."""
    white = np.random.default_rng(seed).normal(size=(len(theta), SIDE, SIDE))
    root = np.sqrt(np.stack([power(row) for row in theta]))
    return np.fft.ifft2(np.fft.fft2(white) * root).real.astype(np.float32)


def drawn(num, seed):
    return np.random.default_rng(seed).uniform([0.5, 0.0], [2.0, 2.0], (num, 2)).astype(np.float32)


def noise_like(x, seed):
    return np.random.default_rng(seed).normal(size=x.shape).astype(np.float32)


@pytest.fixture(scope="module")
def pairs():
    theta = drawn(1500, 0)
    return fields(theta, 1), theta


@pytest.fixture(scope="module")
def denoiser(pairs):
    """A small network that has seen the fields for some seconds."""
    keras.utils.set_random_seed(0)
    model = priors.Denoiser((8, 16), num_parameters=2, ema_momentum=0.98, **RANGE)
    model.adapt(pairs)
    num_steps = 400
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(6e-3, num_steps)))
    data = tf.data.Dataset.from_tensor_slices(pairs).shuffle(1500, seed=0).repeat().batch(16)
    model.fit(data, steps_per_epoch=num_steps, epochs=1, verbose=0)
    return model


CORNERS = [(0.7, 0.3), (0.7, 1.7), (1.8, 0.3), (1.8, 1.7)]


@pytest.mark.parametrize("theta", CORNERS, ids=str)
def test_each_parameter_has_the_error_of_its_wiener_filter(theta, denoiser):
    test, other = fields([theta] * 200, 7), [2.5 - theta[0], 2.0 - theta[1]]
    for sigma in (0.3, 1.0):
        y = test + sigma * noise_like(test, 8)
        gain = power(theta) / (power(theta) + sigma**2)
        best = np.mean((np.fft.ifft2(np.fft.fft2(y) * gain).real - test) ** 2)
        own, wrong = (
            np.mean((denoiser(y, sigma, parameters=told).numpy() - test) ** 2) / best
            for told in (theta, other)
        )
        # Measured: 1.005 to 1.021, and told of other fields 1.09 to 2.4.
        assert own < 1.04 and wrong > own + 0.05, (sigma, own, wrong)


def test_each_map_may_have_parameters_of_its_own(denoiser):
    theta, sigma = np.array(CORNERS[:3], np.float32), np.array([0.2, 1.0, 3.0], np.float32)
    y = fields(theta, 3)
    together = denoiser(y, sigma, parameters=theta).numpy()
    each = [denoiser(y[i : i + 1], float(sigma[i]), parameters=theta[i])[0] for i in range(3)]
    np.testing.assert_allclose(together, np.stack(each), atol=1e-5)
    np.testing.assert_allclose(denoiser.predict((y, sigma, theta), verbose=0), together, atol=1e-5)
    score = denoiser.score(y, sigma, parameters=theta)
    np.testing.assert_allclose(
        score, (together - y) / sigma[:, None, None] ** 2, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("theta", [(0.7, 1.0), (1.8, 1.0)], ids=str)
def test_draws_have_the_variance_of_their_parameters(theta, denoiser):
    options = {"method": "flow", "progress": False}
    score = priors.LearnedScore(denoiser, parameters=theta)
    found = priors.sample_prior(score, (SIDE, SIDE), 64, 1, **options)
    # 64 draws of some 100 modes that count know a rms to 2 %, the network to a few.
    assert np.std(found.samples) == pytest.approx(theta[0], rel=0.08)
    truth = fields([theta], 5)[0]
    data = (truth + 0.5 * noise_like(truth, 6)).astype(np.float32)
    op = priors.operators.Mask(np.ones((SIDE, SIDE), bool))
    likelihood = priors.GaussianLikelihood(op, data, 0.5)
    score = priors.HybridScore(power(theta), denoiser, parameters=theta)
    found = priors.sample_posterior(likelihood, score, 64, 2, **options)
    exact = np.fft.ifft2(np.fft.fft2(data) * power(theta) / (power(theta) + 0.25)).real
    spread = np.sqrt(np.mean(power(theta) * 0.25 / (power(theta) + 0.25)))
    assert np.sqrt(np.mean((found.mean - exact) ** 2)) < 0.25 * spread  # draws scatter by 0.125
    assert np.mean(found.std) == pytest.approx(spread, rel=0.06)


@keras.saving.register_keras_serializable("tests")
def last_input(x):
    """Of all inputs to a network the last one, for points of two components."""
    return tf.repeat(x[..., -1:], 2, axis=-1)


def test_a_network_of_ones_own_is_told_the_place_in_the_range(tmp_path):
    theta = np.array([[0.5], [1.0], [2.5], [2.0]], np.float32)
    points = noise_like(np.zeros((4, 2)), 0)
    network = keras.layers.Lambda(last_input, output_shape=(2,))
    model = priors.Denoiser(rank=0, channels=2, network=network, num_parameters=1, **RANGE)
    model.adapt((points, theta))
    model.save(tmp_path / "points.keras")
    again = keras.saving.load_model(tmp_path / "points.keras", safe_mode=False)
    variance, place = np.mean(points**2), 2 * (theta - 0.5) / 2 - 1  # from -1 to 1
    expected = points * variance / (variance + 1) + place * np.sqrt(variance / (variance + 1))
    for one in (model, again):
        np.testing.assert_allclose(one(points, 1.0, parameters=theta), expected, rtol=1e-4)


def test_model_comes_back_from_a_file_with_its_range(denoiser, pairs, tmp_path):
    denoiser.save(tmp_path / "denoiser.keras")
    again = keras.saving.load_model(tmp_path / "denoiser.keras")
    y, theta = pairs[0][:3], pairs[1][:3]
    np.testing.assert_allclose(
        again(y, 0.5, parameters=theta), denoiser(y, 0.5, parameters=theta), atol=1e-6
    )
    assert again.evaluate(pairs, verbose=0) == pytest.approx(denoiser.evaluate(pairs, verbose=0))
    again.fit(pairs, epochs=1, batch_size=500, verbose=0)  # it can be trained on
    with pytest.raises(ValueError, match="`parameters` must lie in the range of training"):
        again(y, 0.5, parameters=[3.0, 1.0])


def test_datasets_and_arrays_of_pairs_teach_the_same(pairs):
    losses = []
    for is_dataset in (False, True):
        keras.utils.set_random_seed(0)
        model = priors.Denoiser((4, 8), num_parameters=2, **RANGE)
        data = tuple(part[:64] for part in pairs)
        given = tf.data.Dataset.from_tensor_slices(data).batch(16) if is_dataset else data
        model.adapt(given)
        model.compile("adam")
        size = {} if is_dataset else {"batch_size": 16}
        model.fit(given, epochs=2, verbose=0, shuffle=False, validation_data=given, **size)
        losses.append(model.evaluate(given, verbose=0, **size))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_parameters_that_a_network_cannot_know_are_refused(denoiser, pairs):
    y, theta = pairs[0][:2], pairs[1][:2]
    fresh = priors.Denoiser((4, 8), num_parameters=2, **RANGE)
    plain = priors.Denoiser((4, 8), **RANGE)
    score = priors.LearnedScore
    for call, message in (
        (lambda: denoiser(y, 1.0), "`parameters` must be given"),
        (lambda: denoiser(y, 1.0, parameters=[1.0]), "`parameters` must be 2 numbers"),
        (lambda: denoiser(y, 1.0, parameters=[np.nan, 1.0]), "`parameters` must be finite"),
        (lambda: denoiser(y, 1.0, parameters=[2.5, 1.0]), "must lie in the range of training"),
        (lambda: denoiser(y, 1.0, parameters=pairs[1][:3]), "`parameters` must be of 2 maps"),
        (lambda: fresh(y, 1.0, parameters=[1.0, 1.0]), "`adapt` must be called with maps and"),
        (lambda: plain(y, 1.0, parameters=[1.0]), "`parameters` must be left out"),
        (lambda: score(denoiser), "`parameters` must be given"),
        (lambda: score(denoiser, parameters=theta), "`parameters` must have 1 axes"),
        (lambda: score(denoiser, parameters=[1.0, 9.0]), "must lie in the range of training"),
        (lambda: score(plain, parameters=[1.0]), "`parameters` must be left out"),
        (lambda: fresh.adapt(y), r"`maps` must be a pair \(maps, parameters\)"),
        (lambda: fresh.adapt((y, theta[:1])), "`parameters` must be of 2 maps"),
        (lambda: fresh.adapt((y, theta * 0)), "`parameters` must each vary over the maps"),
        (lambda: fresh.adapt((y, theta / 0)), "`parameters` must be finite"),
        (lambda: plain.adapt((y, theta)), "`maps` must be maps without parameters"),
        (lambda: denoiser.fit(y), r"`x` must be a pair \(maps, parameters\)"),
        (lambda: denoiser.fit((y, 9 * theta)), "must lie in the range of training"),
        (lambda: priors.Denoiser((4,), num_parameters=-1, **RANGE), "be a positive integer"),
    ):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
            call()


def test_networks_of_before_are_told_nothing():
    prior = priors.load_pretrained("cosmos")
    assert prior.denoiser.conditions is None and prior.denoiser.num_parameters == 0
    y = 0.02 * noise_like(np.zeros((1, 32, 32)), 0)
    assert np.isfinite(prior.denoiser(y, 0.05)).all()
