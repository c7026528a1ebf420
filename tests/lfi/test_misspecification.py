"""Whether observations that are not like simulations are told from those that are."""

import warnings

import numpy as np
import pytest
from scipy import stats

from lfi.diagnostics import (
    MisspecificationWarning,
    misspecification,
    mmd_test,
    warn_if_misspecified,
)

NAMES = ["a", "b", "c"]


def banana(num, rng):
    """A parameter, its square and its sine, seen with noise: a thin cloud along a curve."""
    a = rng.uniform(-2, 2, num)
    return np.stack([a, a**2, np.sin(2 * a)], axis=-1) + 0.1 * rng.normal(size=(num, 3))


def correlated(num, rng):
    """Two summaries of one parameter, and one of another."""
    theta = rng.uniform(-3, 3, (num, 2))
    return theta[:, [0, 0, 1]] + 0.3 * rng.normal(size=(num, 3))


def long_tailed(num, rng):
    return np.exp(1.5 * rng.normal(size=(num, 2)))


def counts(num, rng):
    """Whole numbers, of which many are equal."""
    return rng.poisson(rng.uniform(0.5, 3, (num, 1)), (num, 4)).astype(float)


def single(num, rng):
    return rng.uniform(size=(num, 1))


@pytest.mark.parametrize("simulate", [banana, correlated, long_tailed, counts, single])
def test_simulations_are_refused_no_more_often_than_they_should_be(simulate):
    p_values, each = [], []
    # Several splits, as observations that are judged by one of them share its luck.
    for seed in range(8):
        rng = np.random.default_rng(seed)
        result = misspecification(simulate(600, rng), simulate(100, rng), seed=seed)
        p_values.append(result.p_value)
        each.append(result.each_p_value)
    p_values, each = np.concatenate(p_values), np.concatenate(each)
    # Of 800 at 0.05 the scatter is 0.008, and that of 8 ranks among 300 is 0.0045: 3 sigma.
    assert np.mean(p_values < 0.05) < 0.05 + 0.027
    assert np.all(np.mean(each < 0.05, axis=0) < 0.05 + 0.027)
    # And not so rarely that nothing would ever be found; equal numbers make it rarer.
    assert np.mean(p_values < 0.5) > 0.35


def test_p_value_is_exact_over_new_simulations():
    """With 20 to rank among, p-values are multiples of 1/21, and none but ties is too likely."""
    rng = np.random.default_rng(0)
    ranks = []
    for seed in range(400):
        x = banana(41, rng)
        result = misspecification(x[1:], x[0], seed=seed)
        ranks.append(round(21 * result.p_value))
    # Ties of ranks make p-values larger, so only small ones must not be too many.
    assert np.mean(np.array(ranks) <= 1) < 1 / 21 + 3 * np.sqrt(0.0454 / 400)
    below = np.sort(np.array(ranks) / 21)
    # Kolmogorov, one-sided: 1.52 / sqrt(400) is passed by one of a hundred.
    excess = np.arange(1, 401) / 400 - below
    assert excess.max() < 1.52 / np.sqrt(400)


@pytest.mark.parametrize("b", [1.0, 2.0, 3.0])
def test_point_off_a_curved_cloud_is_found_and_named(b):
    """Each of its numbers is usual, and its distance from the mean is too."""
    x = banana(2000, np.random.default_rng(1))
    result = misspecification(x, [0.0, b, 0.0], names=NAMES)
    low, high = np.quantile(x, [0.02, 0.98], axis=0)
    assert np.all(([0.0, b, 0.0] > low) & ([0.0, b, 0.0] < high))
    assert result.score_p_values[2] > 0.05
    assert result.p_value < 0.005
    assert result.worst == "b"
    assert result.each_p_value[1] < 0.01 < result.each_p_value[0]
    assert "b is most off" in result.message


def test_points_on_a_curved_cloud_are_not_refused():
    x = banana(2000, np.random.default_rng(2))
    a = np.linspace(-1.7, 1.7, 9)
    assert misspecification(x, np.stack([a, a**2, np.sin(2 * a)], -1)).p_value.min() > 0.05


def test_broken_correlation_is_found_and_named():
    x = correlated(2000, np.random.default_rng(3))
    result = misspecification(x, [1.2, -1.2, 0.0], names=NAMES)
    assert result.p_value < 0.005
    assert result.worst in ("a", "b")
    assert result.each_p_value[:2].max() < 0.02
    assert result.each_p_value[2] > 0.1
    assert isinstance(result.p_value, float)


