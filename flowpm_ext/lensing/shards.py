"""Shards of a set of maps: files of some of its maps that appear whole or not at all."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.lensing.design import Design
from flowpm_ext.lensing.maps import convergence_maps

KIND, FORMAT_VERSION = "flowpm_ext lensing maps", 1
SHARDS = "maps_*.h5"
FIX = "Remove the file and run the same command again, which makes it anew."


class Failure(NamedTuple):
    """A map that could not be made."""

    index: int
    reason: str


class Task(NamedTuple):
    """All that it takes to make one shard, in a process of its own or in this one (a `Piece`)."""

    path: pathlib.Path
    indices: np.ndarray
    """Numbers of its maps, [num]."""
    theta: np.ndarray
    """Their parameters, [num, num_parameters]."""
    design: Design
    nz: tuple[RedshiftDistribution, ...]
    options: dict[str, Any]
    """Of `convergence_maps`."""
    seed: int
    batch_size: int
    identity: str
    """What tells this set from others, JSON."""

    @property
    def size(self) -> int:
        """Number of maps."""
        return len(self.indices)

    def is_done(self) -> bool:
        """Whether the file is there; refuses one of another set."""
        return self.path.exists() and num_done(self.path, self.identity) >= self.size

    def require_same(self, about: str) -> None:
        """Refuse a shard that another set shall have, of the identity `about`."""
        _require_same(self.path, about, self.identity)

    def make(self, partial: pathlib.Path, report: Callable[[int], None]) -> None:
        """Simulate and write, by way of a file of another name."""
        make_shard(self, partial, report)


def make_shard(task: Task, partial: pathlib.Path, report: Callable[[int], None]) -> None:
    """Simulate the maps of a shard and write it.

    Args:
        task: What to make.
        partial: Name to write under.
        report: Called with the number of maps that are done, again and again.

    Raises:
        ValueError: If no map of the first shard can be made.
        OSError: If the file cannot be written.
    """
    kept, maps, failures = [], [], []
    for start in range(0, len(task.indices), task.batch_size):
        rows = np.arange(start, min(start + task.batch_size, len(task.indices)))
        made, reason = _simulated(task, rows)
        for row, one in zip(rows, made, strict=True):
            if one is not None and np.all(np.isfinite(one)):
                kept.append(row)
                maps.append(one)
            else:
                failures.append((int(task.indices[row]), reason or "The map is not finite."))
        report(start + len(rows))
    if not maps and not any(path != task.path for path in task.path.parent.glob(SHARDS)):
        raise ValueError(failures[0][1])  # nothing has ever worked: no matter of this cosmology
    _write(task, partial, np.array(kept, int), maps, failures)


def _simulated(task: Task, rows: np.ndarray) -> tuple[Sequence[np.ndarray | None], str]:
    """Maps of some rows, or why there are none."""
    # A last batch that is short is filled up, so that nothing is compiled anew for it.
    filled = np.pad(rows, (0, task.batch_size - len(rows)), mode="edge")
    cosmo = task.design.cosmologies(task.theta[filled])
    seed = fold(task.seed, tf.constant(int(task.indices[rows[0]]), tf.int32))
    try:
        maps = convergence_maps(
            cosmo, task.nz, batch_size=task.batch_size, seed=seed, **task.options
        )
    except (ValueError, TypeError, tf.errors.OpError) as error:
        return [None] * len(rows), " ".join(str(error).split())
    return maps.numpy()[: len(rows)], ""


def _write(
    task: Task,
    partial: pathlib.Path,
    rows: np.ndarray,
    maps: list[np.ndarray],
    failures: list[tuple[int, str]],
) -> None:
    nothing = np.zeros([0, 0, 0, len(task.nz)], np.float32)
    names = json.dumps(task.design.names)
    failed = np.array([reason for _, reason in failures], dtype=object)
    datasets = {
        "convergence": (np.stack(maps) if maps else nothing, {"axes": "map, y, x, bin"}),
        "theta": (task.theta[rows], {"names": names}),
        "index": (task.indices[rows], {}),
        "failed_index": (np.array([index for index, _ in failures], np.int64), {}),
        "failed_reason": (failed.astype("S") if len(failed) else np.zeros(0, "S1"), {}),
    }
    attributes = {"identity": task.identity, "seed": task.seed, "num": task.size}
    hdf5.write(task.path, KIND, FORMAT_VERSION, datasets, attributes, partial)


def read_failures(path: pathlib.Path) -> list[Failure]:
    """The maps of a shard that could not be made.

    Args:
        path: The shard.

    Returns:
        Their numbers and reasons.

    Raises:
        ValueError: If the file is no whole shard.
    """
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        reasons = (reason.decode() for reason in file["failed_reason"][:])
        return [Failure(int(i), r) for i, r in zip(file["failed_index"][:], reasons, strict=True)]


def num_done(path: pathlib.Path, identity: str) -> int:
    """How many maps a shard holds or has given up.

    Args:
        path: The shard.
        identity: Of the set that it must be of.

    Returns:
        Their number.

    Raises:
        ValueError: If the file is no whole shard, or one of another set.
    """
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        found, num = file.attrs["identity"], int(file.attrs["num"])
    _require_same(path, found, identity)
    return num


def _require_same(path: pathlib.Path, about: str, identity: str) -> None:
    """Refuse a shard of another set."""
    found, expected = json.loads(about), json.loads(identity)
    keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    differences = ", ".join(
        f"{key} {_short(found.get(key))} and not {_short(expected.get(key))}" for key in keys
    )
    checks.require(
        not keys, str(path), "be of the same set of maps", differences, "Take another folder."
    )


def _short(value: Any) -> str:
    """A value in a few words."""
    text = str(value)
    return text if len(text) < 100 else f"{text[:80]}... ({len(text)} letters)"
