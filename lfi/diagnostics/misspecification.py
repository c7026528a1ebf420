"""Whether what was observed is like what was simulated."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_names, checked_summaries
from lfi.diagnostics.cloud import Cloud
from lfi.diagnostics.predictive import rank_p_value
from lfi.diagnostics.ranks import SIGNIFICANCE


class MisspecificationWarning(UserWarning):
    """An observation is not like the simulations that its posterior was learned from."""


class Misspecification(NamedTuple):
    """How strange an observation is among simulations; arrays where there are several."""

    p_value: np.ndarray | float
    """Below any level at most as often as that, where the observation is one of the simulations,
    [...]."""
    statistic: np.ndarray | float
    """Smallest of `score_p_values`; `p_value` is its rank among those of simulations, [...]."""
    score_p_values: np.ndarray
    """p-value by each score alone, [..., 5]: distance to the nearest simulations, the same over
    what is usual there, distance from the median, largest linear and local residual of a summary
    given the others."""
    each_p_value: np.ndarray
    """p-value of each summary, alone and given the others, [..., num_data]."""
    worst: str | list[str]
    """Name of the summary that is most off, [...]."""
    message: str
    """What was found, in a line."""


def misspecification(
    x_train: TensorLike,
    x_obs: TensorLike,
    num_neighbours: int = 5,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Misspecification:
    """Whether an observation could be one of the simulations, whatever its parameters.

    Half of the simulations say what is usual, by five scores of which three see curved clouds; the
    p-value is the rank of the observation among the other half, so it holds for clouds of any
    shape. It says that data are strange under the prior, and cannot see an error that looks like
    other parameters. Summaries that a network has learned differ between simulations that it was
    trained on and others: give some that it has not seen. Log summaries with long tails first.

    Args:
        x_train: Summaries of simulations with parameters drawn from the prior, shape
            [num, num_data], at least 40 and 4 for each summary; 2000 for p-values below 0.005.
        x_obs: Those of what was observed, shape [num_data], or of several, [num_obs, num_data].
        num_neighbours: Which neighbour to measure the distance to.
        seed: Of the split into halves.
        names: Of the summaries; x_0, x_1, ... by default.

    Returns:
        `Misspecification`. No p-value is below 1 / (num / 2 + 1).

    Raises:
        ValueError: If shapes do not fit, a value is not finite, a summary never varies, or
            simulations are too few.

    References:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World; Breunig et al. 2000,
        SIGMOD Record 29, 93; Schmitt et al. 2021, arXiv:2112.08866.
    """
    x_train = checked_summaries(x_train, "x_train")
    x_obs = np.asarray(x_obs, np.float64)
    num, num_data = x_train.shape
    fits = x_obs.ndim in (1, 2) and x_obs.shape[-1] == num_data and x_obs.size > 0
    rule = f"have shape [{num_data}] or [num_obs, {num_data}]"
    checks.require(fits, "x_obs", rule, x_obs.shape)
    checks.finite(x_obs, "x_obs")
    checks.positive_integers(num_neighbours=num_neighbours)
    least = max(least_usual(num_data), 4 * num_neighbours)
    checks.require(num >= least, "x_train", f"hold at least {least} simulations", num)
    constant = np.ptp(x_train, axis=0) == 0
    received = f"{int(constant.sum())} of {num_data} constant"
    checks.require(not constant.any(), "x_train", "vary in every summary", received)
    names = checked_names(names, num_data)
    order = np.random.default_rng(seed).permutation(num)
    cloud = Cloud(x_train[order[: num // 2]], num_neighbours)
    usual = x_train[order[num // 2 :]]
    result = _ranked(cloud, usual, np.atleast_2d(x_obs), names)
    if x_obs.ndim == 2:
        return result
    p_value, statistic, *arrays, worst, message = result
    first = (array[0] for array in arrays)
    return Misspecification(float(p_value[0]), float(statistic[0]), *first, worst[0], message)


def least_usual(num_data: int) -> int:
    """Number of simulations below which nothing is usual.

    Args:
        num_data: Summaries of each.

    Returns:
        The number.
    """
    return max(40, 4 * num_data)


def warn_if_misspecified(
    result: Misspecification, level: float = SIGNIFICANCE, stacklevel: int = 2
) -> Misspecification:
    """The result, after a warning where an observation is not like the simulations.

    Args:
        result: From `misspecification`.
        level: p-value below which to warn, divided by the number of observations.
        stacklevel: Calls between the warning and the line that it names, as in `warnings.warn`.

    Returns:
        `result` as it is.

    Raises:
        ValueError: If `level` is not in [0, 1].

    References:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World.
    """
    checks.in_range(level, "level", 0, 1)
    if np.min(result.p_value) < level / np.size(result.p_value):
        text = f"{result.message} Its posterior may be wrong."
        warnings.warn(text, MisspecificationWarning, stacklevel=stacklevel)
    return result


def _ranked(
    cloud: Cloud, usual: np.ndarray, x_obs: np.ndarray, names: list[str]
) -> Misspecification:
    """Ranks of observations [num_obs, num_data] among simulations that the cloud has not seen."""
    off, of_usual = cloud.departures(x_obs), cloud.departures(usual)
    each, _ = _rank_of_smallest(*(np.concatenate([x, -x], axis=-1) for x in (of_usual, off)))
    worst = [names[i] for i in _most_off(each, np.abs(off), np.abs(of_usual))]
    scores, of_usual = cloud.scores(x_obs, off), cloud.scores(usual, of_usual)
    p_value, statistic = _rank_of_smallest(of_usual, scores)
    by_score = np.array([rank_p_value(of_usual, score) for score in scores])
    message = _message(p_value, each, worst)
    return Misspecification(p_value, statistic, by_score, each, worst, message)


def _most_off(each: np.ndarray, off: np.ndarray, of_usual: np.ndarray) -> np.ndarray:
    """Summary that is most off in each observation, [num_obs].

    p-values end at one over the number of simulations; how far off a summary is does not, and
    decides where p-values are about as small.
    """
    most = np.maximum(np.quantile(of_usual, 0.99, axis=0), 1e-9)  # zero where all are equal
    excess = np.sum(off / most, axis=-1)
    is_small = each <= 2 * each.min(axis=-1, keepdims=True)
    return np.argmax(np.where(is_small, excess, -1), axis=-1)


def _rank_of_smallest(usual: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-value of the strangest of several scores [num_obs, ..., num_scores], and that score's own.

    The smallest p-value of a simulation is found in the same way as that of an observation, with
    the observation among the others; so its rank is exact, however the scores go together.
    """
    # How many simulations have a score at least as large as each of them.
    counts = stats.rankdata(-usual, "max", axis=0)
    p_values, smallest = [], []
    for one in observed:
        smallest.append(np.min(1 + np.sum(usual >= one, axis=0), axis=-1))
        of_usual = np.min(counts + (one >= usual), axis=-1)
        p_values.append(rank_p_value(-of_usual, -smallest[-1]))
    return np.array(p_values), np.array(smallest) / (len(usual) + 1)


def _message(p_value: np.ndarray, each: np.ndarray, worst: list[str]) -> str:
    """The strangest observation in a line."""
    i = int(np.argmin(p_value))
    which = "the observation" if len(p_value) == 1 else f"observation {i} of {len(p_value)}"
    return (
        f"{p_value[i]:.2%} of simulations are as strange as {which}; the summary {worst[i]} is "
        f"most off (p = {each[i].min():.2g})."
    )
