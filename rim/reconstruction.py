"""One door to all ways to reconstruct initial conditions."""

import os
import pathlib
import time
import warnings
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.memory import require_memory
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike
from flowpm_ext.inference import effective_sample_size, r_hat
from flowpm_ext.stats import cross_correlation, transfer_function
from rim import presets
from rim.annealed_map import EVALUATIONS, SCALES, map_estimate
from rim.checkpoint import Checkpoint
from rim.cosmic import CosmicRIM
from rim.initial_conditions import InitialConditions
from rim.posterior import sample_posterior

METHODS = ("rim", "map", "hmc")
BLOCK = 20  # draws between two checkpoints
# Fields that are held at once, all that comes with them counted in; measured at 64^3 and 96^3.
FIELDS_IN_MEMORY = {"rim": 330, "map": 190, "hmc": 350}


class Reconstruction(NamedTuple):
    """Initial conditions as they were found, and how."""

    problem: InitialConditions
    method: str
    y: np.ndarray  # [batch, nx, ny, nz], the observation
    x: np.ndarray  # [batch, nx, ny, nz], linear field at a = 1; of "hmc" the mean of the draws
    trajectory: np.ndarray  # [batch, num_steps, nx, ny, nz]: steps, scales, or for "hmc" the start
    final: np.ndarray  # [batch, nx, ny, nz], overdensity of the tracers that x makes
    displacement: np.ndarray  # [batch, nx, ny, nz, 3], from lattice to observation (Mpc/h)
    chi2: np.ndarray  # [batch], per observed cell
    num_gradients: int  # of the forward model, for each example
    seconds: float  # what it took
    truth: np.ndarray | None = None  # [batch, nx, ny, nz]
    samples: np.ndarray | None = None  # [num_samples, num_chains, nx, ny, nz], of "hmc"
    checkpoints: tuple[Checkpoint, ...] = ()  # what it kept on the way

    def agreement(self, x: np.ndarray | None = None) -> dict[str, np.ndarray] | None:
        """r(k) and T(k) with the truth.

        Args:
            x: Another estimate of the same truth; this one by default.

        Returns:
            "k" (h/Mpc), "r" and "T", [nk] each, the last two means over the batch; None without
            a truth.

        References:
            Modi et al. 2021, arXiv:2104.12864.
        """
        if self.truth is None:
            return None
        x, box = self.x if x is None else x, self.problem.box_size
        r = cross_correlation(x, self.truth, box)
        t = transfer_function(x, self.truth, box)
        means = (np.mean(part, axis=0) for part in (r.correlation, t.transfer))
        return dict(zip(("k", "r", "T"), (r.k.numpy(), *means), strict=True))

    def convergence(self) -> dict[str, float] | None:
        """Diagnostics of the chains, over cells: the worst and median R-hat, and the median and
        least effective sample size; None without draws."""
        if self.samples is None:
            return None
        # One cell in 64 tells as much, and is quick.
        cells = self.samples[:, :, ::4, ::4, ::4]
        hats, sizes = r_hat(cells), effective_sample_size(cells)
        return {
            "worst_r_hat": float(np.max(hats)),
            "median_r_hat": float(np.median(hats)),
            "median_ess": float(np.median(sizes)),
            "least_ess": float(np.min(sizes)),
        }


def load_machine(path: str | os.PathLike, problem: InitialConditions | None = None) -> CosmicRIM:
    """A trained machine, for a problem of the cells it was trained on.

    Args:
        path: File that `CosmicRIM.save` wrote.
        problem: The problem to solve; by default the one that it was trained for.

    Returns:
        The machine.

    Raises:
        ValueError: If there is no such file, it holds another architecture, or the cells have
            another size.
    """
    path = pathlib.Path(path)
    fix = "Train them with `python -m rim train`."
    checks.require(path.is_file(), "weights", "be a file", str(path), fix)
    try:
        machine = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        reason = f"{path} ({' '.join(str(error).split())[:120]})"
        checks.require(False, "weights", "be a .keras file of a CosmicRIM", reason, fix)
    is_one = isinstance(machine, CosmicRIM)
    checks.require(is_one, "weights", "hold a CosmicRIM", type(machine).__name__, fix)
    if problem is None:
        return machine
    others = presets.differences(machine.problem, problem)
    if others:
        text = f"The weights were trained for another problem: {', '.join(others)} differ."
        warnings.warn(text, UserWarning, stacklevel=2)
    return machine.with_problem(problem)


