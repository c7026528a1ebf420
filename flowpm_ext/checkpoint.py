"""A run that stops can go on: who works in a folder, what is in it, and where the run was."""

import contextlib
import fnmatch
import json
import os
import pathlib
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5, parts
from flowpm_ext.mesh import Processes
from flowpm_ext.snapshot import read_header
from flowpm_ext.version import __version__

NAME, KIND, FORMAT_VERSION = "checkpoint.h5", "flowpm_ext checkpoint", 2
SNAPSHOTS = "snapshot_a*.h5"
FIX = "Take another --out, or --overwrite to start anew and remove what is there."
# A checkpoint follows a step that took this long, and others when the last one is this old.
LONG_STEP_SECONDS, OLD_SECONDS = 0.25, 2.0


class Progress(NamedTuple):
    """How far a run has come."""

    num_forces: int
    """Forces that are done."""
    position: tf.Tensor
    """Positions (cells) after them, shape [1, num_particles, 3]."""
    momentum: tf.Tensor
    """Momenta (cells), shape [1, num_particles, 3]."""


class Checkpoint:
    """The checkpoint of a run: written when it is due, and when the run is cut short.

    As a context it writes what it was offered last when an exception passes, Ctrl-C among them.
    Several processes write when one of them finds it due, and not when cut short: nobody knows
    then whether the others still run. Any number of processes can go on from there.

    Args:
        folder: Folder of the run.
        identity: What tells the configuration of the run from others.
        processes: The processes that share the particles, in slabs of the lattice; None for this
            one alone.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        identity: dict[str, Any],
        processes: Processes | None = None,
    ) -> None:
        self.path = folder / NAME
        self._identity = identity
        self.processes = processes or Processes()
        self._latest: Progress | None = None
        self._is_written = True
        self._step_began = self._written_at = time.monotonic()
        self._writing_took = 0.0

    def offer(self, progress: Progress) -> None:
        """Note the state after a force, and write it when that is due.

        It is due after a step of a quarter of a second, and otherwise after two seconds without
        writing; but writing takes no more than half of the time.

        Args:
            progress: The state.

        Raises:
            OSError: If it cannot be written.
        """
        self._latest, self._is_written = progress, False
        now = time.monotonic()
        is_long = now - self._step_began >= LONG_STEP_SECONDS
        age = now - self._written_at
        is_due = (is_long or age >= OLD_SECONDS) and age >= self._writing_took
        if self._is_due_anywhere(is_due):
            self._write()
        self._step_began = time.monotonic()

    def load(self) -> Progress | None:
        """What a run before has left for this process, or None where there is nothing.

        Returns:
            The state, of the particles of this process.

        Raises:
            ValueError: If the file is truncated, no checkpoint, or of another version.
        """
        if not self.path.exists():
            return None
        with parts.opened(self.path, KIND, FORMAT_VERSION, FIX) as file:
            count = len(file["position"]) // self.processes.size
            mine = slice(self.processes.rank * count, (self.processes.rank + 1) * count)
            state = (tf.constant(file[name][mine][None]) for name in ("position", "momentum"))
            return Progress(int(file.attrs["num_forces"]), *state)

    def remove(self) -> None:
        """Remove the file, once every process is done with it."""
        self.processes.wait()
        if self.processes.rank == 0:
            parts.remove(self.path)

    def _is_due_anywhere(self, is_due: bool) -> bool:
        return bool(self.processes.maximum(tf.constant(float(is_due))) > 0)

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, kind: type | None, *where: object) -> None:
        if kind is not None and not self._is_written and self.processes.size == 1:
            with contextlib.suppress(OSError):  # the checkpoint before stays
                self._write()

    def _write(self) -> None:
        began = time.monotonic()
        about = {"unit": "cells"}
        rows = {
            "position": (self._latest.position[0].numpy(), about),
            "momentum": (self._latest.momentum[0].numpy(), {"unit": "cells, a^2 dx/dt / H0"}),
        }
        attributes = {
            "identity": json.dumps(self._identity), "num_forces": self._latest.num_forces
        }  # fmt: skip
        parts.write(
            self.path, KIND, FORMAT_VERSION, rows, attributes, self.processes,
            mark=f".{self._latest.num_forces}",
        )  # fmt: skip
        self._is_written, self._written_at = True, time.monotonic()
        self._writing_took = self._written_at - began


def forces_done(folder: str | os.PathLike) -> int | None:
    """Forces that are done in a folder, as its checkpoint says.

    Args:
        folder: Folder of a run.

    Returns:
        Their number, or None where there is no checkpoint.

    Raises:
        ValueError: If the checkpoint cannot be read.
    """
    path = pathlib.Path(folder) / NAME
    if not path.exists():
        return None
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        return int(file.attrs["num_forces"])


def clear(folder: pathlib.Path) -> None:
    """Remove the checkpoint and the snapshots of a folder, and what is left of them.

    Args:
        folder: The folder.
    """
    found = {parts.file_of(one.name) or one.name for one in folder.iterdir()}
    for name in (NAME, *fnmatch.filter(found, SNAPSHOTS)):
        parts.remove(folder / name)


def require_same_run(folder: pathlib.Path, identity: dict[str, Any]) -> None:
    """Refuse a folder that holds files of another configuration.

    Args:
        folder: The folder.
        identity: What tells the configuration of this run from others.

    Raises:
        ValueError: If a checkpoint or a snapshot there was made with another configuration, or
            the checkpoint by another version of the package, or one of them cannot be read.
    """
    for path in sorted(folder.glob(SNAPSHOTS)):
        _require_same(path, _readable(path), identity)
    path = folder / NAME
    if path.exists():
        with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
            found, version = json.loads(file.attrs["identity"]), file.attrs["package_version"]
        _require_same(path, found, identity)
        _require_same(path, {"version": version}, {"version": __version__})


def _readable(path: pathlib.Path) -> dict[str, Any]:
    """The identity of a snapshot; where it cannot be read, what to do about the folder."""
    try:
        return read_header(path).identity
    except ValueError as error:
        reason = str(error).rpartition(" Make it again")[0]
        raise ValueError(f"{reason} {FIX}") from None


def _require_same(path: pathlib.Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    if keys:
        differences = ", ".join(
            f"{key} {_shown(found.get(key))} and not {_shown(expected.get(key))}" for key in keys
        )
        message = f"`{path}` must be of the same configuration. Received: {differences}."
        raise ValueError(f"{message} {FIX}")


def _shown(value: Any) -> str:
    return np.array2string(np.array(value), separator=", ") if isinstance(value, list) else value
