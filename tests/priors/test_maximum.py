"""Maxima of posteriors against the Wiener filter and closed forms."""

import numpy as np
import pytest
import tensorflow as tf

import priors
from priors.maximum import maximum_posterior

SIDE = 16


def spectrum():
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIDE) * SIDE], indexing="ij"))
    power = 1 / (1 + (k / 3) ** 2) ** 1.5
    power[0, 0] = 0
    return power / power.mean()


def wiener_denoiser(x, sigma):
    half = tf.constant(spectrum()[:, : SIDE // 2 + 1], x.dtype)
    modes = tf.signal.rfft2d(x)
    return tf.signal.irfft2d(modes * tf.cast(half / (half + sigma**2), modes.dtype), [SIDE, SIDE])


@pytest.fixture(scope="module")
def likelihood():
    rng = np.random.default_rng(1)
    mask = np.ones((SIDE, SIDE))
    mask[4:9, 5:10] = 0
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * np.sqrt(spectrum())).real
    noise_std = rng.uniform(0.4, 0.8, (SIDE, SIDE))
    data = (field + noise_std * rng.normal(size=(SIDE, SIDE))).astype(np.float32)
    return priors.GaussianLikelihood(priors.operators.Mask(mask), data, noise_std)


def test_of_a_gaussian_prior_it_is_the_wiener_filter(likelihood):
    found = maximum_posterior(likelihood, priors.GaussianScore(spectrum()))
    expected = priors.wiener_filter(likelihood, spectrum())
    # 1e-3 is asked for; the tolerance of the gradient leaves some 3e-4.
    np.testing.assert_allclose(found.map, expected, atol=1e-3 * np.abs(expected).max())
    assert found.sigma == 0 and found.num_scores == len(found.history) < 40
    assert found.history[-1] < 1e-4 < found.history[0]


def test_of_a_score_alone_it_is_that_of_the_prior_with_noise(likelihood):
    score = priors.LearnedScore(wiener_denoiser, sigma_min=0.1, sigma_max=10.0, scale=1.0)
    found = maximum_posterior(likelihood, score, sigma=0.2, num_steps=40)
    expected = priors.wiener_filter(likelihood, spectrum() + 0.2**2)
    np.testing.assert_allclose(found.map, expected, atol=2e-3 * np.abs(expected).max())
    assert found.sigma == 0.2


def test_falling_noise_finds_the_higher_of_two_maxima():
    """The search begins beside the lower one."""
    share, centre, width = np.array([0.2, 0.8]), np.array([[-1.0, 0.0], [1.0, 0.0]]), 0.3

    def denoise(x, sigma):
        variance = width**2 + sigma**2
        square = tf.stack([tf.reduce_sum((x - c) ** 2, [1, 2]) for c in centre])
        logits = np.log(share)[:, None] - square / (2 * variance)
        member = tf.nn.softmax(logits, axis=0)[..., None, None]
        back = [c + (x - c) * width**2 / variance for c in centre]
        return tf.reduce_sum(member * tf.stack(back), axis=0)

    score = priors.LearnedScore(denoise, sigma_min=0.05, sigma_max=10.0, scale=1.0)
    flat = priors.GaussianLikelihood(priors.operators.Mask(np.ones((1, 2))), np.zeros((1, 2)), 20.0)
    start = np.array([[-1.0, 0.0]])
    assert maximum_posterior(flat, score, start).map[0, 0] > 0.9
    assert maximum_posterior(flat, score, start, sigma=[0.1]).map[0, 0] < -0.9


def test_bad_input_is_refused(likelihood):
    score = priors.GaussianScore(spectrum())
    with pytest.raises(ValueError, match="`start` must have shape"):
        maximum_posterior(likelihood, score, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="`num_steps` must be a positive integer"):
        maximum_posterior(likelihood, score, num_steps=0)
    with pytest.raises(ValueError, match="`sigmas` must lie in"):
        learned = priors.LearnedScore(wiener_denoiser, sigma_min=0.1, sigma_max=1.0, scale=1.0)
        maximum_posterior(likelihood, learned, sigma=2.0)