def load_pretrained(name: str = "matter") -> CosmicRIM:
    """A machine that comes with the package.

    Args:
        name: Of its problem, as `rim.preset` takes it.

    Returns:
        The machine, for the box that it was trained in; `with_problem` takes it to another.

    Raises:
        ValueError: If there is no machine of this name.
    """
    checks.one_of(name, "name", tuple(presets.PRESETS))
    return load_machine(presets.WEIGHTS / f"{name}.keras")


def reconstruct(
    problem: InitialConditions,
    y: TensorLike,
    method: str = "rim",
    weights: str | os.PathLike | CosmicRIM | None = None,
    *,
    truth: TensorLike | None = None,
    num_steps: int | None = None,
    num_samples: int = 200,
    num_warmup: int = 100,
    num_chains: int = 2,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> Reconstruction:
    """Initial conditions of what was observed.

    Args:
        problem: What was observed, and how.
        y: Observation, [batch, nx, ny, nz] or [nx, ny, nz].
        method: "rim" for a trained `CosmicRIM`, "map" for annealed maximum a posteriori, "hmc"
            for draws from the posterior of one observation, started from the machine where there
            are weights and from the maximum elsewhere.
        weights: File of a trained machine, or the machine; by default those that come with the
            package, for the problems of `rim.preset`.
        truth: Linear field at a = 1 that the observation came of, to compare with.
        num_steps: Steps of the machine; as many as in training by default.
        num_samples: Draws of each chain.
        num_warmup: Steps of each chain before them.
        num_chains: Chains.
        seed: Of the chains.
        checkpoint: Folder for what long runs ("map", "hmc") have done so far; the same call goes
            on from there. None keeps nothing.
        progress: Whether to show progress bars.

    Returns:
        `Reconstruction`.

    Raises:
        ValueError: If the method is unknown, `y` or `truth` does not fit the problem, weights are
            missing or do not fit, or the machine has too little memory.
    """
    checks.one_of(method, "method", METHODS)
    y = problem.check(y)
    if truth is not None:
        truth = tf.cast(truth, y.dtype)
        truth = truth[None] if truth.shape.rank == 3 else truth
        checks.require(truth.shape == y.shape, "truth", f"have shape {y.shape}", truth.shape)
        checks.finite(truth, "truth")
    counts = {"num_samples": num_samples, "num_chains": num_chains}
    checks.positive_integers(**counts)
    checks.require(num_warmup >= 0, "num_warmup", "be zero or more", num_warmup)
    if num_steps is not None:
        checks.positive_integers(num_steps=num_steps)
    require_memory_for(problem, method, y.shape[0], num_samples, num_chains)
    began = time.monotonic()
    samples, kept = None, []
    machine = None if method == "map" else _machine(problem, weights)
    if method == "rim" and machine is None:
        rule = "be given for a problem that the package has no weights for"
        fix = f"It has them for {', '.join(presets.PRESETS)} (see `rim.preset`)."
        checks.require(False, "weights", rule, None, fix)
    if machine is None:
        kept.append(Checkpoint(checkpoint, problem, y, ["map"]))
        trajectory, num_gradients = _searched(problem, y, kept[-1], progress)
    else:
        trajectory, num_gradients = run_machine(machine, y, num_steps)
    x = trajectory[:, -1]
    if method == "hmc":
        settings = ["hmc", seed, num_warmup, num_chains]
        kept.append(Checkpoint(checkpoint, problem, y, settings, [x]))
        chains = _Chains(num_samples, num_warmup, num_chains, seed, progress)
        samples, spent = _sampled(problem, y, x, kept[-1], chains)
        x, num_gradients = samples.mean(axis=(0, 1))[None], num_gradients + spent
    seconds = time.monotonic() - began
    field = tf.constant(x, y.dtype)
    return Reconstruction(
        problem, method, y.numpy(), x, trajectory,
        final=problem.compiled_model(field).numpy(),
        displacement=problem.displacement(field).numpy(),
        chi2=problem.chi2(field, y).numpy(),
        num_gradients=num_gradients, seconds=seconds,
        truth=None if truth is None else truth.numpy(), samples=samples,
        checkpoints=tuple(kept),
    )  # fmt: skip


def require_memory_for(
    problem: InitialConditions, method: str, batch: int, num_samples: int = 0, num_chains: int = 1
) -> None:
    """Refuse a reconstruction that does not fit into memory.

    Args:
        problem: What was observed.
        method: "rim", "map" or "hmc".
        batch: Observations.
        num_samples: Draws of each chain of "hmc".
        num_chains: Chains.

    Raises:
        ValueError: If the machine has too little memory.
    """
    fields = FIELDS_IN_MEMORY[method] * batch
    if method == "hmc":
        fields = (FIELDS_IN_MEMORY[method] + 2 * num_samples) * num_chains
    what = f"A reconstruction by {method} on a mesh of {problem.mesh.shape}"
    needed = 4 * fields * int(np.prod(problem.mesh.shape))
    require_memory(needed, what, "Take a smaller mesh or a smaller batch.")


def run_machine(
    machine: CosmicRIM, y: tf.Tensor, num_steps: int | None = None
) -> tuple[np.ndarray, int]:
    """The trajectory of a machine, in a compiled graph.

    Args:
        machine: The machine.
        y: Observation, [batch, nx, ny, nz].
        num_steps: Steps; as many as in training by default.

    Returns:
        Unknowns after each step, [batch, num_steps, nx, ny, nz], and the gradients spent on each.
    """
    steps = machine.num_steps if num_steps is None else num_steps
    trajectory = machine.compiled_call(tf.cast(y, tf.float32), steps).numpy()
    return trajectory.astype(y.dtype.as_numpy_dtype), steps


def _machine(
    problem: InitialConditions, weights: str | os.PathLike | CosmicRIM | None
) -> CosmicRIM | None:
    """A trained machine for the problem, None where none is known."""
    if isinstance(weights, CosmicRIM):
        # The same machine keeps its graph.
        return weights if weights.problem is problem else weights.with_problem(problem)
    weights = presets.shipped_weights(problem) if weights is None else weights
    return None if weights is None else load_machine(weights, problem)


def _searched(
    problem: InitialConditions, y: tf.Tensor, saved: Checkpoint, progress: bool
) -> tuple[np.ndarray, int]:
    """The estimate after each scale of the annealed search, and the gradients spent."""
    found = []
    for example in range(y.shape[0]):
        name = f"map_{example}"
        done = saved.load(name)
        scales = [] if done is None else list(done["scales"])

        def keep(_: int, __: float, x: tf.Tensor, name: str = name, scales: list = scales) -> None:
            scales.append(x.numpy()[0])
            saved.save(name, scales=np.stack(scales))

        first = len(scales)
        if first < len(SCALES):
            map_estimate(
                problem, y[example : example + 1], SCALES[first:], EVALUATIONS[first:],
                start=scales[-1][None] if scales else None, on_scale=keep, progress=progress,
            )  # fmt: skip
        found.append(np.stack(scales))
    return np.stack(found), sum(EVALUATIONS)


class _Chains(NamedTuple):
    """How chains are run."""

    num_samples: int
    num_warmup: int
    num_chains: int
    seed: int
    progress: bool


def _sampled(
    problem: InitialConditions, y: tf.Tensor, start: np.ndarray, saved: Checkpoint, how: _Chains
) -> tuple[np.ndarray, int]:
    """Draws of the posterior, in blocks that are kept, and the gradients spent on each chain."""
    blocks, spent, step_size = [], 0, 0.1
    for number in range(-(-how.num_samples // BLOCK)):
        done = saved.load(f"hmc_{number}")
        if done is None:
            # Blocks are always whole, so that a longer run begins as a shorter one.
            draws = sample_posterior(
                problem, y, start, BLOCK, 0 if number else how.num_warmup, how.num_chains,
                scatter=0.0 if number else 1.0, step_size=step_size,
                seed=fold(how.seed, number), progress=how.progress,
            )  # fmt: skip
            done = {
                "samples": draws.samples, "step": float(draws.step_size[0]),
                "spent": draws.num_gradients,
            }  # fmt: skip
            saved.save(f"hmc_{number}", **done)
        blocks.append(done["samples"])
        start, step_size = done["samples"][-1], float(done["step"])
        spent += int(done["spent"])
    return np.concatenate(blocks)[: how.num_samples], spent
