"""Whether a posterior makes data like those that it was made from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_names, checked_summaries


class PredictiveCheck(NamedTuple):
    """Where an observation lies among data simulated at draws of its posterior."""

    names: list[str]
    """Of the summaries."""
    p_values: np.ndarray
    """Two-sided p-value of each summary alone, [num_data]."""
    joint_p_value: float
    """That of its distance from the mean, in units of the covariance."""
    worst: str
    """Summary with the smallest p-value, the one furthest out of those that share it."""


def predictive_check(
    simulated: TensorLike, x_obs: TensorLike, names: Sequence[str] | None = None
) -> PredictiveCheck:
    """Compare an observation with data that were simulated at draws of its posterior.

    A small p-value says that the model cannot make such data even where it fits them best. As
    the posterior has seen the observation, p-values of a true model crowd around one half: a test
    at 0.05 refuses true models less often than that.

    Args:
        simulated: Summaries of simulations, one at each draw, shape [num, num_data].
        x_obs: Those of the observation, shape [num_data].
        names: Of the summaries; x_0, x_1, ... by default.

    Returns:
        `PredictiveCheck`. No p-value is below 1 / (num + 1).

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or simulations are not more than
            summaries.

    References:
        Gelman, Meng & Stern 1996, Statistica Sinica 6, 733; Vovk, Gammerman & Shafer 2005,
        Algorithmic Learning in a Random World.
    """
    simulated = checked_summaries(simulated, "simulated")
    num, num_data = simulated.shape
    checks.require(num > num_data, "simulated", f"be more than {num_data} summaries", num)
    x_obs = np.asarray(x_obs, np.float64)
    checks.require(x_obs.shape == (num_data,), "x_obs", f"have shape [{num_data}]", x_obs.shape)
    checks.finite(x_obs, "x_obs")
    names = checked_names(names, num_data)
    tails = [rank_p_value(sign * simulated, sign * x_obs) for sign in (1, -1)]
    p_values = np.minimum(1, 2 * np.min(tails, axis=0))
    points = np.concatenate([simulated, x_obs[None]])
    spread = points.std(axis=0)
    # All points and the observation are treated alike, so that its rank is exactly uniform.
    points = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)
    inverse = np.linalg.pinv(points.T @ points / len(points), hermitian=True)
    distance = np.einsum("ni,ij,nj->n", points, inverse, points)
    joint = rank_p_value(distance[:-1], distance[-1])
    worst = np.lexsort([-np.abs(points[-1]), p_values])[0]
    return PredictiveCheck(names, p_values, float(joint), names[worst])


def rank_p_value(usual: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Part of all scores, the observed one with them, that are at least as large as it.

    Args:
        usual: Scores where nothing is wrong, shape [num, ...].
        observed: Shape [...].

    Returns:
        From 1 / (num + 1) to 1, shape [...].
    """
    return (1 + np.sum(usual >= observed, axis=0)) / (len(usual) + 1)
