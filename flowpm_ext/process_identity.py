"""Which process one is, in words that another can read, and whether it still runs."""

import functools
import os
import pathlib
import socket
from collections.abc import Mapping
from typing import Any


def myself() -> dict[str, Any]:
    """What tells this process from all others, as JSON holds it.

    Returns:
        Its machine, number and time of birth; None for what the system does not tell.
    """
    pid = os.getpid()
    return {"machine": _machine(), "pid": pid, "birth": _birth(pid)}


def has_ended(process: Mapping[str, Any]) -> bool:
    """Whether a process runs no more.

    Args:
        process: What it said of itself by `myself`.

    Returns:
        True if it ran on this machine and has ended; False also where that cannot be told.
    """
    machine = process.get("machine")
    return (
        machine is not None and machine == _machine() and process["birth"] != _birth(process["pid"])
    )


@functools.cache
def _machine() -> str | None:
    """Name of all processes that see each other; None where the system does not tell.

    Containers on one host may share its name and not their processes, and users may be hidden
    from each other.
    """
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')} {os.getuid()}"
    except OSError:
        return None


def _birth(pid: int) -> str | None:
    """When a process of this machine started; None if it has ended."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