@pytest.mark.parametrize("i", range(3))
def test_shifted_summary_is_named(i):
    x = correlated(2000, np.random.default_rng(4))
    x_obs = np.zeros(3)
    x_obs[i] = 20.0
    assert misspecification(x, x_obs, names=NAMES).worst == NAMES[i]


def test_power_for_a_shift_of_one_summary():
    """A shift by five times the noise of a difference of two summaries is found nearly always."""
    rng = np.random.default_rng(5)
    x, x_obs = correlated(2000, rng), correlated(200, rng)
    x_obs[:, 0] += 5 * 0.3 * np.sqrt(2)
    result = misspecification(x, x_obs, names=NAMES)
    assert np.mean(result.p_value < 0.05) > 0.95
    assert np.mean([name in ("a", "b") for name in result.worst]) > 0.95


def test_failed_simulations_do_not_hide_a_strange_observation():
    x = correlated(2000, np.random.default_rng(6))
    x[:6] *= 1e8
    assert misspecification(x, [1.5, -1.5, 0.0]).p_value < 0.02


def test_repeated_summary_is_no_trouble():
    x = correlated(1000, np.random.default_rng(7))
    x = np.concatenate([x, x[:, :1]], axis=1)
    assert misspecification(x, [0.5, 0.5, 0.0, 0.5]).p_value > 0.05
    result = misspecification(x, [0.5, 0.5, 0.0, 0.6])
    assert result.p_value < 0.01
    assert result.worst in ("x_0", "x_3")


def test_summary_that_hardly_ever_varies_is_named():
    rng = np.random.default_rng(16)
    flag = np.arange(1000)[:, None] % 300 == 0
    x = np.concatenate([rng.normal(size=(1000, 2)), flag], axis=1)
    assert misspecification(x, [0.0, 0.0, 0.0]).p_value > 0.05
    result = misspecification(x, [0.0, 0.0, 1.0])
    assert result.p_value < 0.02
    assert result.worst == "x_2"


