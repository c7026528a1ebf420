"""Hamiltonian Monte Carlo on densities whose moments are known."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.inference import effective_sample_size, sample_hmc

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])
PRECISION = np.linalg.inv(COVARIANCE)


def gaussian(x):
    offset = x - tf.cast(MEAN, x.dtype)
    return -0.5 * tf.einsum("ci,ij,cj->c", offset, tf.cast(PRECISION, x.dtype), offset)


def test_moments_of_a_gaussian():
    found = sample_hmc(
        gaussian, np.zeros((16, 3)), 500, 200, num_leapfrog=6, seed=1, progress=False
    )
    x = found.samples.reshape(-1, 3)
    error = np.sqrt(np.diag(COVARIANCE) / found.ess)
    assert np.all(found.ess > 1000) and np.all(found.r_hat < 1.02)
    assert np.all(np.abs(x.mean(0) - MEAN) < 4 * error)
    # Squares are correlated for about as long as the numbers themselves.
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=4 * 2 * np.sqrt(2 / 1000))
    np.testing.assert_allclose(found.log_prob, gaussian(found.samples.reshape(-1, 3)).numpy()
                               .reshape(500, 16), rtol=1e-10)  # fmt: skip
    assert found.num_gradients == 1 + 700 * 6


def test_step_size_is_tuned_to_the_target():
    for target in (0.8, 0.9):
        found = sample_hmc(
            gaussian, np.zeros((32, 3)), 200, 300, step_size=1e-3, num_leapfrog=4,
            target_accept=target, progress=False,
        )  # fmt: skip
        assert abs(found.acceptance.mean() - target) < 0.06  # one sigma is about 0.02


def test_mass_makes_scales_alike():
    scales = np.array([1e-3, 1.0, 1e3])

    def wide(x):
        return -0.5 * tf.reduce_sum((x / scales) ** 2, axis=-1)

    found = sample_hmc(
        wide, np.zeros((8, 3)), 400, 100, mass=scales**-2.0, num_leapfrog=5, progress=False
    )
    assert np.all(found.ess > 500)
    np.testing.assert_allclose(found.samples.std((0, 1)), scales, rtol=0.15)


def test_a_density_that_is_not_gaussian():
    # x ~ log of a Gamma(3) number: mean is digamma(3), variance trigamma(3).
    found = sample_hmc(
        lambda x: tf.reduce_sum(3 * x - tf.exp(x), -1), np.zeros((16, 1)), 500, 200, progress=False
    )
    error = np.sqrt(0.3949341 / found.ess[0])
    assert abs(found.samples.mean() - 0.9227843) < 4 * error
    np.testing.assert_allclose(found.samples.var(), 0.3949341, rtol=0.15)


def test_seed_thinning_and_walls():
    one, two, other = (
        sample_hmc(gaussian, np.zeros((2, 3), np.float32), 5, 3, seed=s, progress=False)
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.samples.dtype == np.float32 and np.any(one.samples != other.samples)
    thinned = sample_hmc(gaussian, np.zeros((2, 3)), 5, 3, thin=4, progress=False)
    assert thinned.samples.shape == (5, 2, 3) and thinned.num_gradients == 1 + 23 * 10

    def half(x):
        return tf.where(x[:, 0] > 0, -x[:, 0], np.nan)

    found = sample_hmc(half, np.ones((8, 1)), 300, 100, num_leapfrog=3, progress=False)
    assert np.all(found.samples > 0)  # what is not a number is never accepted
    assert found.num_divergent > 0  # and counted


def test_refusals():
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite"):
        sample_hmc(lambda x: tf.reduce_sum(x, -1) * np.nan, np.zeros((2, 3)), 5)
    with pytest.raises(ValueError, match="`log_prob` must give one number for each of 2"):
        sample_hmc(lambda x: x, np.zeros((2, 3)), 5)
    with pytest.raises(ValueError, match="`step_size` must be positive"):
        sample_hmc(gaussian, np.zeros((2, 3)), 5, step_size=0.0)
    with pytest.raises(ValueError, match="`num_samples` must be a positive integer"):
        sample_hmc(gaussian, np.zeros((2, 3)), 0)


def test_groups_tune_their_own_steps():
    scales = np.repeat([1e-2, 10.0], 16)[:, None]

    def wide(x):
        return -0.5 * tf.reduce_sum((x / scales) ** 2, axis=-1)

    found = sample_hmc(
        wide, np.zeros((32, 2)), 200, 300, num_groups=2, step_size=0.1, num_leapfrog=4,
        progress=False,
    )  # fmt: skip
    assert found.step_size.shape == (2,)
    # Both are the same problem in other units; tuning is good to a few percent.
    np.testing.assert_allclose(found.step_size[1] / found.step_size[0], 1e3, rtol=0.2)
    # The step is the mean over warm-up, where it scattered: acceptance bends down with the step,
    # so that the mean step accepts .06 more than the mean of the steps (12 seeds: .05 to .07).
    assert np.all(np.abs(found.acceptance.reshape(2, 16).mean(1) - 0.86) < 0.03)
    with pytest.raises(ValueError, match="`num_groups` must divide the number of chains, 4"):
        sample_hmc(gaussian, np.zeros((4, 3)), 5, num_groups=3)


def test_a_quarter_of_a_turn_forgets_and_half_of_a_turn_does_not():
    def normal(x):
        return -0.5 * tf.reduce_sum(x**2, axis=-1)

    start = np.random.default_rng(1).normal(size=(50, 3))
    found = [
        sample_hmc(normal, start, 200, 100, trajectory=turn * np.pi, seed=2, progress=False)
        for turn in (0.5, 1.0)
    ]
    # Squares come back after half of a turn, whose positions only change sign. 1 would be
    # independent and 3 the same; steps of the integrator are too long here for just a quarter.
    quarter, half = (np.mean(each.samples[1:] ** 2 * each.samples[:-1] ** 2) for each in found)
    assert quarter < 1.8 and half > 2.2
    quarter, half = (effective_sample_size(each.samples**2).min() for each in found)
    assert quarter > 3 * half
    steps = 300 * np.pi / 2 / found[0].step_size[0]
    assert 0.6 * steps < found[0].num_gradients < 1.5 * steps  # some were before the tuning


def test_num_leapfrog_bounds_the_steps_of_a_trajectory():
    found = sample_hmc(
        gaussian, np.zeros((4, 3)), 10, 0, num_leapfrog=7, trajectory=1.0, step_size=0.01,
        progress=False,
    )  # fmt: skip
    assert found.num_gradients == 1 + 10 * 7
    found = sample_hmc(
        gaussian, np.zeros((4, 3)), 10, 0, trajectory=0.001, step_size=0.01, progress=False
    )
    assert found.num_gradients == 1 + 10
    with pytest.raises(ValueError, match="`trajectory` must be positive"):
        sample_hmc(gaussian, np.zeros((4, 3)), 10, trajectory=0.0, progress=False)
