"""How often the truth lies inside of regions that claim to hold it."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.diagnostics.ranks import checked_draws, position_of, rank_among


class Coverage(NamedTuple):
    """Credible regions: what they claim to hold, and how often they do."""

    levels: np.ndarray
    """Probability that regions claim to hold, [num_levels]."""
    coverage: np.ndarray
    """Part of truths inside of the central interval of each parameter,
    [num_levels, num_parameters]."""
    low: np.ndarray
    """Lower end of where 95 % of exact posteriors would be, [num_levels]."""
    high: np.ndarray
    """Its upper end, [num_levels]."""
    joint: np.ndarray | None = None
    """Part of truths inside of the region of highest density, [num_levels], where densities were
    given."""

    @property
    def inside(self) -> np.ndarray:
        """Whether the coverage of intervals is in the band, bool [num_levels, num_parameters]."""
        return (self.coverage >= self.low[:, None]) & (self.coverage <= self.high[:, None])

    @property
    def joint_inside(self) -> np.ndarray | None:
        """Whether that of regions of highest density is, bool [num_levels]."""
        return None if self.joint is None else (self.joint >= self.low) & (self.joint <= self.high)


def expected_coverage(
    samples: TensorLike,
    theta: TensorLike,
    levels: TensorLike | None = None,
    *,
    log_prob_samples: TensorLike | None = None,
    log_prob_theta: TensorLike | None = None,
    seed: int = 0,
) -> Coverage:
    """How often central intervals, and regions of highest density, hold the truth.

    Below its level the coverage is that of a posterior too narrow or shifted, above it that of
    one too wide. The band is for one level at a time: of an exact posterior one level in twenty
    may lie outside, and neighbours go together.

    Args:
        samples: Draws, shape [num_samples, num_obs, num_parameters].
        theta: True parameters, drawn from the prior, shape [num_obs, num_parameters].
        levels: Probabilities, shape [num_levels]; 0.05, 0.1, ..., 0.95 by default.
        log_prob_samples: Log density of each draw under its own posterior, shape
            [num_samples, num_obs], for regions of highest density of all parameters together.
        log_prob_theta: That of the true parameters, shape [num_obs].
        seed: Of ranks within their bins, which makes the band exact.

    Returns:
        `Coverage`.

    Raises:
        ValueError: If shapes do not fit, a level is not in [0, 1], or a value is not finite.

    References:
        Hermans et al. 2021, arXiv:2110.06581.
    """
    samples, theta = checked_draws(samples, theta)
    levels = np.linspace(0.05, 0.95, 19) if levels is None else np.asarray(levels, np.float64)
    checks.rank(levels, "levels", 1)
    checks.in_range(levels, "levels", 0, 1)
    rng, num_samples = np.random.default_rng(seed), len(samples)
    position = position_of(rank_among(samples, theta, rng), num_samples, rng)
    coverage = covered(np.abs(2 * position - 1), levels)
    joint = None
    if log_prob_samples is not None or log_prob_theta is not None:
        densities = _checked_densities(log_prob_samples, log_prob_theta, samples.shape[:2])
        # Draws that are denser than the truth are those inside of its contour.
        denser = rank_among(-densities[0], -densities[1], rng)
        joint = covered(position_of(denser, num_samples, rng), levels)
    return Coverage(levels, coverage, *binomial_band(levels, len(theta)), joint)


def covered(credibility: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Part of the truths inside of regions of some levels.

    Args:
        credibility: Level of the smallest region that holds the truth, shape [num_obs, ...].
        levels: Shape [num_levels].

    Returns:
        Shape [num_levels, ...].
    """
    return np.stack([np.mean(credibility <= level, axis=0) for level in levels])


def binomial_band(probability: TensorLike, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Where a frequency lies 95 % of the time.

    Args:
        probability: Of each trial, shape [...].
        num: Trials.

    Returns:
        Lower and upper end, inclusive, shape [...] each.
    """
    low, high = (stats.binom.ppf(tail, num, probability) / num for tail in (0.025, 0.975))
    # SciPy has -1 / num for a probability of zero.
    return np.maximum(low, 0), np.maximum(high, 0)


def _checked_densities(
    log_prob_samples: TensorLike | None, log_prob_theta: TensorLike | None, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Densities of draws and truths; those of truths may be zero, as outside of the prior."""
    named = (
        ("log_prob_samples", log_prob_samples, shape),
        ("log_prob_theta", log_prob_theta, shape[1:]),
    )
    found = []
    for name, value, expected in named:
        checks.require(value is not None, name, "be given with its partner", value)
        array = np.asarray(value, np.float64)
        checks.require(array.shape == expected, name, f"have shape {expected}", array.shape)
        is_known = bool(np.all(array < np.inf))  # false for NaN too
        checks.require(is_known, name, "be below infinity, and not NaN", array)
        found.append(array)
    return found[0], found[1]
