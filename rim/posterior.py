"""Draws of the initial conditions from their posterior."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference import Samples, sample_hmc
from rim.problem import InverseProblem


def sample_posterior(
    problem: InverseProblem,
    y: Any,
    start: TensorLike,
    num_samples: int = 200,
    num_warmup: int = 100,
    num_chains: int = 2,
    *,
    num_leapfrog: int = 40,
    step_size: float = 0.1,
    thin: int = 1,
    scatter: float = 1.0,
    seed: int | tf.Tensor = 0,
    progress: bool = True,
) -> Samples:
    """Unknowns drawn by Hamiltonian Monte Carlo from the posterior of one observation.

    Chains move in the first coordinates of the problem, and start around an estimate, such as
    that of `map_estimate` or of a trained machine. With `num_warmup=0` the step size is kept as
    given, so that a run can go on where another ended.

    Args:
        problem: The problem.
        y: Observation, a batch of one.
        start: Unknown [1, ...] that all chains start around, or one for each, [num_chains, ...].
        num_samples: Draws of each chain to keep.
        num_warmup: Steps before them, which tune the step size.
        num_chains: Chains, side by side.
        num_leapfrog: Gradients in each step. Slopes of clouds jump where particles cross cells,
            which keeps steps of the integrator short, so that it takes many to come far.
        step_size: The first step of the integrator.
        thin: Steps for each draw that is kept.
        scatter: Standard deviation, in those coordinates, of the chains around the start.
        seed: An integer, or a stateless seed of shape [2].
        progress: Whether to show a progress bar.

    Returns:
        `Samples` of the unknown, [num_samples, num_chains, ...]; their diagnostics are `.r_hat`
        and `.ess`.

    Raises:
        ValueError: If `y` holds more than one example, does not fit the problem, or a number is
            not positive.

    References:
        Jasche & Wandelt 2013, arXiv:1203.3639; Duane et al. 1987, Phys. Lett. B 195, 216.
    """
    y = problem.check(y)
    first = tf.nest.flatten(y)[0]
    checks.require(first.shape[0] == 1, "y", "be a batch of one", first.shape)
    checks.positive_integers(num_chains=num_chains)
    coordinates = problem.coordinates[0]
    x = tf.cast(tf.convert_to_tensor(start), first.dtype)
    checks.finite(x, "start")
    is_one_each = x.shape[0] in (1, num_chains)
    checks.require(is_one_each, "start", f"be one, or one for each of {num_chains} chains", x.shape)
    u = problem.to_coordinates(x, coordinates)
    shape = (num_chains, *u.shape[1:])
    u = tf.broadcast_to(u, shape) + scatter * standard_normal(shape, fold(seed, 0), u.dtype)
    log_prob = _log_prob(problem, y, coordinates)
    found = sample_hmc(
        log_prob, u, num_samples, num_warmup, num_leapfrog=num_leapfrog, step_size=step_size,
        thin=thin, seed=fold(seed, 1), progress=progress, jit_compile=problem.is_compiled,
    )  # fmt: skip
    x = np.stack([problem.to_unknown(tf.constant(u), coordinates) for u in found.samples])
    return found._replace(samples=x)


def _log_prob(problem: InverseProblem, y: Any, coordinates: str) -> Callable:
    """Log posterior of several coordinates for the same observation, [num_chains]."""

    def log_prob(u: tf.Tensor) -> tf.Tensor:
        x = problem.to_unknown(u, coordinates)
        mine = tf.nest.map_structure(
            lambda part: tf.broadcast_to(part, [u.shape[0], *part.shape[1:]]), y
        )
        return problem.log_likelihood(x, mine) + problem.log_prior(x)

    return log_prob
