"""Chains of densities that are known by their score alone."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import quad
from scipy.stats import norm

from flowpm_ext.inference import CompiledLogProb, sample_hmc
from flowpm_ext.inference.path_integral import path_weights

PRECISION = np.linalg.inv([[1.0, 0.8], [0.8, 1.0]])


def nothing(x):
    return tf.zeros(x.shape[:1], x.dtype)


def gaussian_score(x):
    return -x @ tf.constant(PRECISION, x.dtype)


def integral(num, force=np.cos):
    """Of f(x) dx along x = sin(t) + t from 0 to 2, known at `num` + 1 times."""
    x = np.sin(time := np.linspace(0, 2, num + 1)) + time
    return force(x) @ path_weights(num) @ x


def test_integrals_along_paths_are_of_fourth_order():
    exact = np.sin(np.sin(2) + 2)
    errors = np.array([abs(integral(num) - exact) for num in (8, 16, 32)])
    assert np.all(np.log2(errors[:-1] / errors[1:]) > 3.5) and errors[-1] < 1e-5


def test_a_path_of_polynomials_is_exact():
    time = np.arange(6.0)
    found = (time**2 - time) @ path_weights(5) @ time**3
    exact = quad(lambda t: (t**2 - t) * 3 * t**2, 0, 5)[0]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


@pytest.mark.parametrize("num", [1, 2, 3, 10])
def test_a_path_turned_round_gives_the_other_sign(num):
    x, force = np.random.default_rng(num).normal(size=(2, num + 1))
    weights = path_weights(num)
    there, back = force @ weights @ x, force[::-1] @ weights @ x[::-1]
    np.testing.assert_allclose(there, -back, rtol=1e-12)
    np.testing.assert_allclose(force @ weights @ np.ones(num + 1), 0, atol=1e-12)


def test_covariance_of_a_gaussian_by_its_score_alone():
    target = CompiledLogProb(nothing, score=gaussian_score)
    found = sample_hmc(
        target, np.zeros((200, 2)), 300, 100, trajectory=1.5, step_size=0.5, seed=1, progress=False
    )
    covariance = np.cov(found.samples.reshape(-1, 2).T)
    # 40,000 independent draws scatter by .007; 3 % is asked for.
    np.testing.assert_allclose(covariance, np.linalg.inv(PRECISION), rtol=0.03)
    assert found.acceptance.mean() < 0.99  # steps are long enough to need the test


def test_without_the_metropolis_test_the_covariance_is_wrong():
    """The gain in energy then is that of the momenta alone."""
    target = CompiledLogProb(nothing, score=gaussian_score)
    target.weights = lambda _, most, dtype: tf.zeros([2, most + 1, most + 1], dtype)
    found = sample_hmc(
        target, np.zeros((200, 2)), 300, 0, num_leapfrog=3, step_size=0.5, seed=1, progress=False
    )
    covariance = np.cov(found.samples.reshape(-1, 2).T)
    assert np.abs(covariance / np.linalg.inv(PRECISION) - 1).max() > 0.1


def test_a_factor_by_its_score_beside_a_density():
    def log_prob(x, wide):
        return -0.5 * tf.reduce_sum(x**2, -1) / wide

    def score(x, wide):
        return 3 * (1 - x) + 0 * wide

    found = sample_hmc(
        CompiledLogProb(log_prob, score=score), np.zeros((100, 3)), 200, 100,
        args=[tf.constant(1.0, tf.float64)], trajectory=0.8, seed=2, progress=False,
    )  # fmt: skip
    x = found.samples.reshape(-1, 3)
    np.testing.assert_allclose(x.mean(0), 0.75, atol=0.01)  # five standard errors
    np.testing.assert_allclose(x.var(0), 0.25, rtol=0.05)


def test_weights_of_modes_between_which_chains_go():
    """Two narrow modes: paths across the gap are hard to integrate, and refused where unclear."""
    centre, share, variance = np.array([[-1.0, 0.5], [1.0, -0.5]]), np.array([0.3, 0.7]), 0.3

    def score(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            each = [np.log(w) - tf.reduce_sum((x - c) ** 2, -1) / (2 * variance)
                    for w, c in zip(share, centre, strict=True)]  # fmt: skip
            value = tf.reduce_logsumexp(tf.stack(each), 0)
        return tape.gradient(value, x)

    found = sample_hmc(
        CompiledLogProb(nothing, score=score), np.resize(centre, (1000, 2)), 100, 200,
        trajectory=1.5, step_size=2.0, seed=3, progress=False,
    )  # fmt: skip
    expected = share @ norm.cdf(-centre[:, 0] / np.sqrt(variance))
    # Half of the chains start in each mode; those that forget it scatter by .015 at one time.
    assert abs(np.mean(found.samples[:, :, 0] < 0) - expected) < 0.02


def test_scores_of_another_shape_are_refused():
    target = CompiledLogProb(nothing, score=lambda x: x[:, :1])
    with pytest.raises(ValueError, match="`score` must give a gradient of the shape of x"):
        sample_hmc(target, np.zeros((4, 3)), 10, progress=False)
