"""Runs of samplers that go on where they were interrupted."""

import os
import pathlib
from typing import Protocol

import numpy as np
from tqdm import tqdm

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.core.seeds import standard_normal, stateless_seed
from flowpm_ext.core.types import TensorLike
from priors.samplers.settings import Plan, Problem, State

KIND, VERSION = "file of chains of images", 1
FIX = "Remove the file, or name another one as `checkpoint`."
# Of what a network says of the same image, between machines and numbers of threads.
TOLERANCE = 1e-3
# What may differ between the run that is interrupted and that which goes on.
FREE = ("progress", "seed", "sigmas")


class Sampler(Protocol):
    """What `run` takes forward."""

    num_blocks: int

    def first(self) -> State:
        """Before the first block."""

    def advance(self, state: State) -> State:
        """After one more block."""


def run(
    sampler: Sampler,
    problem: Problem,
    plan: Plan,
    start: TensorLike | None = None,
    path: str | os.PathLike | None = None,
) -> State:
    """All blocks of a sampler, one after the other, with a file after each.

    Args:
        sampler: What is taken forward; what it does in a block depends on the state alone.
        problem: What is sampled.
        plan: How.
        start: Where the user has chains start, or None.
        path: The file, or None for none.

    Returns:
        After the last block.

    Raises:
        ValueError: If the file is of another problem or plan, or no such file.
    """
    about = {} if path is None else _about(problem, plan, start)
    is_there = path is not None and pathlib.Path(path).exists()
    state = _read(path, about) if is_there else sampler.first()
    with tqdm(
        total=sampler.num_blocks, initial=state.block, unit="block", desc=plan.method,
        disable=not plan.progress,
    ) as bar:  # fmt: skip
        while state.block < sampler.num_blocks:
            state = sampler.advance(state)
            if path is not None:
                _write(path, state, about)
            bar.update()
    return state


def _about(problem: Problem, plan: Plan, start: TensorLike | None) -> dict[str, np.ndarray]:
    """What tells a problem and a plan from others: their numbers, and answers to a test image."""
    likelihood, score, shape, dtype = problem
    sigma = max(float(plan.sigmas[-1]), score.sigma_min)
    image = score.scale * standard_normal((1, *shape), 0, dtype)
    found = {
        "the noise levels": plan.sigmas, "the seed": stateless_seed(plan.seed),
        "the plan": np.array([f"{name}={value}" for name, value in plan._asdict().items()
                              if name not in FREE], dtype="S"),
        "the shape": np.array(shape), "the score": score(image, sigma),
    }  # fmt: skip
    if start is not None:
        found["the start"] = np.asarray(start)
    if likelihood is not None:
        found["the data"], found["the mask"] = likelihood.data, likelihood.mask
        found["the noise of the data"] = likelihood.noise_std
        found["the operator"] = likelihood.op(image)
    return {name: np.asarray(value) for name, value in found.items()}


def _write(path: str | os.PathLike, state: State, about: dict[str, np.ndarray]) -> None:
    numbers = state._asdict()
    counts = {name: numbers.pop(name) for name in ("block", "num_scores")}
    datasets = {f"state/{name}": (value, {}) for name, value in numbers.items()}
    datasets |= {f"problem/{name}": (value, {}) for name, value in about.items()}
    hdf5.write(path, KIND, VERSION, datasets, counts)


def _read(path: str | os.PathLike, about: dict[str, np.ndarray]) -> State:
    with hdf5.opened(path, KIND, VERSION, FIX) as file:
        before = {name: data[()] for name, data in file["problem"].items()}
        arrays = {name: data[()] for name, data in file["state"].items()}
        counts = {name: int(file.attrs[name]) for name in ("block", "num_scores")}
    for name in sorted({*before, *about}):
        rule = "be of the same problem"
        same = name in before and name in about and _is_same(before[name], about[name])
        checks.require(same, "checkpoint", rule, f"{path}, where {name} differs", FIX)
    return State(**arrays, **counts)


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    is_finite = np.isfinite(a)
    size = np.max(np.abs(a[is_finite]), initial=0.0)
    return bool(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * size, equal_nan=True))
