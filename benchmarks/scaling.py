"""Simulations shared by several processes: time, memory of each, and what they send.

`python -m benchmarks.scaling --json scaling.json` runs each case in fresh processes of this
machine, with one thread each, and prints a table. Bytes are counted in the traced graph of one
force and of its reverse pass, and set beside the formula of `docs/scaling.md`.
"""

import argparse
import json
import math
import os
import pathlib
import resource
import sys
import tempfile
import time

import numpy as np

from benchmarks.particle_mesh import hardware, initial_field, print_table
from benchmarks.provenance import commit

CELL, A_START = 2.0, 0.1  # Mpc/h
# Cells of a mesh on which the same program needs next to no memory of its own: what it has there
# is what TensorFlow and the compiled program take.
START_UP = 16
REPEATS = 5
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
THREADS = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1",
           "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}  # fmt: skip


def sent_by_formula(size: int, num_processes: int, halo: int, is_reverse: bool) -> int:
    """Bytes that a process sends for a force, or for its reverse pass, in float32.

    Args:
        size: Cells along each axis.
        num_processes: Processes that share them.
        halo: Planes of the halo, `ShardedMesh.halo`.
        is_reverse: Whether the force is differentiated too.

    Returns:
        Bytes, without the sums of single numbers.
    """
    if num_processes == 1:
        return 0
    modes = size // num_processes * size * (size // 2 + 1)
    transform = 8 * modes * (num_processes - 1) // num_processes
    planes = 8 * (halo + 1) if is_reverse else 4 * (halo + 1)
    return (4 if is_reverse else 2) * transform + planes * 4 * size**2


# What a device is taken to do: half of the memory rate of an H100 or H200, and what it sends to
# others of its node and to those of other nodes (bytes / s).
MEMORY_RATE = {"H100": 3.35e12 / 2, "H200": 4.8e12 / 2}
MEMORY_SIZE = {"H100": 80e9, "H200": 141e9}
IN_NODE, BETWEEN_NODES, PER_NODE = 450e9, 50e9, 8
# What a force moves through the memory of a device for each particle and cell: 8 corners of 32
# bytes, read and written while painting; 3 times 8 corners while reading; two transforms of three
# axes and two transpositions each; differences and products of the modes. A force and its reverse
# pass paint four channels and read seven.
MOVED, MOVED_REVERSE = 8 * 64 + 24 * 32 + 2 * 5 * 8 + 60, 32 * 64 + 56 * 32 + 4 * 5 * 8 + 200
# And for each cell of the halo: a mesh of four numbers is cleared, added to and folded, and slopes
# are made of a potential; in the reverse pass five channels more are painted, made or joined.
MOVED_HALO, MOVED_HALO_REVERSE = 3 * 16 + 16, 3 * 16 + 16 + 5 * 16
# Numbers that a process has at once for each of its particles, as measured by this program, and
# for each cell of its halo.
KEPT, KEPT_REVERSE = 70, 190
KEPT_HALO, KEPT_HALO_REVERSE = 12, 26


def expected(size: int, num_devices: int, kind: str, halo: int, is_reverse: bool) -> dict:
    """What a force, or a force and its reverse pass, is expected to take on GPUs.

    Args:
        size: Cells along each axis.
        num_devices: Devices that share them.
        kind: "H100" or "H200".
        halo: Planes of the halo.
        is_reverse: Whether the force is differentiated too.

    Returns:
        Seconds of work and of exchanges, and the memory of a device (bytes).
    """
    particles = size**3 / num_devices
    sent = sent_by_formula(size, num_devices, halo, is_reverse)
    moved = particles * (MOVED_REVERSE if is_reverse else MOVED)
    moved += 2 * halo * size**2 * (MOVED_HALO_REVERSE if is_reverse else MOVED_HALO)
    kept = particles * (KEPT_REVERSE if is_reverse else KEPT)
    kept += 2 * halo * size**2 * (KEPT_HALO_REVERSE if is_reverse else KEPT_HALO)
    rate = IN_NODE if num_devices <= PER_NODE else BETWEEN_NODES
    return {
        "work": moved / MEMORY_RATE[kind],
        "exchanges": sent / rate,
        "memory": 4 * kept,
    }


def print_expected(num_steps: int = 10) -> None:
    """Print a table of what simulations, and their gradients, are expected to take."""

    def cells(size: int, count: int, kind: str, halo: int):
        yield from (f"{size}³", count, kind)
        for is_reverse in (False, True):
            one = expected(size, count, kind, halo, is_reverse)
            seconds = num_steps * (one["work"] + one["exchanges"])
            share = one["exchanges"] / (one["work"] + one["exchanges"])
            fits = "" if one["memory"] < MEMORY_SIZE[kind] else " (too much)"
            yield from (f"{seconds:.1f}", f"{share:.0%}", f"{one['memory'] / 1e9:.0f}{fits}")

    table = [
        cells(size, count, kind, 32)
        for size in (1024, 2048) for count in (8, 32, 64, 128, 256) for kind in MEMORY_RATE
        if count * 4 <= size and (kind == "H100" or count in (8, 64))
    ]  # fmt: skip
    print_table(
        ("mesh", "devices", "kind", f"{num_steps} steps (s)", "of it exchanges", "memory (GB)",
         "and gradient (s)", "of it exchanges", "memory (GB)"), table,
    )  # fmt: skip


