"""Coverage of all parameters together, from draws alone."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.diagnostics.coverage import binomial_band, covered
from lfi.diagnostics.ranks import checked_draws, position_of, rank_among


class TarpCoverage(NamedTuple):
    """Balls around random points: what they claim to hold of a posterior, and how often they do."""

    levels: np.ndarray
    """Probability that balls claim to hold, [num_levels]."""
    coverage: np.ndarray
    """Part of truths inside, [num_levels]."""
    atc: float
    """Area between coverage and level, for levels above 0.5. Zero for an exact posterior, positive
    for one that is too wide (under-confident), at most 0.125; negative for one that is too narrow
    (over-confident) or shifted. An area, and not a sum over levels: a posterior twice too wide has
    about 0.08, and one of 500 observations that is exact has 0.01 by chance."""
    p_value: float
    """Of Kolmogorov and Smirnov: an exact posterior is below 0.05 one time in twenty."""
    low: np.ndarray
    """Lower end of where 95 % of exact posteriors would be, [num_levels]."""
    high: np.ndarray
    """Its upper end, [num_levels]."""


def tarp_coverage(
    samples: TensorLike, theta: TensorLike, references: TensorLike | None = None, seed: int = 0
) -> TarpCoverage:
    """How often the truth is among the draws that are closest to a reference point.

    Sees correlations that intervals of single parameters do not. With points that know nothing
    of the data, a posterior that is the prior passes; with points that depend on the data (an
    estimate of the parameters, say) it does not.

    Args:
        samples: Draws, shape [num_samples, num_obs, num_parameters].
        theta: True parameters, drawn from the prior, shape [num_obs, num_parameters].
        references: Points in units of `theta` and of its shape, which may depend on the data but
            not on the truth; uniform in the range of `theta` by default.
        seed: Of the points, and of ranks within their bins.

    Returns:
        `TarpCoverage`, at levels 0, 0.02, ..., 1.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a parameter never varies.

    References:
        Lemos et al. 2023, arXiv:2302.03026.
    """
    samples, theta = checked_draws(samples, theta)
    rng = np.random.default_rng(seed)
    low, high = theta.min(axis=0), theta.max(axis=0)
    checks.require(bool(np.all(high > low)), "theta", "vary in every parameter", high - low)
    if references is None:
        references = rng.uniform(low, high, theta.shape)
    references = np.asarray(references, np.float64)
    rule = f"have the shape of `theta`, {theta.shape}"
    checks.require(references.shape == theta.shape, "references", rule, references.shape)
    checks.finite(references, "references")
    # Without a common scale the parameter with the largest numbers would decide alone.
    of_draws, of_truth = (
        np.sum(((points - references) / (high - low)) ** 2, axis=-1) for points in (samples, theta)
    )
    credibility = position_of(rank_among(of_draws, of_truth, rng), len(samples), rng)
    levels = np.linspace(0, 1, 51)
    # A truth inside from level c on adds 1 - c to the area under the coverage; the diagonal has
    # 3/8 above a level of one half.
    atc = np.mean(np.minimum(1 - credibility, 0.5)) - 0.375
    p_value = stats.kstest(credibility, "uniform").pvalue
    band = binomial_band(levels, len(theta))
    return TarpCoverage(levels, covered(credibility, levels), float(atc), float(p_value), *band)
