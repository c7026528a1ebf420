"""Microcanonical dynamics: the flow against its equation, energy, stationarity, moments."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from flowpm_ext.inference import sample_mclmc
from flowpm_ext.inference.microcanonical import at_rest, flown, langevin, scattered, turned

RNG = np.random.default_rng(0)


def normal(x):
    return -0.5 * tf.reduce_sum(x**2, axis=1)


def quartic(x):
    """Not normal: each number has the density exp(-x^4 / 4), of known moments."""
    return -0.25 * tf.reduce_sum(x**4, axis=1)


def particles(log_prob, x, seed=1):
    at = at_rest(log_prob, tf.constant(x), ())
    return at._replace(u=scattered(at.u, 1.0, tf.constant([0, seed])))


@pytest.mark.parametrize("time", [0.3, 2.0, -0.7])
def test_a_turn_solves_its_differential_equation(time):
    u = RNG.normal(size=5)
    u /= np.linalg.norm(u)
    gradient = RNG.normal(size=5) * 4
    found, gain = turned(tf.constant(u[None]), tf.constant(gradient[None]), time)

    def rate(_, state):
        u = state[:5]
        return np.append((gradient - u * (u @ gradient)) / 4, u @ gradient)

    exact = integrate.solve_ivp(rate, (0, time), np.append(u, 0.0), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found[0], exact.y[:5, -1], atol=1e-9)
    # The gain in energy is d - 1 times that of the logarithm of momentum.
    np.testing.assert_allclose(gain[0], exact.y[5, -1], atol=1e-9)


def test_turns_of_strong_forces_are_finite():
    u = scattered(tf.zeros([3, 4]), 1.0, tf.constant([0, 1]))
    found, gain = turned(u, tf.constant(1e6 * RNG.normal(size=(3, 4)), tf.float32), 1.0)
    assert np.all(np.isfinite(found)) and np.all(np.isfinite(gain))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    still, none = turned(u, tf.zeros([3, 4]), 1.0)
    np.testing.assert_allclose(still, u, rtol=1e-6)
    np.testing.assert_allclose(none, 0, atol=1e-6)


def test_a_step_can_be_taken_back():
    at = particles(quartic, RNG.normal(size=(6, 4)))
    there, gain = flown(quartic, at, tf.constant(0.3, tf.float64), ())
    back, loss = flown(quartic, there._replace(u=-there.u), tf.constant(0.3, tf.float64), ())
    np.testing.assert_allclose(back.x, at.x, atol=1e-12)
    np.testing.assert_allclose(back.u, -at.u, atol=1e-12)
    np.testing.assert_allclose(gain, -loss, atol=1e-11)
    assert np.abs(gain).max() > 1e-4


def test_energy_error_falls_with_the_third_power_of_the_step():
    at = particles(quartic, RNG.normal(size=(500, 8)))
    sizes = np.array([0.4, 0.2, 0.1])
    errors = [np.std(flown(quartic, at, tf.constant(s, tf.float64), ())[1]) for s in sizes]
    order = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # A second-order integrator is wrong by the third power of one step.
    assert 2.8 < order < 3.3


def test_exact_draws_stay_exact_with_a_test_of_energies():
    num, size = 2000, 6
    x = RNG.normal(size=(num, size))
    found = sample_mclmc(
        normal, x, 3, 0, step_size=5.0, length=10.0, target_accept=0.9, thin=1, progress=False
    )
    assert found.acceptance.mean() < 0.9  # steps are long enough to need it
    assert stats.kstest(found.samples[-1].ravel(), "norm").pvalue > 1e-3
    radius = np.sum(found.samples[-1] ** 2, axis=1)
    assert stats.kstest(radius, stats.chi2(size).cdf).pvalue > 1e-3


def test_without_it_the_bias_is_that_of_the_step():
    """Variances come out too small, the less the shorter the step."""
    found = [
        sample_mclmc(normal, RNG.normal(size=(64, 30)), 200, 100, energy_error=error, thin=2,
                     seed=2, progress=False)
        for error in (5e-3, 5e-4)
    ]  # fmt: skip
    long, short = (each.samples.var() for each in found)
    # 64 * 200 * 30 numbers scatter by .003 even were only a third independent.
    assert 0.90 < long < 0.97 and 0.965 < short < 0.99
    for each, target in zip(found, (5e-3, 5e-4), strict=True):
        np.testing.assert_allclose(each.energy_error, target, rtol=0.3)


def test_moments_of_a_density_that_is_not_normal():
    found = sample_mclmc(
        quartic, RNG.normal(size=(16, 20)), 400, 200, target_accept=0.9, thin=1, progress=False
    )
    # E x^2 = 2 Gamma(3/4) / Gamma(1/4), E x^4 = 1.
    assert np.all(found.r_hat < 1.02)
    np.testing.assert_allclose(np.mean(found.samples**2), 0.675978, rtol=0.02)
    np.testing.assert_allclose(np.mean(found.samples**4), 1, rtol=0.04)


@pytest.mark.parametrize("target_accept", [None, 0.9])
def test_chains_that_leave_the_density_come_back(target_accept):
    def half(x):
        return tf.where(x[:, 0] > 0, -x[:, 0] - 0.5 * x[:, 1] ** 2, np.nan)

    found = sample_mclmc(
        half, np.ones((8, 2)), 100, 50, target_accept=target_accept, seed=1, progress=False
    )
    assert np.all(found.samples[..., 0] > 0) and np.all(np.isfinite(found.samples))
    assert found.num_divergent > 0


def test_seeds_types_and_counts():
    runs = [
        sample_mclmc(normal, np.ones((2, 3), np.float32), 5, 3, seed=s, thin=3, progress=False)
        for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0].samples, runs[1].samples)
    assert runs[0].samples.dtype == np.float32 and np.any(runs[0].samples != runs[2].samples)
    assert runs[0].num_gradients == 1 + 8 * 3 * 2 and runs[0].gradients_per_draw == 6
    at, args = particles(normal, np.ones((2, 3))), (tf.constant(2.0, tf.float64),) * 2
    seed = tf.constant([1, 2])
    plain = langevin(normal, at, tf.constant(4), *args, seed, ())[0]
    compiled = tf.function(
        lambda at, num, *rest: langevin(normal, at, num, *rest, ()), jit_compile=True
    )(at, tf.constant(4), *args, seed)[0]
    np.testing.assert_allclose(compiled.x, plain.x, rtol=1e-9)


def test_refusals():
    start = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite"):
        sample_mclmc(lambda x: tf.reduce_sum(x, -1) * np.nan, start, 5)
    with pytest.raises(ValueError, match="`start` must have two parameters or more"):
        sample_mclmc(normal, start[:, :1], 5)
    with pytest.raises(ValueError, match="`energy_error` must be positive"):
        sample_mclmc(normal, start, 5, energy_error=0.0)
    with pytest.raises(ValueError, match="`length` must be positive"):
        sample_mclmc(normal, start, 5, length=-1.0)


def test_first_steps_that_are_too_long_lose_no_chain():
    """One direction is 50 times as narrow as a step that fits the others allows."""
    widths = np.append(np.ones(99), 0.02)

    def narrow(x):
        return -0.5 * tf.reduce_sum((x / widths) ** 2, axis=1)

    start = RNG.normal(size=(8, 100)) * widths
    found = sample_mclmc(narrow, start, 20, 20, step_size=20.0, seed=1, progress=False)
    # Not one in a million normal numbers is beyond 5.
    assert np.abs(found.samples[..., -1] / widths[-1]).max() < 5
    assert found.energy_error < 5e-3 and found.num_divergent == 0
