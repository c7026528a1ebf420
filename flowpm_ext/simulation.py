"""A simulation from its configuration to its snapshots, which goes on where it was stopped."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.checkpoint import Checkpoint, Progress, clear, require_same_run
from flowpm_ext.configuration import SimulationConfig
from flowpm_ext.core import checks
from flowpm_ext.core.memory import require_memory
from flowpm_ext.cosmology import power
from flowpm_ext.fields import linear_field
from flowpm_ext.io import claimed_folder
from flowpm_ext.mesh import AbstractMesh, LocalMesh, Processes, ShardedMesh
from flowpm_ext.mesh.agreement import num_on_this_machine, together
from flowpm_ext.pm import lpt_init, steps
from flowpm_ext.pm.forces import Gravity
from flowpm_ext.pm.integrate import integrate
from flowpm_ext.pm.state import ParticleState
from flowpm_ext.snapshot import snapshot_name, write_snapshot

# Peak memory of a run, as measured from 64^3 to 256^3 cells: TensorFlow itself, and numbers in the
# precision of the run for each particle (most of them while the initial conditions are made) and
# for each cell of the force mesh.
BASE_BYTES = 900e6
NUMBERS_PER_PARTICLE, NUMBERS_PER_FORCE_CELL = 80, 12

FIX = "Take a smaller --mesh or --force-mesh-factor."


class Step(NamedTuple):
    """One force of a simulation."""

    plan: steps.Plan
    """The drift before it, its kick and, after the last of a part, one more drift."""
    a: float
    """Scale factor of the positions."""
    snapshot: float | None
    """Scale factor of the snapshot that is taken after it."""


def simulate(
    config: SimulationConfig,
    out: str | os.PathLike,
    *,
    overwrite: bool = False,
    verbose: int = 0,
    processes: Processes | None = None,
    halo: int | None = None,
) -> list[pathlib.Path]:
    """Run a simulation and write its snapshots.

    While it runs, `checkpoint.h5` in the folder holds the state after the last force, or after
    one of the last two seconds where forces are quick. Called again for the same folder, the
    function goes on from there, and snapshots that are there already are not made again; on a
    CPU the numbers are, bit for bit, those of a run that was never stopped. The checkpoint is
    removed at the end.

    Several processes, each of which calls this, share the mesh and the particles, and write
    files in parts. Another number of them can go on with what they have left.

    Args:
        config: What to simulate.
        out: Folder for the files `snapshot_a*.h5`; made if there is none.
        overwrite: Whether to remove the checkpoint and the snapshots that are there, and start
            anew.
        verbose: 1 to show a progress bar on a terminal.
        processes: The processes that share the run, which all see the folder; None for this one.
        halo: Planes that particles may leave the slab of their process by; as for `ShardedMesh`.

    Returns:
        Paths of the snapshots, in the order of their scale factors.

    Raises:
        ValueError: If the folder cannot be used, holds files of another configuration or serves
            another run, the table cannot be used, or the machine has too little memory.
        TypeError: If `config` is no `SimulationConfig`.
        OSError: If a file cannot be written.

    References:
        Feng et al. 2016, arXiv:1603.00476.
    """
    checks.require(
        isinstance(config, SimulationConfig), "config", "be a SimulationConfig", config,
        error=TypeError,
    )  # fmt: skip
    processes = processes or Processes()
    is_first, folder = processes.rank == 0, pathlib.Path(out)
    mesh, width = LocalMesh(config.mesh), 0
    if processes.size > 1:
        mesh = ShardedMesh(config.mesh, processes=processes, halo=halo)
        width = mesh.halo
    needed = memory_needed(config, processes.size, width) * num_on_this_machine(processes)
    with contextlib.ExitStack() as stack:
        with together(processes):
            table = None if config.spectrum == "theory" else read_table(config.spectrum)
            require_memory(needed, f"A run with {config.mesh}^3 particles", FIX)
            if is_first:
                stack.enter_context(claimed_folder(folder))
                _prepare(folder, config, table, overwrite)
        paths = {a: folder / snapshot_name(a) for a in config.snapshots}
        with Checkpoint(folder, config.identity(table), processes) as checkpoint:
            _run(config, table, paths, checkpoint, mesh, verbose * is_first)
        checkpoint.remove()
    return list(paths.values())


def memory_needed(config: SimulationConfig, num_processes: int = 1, halo: int = 0) -> int:
    """About the most memory that a simulation takes in each of its processes.

    Args:
        config: What to simulate.
        num_processes: How many share the run.
        halo: Planes that each of them has on either side of its own.

    Returns:
        Bytes.
    """
    particles = config.mesh**3 // num_processes
    cells = (particles + 2 * halo * config.mesh**2) * config.force_mesh_factor**3
    size = tf.as_dtype(config.precision).size
    numbers = NUMBERS_PER_PARTICLE * particles + NUMBERS_PER_FORCE_CELL * cells
    return int(BASE_BYTES + size * numbers)


def read_table(path: str | os.PathLike) -> np.ndarray:
    """A linear spectrum from a text file.

    Args:
        path: File with two columns, k (h/Mpc) and P ((Mpc/h)**3); lines that begin with # are
            not read.

    Returns:
        k and P, shape [2, nk].

    Raises:
        ValueError: If the file cannot be read, or does not hold positive numbers with k
            increasing.
    """
    try:
        table = np.loadtxt(path, ndmin=2).T
    except OSError as error:
        reason = error.strerror or str(error)
        message = f'`spectrum` must be "theory" or a file. Received: {str(path)!r} ({reason}).'
        raise ValueError(message) from None
    except ValueError as error:
        message = f"`spectrum` must hold two columns of numbers. Received: {str(path)!r} ({error})."
        raise ValueError(message) from None
    name = f"spectrum {path}"
    shape = table.T.shape
    checks.require(len(table) == 2 and shape[0] >= 2, name, "have two columns, k and P", shape)
    for row, column in zip(table, ("k", "P"), strict=True):
        checks.positive(row, f"{name} ({column})")
    checks.increasing(table[0], f"{name} (k)")
    return table


def initial_state(
    config: SimulationConfig, table: np.ndarray | None = None, mesh: AbstractMesh | None = None
) -> ParticleState:
    """Particles at the start of a simulation.

    Args:
        config: What to simulate.
        table: The table that `spectrum` names, k (h/Mpc) and P ((Mpc/h)**3), [2, nk].
        mesh: The mesh to work on; the default is all on this device.

    Returns:
        Particles, a batch of one, in units of mesh cells.

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    cosmo = config.cosmo
    pk = (lambda k: power.linear_matter_power(cosmo, k)) if table is None else tuple(table)
    field = linear_field(
        config.mesh, config.box_size, pk, seed=config.seed, is_fixed=config.fixed_amplitude,
        is_paired=config.paired, dtype=tf.as_dtype(config.precision), mesh=mesh,
    )  # fmt: skip
    return lpt_init(cosmo, field, config.a_start, config.order, mesh=mesh)


