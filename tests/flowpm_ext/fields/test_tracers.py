"""Poisson counts against scipy, and positions against the counts."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.fields import poisson_sample, tracer_positions
from flowpm_ext.mesh import LocalMesh

# Both ways of drawing, and both sides of the rate where they meet.
RATES = (0.1, 1.0, 5.0, 9.999, 10.0, 30.0, 100.0, 1e5)


@pytest.mark.parametrize("rate", RATES)
def test_counts_follow_the_distribution(rate):
    num = 2**18
    counts = poisson_sample(tf.zeros([1, 64, 64, 64]), rate, seed=3).numpy().ravel()
    np.testing.assert_array_equal(counts, np.round(counts))
    expected = stats.poisson(rate)
    # Five deviations of each; the variance of the variance is (1 + 2 rate) rate / num.
    assert abs(counts.mean() - rate) < 5 * np.sqrt(rate / num)
    assert abs(counts.var() - rate) < 5 * np.sqrt((1 + 2 * rate) * rate / num)
    inner = np.unique(expected.ppf(np.linspace(0.001, 0.999, 60)))
    edges = np.concatenate([[-1], inner, [np.inf]])
    mass = np.diff(expected.cdf(edges)) * num
    found = np.histogram(counts, np.concatenate([[-1], inner + 0.5, [np.inf]]))[0]
    filled = mass > 10
    chi2 = np.sum(((found - mass) ** 2 / np.maximum(mass, 1e-300))[filled])
    assert 1e-4 < stats.chi2.sf(chi2, np.count_nonzero(filled) - 1) < 1 - 1e-4


def test_neighbouring_cells_and_seeds_are_independent():
    counts = [poisson_sample(tf.zeros([2, 16, 16, 16]), 20.0, seed) for seed in (1, 2)]
    draws = [np.ravel(field) for pair in counts for field in pair]
    draws += [np.roll(draws[0], shift) for shift in (1, 16, 256)]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(16**3)  # five deviations of chance


def test_rate_of_each_cell_is_its_own():
    rng = np.random.default_rng(0)
    one = rng.lognormal(0, 2, (1, 4, 4, 4)) - 1
    overdensity = np.repeat(one, 4000, axis=0)
    mean_count = np.repeat([2.0, 8.0], 2000)
    counts = poisson_sample(overdensity, mean_count, 1).numpy().reshape(2, 2000, -1)
    rate = np.array([[2.0], [8.0]]) * (1 + one.ravel())
    assert rate.min() < 1 and rate.max() > 30
    pulls = (counts.mean(axis=1) - rate) / np.sqrt(rate / 2000)
    assert np.abs(pulls).max() < 5
    assert 0.7 < pulls.std() < 1.3  # 128 pulls have a scatter of 1 +- 0.06


def test_zero_rate_gives_zero():
    empty = -np.ones((1, 4, 4, 4))
    assert not np.any(poisson_sample(empty, 50.0, 0))
    assert not np.any(poisson_sample(np.zeros((1, 4, 4, 4)), 0.0, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_counts(jit, dtype):
    overdensity = np.random.default_rng(0).lognormal(0, 2, (2, 8, 6, 4)).astype(dtype) - 1
    eager = poisson_sample(overdensity, 5.0, 7)
    assert eager.dtype == dtype
    function = tf.function(
        lambda x, seed: poisson_sample(x, 5.0, seed), jit_compile=jit, autograph=False
    )
    np.testing.assert_array_equal(function(tf.constant(overdensity), tf.constant([0, 7])), eager)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.5])
def test_bad_rates_in_a_graph_give_nan(bad):
    overdensity = tf.constant([[0.0, bad, 99.0]])
    function = tf.function(lambda x: poisson_sample(x, 1.0, 0), jit_compile=True)
    np.testing.assert_array_equal(np.isnan(function(overdensity)), [[False, True, False]])


def test_positions_paint_the_counts_they_come_from():
    counts = poisson_sample(np.zeros((2, 4, 6, 5)), 30.0, 1)
    placed = tracer_positions(counts, 2)
    for position, field in zip(placed, counts, strict=True):
        assert position.min() >= 0 and np.all(position < [4, 6, 5])
        nearest = np.round(position).astype(int) % [4, 6, 5]
        found = np.zeros((4, 6, 5))
        np.add.at(found, tuple(nearest.T), 1)
        np.testing.assert_array_equal(found, field)
        offset = (position + 0.5) % 1
        # Even within a cell: about 3600 numbers along each axis.
        assert min(stats.kstest(x, "uniform").pvalue for x in offset.T) > 1e-4
        # Clouds in cells conserve them.
        painted = LocalMesh((4, 6, 5)).paint(tf.constant(position[None]))
        np.testing.assert_allclose(tf.reduce_sum(painted), tf.reduce_sum(field), rtol=1e-12)
    assert not np.array_equal(*(p[:100] for p in placed))


ZERO = np.zeros((2, 4, 4, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: poisson_sample(ZERO - 1.01, 1.0, 0), r"be at least -1\. Rec.*-1\.01"),
        (lambda: poisson_sample(ZERO + np.nan, 1.0, 0), "`overdensity` must be finite"),
        (lambda: poisson_sample(np.zeros(()), 1.0, 0), "`overdensity` must have a batch axis"),
        (lambda: poisson_sample(ZERO, -1.0, 0), "`mean_count` must be non-negative"),
        (lambda: poisson_sample(ZERO, np.inf, 0), "`mean_count` must be non-negative"),
        (lambda: poisson_sample(ZERO, np.ones(3), 0), "`mean_count` must be one number, or one"),
        (lambda: tracer_positions(ZERO + 0.5, 0), "`counts` must be whole numbers"),
        (lambda: tracer_positions(ZERO - 1, 0), "`counts` must be non-negative"),
        (lambda: tracer_positions(ZERO[0], 0), "`counts` must have 4 axes"),
        (
            lambda: tf.function(lambda x: tracer_positions(x, 0), autograph=False)(ZERO),
            "`counts` must be known numbers",
        ),
    ],
)  # fmt: skip
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_counts_of_integers_are_refused():
    with pytest.raises(TypeError, match="`overdensity` must be float32 or float64"):
        poisson_sample(ZERO.astype(int), 1.0, 0)
