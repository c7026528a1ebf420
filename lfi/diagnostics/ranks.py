"""Where true parameters lie among the draws of their posteriors."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike

SIGNIFICANCE = 0.05


class SBCTest(NamedTuple):
    """Whether ranks are as uniform as those of an exact posterior."""

    ks_p_value: np.ndarray
    """Of Kolmogorov and Smirnov, [num_parameters]: finds a shift best."""
    chi2_p_value: np.ndarray
    """Of counts in bins, [num_parameters]: finds a wrong width best."""
    passed: bool
    """True where no p-value is below 0.05 over the number of p-values."""


def sbc_ranks(samples: TensorLike, theta: TensorLike, seed: int = 0) -> np.ndarray:
    """Ranks of true parameters among draws of their posteriors, uniform where these are exact.

    Ranks crowd at both ends where posteriors are too narrow, in the middle where they are too
    wide, and at one end where they are shifted. A posterior that is the prior has uniform ranks
    too: they say nothing of how much was learned.

    Args:
        samples: Draws, shape [num_samples, num_obs, num_parameters], those of one observation
            from the posterior of the data that `theta` made.
        theta: True parameters, drawn from the prior, shape [num_obs, num_parameters].
        seed: Of the order of equal values.

    Returns:
        How many draws are below the truth, 0 to num_samples, int64
        [num_obs, num_parameters].

    Raises:
        ValueError: If shapes do not fit or a value is not finite.

    References:
        Talts et al. 2018, arXiv:1804.06788.
    """
    samples, theta = checked_draws(samples, theta)
    return rank_among(samples, theta, np.random.default_rng(seed))


def sbc_test(ranks: TensorLike, num_samples: int, seed: int = 0) -> SBCTest:
    """Whether ranks are uniform, for each parameter.

    Ranks are spread over the width of their bins at random, so that those of an exact posterior
    are uniform to the last digit, for any number of draws.

    Args:
        ranks: From `sbc_ranks`, shape [num_obs, num_parameters], at least 40 observations.
        num_samples: Draws that they are ranks among.
        seed: Of the spread.

    Returns:
        `SBCTest`.

    Raises:
        ValueError: If ranks are not integers from 0 to `num_samples`, or too few.

    References:
        Talts et al. 2018, arXiv:1804.06788.
    """
    checks.positive_integers(num_samples=num_samples)
    ranks = np.asarray(ranks)
    rule = "have shape [num_obs, num_parameters] with at least 40 observations"
    checks.require(ranks.ndim == 2 and len(ranks) >= 40, "ranks", rule, ranks.shape)
    checks.require(ranks.dtype.kind in "iu", "ranks", "be integers", ranks.dtype)
    checks.in_range(ranks, "ranks", 0, num_samples)
    position = position_of(ranks, num_samples, np.random.default_rng(seed))
    # At least twenty in each bin, where the distribution of chi2 is that of the books.
    num_bins = min(20, len(ranks) // 20)
    counts = [np.bincount(bins, minlength=num_bins) for bins in (position * num_bins).astype(int).T]
    ks = np.array([stats.kstest(column, "uniform").pvalue for column in position.T])
    chi2 = stats.chisquare(np.array(counts), axis=1).pvalue
    smallest = min(ks.min(), chi2.min())
    return SBCTest(ks, chi2, bool(smallest > SIGNIFICANCE / (ks.size + chi2.size)))


def checked_draws(samples: TensorLike, theta: TensorLike) -> tuple[np.ndarray, np.ndarray]:
    """Draws of posteriors and the truths behind them, after checks of their shapes.

    Args:
        samples: Draws, shape [num_samples, num_obs, num_parameters].
        theta: True parameters, shape [num_obs, num_parameters].

    Returns:
        Both in float64.

    Raises:
        ValueError: If shapes do not fit or a value is not finite.
    """
    samples, theta = (np.asarray(part, np.float64) for part in (samples, theta))
    rule = "have shape [num_samples, num_obs, num_parameters] without an empty axis"
    checks.require(samples.ndim == 3 and samples.size > 0, "samples", rule, samples.shape)
    rule = f"have shape [num_obs, num_parameters] = {samples.shape[1:]}, as `samples`"
    checks.require(theta.shape == samples.shape[1:], "theta", rule, theta.shape)
    checks.finite(samples, "samples")
    checks.finite(theta, "theta")
    return samples, theta


def rank_among(draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many draws are below the truth, with equal ones on either side at random.

    Args:
        draws: Shape [num_samples, ...].
        truth: Shape [...].
        rng: Generator.

    Returns:
        From 0 to num_samples, int64 [...].
    """
    return np.sum(draws < truth, axis=0) + rng.integers(np.sum(draws == truth, axis=0) + 1)


def position_of(ranks: np.ndarray, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Ranks as numbers from 0 to 1, at random within the width of one rank.

    Args:
        ranks: From 0 to num_samples, any shape.
        num_samples: Draws that they are ranks among.
        rng: Generator.

    Returns:
        In [0, 1), of the same shape; uniform where ranks are.
    """
    return (ranks + rng.uniform(size=np.shape(ranks))) / (num_samples + 1)
