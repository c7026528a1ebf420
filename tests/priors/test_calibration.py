"""What a network keeps of each scale, against linear estimates that are wrong on purpose."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.numerics import fourier
from priors import sample_prior
from priors.calibration import MOST, CalibratedDenoiser, Calibration, calibrated
from priors.map_spectrum import spectrum
from priors.score import LearnedScore

SIDE, PIXEL = 32, 1.0
FREQUENCY = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
POWER = 1 / (1 + (FREQUENCY / 0.1) ** 2)
SHRUNK = 1 - 0.06 * np.exp(-((FREQUENCY / 0.2) ** 2))


class Shrinking:
    """The Wiener filter of `POWER`, which keeps too little of large scales."""

    sigma_min, sigma_max, scale = 0.05, 20.0, 0.5

    def __call__(self, y, sigma):
        return y + sigma**2 * self.score(y, sigma)

    def score(self, y, sigma):
        sigma = tf.reshape(tf.cast(sigma, tf.float32), [-1, 1, 1])
        kept = SHRUNK * POWER / (POWER + sigma**2)
        return fourier.filter2(tf.convert_to_tensor(y), kept - 1) / sigma**2

    def predict(self, inputs, batch_size, verbose):
        y, sigma = inputs
        sigma = sigma[:, None, None]
        return (y + sigma**2 * self.score(y, sigma)).numpy()


def fields(num, seed=0):
    white = np.random.default_rng(seed).normal(size=(num, SIDE, SIDE))
    return np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(POWER), (SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def found():
    return calibrated(Shrinking(), fields(2000))


def test_what_a_linear_estimate_takes_is_found(found):
    expected = 1 / np.interp(found.frequency, np.sort(FREQUENCY.ravel()),
                             SHRUNK.ravel()[np.argsort(FREQUENCY.ravel())])  # fmt: skip
    assert found.transfer.shape == (len(found.sigma), len(found.frequency))
    # Below the noise, the spectrum of 2,000 maps with 8 modes in the lowest ring is what scatters,
    # and maps here have a mean, which images of the flow have not.
    off = np.abs(found.transfer - expected)[found.sigma < 0.1]
    assert off[:, 0].max() < 0.007 and off[:, 1:].max() < 0.003
    assert np.abs(found.transfer - expected).max() < 0.04
    assert np.all(np.abs(found.transfer - 1) <= MOST)


def test_estimates_and_scores_are_put_right(found):
    denoiser = CalibratedDenoiser(Shrinking(), found)
    y = fields(3, seed=1)
    for sigma in (0.3, np.array([0.1, 0.5, 1.0], np.float32)):
        level = np.reshape(np.float32(sigma), [-1, 1, 1])
        exact = np.fft.irfft2(np.fft.rfft2(y) * POWER / (POWER + level**2), (SIDE, SIDE))
        wrong = Shrinking()(y, tf.constant(level)).numpy()
        right = denoiser(y, sigma).numpy()
        assert np.std(right - exact) < 0.35 * np.std(wrong - exact)
        np.testing.assert_allclose(denoiser.score(y, sigma) * level**2 + y, right, atol=1e-5)
    np.testing.assert_allclose(denoiser(y, 0.3)[1], denoiser(y[1:2], 0.3)[0], atol=1e-6)


def test_draws_of_the_flow_have_the_power_of_the_maps(found):
    """Modes that are shrunk by 6 % at each level lose a fifth of their power on the way."""
    expected = spectrum(fields(256, seed=2), PIXEL)[1][:6]
    kept = []
    for denoiser in (Shrinking(), CalibratedDenoiser(Shrinking(), found)):
        score = LearnedScore(denoiser)
        draws = sample_prior(score, (SIDE, SIDE), 128, seed=3, method="flow", progress=False)
        kept.append(spectrum(draws.samples, PIXEL)[1][:6] / expected)
    assert np.all(kept[0][:4] < 0.85)
    np.testing.assert_allclose(kept[1], 1, atol=0.1)  # 128 draws and 256 maps of a few modes


class Wary(Shrinking):
    """Keeps less of what has no peaks: of Gaussian fields less than of maps that it is shown."""

    def score(self, y, sigma):
        y = tf.convert_to_tensor(y)
        square = tf.reduce_mean(y**2, axis=[1, 2], keepdims=True)
        tails = tf.reduce_mean(y**4, axis=[1, 2], keepdims=True) / square**2
        sigma = tf.reshape(tf.cast(sigma, tf.float32), [-1, 1, 1])
        mean = y + sigma**2 * super().score(y, sigma)
        return (mean * (1 + 0.03 * tf.tanh((tails - 4) / 2)) - y) / sigma**2


def test_images_of_the_flow_have_the_power_though_they_are_not_quite_the_maps(monkeypatch):
    std = fields(1000).std()
    kappa = np.exp(0.5 * fields(1000) / std)  # peaks, and about the same spectrum
    kappa = (std * (kappa - kappa.mean()) / kappa.std()).astype(np.float32)
    expected, kept = spectrum(kappa, PIXEL)[1][:6], []
    for images in ((), (256, 512)):
        monkeypatch.setattr("priors.calibration.NUM_IMAGES", images)
        found = CalibratedDenoiser(Wary(), calibrated(Wary(), kappa))
        draws = sample_prior(
            LearnedScore(found), (SIDE, SIDE), 256, seed=3, method="flow", progress=False
        )
        kept.append(spectrum(draws.samples, PIXEL)[1][:6] / expected)
    # The first bin feels the mean, which maps here have and draws have not.
    assert np.all(kept[0][1:] < 0.9)
    np.testing.assert_allclose(kept[1][1:], 1, atol=0.1)


def test_grids_and_levels_between_are_interpolated():
    sigma, frequency = np.array([0.1, 1.0]), np.array([0.05, 0.5])
    found = Calibration(sigma, frequency, np.array([[1.1, 1.1], [0.9, 0.9]]))
    assert found.on_grid((8, 6)).shape == (2, 8, 4)
    assert found.on_grid((8, 6))[0, 0, 0] == 1
    denoiser = Shrinking()
    denoiser.sigma_min, denoiser.sigma_max = 0.1, 1.0
    y = fields(1)
    middle = CalibratedDenoiser(denoiser, found).score(y, np.sqrt(0.1))
    # Half way in the logarithm of the noise, 1.1 and .9 make 1.
    np.testing.assert_allclose(middle, denoiser.score(y, np.sqrt(0.1)), rtol=1e-4, atol=1e-4)


def test_maps_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="`kappa` must have 3 axes"):
        calibrated(Shrinking(), np.zeros((32, 32), np.float32))
    with pytest.raises(ValueError, match="`kappa` must be finite"):
        calibrated(Shrinking(), np.full((2, 32, 32), np.nan, np.float32))