def test_many_summaries():
    """More than have neighbours; one of forty is off by seven times its scatter."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(1500, 40))
    x_obs = rng.normal(size=40)
    assert misspecification(x, x_obs).p_value > 0.05
    x_obs[17] = 7.0
    result = misspecification(x, x_obs)
    assert result.p_value < 0.01
    assert result.worst == "x_17"


def test_units_and_order_of_summaries_do_not_matter():
    rng = np.random.default_rng(9)
    x, x_obs = banana(500, rng), banana(20, rng)
    plain = misspecification(x, x_obs)
    # Powers of two change no digit, so ranks are the same to the last.
    other = misspecification(x * [2.0**-30, 1, 2.0**20], x_obs * [2.0**-30, 1, 2.0**20])
    np.testing.assert_array_equal(plain.p_value, other.p_value)
    order = [2, 0, 1]
    moved = misspecification(x[:, order], x_obs[:, order], names=["x_2", "x_0", "x_1"])
    # Sums in another order differ by rounding, which may swap one rank.
    np.testing.assert_allclose(moved.each_p_value, plain.each_p_value[:, order], atol=0.005)
    assert np.mean(np.array(moved.worst) == np.array(plain.worst)) > 0.9


def test_several_observations_are_those_one_by_one():
    rng = np.random.default_rng(10)
    x, x_obs = banana(400, rng), banana(5, rng)
    together = misspecification(x, x_obs, names=NAMES)
    assert together.p_value.shape == (5,) and together.each_p_value.shape == (5, 3)
    for i in range(5):
        alone = misspecification(x, x_obs[i], names=NAMES)
        assert alone.p_value == together.p_value[i]
        assert alone.statistic == together.statistic[i] == alone.score_p_values.min()
        assert alone.worst == together.worst[i]
        np.testing.assert_array_equal(alone.each_p_value, together.each_p_value[i])


def test_warning_names_the_summary_and_the_caller():
    x = banana(1000, np.random.default_rng(11))
    strange = misspecification(x, [0.0, 2.0, 0.0], names=NAMES)
    expected = r"% of simulations are as strange as the observation; the summary b is most off"
    with pytest.warns(MisspecificationWarning, match=expected) as record:
        assert warn_if_misspecified(strange) is strange
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        usual = warn_if_misspecified(misspecification(x, [0.0, 0.0, 0.0], names=NAMES))
        assert usual.p_value > 0.05


def test_warning_for_several_counts_them():
    x = banana(1000, np.random.default_rng(12))
    a = np.linspace(-1, 1, 12)
    x_obs = np.stack([a, a**2, np.sin(2 * a)], axis=-1)
    x_obs[5, 1] += 2
    with pytest.warns(MisspecificationWarning, match="observation 5 of 12; the summary x_1 is"):
        warn_if_misspecified(misspecification(x, x_obs))
    # One of twelve at 0.05 is no surprise.
    mild = misspecification(x, x_obs)._replace(p_value=np.array([0.02] + [0.5] * 11))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_misspecified(mild)


def test_mmd_is_that_of_loops():
    rng = np.random.default_rng(13)
    x, y = rng.normal(size=(6, 2)), 1 + rng.normal(size=(4, 2))
    scale = np.concatenate([x, y]).std(axis=0)

    def mean_kernel(first, second, is_same):
        values = [
            np.exp(-np.sum(((u - v) / scale) ** 2) / (2 * 1.3**2))
            for i, u in enumerate(first)
            for j, v in enumerate(second)
            if not (is_same and i == j)
        ]
        return np.mean(values)

    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    found = mmd_test(x, y, bandwidth=1.3, num_permutations=20).mmd2
    # Both are sums of a hundred numbers in float64.
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_mmd_of_one_distribution():
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found.append(mmd_test(banana(80, rng), banana(20, rng), None, 99, seed=seed))
    p_values = np.array([result.p_value for result in found])
    # Of 100, 5 on average; more than 12 with a probability of 0.001.
    assert np.sum(p_values <= 0.05) <= 12
    assert stats.kstest(p_values - 0.005, "uniform").pvalue > 0.01
    mmd2 = np.array([result.mmd2 for result in found])
    assert abs(mmd2.mean()) < 4 * mmd2.std() / 10  # unbiased; 4 sigma of a mean of a hundred


def test_mmd_sees_shape_as_well_as_mean():
    rng = np.random.default_rng(14)
    x = banana(1500, rng)
    normal = rng.multivariate_normal(x.mean(axis=0), np.cov(x.T), 60)
    assert mmd_test(x, normal).p_value < 0.01
    assert mmd_test(x, banana(60, rng) + np.array([0, 0, 0.8])).p_value < 0.01
    assert mmd_test(x, banana(60, rng)).p_value > 0.01


X = np.random.default_rng(15).normal(size=(100, 3))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: misspecification(X[0], X[0]), r"`x_train` must have shape \[num, num_data\]"),
        (lambda: misspecification(X / 0, X[0]), "`x_train` must be finite"),
        (lambda: misspecification(X[:30], X[0]), "`x_train` must hold at least 40 simulations"),
        (lambda: misspecification(X, X[0], 60), "`x_train` must hold at least 240 simulations"),
        (lambda: misspecification(X * [1, 1, 0], X[0]), "vary in every .* '1 of 3 constant'"),
        (lambda: misspecification(X, X[0, :2]), r"`x_obs` must have shape \[3\] or \[num_obs, 3"),
        (lambda: misspecification(X, X[None]), r"`x_obs` must have shape \[3\] or"),
        (lambda: misspecification(X, X[:0]), r"`x_obs` must have shape \[3\] or"),
        (lambda: misspecification(X, X[0] * np.nan), "`x_obs` must be finite"),
        (lambda: misspecification(X, X[0], 0), "`num_neighbours` must be a positive integer"),
        (lambda: misspecification(X, X[0], names=["a"]), "`names` must be 3 texts"),
        (lambda: warn_if_misspecified(None, 2), r"`level` must lie in \[0, 1\]"),
        (lambda: mmd_test(X, X[:, :2]), "`y` must have 3 summaries"),
        (lambda: mmd_test(X, X[:1]), "`y` must hold at least 2 points"),
        (lambda: mmd_test(X, X, -1.0), "`bandwidth` must be positive"),
        (lambda: mmd_test(X, X, num_permutations=0), "`num_permutations` must be a positive"),
        (lambda: mmd_test(X * 0, X * 0), "`bandwidth` must be positive"),
    ],
)
def test_bad_input_is_refused(call, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        call()
