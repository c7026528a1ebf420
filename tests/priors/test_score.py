"""Scores against closed forms, their densities, and the flow that they drive."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

from priors import GaussianScore, HybridScore, LearnedScore, probability_flow
from priors.samplers.settings import noise_levels

SIDE = 12
RANGE = {"sigma_min": 0.01, "sigma_max": 10.0}


def spectrum(amplitude=1.0):
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIDE) * SIDE], indexing="ij"))
    return amplitude / (1 + k**2)


def covariance(power, sigma):
    """Of the pixels of a map, written out."""
    row = np.fft.ifft2(power).real
    return np.array([np.roll(row, (i, j), (0, 1)).ravel() for i in range(SIDE)
                     for j in range(SIDE)]) + sigma**2 * np.eye(SIDE**2)  # fmt: skip


def wiener(power):
    """Denoiser of a Gaussian field."""
    half = tf.constant(power[:, : SIDE // 2 + 1])

    def denoise(x, sigma):
        modes = tf.signal.rfft2d(tf.cast(x, tf.float64))
        modes *= tf.cast(half / (half + tf.cast(sigma, tf.float64) ** 2), modes.dtype)
        return tf.cast(tf.signal.irfft2d(modes, [SIDE, SIDE]), x.dtype)

    return denoise


@pytest.fixture
def x():
    return tf.constant(np.random.default_rng(1).normal(size=(3, SIDE, SIDE)))


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_gaussian_score_and_density_are_those_of_its_covariance(x, sigma):
    score, matrix = GaussianScore(spectrum()), covariance(spectrum(), sigma)
    expected = -np.linalg.solve(matrix, x.numpy().reshape(3, -1).T).T
    np.testing.assert_allclose(score(x, sigma).numpy().reshape(3, -1), expected, rtol=1e-9)
    density = multivariate_normal(np.zeros(SIDE**2), matrix).logpdf(x.numpy().reshape(3, -1))
    np.testing.assert_allclose(score.log_prob(x, sigma), density, rtol=1e-10)


def test_score_is_the_gradient_of_the_density(x):
    score = GaussianScore(spectrum())
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = score.log_prob(x, 0.2)
    np.testing.assert_allclose(score(x, 0.2), tape.gradient(value, x), rtol=1e-9)


def test_modes_without_variance_do_not_count(x):
    power = spectrum()
    power[0, 0] = 0
    score = GaussianScore(power)
    np.testing.assert_allclose(score(x + 5.0, 0.0), score(x, 0.0), atol=1e-12)
    np.testing.assert_allclose(score.log_prob(x + 5.0), score.log_prob(x), rtol=1e-12)


def test_learned_score_of_a_wiener_filter_is_that_of_its_field(x):
    learned = LearnedScore(wiener(spectrum()), scale=1.0, **RANGE)
    np.testing.assert_allclose(learned(x, 0.3), GaussianScore(spectrum())(x, 0.3), rtol=1e-9)


def test_another_spectrum_changes_the_gaussian_part_alone(x):
    hybrid = HybridScore(spectrum(), wiener(spectrum(2.0)), **RANGE)
    np.testing.assert_allclose(hybrid(x, 0.3), GaussianScore(spectrum(2.0))(x, 0.3), rtol=1e-9)
    # The network was trained beside its own spectrum: nothing is left for the residual.
    other = HybridScore(spectrum(3.0), wiener(spectrum(2.0)), spectrum(2.0), **RANGE)
    np.testing.assert_allclose(other(x, 0.3), GaussianScore(spectrum(3.0))(x, 0.3), rtol=1e-9)


@pytest.mark.parametrize("amplitude", [1.0, 4.0])
def test_density_by_the_flow_is_the_known_one(x, amplitude):
    """Of a Gaussian field that is known by its denoiser alone, or known half."""
    x = 0.5 * x
    expected = GaussianScore(spectrum()).log_prob(x, 0.1)
    power = spectrum(amplitude)
    score = HybridScore(power, wiener(spectrum()), sigma_min=0.1, sigma_max=50.0)
    # Directions leave an error of some 0.3 %, steps of 0.2 %; 1 % is asked for.
    found = score.log_prob(x, num_steps=80, num_probes=8)
    np.testing.assert_allclose(found, expected, atol=0.01 * np.abs(expected).max())


def test_flow_draws_from_the_prior_and_is_of_second_order():
    score = LearnedScore(wiener(spectrum()), scale=0.3, **RANGE)
    noise = np.random.default_rng(2).normal(size=(1, SIDE, SIDE))
    half = spectrum() + np.array([10.0**2, 0.05**2])[:, None, None]
    start = np.fft.ifft2(np.fft.fft2(noise) * np.sqrt(half[0])).real
    exact = np.fft.ifft2(np.fft.fft2(noise) * np.sqrt(half[1])).real  # each mode shrinks alike
    errors = [np.abs(probability_flow(score, start, 10.0, 0.05, n) - exact).max()
              for n in (20, 40, 80)]  # fmt: skip
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) > 1.7)
    assert errors[-1] < 0.01 * np.abs(exact).max()


def test_default_levels_of_the_flow_keep_the_power_of_each_scale():
    """One step from level to level, over the range of noise that a network of maps knows."""
    power = tf.constant(np.geomspace(0.1, 100, 13))
    score = LearnedScore(lambda x, s: x * power / (power + s**2), 0.1, 10.0, scale=1.0)
    levels = noise_levels(score, None, "flow")
    x = tf.sqrt(power + levels[0] ** 2)[None]
    for before, after in itertools.pairwise(levels):
        x = probability_flow(score, x, before, after, 1)
    change = x[0] ** 2 / (power + levels[-1] ** 2) - 1
    # Heun's method errs to one side, by a few thousandths to a percent.
    assert np.all(change > 0) and np.all(change < 0.012)


def test_images_and_noise_of_other_shapes_are_refused(x):
    for score in (GaussianScore(spectrum()), HybridScore(spectrum(), wiener(spectrum()), **RANGE)):
        # Twelve levels for twelve images would spread over the columns of each.
        with pytest.raises(ValueError, match="`sigma` must have 0 axes"):
            score(tf.concat([x] * 4, 0), np.linspace(0.1, 1, SIDE))
        with pytest.raises(ValueError, match=r"`x` must end in axes \(12, 12\)"):
            score(x[:, :6, :6], 0.3)
        with pytest.raises(TypeError, match="`x` must be real floats"):
            score(np.ones((2, SIDE, SIDE), int), 0.3)


def test_bad_input_is_refused(x):
    learned = LearnedScore(wiener(spectrum()), scale=1.0, **RANGE)
    with pytest.raises(ValueError, match="`sigma` must lie in"):
        learned(x, 20.0)
    with pytest.raises(ValueError, match="`sigma_min` must be given"):
        LearnedScore(wiener(spectrum()), sigma_max=1.0, scale=1.0)
    with pytest.raises(ValueError, match="`sigma_min` must be below `sigma_max`"):
        LearnedScore(wiener(spectrum()), sigma_min=2.0, sigma_max=1.0, scale=1.0)
    with pytest.raises(ValueError, match="`power` must be the same for opposite"):
        GaussianScore(np.arange(16.0).reshape(4, 4))
    with pytest.raises(ValueError, match="`x` must end in axes"):
        GaussianScore(spectrum()).log_prob(x[:, :4])
    with pytest.raises(ValueError, match="`sigma` must"):
        probability_flow(learned, x, 0.0, 1.0)
