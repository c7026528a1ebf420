"""The work of `benchmarks.particle_mesh` by JaxPM, in a process and a Python of its own.

`python -m benchmarks.particle_mesh_peer PROBLEM.npz forward|gradient checkpoint|plain` answers
requests on its standard input (`serve`); `--versions` prints what is installed.
"""

import contextlib
import functools
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("jaxpm", "jax", "jax_cosmo")


class Speed(NamedTuple):
    """What one code took for one task (seconds, GB)."""

    code: str
    seconds: list[float]  # of runs after the first
    first: float  # with tracing and compilation
    peak: float  # resident memory of the process
    before: float  # of which imports alone

    @property
    def compilation(self) -> float:
        return self.first - min(self.seconds)


class Worker:
    """The other end of `serve`: a process that runs one task of one code whenever it is asked.

    Attributes:
        code: Its name in tables.
    """

    def __init__(self, code: str, command: Iterable[str]) -> None:
        self.code = code
        self._answers: list[dict[str, float]] = []
        self._stack = contextlib.ExitStack()
        self._log = self._stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115
        self._process = self._stack.enter_context(
            subprocess.Popen(
                list(command), cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            )
        )  # fmt: skip

    def run(self) -> float:
        """Seconds of a run."""
        self._answers.append(self._ask("run"))
        return self._answers[-1]["seconds"]

    def result(self) -> np.ndarray:
        """What the last run made."""
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.npy"
            self._ask(f"save {path}")
            return np.squeeze(np.load(path))

    def speed(self, repeats: int) -> Speed:
        """Of the first run, and of the last ones."""
        first, *later = (answer["seconds"] for answer in self._answers)
        last = self._answers[-1]
        return Speed(self.code, later[-repeats:], first, last["peak"], last["before"])

    def close(self) -> None:
        """End the process, which stops at the end of its input."""
        self._stack.close()

    def _ask(self, request: str) -> dict[str, float]:
        print(request, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._log.seek(0)
            raise RuntimeError(f"{self.code} ended with status {status}: {self._log.read()[-999:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise MemoryError(f"{self.code} is skipped: {answer['error']}.")
        return answer


def serve(make: Callable[[], Callable[[], np.ndarray]]) -> None:
    """Answer each line of standard input: `run` by a run, `save PATH` by its last result.

    An answer is a line of JSON: seconds and peak resident memory so far, or an error.

    Args:
        make: Imports and reads all that is needed, and returns a function without arguments. That
            returns an array that is ready, and traces and compiles in its first run.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    function, result = make(), None
    before = _peak()
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        start = time.perf_counter()
        try:
            if command == "save":
                np.save(path, result)
            else:
                result = function()
            answer = {"seconds": time.perf_counter() - start, "peak": _peak(), "before": before}
        except MemoryError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


def _peak() -> float:
    """Largest resident memory of this process so far (GB); `getrusage` counts its parent's too."""
    return _kilobytes("/proc/self/status", "VmHWM") / 1e6


def _kilobytes(path: str, name: str) -> int:
    """An entry of a file of Linux about memory."""
    lines = pathlib.Path(path).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def jaxpm_function(path: str, task: str, way: str) -> Callable[[], np.ndarray]:
    """What JaxPM does with a problem, compiled whole.

    The steps are a `scan` over its own forces, with the factors of drifts and kicks that the
    problem holds. Positions are absolute, which on one CPU is faster than displacements.

    Args:
        path: File of the problem.
        task: "forward" or "gradient".
        way: For the gradient, "checkpoint" recomputes each step and "plain" keeps all that steps
            have made; for "forward" anything.

    Returns:
        A function without arguments: the density, or the gradient of its mean square. It raises
        MemoryError if the program needs more memory than there is.
    """
    import jax
    import jax.numpy as jnp
    import jax_cosmo
    from jaxpm.painting import cic_paint
    from jaxpm.pm import lpt, pm_forces

    with np.load(path) as problem:
        field, drift, kick = (jnp.asarray(problem[name]) for name in ("field", "drift", "kick"))
        a_start, order = float(problem["a_start"]), int(problem["order"])
    shape = field.shape
    lattice = jnp.stack(jnp.meshgrid(*map(jnp.arange, shape), indexing="ij"), -1)
    lattice = lattice.astype(field.dtype)

    def step(state, factors):
        x, p = state
        x = x + factors[0] * p
        return (x, p + factors[1] * pm_forces(x, mesh_shape=shape)), None

    step = jax.checkpoint(step) if way == "checkpoint" else step

    def density(field):
        cosmo = jax_cosmo.Planck15()  # remembers tracers, so each trace makes its own
        displacement, momentum, _ = lpt(cosmo, field, particles=lattice, a=a_start, order=order)
        start = lattice + displacement, momentum
        (x, p), _ = jax.lax.scan(step, start, (drift[:-1], kick))
        return cic_paint(jnp.zeros(shape, field.dtype), x + drift[-1] * p)

    def mean_square(field):
        return jnp.mean(density(field) ** 2)

    whole = density if task == "forward" else jax.value_and_grad(mean_square)

    @functools.cache
    def program():
        compiled = jax.jit(whole).lower(field).compile()
        _require_memory(compiled.memory_analysis())
        return compiled

    def run() -> np.ndarray:
        result = jax.block_until_ready(program()(field))
        return np.asarray(result if task == "forward" else result[1])

    return run


def _require_memory(analysis) -> None:
    """Refuse to start a program that would fill the machine."""
    needed = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 1e9
    free = _kilobytes("/proc/meminfo", "MemAvailable") / 1e6
    if needed > 0.9 * free:
        raise MemoryError(f"it needs {needed:.0f} GB, and {free:.0f} GB are free")


def main() -> None:
    """Serve, or say what is installed."""
    if sys.argv[1:] == ["--versions"]:
        print(json.dumps({name: importlib.metadata.version(name) for name in PACKAGES}))
        return
    path, task, way = sys.argv[1:]
    serve(lambda: jaxpm_function(path, task, way))


if __name__ == "__main__":
    main()
