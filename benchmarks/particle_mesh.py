"""Particle-mesh simulations beside JaxPM: `python -m benchmarks.particle_mesh`.

Second-order initial conditions at a = 0.1, steps to a = 1 with one force each, and the density
painted from the particles; forward, and the gradient of the mean of its square with respect to
the initial field. As many particles as cells, float32. JaxPM does the same work with the same
factors of drifts and kicks, compiled whole. Every code runs in a process of its own, and they take
turns, so that what else the machine does slows them alike.

`pip install flowpm-ext[bench]` installs JaxPM; `--peer-python` names another Python that has it.
"""

import argparse
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.particle_mesh_peer import ROOT, Speed, Worker, serve

A_START = 0.1
CELL = 2.0  # Mpc/h
OURS = {"eager": "flowpm_ext, eager", "jit": "flowpm_ext, tf.function"}
PEER = {"whole": "JaxPM", "checkpoint": "JaxPM, steps recomputed", "plain": "JaxPM, plain autodiff"}
PEER_GRADIENTS = ("checkpoint", "plain")  # the frugal one first
# Paint, transforms, readout of three components (ms) in C with OpenMP and pocketfft, 2 cores.
FLOORS = {64: (0.9, 2.6, 1.1), 128: (9.2, 25.0, 14.3)}


def write_problem(path: pathlib.Path, size: int, num_steps: int, order: int = 2) -> None:
    """A linear field, and the factors of drifts and kicks, for all codes.

    Args:
        path: File to write, .npz.
        size: Cells along each axis.
        num_steps: Steps from the start to a = 1.
        order: Order of perturbation theory at the start.
    """
    from flowpm_ext.cosmology import Planck15
    from flowpm_ext.pm import steps

    stages = np.linspace(A_START, 1.0, num_steps + 1)
    plan = steps.plan(Planck15(), stages, "fastpm")
    factors = {name: np.float32(getattr(plan, name)) for name in ("drift", "kick")}
    field = initial_field(size, CELL * size).numpy()[0]
    np.savez(path, field=field, stages=stages, a_start=A_START, order=order, **factors)


def initial_field(size: int, box_size: float):
    """Linear overdensity of a Planck cosmology, [1, size, size, size]."""
    from flowpm_ext.cosmology import Planck15, power
    from flowpm_ext.fields import linear_field

    cosmo = Planck15()
    return linear_field(size, box_size, lambda k: power.linear_matter_power(cosmo, k))


