"""The no-U-turn sampler: the tree against recursion, stationarity, moments."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.inference import CompiledNuts, sample_nuts, tree
from flowpm_ext.inference.tree import Tree, _turning, has_turned

MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]])


def gaussian(x):
    offset = x - tf.cast(MEAN, x.dtype)
    precision = tf.cast(np.linalg.inv(COVARIANCE), x.dtype)
    return -0.5 * tf.einsum("ci,ij,cj->c", offset, precision, offset)


def banana(x):
    """x0 is normal, and x1 normal around x0**2 - 1."""
    return -0.5 * x[:, 0] ** 2 - 0.5 * ((x[:, 1] - x[:, 0] ** 2 + 1) / 0.5) ** 2


def test_moments_of_a_gaussian():
    found = sample_nuts(gaussian, np.zeros((16, 3)), 400, 150, seed=1, progress=False)
    x = found.samples.reshape(-1, 3)
    assert np.all(found.r_hat < 1.01) and np.all(found.ess > 0.3 * len(x))
    error = np.sqrt(np.diag(COVARIANCE) / found.ess)
    assert np.all(np.abs(x.mean(0) - MEAN) < 4 * error)
    # 6400 draws of worth .3 or more: squares scatter by sqrt(2 / 1900) = 3 %.
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=4 * 0.03 * 2)
    log_prob = gaussian(x).numpy().reshape(400, 16)
    np.testing.assert_allclose(found.log_prob, log_prob, rtol=1e-10)
    assert abs(found.acceptance.mean() - 0.8) < 0.06 and found.num_divergent == 0


def after_long_steps(num=4000):
    """Exact draws of the banana after steps far too long for the integrator, as normal numbers."""
    x = np.random.default_rng(2).normal(size=(num, 2))
    x[:, 1] = x[:, 0] ** 2 - 1 + 0.5 * x[:, 1]
    found = sample_nuts(banana, x, 4, 0, step_size=0.7, max_depth=4, seed=3, progress=False)
    end = found.samples[-1]
    white = np.stack([end[:, 0], (end[:, 1] - end[:, 0] ** 2 + 1) / 0.5])
    return white, [stats.kstest(part, "norm").pvalue for part in white], found.acceptance.mean()


def test_exact_draws_stay_exact():
    white, p_values, acceptance = after_long_steps()
    assert acceptance < 0.9  # the integrator is far from exact here
    assert min(p_values) > 1e-3
    assert abs(np.corrcoef(white)[0, 1]) < 4 / np.sqrt(white.shape[1])


def test_choosing_by_energy_is_needed_for_that(monkeypatch):
    """The same with all leaves of one weight: the test above can fail."""
    gain = tree._gain
    monkeypatch.setattr(tree, "_gain", lambda *args: 0 * gain(*args))
    assert min(after_long_steps()[1]) < 1e-10


def recursive_turn(x, p, first, depth):
    """Whether any balanced subtree of 2**depth leaves from `first` on turns round."""
    if depth == 0:
        return False
    half = 2 ** (depth - 1)
    if recursive_turn(x, p, first, depth - 1) or recursive_turn(x, p, first + half, depth - 1):
        return True
    last = first + 2 * half - 1
    way = x[last] - x[first]
    return way @ p[first] <= 0 or way @ p[last] <= 0


def iterative_turn(x, p, depth):
    """The same by the memory of a walk along the leaves."""
    marks = tf.zeros([1, depth + 1, x.shape[1]], tf.float64)
    none = [None] * len(Tree._fields)
    tree = Tree(*none)._replace(
        sign=tf.ones([1], tf.float64), marks=(marks, marks), leaf=tf.constant([0])
    )
    for number in range(2**depth):
        tree = tree._replace(leaf=tf.constant([number]))
        marks, turned = _turning(tree, tf.constant(x[None, number]), tf.constant(p[None, number]))
        tree = tree._replace(marks=marks)
        if bool(turned[0]):
            return True
    return False


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_turns_are_those_of_recursion(depth):
    rng = np.random.default_rng(depth)
    seen = set()
    for trial in range(60):
        # Slowly turning paths, of which about half have turned.
        angle = 2 * np.pi * rng.uniform(0.05, 1.2) / 2**depth
        time = angle * np.arange(2**depth) + trial
        x = np.stack([np.sin(time), np.cos(time)], axis=1) + 0.02 * rng.normal(size=(2**depth, 2))
        p = np.stack([np.cos(time), -np.sin(time)], axis=1)
        expected = recursive_turn(x, p, 0, depth)
        assert iterative_turn(x, p, depth) == expected
        seen.add(bool(expected))
    assert depth == 1 or seen == {True, False}


def test_turning_does_not_depend_on_which_end_is_first():
    x, p, y, q = np.random.default_rng(0).normal(size=(4, 50, 3))
    there, back = has_turned(1.0, x, p, y, q), has_turned(-1.0, y, q, x, p)
    np.testing.assert_array_equal(there, back)
    assert 0 < np.mean(there) < 1


def test_energy_error_falls_with_the_square_of_the_step():
    x = tf.constant(np.random.default_rng(1).normal(size=(200, 3)))
    step = CompiledNuts(gaussian, max_depth=3)
    chain = step.start(x, ())
    chain = chain._replace(score=tf.zeros([200, 0], tf.float64))
    seed, loss = tf.constant([1, 2]), []
    for size in (0.2, 0.1, 0.05):
        found = step.step(chain, tf.constant(size, tf.float64), seed, ())
        loss.append(float(tf.reduce_mean(1 - found.acceptance)))
    # Half of the gains are losses, of the size of the error: it falls by four. The length of the
    # path falls too, by which errors do not grow on closed orbits.
    ratio = np.array(loss[:-1]) / loss[1:]
    assert np.all((ratio > 3) & (ratio < 8))


def test_seeds_tracing_and_types():
    one, two, other = (
        sample_nuts(gaussian, np.zeros((2, 3), np.float32), 5, 3, seed=s, progress=False)
        for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.samples.dtype == np.float32 and np.any(one.samples != other.samples)
    plain = sample_nuts(
        gaussian, np.zeros((2, 3)), 3, 0, step_size=0.3, jit_compile=False, progress=False
    )
    compiled = sample_nuts(gaussian, np.zeros((2, 3)), 3, 0, step_size=0.3, progress=False)
    np.testing.assert_allclose(plain.samples, compiled.samples, rtol=1e-6)


def test_gradients_are_counted():
    calls = []

    def counted(x):
        tf.numpy_function(lambda: calls.append(1), [], [])
        return gaussian(x)

    found = sample_nuts(
        counted, np.zeros((3, 3)), 6, 2, step_size=0.3, jit_compile=False, progress=False
    )
    assert found.num_gradients == len(calls)
    assert found.gradients_per_draw <= (found.num_gradients - 1) / 6


def test_walls_and_refusals():
    def half(x):
        return tf.where(x[:, 0] > 0, -x[:, 0], np.nan)

    found = sample_nuts(half, np.ones((8, 1)), 200, 100, seed=1, progress=False)
    assert np.all(found.samples > 0)
    assert found.num_divergent > 0  # what is not a number ends a trajectory
    # The wall is a cliff at which half of the trajectories end: exponential all the same.
    assert abs(found.samples.mean() - 1) < 4 / np.sqrt(found.ess[0])
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite"):
        sample_nuts(lambda x: tf.reduce_sum(x, -1) * np.nan, np.zeros((2, 3)), 5)
    with pytest.raises(ValueError, match="`log_prob` must give one number for each of 2"):
        sample_nuts(lambda x: x, np.zeros((2, 3)), 5)
    with pytest.raises(ValueError, match="`max_depth` must be a positive integer"):
        sample_nuts(gaussian, np.zeros((2, 3)), 5, max_depth=0)
    with pytest.raises(ValueError, match="`start`"):
        sample_nuts(gaussian, np.zeros((2, 3, 1)), 5)
