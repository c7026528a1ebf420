"""Ranks, coverage and predictive checks, where the posterior is known or known to be wrong."""

import numpy as np
import pytest
from scipy import stats

from lfi.diagnostics import expected_coverage, predictive_check, sbc_ranks, sbc_test, tarp_coverage
from lfi.diagnostics.coverage import binomial_band

# A normal prior of unit width and noise of half that: the posterior is normal.
NOISE = 0.5
WIDTH = NOISE / np.sqrt(1 + NOISE**2)
NUM_OBS, NUM_SAMPLES = 500, 99


def problem(seed, scale=1.0, shift=0.0, num_obs=NUM_OBS):
    """Draws of posteriors `scale` too wide and `shift` widths off, the truths, and the data."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(num_obs, 2))
    x = theta + NOISE * rng.normal(size=theta.shape)
    noise = rng.normal(size=(NUM_SAMPLES, num_obs, 2))
    return mean_of(x) + WIDTH * (shift + scale * noise), theta, x


def mean_of(x):
    return x / (1 + NOISE**2)


def log_density(theta, x, scale=1.0):
    """Up to a constant."""
    return -0.5 * np.sum(((theta - mean_of(x)) / (WIDTH * scale)) ** 2, axis=-1)


def test_ranks_are_those_of_a_loop():
    samples, theta, _ = problem(0, num_obs=7)
    ranks = sbc_ranks(samples, theta)
    for i in range(7):
        for j in range(2):
            assert ranks[i, j] == sum(draw < theta[i, j] for draw in samples[:, i, j])
    assert ranks.dtype == np.int64


def test_equal_values_are_ranked_at_random():
    """Dice: draws and truth are often equal, and ranks are uniform all the same."""
    rng = np.random.default_rng(1)
    samples, theta = rng.integers(6, size=(9, 4000, 1)), rng.integers(6, size=(4000, 1))
    counts = np.bincount(sbc_ranks(samples, theta, seed=2)[:, 0], minlength=10)
    # Ties always below or always above would give a p-value of zero.
    assert stats.chisquare(counts).pvalue > 0.01
    ranks = sbc_ranks(np.ones((5, 300, 1)), np.ones((300, 1)))
    np.testing.assert_array_equal(np.unique(ranks), np.arange(6))


def test_exact_posterior_passes_nearly_always():
    passed, tarp = [], []
    for seed in range(60):
        samples, theta, _ = problem(seed, num_obs=200)
        passed.append(sbc_test(sbc_ranks(samples, theta), NUM_SAMPLES, seed).passed)
        tarp.append(tarp_coverage(samples, theta, seed=seed).p_value)
    # One in twenty fails, so of 60 more than 8 do with a probability of 0.003.
    assert sum(passed) >= 52
    assert np.sum(np.array(tarp) < 0.05) <= 8
    assert stats.kstest(tarp, "uniform").pvalue > 0.01


@pytest.mark.parametrize("scale, shift", [(0.7, 0.0), (1.5, 0.0), (1.0, 0.4)])
def test_wrong_posterior_fails_every_test(scale, shift):
    samples, theta, x = problem(3, scale, shift)
    result = sbc_test(sbc_ranks(samples, theta), NUM_SAMPLES)
    assert not result.passed
    assert result.chi2_p_value.max() < 0.01
    assert not expected_coverage(samples, theta).inside.all()
    # An estimate is a better point than one at random to see that draws lie to one side of it.
    assert tarp_coverage(samples, theta, references=x).p_value < 0.01


def test_few_draws_do_not_fail_an_exact_posterior():
    """Ranks among 3 draws have four values; as they are, they would be far from uniform."""
    rng = np.random.default_rng(4)
    ranks = rng.integers(4, size=(2000, 1))
    result = sbc_test(ranks, 3)
    assert result.passed
    assert stats.kstest(ranks[:, 0] / 3, "uniform").pvalue < 1e-10


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (0.6, 0.0), (1.5, 0.0), (1.0, 0.8)])
def test_coverage_is_that_of_normal_distributions(scale, shift):
    samples, theta, x = problem(5, scale, shift, num_obs=3000)
    centred = samples - WIDTH * shift
    result = expected_coverage(
        samples, theta, [0.2, 0.5, 0.8],
        log_prob_samples=log_density(centred, x, scale),
        log_prob_theta=log_density(theta - WIDTH * shift, x, scale),
    )  # fmt: skip
    half = scale * stats.norm.ppf((1 + result.levels) / 2)
    exact = stats.norm.cdf(shift + half) - stats.norm.cdf(shift - half)
    # Scatter of 3000 trials is 0.009; 99 draws stand for quantiles to about as much.
    np.testing.assert_allclose(result.coverage, np.stack([exact, exact], -1), atol=0.035)
    radius2 = scale**2 * stats.chi2.ppf(result.levels, 2)
    joint = stats.ncx2.cdf(radius2, 2, max(2 * shift**2, 1e-12))
    np.testing.assert_allclose(result.joint, joint, atol=0.035)
    is_exact = scale == 1 and shift == 0
    assert result.inside.all() == is_exact
    assert result.joint_inside.all() == is_exact


def test_band_holds_its_probability():
    levels = np.array([0.0, 0.03, 0.5, 0.9, 1.0])
    low, high = binomial_band(levels, 60)
    for level, first, last in zip(levels, low, high, strict=True):
        pmf = stats.binom.pmf(np.arange(61), 60, level)
        within = (np.arange(61) >= np.round(60 * first)) & (np.arange(61) <= np.round(60 * last))
        assert pmf[within].sum() >= 0.95
        # No wider than it must be: each end alone leaves out no more than it may.
        assert pmf[: round(60 * first) + 1].sum() >= 0.025
        assert pmf[round(60 * last) :].sum() >= 0.025
    np.testing.assert_array_equal([low[0], high[0], low[-1], high[-1]], [0, 0, 1, 1])


def test_truth_outside_of_the_posterior_is_the_last_to_be_covered():
    samples, theta, x = problem(6, num_obs=50)
    result = expected_coverage(
        samples, theta, [0.5, 0.98],
        log_prob_samples=log_density(samples, x), log_prob_theta=np.full(50, -np.inf),
    )  # fmt: skip
    np.testing.assert_array_equal(result.joint, 0)
    assert expected_coverage(samples, theta).joint is None
    assert expected_coverage(samples, theta).joint_inside is None


def test_area_to_the_diagonal_has_the_sign_of_the_width():
    exact, narrow, wide = (tarp_coverage(*problem(7, scale)[:2]).atc for scale in (1.0, 0.5, 2.0))
    # The mean of 500 numbers of a scatter of 0.19 is known to 0.008.
    assert abs(exact) < 0.025
    assert narrow < -0.03
    assert 0.03 < wide <= 0.125
    shifted = tarp_coverage(*problem(7, shift=2.0)[:2])
    assert shifted.p_value < 1e-3


def test_area_is_that_under_the_curve():
    result = tarp_coverage(*problem(8, 0.5)[:2])
    upper = result.levels >= 0.5 - 1e-9
    area = np.trapezoid((result.coverage - result.levels)[upper], result.levels[upper])
    # Levels are 0.02 apart, and steps of the curve inside of them are a few in a thousand.
    np.testing.assert_allclose(result.atc, area, atol=2e-3)
    assert result.coverage[0] == 0 and result.coverage[-1] == 1
    assert np.all(np.diff(result.coverage) >= 0)


def test_tarp_sees_a_correlation_that_ranks_do_not():
    rng = np.random.default_rng(9)
    root = np.linalg.cholesky([[1, 0.95], [0.95, 1]])
    mean = 3 * rng.normal(size=(1000, 2))
    theta = mean + rng.normal(size=mean.shape) @ root.T
    noise = rng.normal(size=(NUM_SAMPLES, *mean.shape))
    assert sbc_test(sbc_ranks(mean + noise, theta), NUM_SAMPLES).passed
    # Along the diagonal the truth is spread more than these draws, across it less.
    references = mean + 3
    assert tarp_coverage(mean + noise, theta, references).p_value < 1e-3
    assert tarp_coverage(mean + noise @ root.T, theta, references).p_value > 0.01


def test_prior_passes_unless_references_depend_on_the_data():
    _, theta, x = problem(10)
    prior = np.random.default_rng(11).normal(size=(NUM_SAMPLES, *theta.shape))
    assert sbc_test(sbc_ranks(prior, theta), NUM_SAMPLES).passed
    assert tarp_coverage(prior, theta).p_value > 0.01
    assert tarp_coverage(prior, theta, references=x).p_value < 1e-6


def test_units_do_not_matter_to_tarp():
    samples, theta, _ = problem(12, 0.8)
    units = np.array([1e-9, 1e5])
    np.testing.assert_allclose(
        tarp_coverage(samples * units, theta * units).coverage,
        tarp_coverage(samples, theta).coverage,
        # One truth in 500 may change its rank by rounding.
        atol=2.1e-3,
    )


def test_predictive_p_values_are_uniform_for_data_of_the_model():
    rng = np.random.default_rng(13)
    root = np.linalg.cholesky([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 4]])
    found = []
    for _ in range(300):
        points = rng.normal(size=(100, 3)) @ root.T
        found.append(predictive_check(points[1:], points[0]))
    joint = [result.joint_p_value for result in found]
    alone = np.array([result.p_values for result in found])
    # p-values are multiples of 0.01 and 0.02: of 300, 15 are below the level on average, and more
    # than 28 with a probability below 0.001.
    assert np.sum(np.array(joint) <= 0.05) <= 28
    assert np.all(np.sum(alone <= 0.05, axis=0) <= 28)
    assert stats.kstest(joint, "uniform").pvalue > 0.01


def test_predictive_check_names_what_is_off():
    rng = np.random.default_rng(14)
    simulated = rng.normal(size=(999, 3))
    result = predictive_check(simulated, [0.1, -6.0, 5.0], names=["a", "b", "c"])
    np.testing.assert_allclose(result.p_values[1:], 2 / 1000)
    assert result.worst == "b"
    assert result.joint_p_value == 1 / 1000
    assert result.names == ["a", "b", "c"]
    assert predictive_check(simulated, np.zeros(3)).names == ["x_0", "x_1", "x_2"]


def test_predictive_check_sees_a_broken_correlation():
    rng = np.random.default_rng(15)
    simulated = rng.normal(size=(999, 1)) + 0.1 * rng.normal(size=(999, 2))
    result = predictive_check(simulated, [1.0, -1.0])
    assert result.p_values.min() > 0.2
    assert result.joint_p_value == 1 / 1000


def test_predictive_check_sees_a_change_of_what_never_varies():
    simulated = np.random.default_rng(16).normal(size=(199, 2)) * [1, 0]
    assert predictive_check(simulated, [0.0, 0.0]).joint_p_value > 0.5
    assert predictive_check(simulated, [0.0, 1e-3]).joint_p_value == 1 / 200


DRAWS, TRUTH = np.zeros((4, 50, 2)), np.arange(100.0).reshape(50, 2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: sbc_ranks(DRAWS[0], TRUTH), r"`samples` must have shape \[num_samples, num_obs"),
        (lambda: sbc_ranks(DRAWS, TRUTH[1:]), r"`theta` must have shape .* = \(50, 2\), as"),
        (lambda: sbc_ranks(DRAWS * np.nan, TRUTH), "`samples` must be finite"),
        (lambda: sbc_ranks(DRAWS, TRUTH * np.inf), "`theta` must be finite"),
        (lambda: sbc_test(np.ones((3, 1), int), 4), "with at least 40 observations"),
        (lambda: sbc_test(np.ones((50, 1)), 4), "`ranks` must be integers"),
        (lambda: sbc_test(np.full((50, 1), 5), 4), r"`ranks` must lie in \[0, 4\]"),
        (lambda: sbc_test(np.ones((50, 1), int), 0), "`num_samples` must be a positive integer"),
        (lambda: expected_coverage(DRAWS, TRUTH, [1.2]), r"`levels` must lie in \[0, 1\]"),
        (lambda: expected_coverage(DRAWS, TRUTH, 0.5), "`levels` must have 1 axes"),
        (
            lambda: expected_coverage(DRAWS, TRUTH, log_prob_theta=np.zeros(50)),
            "`log_prob_samples` must be given with its partner",
        ),
        (
            lambda: expected_coverage(DRAWS, TRUTH, log_prob_samples=np.zeros((4, 50))),
            "`log_prob_theta` must be given with its partner",
        ),
        (
            lambda: expected_coverage(
                DRAWS, TRUTH, log_prob_samples=DRAWS, log_prob_theta=np.zeros(50)
            ),
            r"`log_prob_samples` must have shape \(4, 50\)",
        ),
        (
            lambda: expected_coverage(
                DRAWS, TRUTH, log_prob_samples=DRAWS[..., 0] * np.nan, log_prob_theta=np.zeros(50)
            ),
            "`log_prob_samples` must be below infinity, and not NaN",
        ),
        (lambda: tarp_coverage(DRAWS, TRUTH * 0), "`theta` must vary in every parameter"),
        (lambda: tarp_coverage(DRAWS, TRUTH, TRUTH[:3]), "`references` must have the shape of"),
        (lambda: tarp_coverage(DRAWS, TRUTH, TRUTH / 0.0), "`references` must be finite"),
        (lambda: predictive_check(TRUTH[0], TRUTH[0]), r"`simulated` must have shape \[num, num_"),
        (lambda: predictive_check(TRUTH[:2], TRUTH[0]), "`simulated` must be more than 2 summar"),
        (lambda: predictive_check(TRUTH, TRUTH), r"`x_obs` must have shape \[2\]"),
        (lambda: predictive_check(TRUTH, [1, np.nan]), "`x_obs` must be finite"),
        (lambda: predictive_check(TRUTH, TRUTH[0], ["a"]), "`names` must be 2 texts"),
    ],
)
def test_bad_input_is_refused(call, message):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        call()