def schedule(config: SimulationConfig) -> Iterator[Step]:
    """The forces of a simulation, one by one.

    Each snapshot ends a plan, and the next plan begins there; that costs one more force.

    Args:
        config: What to simulate.

    Yields:
        Steps, all of one shape, so that one compiled program serves them.
    """
    for stages in config.segments:
        if len(stages) == 1:  # a snapshot of the initial conditions
            continue
        plan = steps.plan(config.cosmo, tf.constant(stages, tf.float64), config.integrator)
        num_forces = plan.kick.shape[0]
        drift = plan.drift.numpy()
        for i in range(num_forces):
            is_last = i == num_forces - 1
            pair = tf.constant([drift[i], drift[-1] if is_last else 0.0], tf.float64)
            one = steps.Plan(pair, plan.scale[i : i + 1], plan.kick[i : i + 1], plan.a[i : i + 1])
            yield Step(one, float(plan.a[i]), float(stages[-1]) if is_last else None)


def _prepare(
    folder: pathlib.Path, config: SimulationConfig, table: np.ndarray | None, overwrite: bool
) -> None:
    """Make sure that a folder holds no files of another run."""
    if overwrite:
        clear(folder)
    require_same_run(folder, config.identity(table))


def _run(
    config: SimulationConfig,
    table: np.ndarray | None,
    paths: dict[float, pathlib.Path],
    checkpoint: Checkpoint,
    mesh: AbstractMesh,
    verbose: int,
) -> None:
    """Make the snapshots that are missing."""
    missing = {a for a, path in paths.items() if not path.exists()}
    processes = checkpoint.processes
    processes.wait()  # until all have looked
    if not missing:
        return

    def keep(a: float, progress: Progress) -> None:
        state = ParticleState(progress.position, progress.momentum, a)
        write_snapshot(paths[a], state, config, table, processes)

    planned = list(schedule(config))
    progress = _start(config, table, missing, checkpoint, planned, mesh)
    if config.a_start in missing:
        keep(config.a_start, progress)
    needed = [i for i, step in enumerate(planned) if step.snapshot in missing]
    planned = planned[: max(needed, default=-1) + 1]
    force = Gravity.on(mesh, config.force_mesh_factor, config.gradient_kernel, config.window)
    begun = progress.num_forces
    quiet = None if verbose else True
    with tqdm(planned[begun:], "forces", len(planned), initial=begun, disable=quiet) as bar:
        for number, step in enumerate(bar, start=begun + 1):
            bar.set_postfix_str(f"a = {step.a:.3f}")
            moved = integrate(progress.position, progress.momentum, step.plan, force)
            progress = Progress(number, *moved)
            if step.snapshot in missing:
                keep(step.snapshot, progress)
            if number < len(planned):
                checkpoint.offer(progress)


def _start(
    config: SimulationConfig,
    table: np.ndarray | None,
    missing: set[float],
    checkpoint: Checkpoint,
    planned: list[Step],
    mesh: AbstractMesh,
) -> Progress:
    """Where to go on, or the initial conditions.

    A checkpoint behind a snapshot that is missing is of no use.
    """
    found = checkpoint.load()
    if found is not None and min(missing) > config.a_start:
        first = next(i for i, step in enumerate(planned) if step.snapshot in missing)
        if found.num_forces <= first:
            return found
    state = initial_state(config, table, mesh)
    return Progress(0, state.position, state.momentum)