def flowpm_ext_function(path: str, task: str, way: str) -> Callable[[], np.ndarray]:
    """What this package does with a problem, as a user writes it.

    Args:
        path: File of the problem.
        task: "forward" or "gradient".
        way: "eager", or "jit" for the whole in one compiled tf.function.

    Returns:
        A function without arguments: the density, or the gradient of its mean square.
    """
    import tensorflow as tf

    import flowpm_ext as fpm

    with np.load(path) as problem:
        field, stages = tf.constant(problem["field"][None]), problem["stages"]
        order = int(problem["order"])
    size, cosmo = field.shape[1], fpm.Planck15()

    def density(field: tf.Tensor) -> tf.Tensor:
        # JaxPM begins with finite differences, and has no other choice.
        state = fpm.lpt_init(cosmo, field, A_START, order, gradient_kernel="finite_difference")
        state = fpm.nbody(cosmo, state, stages, size)
        return fpm.cic_paint(tf.zeros_like(field), state.position)

    def gradient(field: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(field)
            loss = tf.reduce_mean(density(field) ** 2)
        return loss, tape.gradient(loss, field)

    whole = density if task == "forward" else gradient
    if way == "jit":
        whole = tf.function(whole, jit_compile=True, autograph=False)

    def run() -> np.ndarray:
        result = whole(field)
        return (result if task == "forward" else result[1]).numpy()

    return run


class Bench(NamedTuple):
    """Where and how often to measure."""

    peer_python: str | None  # None where JaxPM is not installed
    repeats: int
    folder: pathlib.Path

    def problem(self, size: int, num_steps: int) -> pathlib.Path:
        """File of a problem, written when it is first asked for."""
        path = self.folder / f"{size}_{num_steps}.npz"
        if not path.exists():
            write_problem(path, size, num_steps)
        return path

    def ours(self, problem: pathlib.Path, task: str, way: str) -> Worker:
        """A process of this package."""
        command = (sys.executable, "-m", "benchmarks.particle_mesh", "--worker")
        return Worker(OURS[way], (*command, str(problem), task, way))

    def peer(self, problem: pathlib.Path, task: str, way: str) -> Worker:
        """A process of JaxPM."""
        command = (self.peer_python, "-m", "benchmarks.particle_mesh_peer")
        return Worker(PEER[way], (*command, str(problem), task, way))


def compared(bench: Bench, size: int, num_steps: int, task: str) -> list[Speed]:
    """Speeds of one task, from rounds in which every code has its turn."""
    problem = bench.problem(size, num_steps)
    workers = [bench.ours(problem, task, way) for way in OURS]
    for worker in workers:
        worker.run()
    workers += [fastest_peer(bench, problem, task)] if bench.peer_python else []
    for _, worker in itertools.product(range(bench.repeats), workers):
        worker.run()
    if bench.peer_python:
        apart = relative_rms(workers[0].result(), workers[-1].result())
        print(f"{size}^3 {task}: relative rms difference of the two codes {apart:.1e}\n")
    for worker in workers:
        worker.close()
    return [worker.speed(bench.repeats) for worker in workers]


def fastest_peer(bench: Bench, problem: pathlib.Path, task: str) -> Worker:
    """JaxPM the faster way, of those that fit into memory, after two runs."""
    found = []
    for way in PEER_GRADIENTS if task == "gradient" else ("whole",):
        worker = bench.peer(problem, task, way)
        try:
            worker.run()
            found.append((worker.run(), worker))
        except (MemoryError, RuntimeError) as error:
            print(error)
            worker.close()
    if not found:
        raise MemoryError("JaxPM does not fit into the memory of this machine.")
    (_, fastest), *others = sorted(found, key=lambda pair: pair[0])
    for seconds, worker in others:
        print(f"{worker.code}, is slower: {seconds:.2f} s, {worker.speed(1).peak:.1f} GB\n")
        worker.close()
    return fastest


def relative_rms(x: np.ndarray, y: np.ndarray) -> float:
    """Root of the mean squared difference over that of the scatter of y."""
    return float(np.sqrt(np.mean((x - y) ** 2)) / np.std(y))


def speed_rows(speeds: list[Speed], size: int, task: str) -> Iterator[tuple]:
    """Rows of the table of speeds, each with its median over the best of this package."""
    best = min(np.median(speed.seconds) for speed in speeds if speed.code in OURS.values())
    for speed in speeds:
        median = np.median(speed.seconds)
        yield (
            f"{size}³", task, speed.code, f"{median:.3f}", f"{min(speed.seconds):.3f}",
            f"{median / best:.2f}", f"{speed.first:.1f}", f"{speed.peak:.2f}",
            f"{speed.before:.2f}",
        )  # fmt: skip


def step_rows(bench: Bench, size: int, num_steps: tuple[int, ...]) -> Iterator[tuple]:
    """Rows on compilation and memory of the gradient, for few steps and for many."""
    codes = [(bench.ours, way) for way in OURS]
    codes += [(bench.peer, way) for way in PEER_GRADIENTS] if bench.peer_python else []
    for make, way in codes:
        workers = [make(bench.problem(size, num), "gradient", way) for num in num_steps]
        speeds = [twice(worker) for worker in workers]
        compilation = (f"{speed.compilation:.1f}" if speed else "–" for speed in speeds)
        peak = (f"{speed.peak:.2f}" if speed else "–" for speed in speeds)
        yield f"{size}³", workers[0].code, *compilation, *peak


def twice(worker: Worker) -> Speed | None:
    """Speed of a first and a second run, or a line about why there is none."""
    try:
        worker.run()
        worker.run()
    except (MemoryError, RuntimeError) as error:
        print(error)
        return None
    finally:
        worker.close()
    return worker.speed(1)


def profile_rows(size: int, repeats: int) -> Iterator[tuple]:
    """Rows on the pieces of one step of this package, each compiled alone."""
    import tensorflow as tf

    calls = {name: (tf.function(f, jit_compile=True), arguments)
             for name, f, arguments in pieces(size)}  # fmt: skip
    for function, arguments in calls.values():
        function(*arguments)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _, (name, (function, arguments)) in itertools.product(range(repeats), calls.items()):
        start = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), function(*arguments))
        times[name].append(1e3 * (time.perf_counter() - start))
    floors = FLOORS.get(size, (np.nan,) * 3)
    floors = dict(zip(calls, (*floors, sum(floors)), strict=False))
    for name, values in times.items():
        floor = floors.get(name, np.nan)
        of_floor = "–" if np.isnan(floor) else f"{min(values) / floor:.1f}"
        yield f"{size}³", name, f"{np.median(values):.1f}", f"{min(values):.1f}", of_floor


