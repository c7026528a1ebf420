"""What is sampled and how: the problem, the plan, and how far draws have come."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from priors.likelihood import GaussianLikelihood
from priors.score import AbstractScore, GaussianScore

NUM_LEVELS = 12
WIDEST = 10.0  # first level of noise, in root mean squares of the image, at the most
# Last level of chains by default: with less noise errors of a network, divided by the square of
# the noise, carry chains away from what it has seen.
LEAST = 0.4
DEPTH = 0.05  # of the last level: that to which noise is taken away before the last step
FLOW_LEVELS = 24  # of samplers that begin anew for each draw
KEPT = 8  # priors whose compiled functions stay for the next problem

CHAINS = ("hmc", "langevin")
METHODS = (*CHAINS, "guided", "predictor_corrector", "flow")
FOR_ALL_DATA = (*CHAINS, "guided")  # the others solve equations that are linear in the image


class Problem(NamedTuple):
    """What is sampled."""

    likelihood: GaussianLikelihood | None
    score: AbstractScore
    shape: tuple[int, ...]  # of an image
    dtype: tf.DType


class Plan(NamedTuple):
    """How it is sampled."""

    num_samples: int
    num_chains: int
    sigmas: np.ndarray  # [num_levels], falling
    seed: int | tf.Tensor
    method: str = "hmc"
    steps_per_level: int = 6
    num_warmup: int = 30
    num_leapfrog: int = 30
    thin: int = 1
    weighted: bool = False
    denoise: bool = True
    progress: bool = True


class State(NamedTuple):
    """How far draws have come; all that is needed to go on."""

    x: np.ndarray  # [num_chains, *shape], where chains are (the unit of the image)
    step_size: np.ndarray  # [num_chains]
    log_weight: np.ndarray  # [num_chains]
    draws: np.ndarray  # [number so far, num_chains, *shape]
    acceptance: np.ndarray  # [num_chains], sum over the draws
    block: int = 0  # parts of the run that are done
    num_scores: int = 0  # calls of the score that each chain has seen


def noise_levels(
    score: AbstractScore, sigmas: Sequence[float] | None, method: str = "hmc"
) -> np.ndarray:
    """Checked noise levels, falling; those that suit the score and the method by default.

    Args:
        score: The prior.
        sigmas: Levels that the user wants (the unit of the image), or None.
        method: One of `METHODS`.

    Returns:
        Shape [num_levels].

    Raises:
        ValueError: If they do not fall, or are outside of the range that the score knows.
    """
    is_chain = method in CHAINS
    if sigmas is None:
        if is_chain and isinstance(score, GaussianScore):
            return np.zeros(1)
        first = max(min(score.sigma_max, WIDEST * score.scale), score.sigma_min)
        deepest = (1 if is_chain else DEPTH) * LEAST * score.scale
        last = max(score.sigma_min, min(deepest, first))
        number = NUM_LEVELS if is_chain else FLOW_LEVELS
        return np.unique(np.geomspace(first, last, number))[::-1]
    sigmas = np.atleast_1d(np.asarray(sigmas, np.float64))
    falls = sigmas.ndim == 1 and sigmas.size > 0 and bool(np.all(np.diff(sigmas) < 0))
    checks.require(falls, "sigmas", "be one number or several that fall", sigmas)
    fix = "It is the range that the score knows."
    checks.in_range(sigmas, "sigmas", score.sigma_min, score.sigma_max, fix)
    if not is_chain:
        checks.positive(sigmas, "sigmas", f"A `{method}` ends above zero and takes one last step.")
    return sigmas


def check_plan(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out.

    Args:
        plan: The plan.

    Raises:
        ValueError: If a number is not positive, or a method is not known.
    """
    checks.positive_integers(
        num_samples=plan.num_samples, num_chains=plan.num_chains, thin=plan.thin,
        num_leapfrog=plan.num_leapfrog, steps_per_level=plan.steps_per_level,
        num_warmup=plan.num_warmup,
    )  # fmt: skip
    checks.one_of(plan.method, "method", METHODS)
    is_right = not plan.weighted or plan.method in CHAINS
    checks.require(is_right, "weighted", "be False for draws without chains", plan.weighted)
