"""Scores of a simulator as a second signal to train by."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfi

NOISE = 0.5


def simulations(num, seed):
    """x = theta + z + n with hidden z, and the score of x and z together, at theta ~ N(0, 1)."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(num, 2))
    hidden = theta + NOISE * rng.normal(size=(num, 2))
    x = hidden + NOISE * rng.normal(size=(num, 2))
    return [part.astype(np.float32) for part in (theta, x, (hidden - theta) / NOISE**2)]


@pytest.mark.parametrize("method", [lfi.NPE, lfi.NLE])
def test_scores_make_much_of_few_simulations(method):
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(2))
    theta, x, scores = simulations(150, 1)
    new_theta, new_x, _ = simulations(2000, 2)
    found = []
    for given in (None, scores):
        estimator = method(prior, "maf", num_members=1, hidden=(30,), num_steps=2, seed=1)
        estimator.append_simulations(theta, x)
        estimator.fit(epochs=60, verbose=0, scores=given, weight_decay=0.0)
        pair = (new_theta, new_x) if method is lfi.NPE else (new_x, new_theta)
        found.append(float(np.mean(estimator.ensemble.log_prob(*pair))))
    variance = 2 * NOISE**2
    if method is lfi.NPE:
        variance /= 1 + variance
    best = -np.log(2 * np.pi * np.e * variance)
    # Nobody beats the truth by more than the scatter of 2,000 pairs, 0.03.
    assert found[0] < found[1] < best + 0.1
    assert best - found[1] < 0.9 * (best - found[0])


def test_scores_that_do_not_fit_are_refused():
    prior = lfi.BoxPrior([-9, -9], [9, 9])
    theta, x, scores = simulations(30, 1)
    estimator = lfi.NLE(prior).append_simulations(theta, x)
    for given, options, message in (
        (scores[:5], {}, r"`scores` must have the shape of all parameters, \[30, 2\]"),
        (np.nan * scores, {}, "`scores` must be finite"),
        (scores, {"score_weight": 0.0}, "`score_weight` must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(epochs=1, verbose=0, scores=given, **options)


def test_a_score_that_is_always_zero_does_no_harm():
    theta, x, score = simulations(300, 0)
    score[:, 0] = 0
    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(2))
    nle = lfi.NLE(prior, "maf", num_members=1).append_simulations(theta, x)
    nle.fit(epochs=2, scores=score, verbose=0)
    assert np.all(np.isfinite(nle.ensemble.histories[0]["loss"]))