def sent_in_graph(function) -> int:
    """Bytes that a process sends in a function that was traced, without sums of single numbers."""
    total = 0
    for op in function.graph.get_operations():
        if op.type == "CollectiveAllToAllV2":
            group = op.inputs[1].op.get_attr("value").int_val[0]
            x = op.inputs[0]
            total += math.prod(x.shape) * x.dtype.size * (group - 1) // group
    return total


def measure(folder: str, size: int, num_steps: int, kind: str, halo: int) -> None:
    """What one process does: a run, its gradient, and a file of numbers."""
    import tensorflow as tf

    import flowpm_ext as fpm
    from flowpm_ext.mesh import LocalMesh, ShardedMesh, join_cluster
    from flowpm_ext.pm.forces import Gravity

    processes = join_cluster()
    is_local = kind == "local"
    mesh = LocalMesh(size) if is_local else ShardedMesh(size, processes=processes, halo=halo)
    cosmo, stages = fpm.Planck15(), np.linspace(A_START, 1.0, num_steps + 1)
    begun = peak()
    field = initial_field(mesh, CELL * size)

    def density(field: tf.Tensor) -> tf.Tensor:
        state = fpm.lpt_init(cosmo, field, A_START, mesh=mesh)
        return mesh.paint(fpm.nbody(cosmo, state, stages, mesh).position)

    def gradient(field: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(field)
            loss = mesh.sum(density(field) ** 2)
        return tape.gradient(loss, field)

    found = {"before": begun}
    for name, function in (("forward", density), ("gradient", gradient)):
        seconds = []
        for _ in range(1 + REPEATS):
            processes.wait()
            start = time.perf_counter()
            function(field).numpy()
            seconds.append(time.perf_counter() - start)
        found[name] = {"first": seconds[0], "best": min(seconds[1:]), "peak": peak()}
    if not is_local:
        found |= {"halo": mesh.halo} | sent(Gravity(mesh), mesh.lattice()[None])
    (pathlib.Path(folder) / f"{processes.rank}.json").write_text(json.dumps(found))
    processes.wait()


def sent(force, position) -> dict[str, int]:
    """Bytes that a process sends for a force and for its reverse pass."""
    import tensorflow as tf

    forward = tf.function(force).get_concrete_function(position)
    both = tf.function(force.pulled).get_concrete_function(position, position)
    return {"sent": sent_in_graph(forward), "sent_reverse": sent_in_graph(both)}


def peak() -> float:
    """Most memory that this process has had (GB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def case(kind: str, num_processes: int, size: int, num_steps: int, halo: int) -> dict:
    """Numbers of one case: the slowest and the largest of its processes."""
    from flowpm_ext.launcher import launch

    with tempfile.TemporaryDirectory() as folder:
        words = ["--worker", folder, str(size), str(num_steps), kind, str(halo)]
        command = [sys.executable, "-m", "benchmarks.scaling", *words]
        ended = launch(command, num_processes, shows_first=False, environment=QUIET | THREADS)
        if ended.code:
            raise RuntimeError(ended.output[ended.failed])
        found = [json.loads(path.read_text()) for path in pathlib.Path(folder).glob("*.json")]
    of = {
        task: {name: max(one[task][name] for one in found) for name in ("first", "best", "peak")}
        for task in ("forward", "gradient")
    }
    about = {"kind": kind, "processes": num_processes, "size": size, "steps": num_steps}
    about |= {"before": max(one["before"] for one in found)} | of
    if kind == "sharded":
        halo = about["halo"] = found[0]["halo"]
        for name, is_reverse in (("sent", False), ("sent_reverse", True)):
            about[name] = found[0][name]
            about[f"{name}_by_formula"] = sent_by_formula(size, num_processes, halo, is_reverse)
    return about


def rows(cases: list[dict]):
    """Rows of the table."""
    for one in cases:
        sizes = (one.get(name, 0) / 1e6 for name in ("sent", "sent_reverse"))
        yield (
            f"{one['size']}³", one["kind"], one["processes"], f"{one['forward']['best']:.2f}",
            f"{one['gradient']['best']:.2f}", f"{one['before']:.2f}",
            f"{one['forward']['peak']:.2f}", f"{one['gradient']['peak']:.2f}",
            *(f"{size:.2f}" for size in sizes),
        )  # fmt: skip


def main() -> None:
    """Measure and print a table."""
    if sys.argv[1:2] == ["--worker"]:
        folder, size, num_steps, kind, halo = sys.argv[2:]
        measure(folder, int(size), int(num_steps), kind, int(halo))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=64, help="cells along an axis")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--halo", type=int, default=16, help="planes that particles may reach")
    parser.add_argument("--json", help="file for the numbers")
    parser.add_argument("--expected", action="store_true", help="only what GPUs should take")
    options = parser.parse_args()
    if options.expected:
        return print_expected()
    kinds = [("local", 1), *(("sharded", count) for count in options.processes)]
    cases = [
        case(*kind, size, options.steps, options.halo)
        for size in (START_UP, options.size) for kind in kinds
    ]  # fmt: skip
    about = {"commit": commit(), "hardware": hardware(), "load": os.getloadavg()[0]}
    print_table(
        ("mesh", "kind", "processes", "forward (s)", "gradient (s)", "memory before (GB)",
         "peak, forward (GB)", "peak, gradient (GB)", "sent by a force (MB)",
         "and its reverse pass (MB)"),
        rows(cases),
    )  # fmt: skip
    if options.json:
        report = {**about, "cases": cases}
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
