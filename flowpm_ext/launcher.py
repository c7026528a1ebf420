"""Several processes of one program on this machine, which know each other."""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple

from flowpm_ext.command_line import quiet_start

# How long processes may take to end by themselves after another has failed, or been asked to.
GRACE_SECONDS = 5.0


class Ended(NamedTuple):
    """How the processes ended."""

    code: int
    """0, or the exit code of the first that failed."""
    failed: int | None
    """Which one that was."""
    output: list[str]
    """What each said on both streams; empty for one that says it here."""


def launch(
    command: Sequence[str],
    num_processes: int,
    *,
    shows_first: bool = True,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command in several processes, and end all of them when one fails.

    Each finds the others through TF_CONFIG (see `mesh.cluster.join_cluster`), on ports of this
    machine that were free. Of several GPUs each sees its own; cores are shared out evenly.

    Args:
        command: Words of the command, the same for all.
        num_processes: How many.
        shows_first: Whether the first process writes where this one does, as it goes.
        timeout: Time (seconds) after which all are ended; None for none.
        environment: Variables to add to those of this process.

    Returns:
        How they ended.

    Raises:
        ValueError: If `num_processes` is not a positive integer, or this machine has GPUs, but
            fewer.
        TimeoutError: If they took too long.
    """
    from flowpm_ext.core import checks  # loads TensorFlow, which the command line does quietly

    checks.positive_integers(num_processes=num_processes)
    environments = _environments(num_processes, dict(os.environ) | dict(environment or {}))
    running: list[subprocess.Popen] = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in environments]
        stack.callback(_end, running)
        for i, variables in enumerate(environments):
            stream = None if shows_first and i == 0 else files[i]
            started = subprocess.Popen(list(command), env=variables, stdout=stream, stderr=stream)
            running.append(started)
        failed = _wait(running, timeout)
        _end(running)
        output = [_text(file) for file in files]
    return Ended(0 if failed is None else running[failed].returncode, failed, output)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that several processes can share.

    Args:
        parser: Parser of the command.
    """
    text = "processes on this machine that share the run, one for each GPU; default: 1, or those"
    parser.add_argument(
        "--num-processes", type=int, metavar="N", default=None,
        help=f"{text} of a cluster where TF_CONFIG or Slurm names one",
    )  # fmt: skip
    text = "planes of cells that particles may leave the slab of their process by; default: 16"
    parser.add_argument("--halo", type=int, metavar="N", default=None, help=text)


def is_wanted(options: argparse.Namespace) -> bool:
    """Whether other processes are to be started.

    Args:
        options: What a parser with `add_options` understood.

    Returns:
        True unless there is one process, or these are the processes.
    """
    count = getattr(options, "num_processes", None)
    return count is not None and count != 1 and not os.environ.get("TF_CONFIG")


def run_again(module: str, arguments: Sequence[str], num_processes: int) -> int:
    """Run the command line of a module in several processes.

    Args:
        module: Name of the module.
        arguments: Words after the program's name.
        num_processes: How many processes.

    Returns:
        The exit code.
    """
    command = [sys.executable, "-m", module, *arguments]
    with quiet_start():
        import flowpm_ext.core.checks  # noqa: F401
    try:
        ended = launch(command, num_processes)
    except ValueError as error:
        print(f"{module} {arguments[0]}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as end:
        return 143 if type(end).__name__ == "Terminated" else 130
    tell_of_failure(ended)
    return ended.code if ended.code >= 0 else 128 - ended.code


def tell_of_failure(ended: Ended) -> None:
    """Say on standard error which process failed, and what it said where that was not shown.

    Args:
        ended: How processes ended, of which the first was shown.
    """
    is_told = ended.failed == 0 and ended.code > 0  # by the first process itself
    if ended.failed is None or is_told:
        return
    how = f"exit code {ended.code}" if ended.code >= 0 else f"signal {-ended.code}"
    number, count = ended.failed + 1, len(ended.output)
    lines = ended.output[ended.failed].strip().splitlines()[-20:]
    last = f"Process {number} of {count} ended by {how}; all were stopped."
    print(*lines, last, sep="\n", file=sys.stderr)


def _wait(running: list[subprocess.Popen], timeout: float | None) -> int | None:
    """Which process failed: of those that did so within a moment the lowest; None if none did."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        codes = [process.poll() for process in running]
        if any(codes):
            # What is wrong for one is often wrong for all: let the first one say so. But one that
            # was killed is the reason why others fail.
            _let_end(running, GRACE_SECONDS)
            ended = {i: process.poll() or 0 for i, process in enumerate(running)}
            killed = (i for i, code in ended.items() if code < 0)
            return next(killed, next(i for i, code in ended.items() if code))
        if None not in codes:
            return None
        if deadline is not None and time.monotonic() > deadline:
            raise TimeoutError(f"{len(running)} processes took longer than {timeout:g} s.")
        time.sleep(0.05)


def _let_end(running: list[subprocess.Popen], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(process.poll() is None for process in running):
        time.sleep(0.05)


def _end(running: list[subprocess.Popen]) -> None:
    """End all that still run, first gently."""
    for process in running:
        if process.poll() is None:
            process.terminate()
    _let_end(running, GRACE_SECONDS)
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()


def _environments(num_processes: int, base: dict[str, str]) -> list[dict[str, str]]:
    """What each process finds around it."""
    from flowpm_ext.core import checks

    devices = _devices(base)
    checks.require(
        not devices or len(devices) >= num_processes,
        "num_processes", f"be at most the {len(devices)} GPUs of this machine", num_processes,
        "CUDA_VISIBLE_DEVICES=-1 hides them.",
    )  # fmt: skip
    workers = [f"localhost:{port}" for port in _free_ports(num_processes)]
    threads = str(max(1, len(os.sched_getaffinity(0)) // num_processes))
    made = []
    for i in range(num_processes):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": i}}
        own = {"CUDA_VISIBLE_DEVICES": devices[i]} if devices else {}
        shared = {"TF_NUM_INTRAOP_THREADS": threads, **base}
        made.append(shared | own | {"TF_CONFIG": json.dumps(config)})
    return made


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all open at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _devices(environment: Mapping[str, str]) -> list[str]:
    """Names of the GPUs that may be used."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    except OSError:
        return []
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return [str(i) for i, line in enumerate(lines) if line.startswith("GPU")]


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