def pieces(size: int) -> list[tuple[str, Callable, tuple]]:
    """Name, function and arguments of each piece; those with a floor come first."""
    import tensorflow as tf

    from flowpm_ext.cosmology import Planck15
    from flowpm_ext.mesh import LocalMesh
    from flowpm_ext.pm import kernels, lpt_init
    from flowpm_ext.pm.forces import Gravity

    mesh = LocalMesh(size)
    x = lpt_init(Planck15(), initial_field(size, CELL * size), 1.0).position
    density, slope = mesh.paint(x), tf.stack([mesh.paint(x)] * 3, axis=-1)
    force = Gravity(mesh)

    def transforms(density: tf.Tensor) -> tf.Tensor:
        modes = mesh.rfft3(density)
        modes *= tf.cast(kernels.inverse_laplacian(mesh, density.dtype), modes.dtype)
        return kernels.gradient_field(mesh, modes, force.gradient_kernel)

    def pulled(function: Callable) -> Callable:
        def vjp(upstream: tf.Tensor, *arguments: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                result = function(*arguments)
            return tape.gradient(result, arguments, output_gradients=upstream)

        return vjp

    return [
        ("paint", mesh.paint, (x,)),
        ("transforms and differences", transforms, (density,)),
        ("readout of 3 components", mesh.readout, (slope, x)),
        ("force", force, (x,)),
        ("paint, vjp", pulled(mesh.paint), (density, x)),
        ("transforms and differences, vjp", pulled(transforms), (slope, density)),
        ("readout of 3 components, vjp", pulled(mesh.readout), (x, slope, x)),
        ("force and its vjp", pulled(force), (x, x)),
    ]


def print_table(head: Iterable[str], rows: Iterable[tuple]) -> None:
    """A Markdown table, row by row as it is measured."""
    head = list(head)
    for cells in (head, ["---"] * len(head)):
        print(f"| {' | '.join(cells)} |")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)
    print(flush=True)


def peer_versions(python: str) -> dict[str, str] | None:
    """Versions of JaxPM and what it stands on, or None where it is not installed."""
    command = [python, "-m", "benchmarks.particle_mesh_peer", "--versions"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def hardware() -> str:
    """Cores and model of the processor."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else platform.processor()}"


def measure_speed(arguments: argparse.Namespace, sizes: list[int]) -> None:
    """Print the tables of speed, of steps and of the pieces of a step."""
    versions = peer_versions(arguments.peer_python)
    if versions is None:
        print("JaxPM is skipped: it is not installed.")
    own = importlib.metadata.version("tensorflow")
    known = {"tensorflow": own, "numpy": np.__version__} | (versions or {})
    print(", ".join([hardware(), *(f"{name} {version}" for name, version in known.items())]))
    print(f"{arguments.steps} steps, float32, median and best of {arguments.repeats}\n")
    with tempfile.TemporaryDirectory() as folder:
        peer = arguments.peer_python if versions else None
        bench = Bench(peer, arguments.repeats, pathlib.Path(folder))
        found = {
            (size, task): compared(bench, size, arguments.steps, task)
            for size in sizes
            for task in ("forward", "gradient")
        }
        print_table(
            ("mesh", "task", "code", "median (s)", "best (s)", "over ours", "first call (s)",
             "peak memory (GB)", "of which imports"),
            (row for (size, task), speeds in found.items()
             for row in speed_rows(speeds, size, task)),
        )  # fmt: skip
        few, many = arguments.steps, arguments.many_steps
        print_table(
            ("mesh", "gradient by", f"compilation, {few} steps (s)", f"{many} steps",
             f"peak memory, {few} steps (GB)", f"{many} steps"),
            list(step_rows(bench, sizes[0], (few, many))),
        )  # fmt: skip
    print_table(
        ("mesh", "piece of a step", "median (ms)", "best (ms)", "best over the floor"),
        (row for size in sizes for row in profile_rows(size, 3 * arguments.repeats)),
    )


def main() -> None:
    """Measure and print tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.argv[1:2] == ["--worker"]:
        serve(lambda: flowpm_ext_function(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="cells along an axis")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--many-steps", type=int, default=40, help="to see what grows with steps")
    parser.add_argument("--repeats", type=int, default=5, help="rounds to take the median of")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with JaxPM")
    arguments = parser.parse_args()
    measure_speed(arguments, arguments.sizes or [64, 128])


if __name__ == "__main__":
    main()
