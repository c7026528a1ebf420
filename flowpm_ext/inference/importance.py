"""What weighted draws are worth, and the integral that they know."""

import math
from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike

FEWEST = 25  # weights, for a tail to be seen


class Importance(NamedTuple):
    """What importance weights say."""

    log_mean: float  # logarithm of the mean weight: the evidence, for a normalised proposal
    log_mean_error: float  # its standard error, to be believed where k_hat is below .7
    ess: float  # independent draws of the target that these are worth
    k_hat: float  # shape of the tail of the weights; above .7 their mean cannot be trusted


def importance(log_weight: TensorLike) -> Importance:
    """The sums of importance weights, and whether they can be trusted.

    Args:
        log_weight: Logarithms of densities of the target over those of the proposal, at
            independent draws of it, shape [num], 25 or more.

    Returns:
        `Importance`.

    Raises:
        ValueError: If there are too few, or one is infinite or no number (minus infinity is a
            weight of zero, and passes).

    References:
        Kong 1992, Univ. of Chicago Tech. Rep. 348 (effective size); Vehtari et al. 2024,
        arXiv:1507.02646 (the tail); Zhang & Stephens 2009, Technometrics 51, 316 (its fit).
    """
    x = np.asarray(log_weight, np.float64)
    is_long = x.ndim == 1 and len(x) >= FEWEST
    rule = f"have shape [num] with {FEWEST} or more"
    checks.require(is_long, "log_weight", rule, f"shape {x.shape}")
    checks.finite(np.where(np.isneginf(x), 0, x), "log_weight")
    top = x.max()
    checks.finite(top, "max(log_weight)")
    weight = np.exp(x - top)
    ess = weight.sum() ** 2 / np.sum(weight**2)
    error = np.std(weight) / weight.mean() / math.sqrt(len(x))
    return Importance(top + math.log(weight.mean()), float(error), float(ess), _tail_shape(weight))


def _tail_shape(weight: np.ndarray) -> float:
    """Shape of the generalised Pareto density that the largest weights follow."""
    size = int(min(len(weight) / 5, 3 * math.sqrt(len(weight))))
    ordered = np.sort(weight)[-size - 1 :]
    x = ordered[1:] - ordered[0]
    x = x[x > 0]
    if len(x) < 5:  # all weights are alike
        return -math.inf
    num = len(x)
    j = np.arange(1, 31 + int(math.sqrt(num)))
    quartile = x[int(num / 4 + 0.5) - 1]
    # Candidates for -shape over scale, and the mean over their likelihood.
    b = 1 / x[-1] + (1 - np.sqrt(len(j) / (j - 0.5))) / (3 * quartile)
    shapes = np.mean(np.log1p(-b[:, None] * x), axis=1)
    likelihood = num * (np.log(-b / shapes) - shapes - 1)
    share = np.exp(likelihood - likelihood.max())
    shape = np.mean(np.log1p(-np.sum(b * share) / share.sum() * x))
    return float((num * shape + 5) / (num + 10))  # a weak prior around one half
