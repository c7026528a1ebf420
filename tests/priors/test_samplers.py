"""Every sampler against distributions that are known: which pass is pinned, and which do not."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

import priors
from priors.samplers import Langevin, ScoreHMC
from priors.samplers.settings import METHODS

COVARIANCE = np.array([[1.0, 0.8], [0.8, 1.0]])
QUIET = {"progress": False}


def gaussian_score(x):
    return -x @ tf.constant(np.linalg.inv(COVARIANCE), x.dtype)


def drawn(kernel, num_chains, num_steps, num_burn):
    """Draws [num_steps, num_chains, 2] of a kernel by TensorFlow Probability."""
    import tensorflow_probability as tfp

    @tf.function(autograph=False)
    def sample():
        return tfp.mcmc.sample_chain(
            num_steps, tf.zeros([num_chains, 2], tf.float64), kernel=kernel,
            num_burnin_steps=num_burn, trace_fn=None, seed=1,
        )  # fmt: skip

    return sample().numpy()


KERNELS = {
    "hmc": (ScoreHMC(gaussian_score, 0.7, 4), 80, 20),
    "langevin": (Langevin(gaussian_score, 0.7), 200, 60),
    "hmc without a test": (ScoreHMC(gaussian_score, 0.7, 3, is_adjusted=False), 60, 20),
    "langevin without a test": (Langevin(gaussian_score, 0.7, is_adjusted=False), 200, 60),
}


@pytest.mark.parametrize("name", KERNELS)
def test_covariance_of_a_gaussian_by_its_score_alone(name):
    """Kernels with a test pass within 3 %, those without miss by 10 % and more."""
    kernel, num_steps, num_burn = KERNELS[name]
    x = drawn(kernel, 1500, num_steps, num_burn).reshape(-1, 2)
    off = np.abs(np.cov(x.T) / COVARIANCE - 1).max()
    # At least 20,000 independent draws, which scatter by 1 %.
    assert off < 0.03 if kernel.is_calibrated else off > 0.1


@pytest.mark.parametrize("num_leaps", [3, 4, 7])
def test_a_step_costs_one_score_for_each_leap(num_leaps):
    calls = []

    def score(x):
        calls.append(1)
        return gaussian_score(x)

    kernel = ScoreHMC(score, 0.3, num_leaps)
    x = tf.zeros([5, 2], tf.float64)
    results = kernel.bootstrap_results(x)
    calls.clear()
    x, results = kernel.one_step(x, results, seed=3)
    assert len(calls) <= num_leaps + 1  # an even number; the method must need no more than 4 beside
    assert results.num_scores == 1 + len(calls)
    assert np.all(x != 0)


def test_a_density_beside_the_score_counts():
    kernel = ScoreHMC(
        lambda x: 3 * (1 - x), 0.4, 4, log_prob=lambda x: -0.5 * tf.reduce_sum(x**2, -1)
    )
    x = drawn(kernel, 500, 40, 20).reshape(-1, 2)
    np.testing.assert_allclose(x.mean(0), 0.75, atol=0.02)  # five standard errors
    np.testing.assert_allclose(x.var(0), 0.25, rtol=0.05)


def test_kernels_say_what_they_are():
    kernel = Langevin(gaussian_score, 0.5, is_adjusted=False)
    assert not kernel.is_calibrated and kernel.parameters["num_leapfrog_steps"] == 1
    assert ScoreHMC(gaussian_score, 0.5).is_calibrated
    with pytest.raises(ValueError, match="`step_size` must be positive"):
        ScoreHMC(gaussian_score, 0.0)
    with pytest.raises(ValueError, match="`num_leapfrog_steps` must be a positive integer"):
        ScoreHMC(gaussian_score, 0.1, 0)


class Pair:
    """Two numbers, correlated, as an image of two pixels."""

    def score(self):
        def denoise(x, sigma):
            cov = tf.constant(COVARIANCE, x.dtype)
            gain = cov @ tf.linalg.inv(cov + sigma**2 * tf.eye(2, dtype=x.dtype))
            return x @ gain

        return priors.LearnedScore(denoise, sigma_min=0.02, sigma_max=10.0, scale=1.0)

    def is_met(self, method):
        """Covariance of draws of the prior within 3 %."""
        found = priors.sample_prior(
            self.score(),
            (1, 2),
            20_000,
            1,
            num_chains=4000,
            method=method,
            steps_per_level=2 if method == "langevin" else 6,
            **QUIET,
        )
        return np.abs(np.cov(found.samples[:, 0].T) / COVARIANCE - 1).max() < 0.03


class Mixture:
    """Two modes, with data that make them about as likely."""

    share, centre, width = np.array([0.3, 0.7]), np.array([[-1, 0.5], [1, -0.5]]), 0.2
    data, noise = np.array([[-0.2, 0.1]]), 0.4

    def denoise(self, x, sigma):
        variance = self.width**2 + sigma**2
        square = tf.stack([tf.reduce_sum((x - c) ** 2, [1, 2]) for c in self.centre])
        logits = np.log(self.share)[:, None] - square / (2 * variance)
        member = tf.nn.softmax(logits, axis=0)[..., None, None]
        back = [c + (x - c) * self.width**2 / variance for c in self.centre]
        return tf.reduce_sum(member * tf.stack(back), axis=0)

    def is_met(self, method):
        """Weights of the modes within .05."""
        score = priors.LearnedScore(self.denoise, sigma_min=0.01, sigma_max=5.0, scale=1.2)
        op = priors.operators.Mask(np.ones((1, 2)))
        weight = self.share * [
            multivariate_normal(c, self.width**2 + self.noise**2).pdf(self.data)
            for c in self.centre
        ]
        is_chain = method in ("hmc", "langevin")
        sigmas = None if method == "guided" else np.geomspace(5, 0.01, 24)
        found = priors.sample_posterior(
            priors.GaussianLikelihood(op, self.data, self.noise), score, 1000, 1,
            num_chains=1000 if is_chain else 250, method=method, weighted=is_chain, num_warmup=5,
            steps_per_level=2 if method == "langevin" else 6,
            sigmas=sigmas, **QUIET,
        )  # fmt: skip
        left = np.mean(found.samples[:, 0, 0] < 0)
        return abs(left - weight[0] / weight.sum()) < 0.05  # a thousand draws scatter by .015


ORACLES = {"pair": Pair(), "mixture": Mixture()}
# What the docstrings of `sample_posterior`, `Langevin` and `samplers.reverse` say.
FAILS = {
    ("langevin", "mixture"), ("flow", "mixture"), ("guided", "mixture"),
    ("predictor_corrector", "pair"), ("predictor_corrector", "mixture"),
}  # fmt: skip


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("method", METHODS)
def test_samplers_meet_the_oracles_that_they_are_said_to(method, oracle):
    assert ORACLES[oracle].is_met(method) == ((method, oracle) not in FAILS)
