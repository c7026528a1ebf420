"""Whether two sets of summaries come from one distribution."""

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist, squareform

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_summaries
from lfi.diagnostics.predictive import rank_p_value


class MMDTest(NamedTuple):
    """Whether two sets of draws come from one distribution."""

    mmd2: float
    """Squared maximum mean discrepancy, unbiased: zero on average for one distribution."""
    p_value: float
    """Part of permutations with a discrepancy as large."""


def mmd_test(
    x: TensorLike,
    y: TensorLike,
    bandwidth: float | None = None,
    num_permutations: int = 500,
    max_points: int = 1000,
    seed: int = 0,
) -> MMDTest:
    """Whether several observations together are distributed as simulations are.

    Args:
        x: Summaries of simulations, shape [num, num_data].
        y: Those of observations, shape [num_obs, num_data], at least 2.
        bandwidth: Of the Gaussian kernel, in standard deviations of a summary in both sets
            together; by default the mean of three kernels, up to the median distance.
        num_permutations: Permutations.
        max_points: How many of each set to use at most, taken at random.
        seed: Of permutations.

    Returns:
        `MMDTest`. No p-value is below 1 / (num_permutations + 1).

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a number is not positive.

    References:
        Gretton et al. 2012, Journal of Machine Learning Research 13, 723.
    """
    checks.positive_integers(num_permutations=num_permutations, max_points=max_points)
    rng = np.random.default_rng(seed)
    x, y = checked_summaries(x, "x"), checked_summaries(y, "y")
    checks.require(x.shape[1] == y.shape[1], "y", f"have {x.shape[1]} summaries", y.shape)
    x, y = (rng.permutation(part)[:max_points] for part in (x, y))
    for name, part in (("x", x), ("y", y)):
        checks.require(len(part) >= 2, name, "hold at least 2 points", len(part))
    points = np.concatenate([x, y])
    spread = points.std(axis=0)
    squared = pdist(points / np.where(spread > 0, spread, 1), "sqeuclidean")
    # A shift is seen best at the width of the whole, a change of shape at less.
    median = np.sqrt(np.median(squared))
    widths = median * np.array([0.2, 0.5, 1]) if bandwidth is None else [bandwidth]
    checks.positive(widths, "bandwidth")
    kernels = [np.exp(-squared / (2 * width**2)) for width in widths]
    kernel = squareform(np.mean(kernels, axis=0))  # zero on the diagonal
    is_x = np.arange(len(points)) < len(x)
    labels = np.stack([is_x, *(rng.permutation(is_x) for _ in range(num_permutations))])
    found = _mmd2(kernel, labels.astype(float))
    # Sums of the same terms in another order differ by rounding.
    return MMDTest(float(found[0]), float(rank_p_value(found[1:] + 1e-12, found[0])))


def _mmd2(kernel: np.ndarray, is_x: np.ndarray) -> np.ndarray:
    """Discrepancy for several labellings [num, num_points] of points, without the diagonal."""
    n, m = is_x[0].sum(), len(kernel) - is_x[0].sum()
    to_x = is_x @ kernel
    within_x = np.sum(to_x * is_x, axis=1)
    across = np.sum(to_x * (1 - is_x), axis=1)
    within_y = kernel.sum() - within_x - 2 * across
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * across / (n * m)
