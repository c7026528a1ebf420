"""Running a user's simulator: in batches and processes, and in rounds that close in on data."""

import hashlib
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, integer_seed, stateless_seed
from flowpm_ext.core.types import TensorLike
from lfi.dataset import Simulations, read_simulations, write_simulations
from lfi.nle import NLE, ChainWarning
from lfi.prior import parameter_names

Simulator = Callable[[np.ndarray, int], TensorLike]


class Failure(NamedTuple):
    """A batch of simulations that raised an error."""

    rows: tuple[int, int]  # first, and one past the last
    message: str


class Simulated(NamedTuple):
    """Data of a simulator, NaN where it failed."""

    x: np.ndarray  # [num, ...]
    failures: list[Failure]


def simulate(
    simulator: Simulator,
    theta: TensorLike,
    batch_size: int = 100,
    num_workers: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Simulated:
    """Data for each row of parameters, batch by batch.

    Args:
        simulator: Function of parameters [batch, num_parameters] and a seed, an integer that
            differs from batch to batch, that gives data [batch, ...].
        theta: Parameters, shape [num, num_parameters].
        batch_size: Rows in each call.
        num_workers: Processes that share the work.
        seed: Seed.
        progress: Whether to show a progress bar.

    Returns:
        `Simulated`. Batches that raise are NaN, with a warning that quotes the first error.

    Raises:
        ValueError: If a number is not positive, every batch raises, or data have a shape that does
            not fit.
    """
    theta = np.asarray(theta, np.float32)
    is_table = theta.ndim == 2 and len(theta) > 0
    checks.require(is_table, "theta", "have shape [num, num_parameters]", theta.shape)
    checks.positive_integers(batch_size=batch_size, num_workers=num_workers)
    ends = [(i, min(i + batch_size, len(theta))) for i in range(0, len(theta), batch_size)]
    work = (
        joblib.delayed(_attempt)(simulator, theta[first:last], integer_seed(seed, number))
        for number, (first, last) in enumerate(ends)
    )
    parallel = joblib.Parallel(num_workers, return_as="generator")
    bar = tqdm(parallel(work), total=len(ends), unit="batch", desc="simulate", disable=not progress)
    return _put_together(list(bar), ends)


def run_rounds(
    estimator: NLE,
    simulator: Simulator,
    x_obs: TensorLike,
    num_rounds: int = 5,
    num_simulations: int = 1000,
    folder: str | pathlib.Path | None = None,
    batch_size: int = 100,
    num_workers: int = 1,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> NLE:
    """Simulate where the posterior of one observation is, round after round.

    The first round draws parameters from the prior, each other one from the posterior that was
    learned so far. Where `folder` is given, rounds that are in it are not simulated again, and it
    is refused where they are of another prior, observation or seed; the simulator is for you to
    keep the same.

    Args:
        estimator: `NLE`, whose own simulations, if it has any, are the first round.
        simulator: As `simulate` takes it.
        x_obs: What was observed, shape [num_data].
        num_rounds: Rounds.
        num_simulations: Simulations in each.
        folder: Where simulations are kept, a file for each round.
        batch_size: Rows in each call of the simulator.
        num_workers: Processes that share its work.
        seed: Seed.
        progress: Whether to show progress bars.
        **options: Of `NLE.fit`.

    Returns:
        The estimator, trained on all rounds.

    Raises:
        ValueError: If the estimator is no `NLE`, a number is not positive, or simulations fail as
            `simulate` says.

    References:
        Papamakarios, Sterratt & Murray 2019, arXiv:1805.07226.
    """
    fix = "NPE learns the posterior under the proposal of its simulations."
    checks.require(isinstance(estimator, NLE), "estimator", "be an NLE", type(estimator), fix)
    checks.positive_integers(num_rounds=num_rounds, num_simulations=num_simulations)
    x_obs = np.asarray(x_obs, np.float32)
    checks.rank(x_obs, "x_obs", 1)
    checks.finite(x_obs, "x_obs")
    options = {"verbose": int(progress)} | options
    mark = _mark(estimator, x_obs, num_simulations, seed)
    for number in range(len(estimator.rounds), num_rounds):
        name = "prior" if number == 0 else "posterior"
        path = folder and pathlib.Path(folder) / f"round_{number}.h5"
        if path and path.exists():
            found = read_simulations(path)
            rule = "hold rounds of the same prior, `x_obs`, `num_simulations` and `seed`"
            fix = "Give another folder, or remove its files."
            checks.require(found.origin == mark, "folder", rule, str(path), fix)
        else:
            theta = _proposed(estimator, x_obs, num_simulations, number, seed, options)
            x = simulate(
                simulator,
                theta,
                batch_size,
                num_workers,
                integer_seed(seed, 1000 + number),
                progress,
            ).x
            names = tuple(parameter_names(estimator.prior, theta.shape[1]))
            found = Simulations(theta, x, names, origin=mark)
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_simulations(path, found)
        rule = f"have the shape of the data of one simulation, {found.x.shape[1:]}"
        checks.require(x_obs.shape == found.x.shape[1:], "x_obs", rule, x_obs.shape)
        estimator.append_simulations(found.theta, found.x, name)
    return estimator.fit(**options)


def _proposed(
    estimator: NLE, x_obs: TensorLike, num: int, number: int, seed: int, options: dict[str, Any]
) -> np.ndarray:
    """Parameters of the next round."""
    if number == 0:
        return np.asarray(estimator.prior.sample(num, seed=fold(seed, 0)))
    estimator.fit(**options)
    # Whether the observation is strange is for the end to say, and warn of chains as well.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChainWarning)
        posterior = estimator.posterior(x_obs, check=False)
        return posterior.sample(num, seed=integer_seed(seed, number))


def _mark(estimator: NLE, x_obs: np.ndarray, num_simulations: int, seed: int) -> str:
    """What the simulations of rounds depend on, in a short text."""
    drawn = np.asarray(estimator.prior.sample(4, seed=stateless_seed(0)))
    about = hashlib.sha256(repr([num_simulations, seed]).encode())
    for part in (drawn, x_obs):
        about.update(np.ascontiguousarray(part).tobytes())
    return about.hexdigest()


def _attempt(simulator: Simulator, theta: np.ndarray, seed: int) -> tuple[np.ndarray | None, str]:
    """Data of a batch, or None and why there are none."""
    try:
        x = np.asarray(simulator(theta, seed), np.float32)
    except Exception as error:  # whatever the code of a user raises is told
        return None, f"{type(error).__name__}: {error}"
    fits = x.ndim >= 2 and len(x) == len(theta)
    return (x, "") if fits else (None, f"data of shape {x.shape} for {len(theta)} parameters")


def _put_together(parts: list, ends: list[tuple[int, int]]) -> Simulated:
    pairs = zip(parts, ends, strict=True)
    failures = [Failure(rows, message) for (x, message), rows in pairs if x is None]
    if failures:
        rule = "run for some parameters"
        checks.require(len(failures) < len(parts), "simulator", rule, failures[0].message)
        count = sum(last - first for (first, last), _ in failures)
        text = f"{count} of {ends[-1][1]} simulations raised an error: {failures[0].message}"
        warnings.warn(text, UserWarning, stacklevel=3)
    shape = next(x.shape[1:] for x, _ in parts if x is not None)
    columns = []
    for (x, _), (first, last) in zip(parts, ends, strict=True):
        part = np.full((last - first, *shape), np.nan, np.float32) if x is None else x
        rule = f"give data of shape {('num', *shape)}"
        checks.require(part.shape[1:] == shape, "simulator", rule, part.shape)
        columns.append(part)
    return Simulated(np.concatenate(columns), failures)
