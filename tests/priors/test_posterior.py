"""Draws of images against exact posteriors: Gaussian fields, mixtures, priors alone."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

import priors
from flowpm_ext.numerics import fourier
from priors.score import AbstractScore

SIDE = 32
QUIET = {"progress": False}


def spectrum():
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIDE) * SIDE], indexing="ij"))
    power = 1 / (1 + (k / 4) ** 2) ** 1.5
    power[0, 0] = 0
    return 0.03**2 * power / power.mean()


class HalfKnown(AbstractScore):
    """A Gaussian field of twice the power that its Gaussian part has: half is a score alone."""

    sigma_max, scale = 0.3, 0.03

    def __init__(self):
        self.power = tf.constant(spectrum())

    def residual(self, x, sigma):
        variance = 2 * fourier.half_plane(tf.cast(self.power, x.dtype)) + sigma**2
        whole = fourier.filter2(x, -tf.math.reciprocal_no_nan(variance))
        return whole - self.gaussian(x, sigma)


@pytest.fixture(scope="module")
def likelihood():
    """Shear with a hole, an edge and uneven noise, as of a survey."""
    rng = np.random.default_rng(1)
    op = priors.operators.KaiserSquires((SIDE, SIDE))
    noise_std = 0.1 * rng.uniform(0.7, 1.5, (SIDE, SIDE)).astype(np.float32)
    mask = np.ones((SIDE, SIDE), bool)
    mask[8:18, 5:15] = mask[:, -4:] = False
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * np.sqrt(spectrum())).real
    noise = np.sum(rng.normal(size=(SIDE, SIDE, 2)) * [1, 1j], -1) * noise_std
    data = (op(tf.constant(field)).numpy() + noise).astype(np.complex64)
    return priors.GaussianLikelihood(op, data, noise_std, mask)


def check_against_exact(found, likelihood, power):
    exact = priors.wiener_samples(likelihood, power, 2000, 3).numpy()
    shift = (found.mean - exact.mean(0)) / exact.std(0)
    # The bars of the method: a tenth of a standard deviation, 5 % and 3 %; 320 draws that are
    # nearly independent scatter by .06, 4 % in a pixel and less in the mean, and 1 %.
    assert np.sqrt(np.mean(shift**2)) < 0.1
    assert abs(np.mean(found.std / exact.std(0)) - 1) < 0.02
    total = [np.mean(np.abs(np.fft.fft2(x)) ** 2, 0) for x in (found.samples, exact)]
    for ring in (slice(1, 4), slice(4, 9), slice(9, 16)):
        assert abs(total[0][ring, ring].sum() / total[1][ring, ring].sum() - 1) < 0.05
    assert np.median(found.r_hat) < 1.05


def test_gaussian_posterior_is_the_exact_one(likelihood):
    start = np.zeros((16, SIDE, SIDE), np.float32)  # far from the draws
    found = priors.sample_posterior(
        likelihood, priors.GaussianScore(spectrum()), 320, 1, num_chains=16, start=start, **QUIET
    )
    check_against_exact(found, likelihood, spectrum())
    assert found.samples.shape == (320, SIDE, SIDE) and found.sigma == 0


def test_what_is_known_by_its_score_alone_counts_as_much(likelihood):
    sigmas = [*np.geomspace(0.3, 0.01, 8), 0.0]
    found = priors.sample_posterior(
        likelihood, HalfKnown(), 320, 1, num_chains=16, sigmas=sigmas, thin=3, **QUIET
    )
    check_against_exact(found, likelihood, 2 * spectrum())


class TestMixture:
    """Two modes in two dimensions, with data that favour one."""

    share, centre, width = np.array([0.3, 0.7]), np.array([[-1, 0.5], [1, -0.5]]), 0.2

    def denoise(self, x, sigma):
        variance = self.width**2 + sigma**2
        square = tf.stack([tf.reduce_sum((x - c) ** 2, [1, 2]) for c in self.centre])
        logits = np.log(self.share)[:, None] - square / (2 * variance)
        member = tf.nn.softmax(logits, axis=0)[..., None, None]
        back = [c + (x - c) * self.width**2 / variance for c in self.centre]
        return tf.reduce_sum(member * tf.stack(back), axis=0)

    def score(self):
        return priors.LearnedScore(self.denoise, sigma_min=0.01, sigma_max=5.0, scale=1.2)

    @pytest.mark.parametrize("noise", [0.4, 1.5])
    def test_weights_of_the_modes(self, noise):
        data = np.array([[-0.2, 0.1]])
        op = priors.operators.Mask(np.ones((1, 2)))
        likelihood = priors.GaussianLikelihood(op, data, noise)
        weight = self.share * [multivariate_normal(c, self.width**2 + noise**2).pdf(data)
                               for c in self.centre]  # fmt: skip
        found = priors.sample_posterior(
            likelihood, self.score(), 1000, 1, num_chains=1000, weighted=True,
            sigmas=np.geomspace(5, 0.01, 24), num_warmup=5, **QUIET,
        )  # fmt: skip
        x = found.samples[:, 0]
        left = x[:, 0] < 0
        # A thousand draws scatter by .015; .05 is asked for.
        assert abs(left.mean() - weight[0] / weight.sum()) < 0.05
        gain = self.width**2 / (self.width**2 + noise**2)
        expected = self.centre[0] + gain * (data[0] - self.centre[0])
        np.testing.assert_allclose(x[left].mean(0), expected, atol=0.05)
        np.testing.assert_allclose(x[left].std(0), noise * np.sqrt(gain), rtol=0.15)

    def test_draws_of_the_prior(self):
        sigmas = np.geomspace(5, 0.01, 24)
        found = priors.sample_prior(
            self.score(), (1, 2), 1000, 1, num_chains=1000, sigmas=sigmas, weighted=True, **QUIET
        )
        assert abs(np.mean(found.samples[:, 0, 0] < 0) - 0.3) < 0.05


def test_draws_of_a_gaussian_prior():
    found = priors.sample_prior(priors.GaussianScore(spectrum()), (SIDE, SIDE), 300, 2, **QUIET)
    total = np.mean(np.abs(np.fft.fft2(found.samples)) ** 2, 0) / SIDE**2
    np.testing.assert_allclose(total.sum(), spectrum().sum(), rtol=0.03)
    np.testing.assert_allclose(total[1:4, 1:4].sum(), spectrum()[1:4, 1:4].sum(), rtol=0.2)


def test_the_same_seed_gives_the_same_draws(likelihood):
    score = priors.GaussianScore(spectrum())
    first, again = (
        priors.sample_posterior(likelihood, score, 8, 5, num_chains=2, num_warmup=3, **QUIET)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.samples, again.samples)


def test_bad_input_is_refused(likelihood):
    score = TestMixture().score()
    with pytest.raises(ValueError, match="`sigmas` must be one number or several that fall"):
        priors.sample_posterior(likelihood, score, sigmas=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"`sigmas` must lie in.*It is the range that the score"):
        priors.sample_posterior(likelihood, score, sigmas=[20.0, 0.2])
    with pytest.raises(ValueError, match="`num_samples` must"):
        priors.sample_posterior(likelihood, score, 0)
    with pytest.raises(ValueError, match="`start` must have shape"):
        priors.sample_posterior(likelihood, HalfKnown(), start=np.zeros((2, 2)), sigmas=[0.0])
    many = priors.GaussianLikelihood(
        likelihood.op, tf.stack([likelihood.data] * 2), likelihood.noise_std, likelihood.mask
    )
    with pytest.raises(ValueError, match="`likelihood` must hold one data set"):
        priors.sample_posterior(many, HalfKnown())
