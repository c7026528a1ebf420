"""Sets of simulated maps on disk: many cosmologies, in shards that appear whole or not at all."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import known
from flowpm_ext.cosmology.parameters import Cosmology, Planck18
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.io import claimed_folder
from flowpm_ext.lensing.design import Design
from flowpm_ext.lensing.maps import convergence_maps
from flowpm_ext.lensing.rays import box_around
from flowpm_ext.lensing.sources import check_bins, depth, sources_of

KIND, FORMAT_VERSION = "flowpm_ext lensing maps", 1
SHARDS = "maps_*.h5"
BOX_OPTIONS = ("box_size", "num_planes", "num_slabs", "max_repeats")
FIX = "Remove the file and run the same command again, which makes it anew."


class Task(NamedTuple):
    """All that it takes to make one shard, in a process of its own or in this one."""

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


class Failure(NamedTuple):
    """A map that could not be made."""

    index: int
    reason: str


def write_maps(
    out: str | os.PathLike,
    nz: Sequence[RedshiftDistribution],
    num_maps: int,
    prior: Mapping[str, tuple[float, float]] | None = None,
    *,
    cosmo: Cosmology | None = None,
    sampling: str = "sobol",
    seed: int = 0,
    maps_per_shard: int = 32,
    batch_size: int = 1,
    num_workers: int = 1,
    verbose: int = 0,
    **options: Any,
) -> list[Failure]:
    """Simulate convergence maps of many cosmologies into a folder of HDF5 files.

    Map number i has point i of the design, and its batch a seed made of `seed` and the number of
    its first map, so it is the same whatever the number of workers and however often the work
    was stopped. Called again, the
    function makes the shards that are missing; a larger `num_maps` adds to the set. A map that
    could not be made, or is not finite, is written down with its reason.

    Args:
        out: Folder for the files `maps_*.h5`; made if there is none.
        nz: n(z) of each bin.
        num_maps: Number of maps.
        prior: Lowest and highest value by the names of parameters; None for one cosmology.
        cosmo: Cosmology of all other parameters; Planck18 by default.
        sampling: "sobol" or "random".
        seed: Seed of the design and of the maps.
        maps_per_shard: Maps in one file, the most that an interruption loses for each worker.
        batch_size: Maps simulated at once.
        num_workers: Processes that work side by side.
        verbose: 1 to show a progress bar.
        **options: Of `convergence_maps`, such as method, field_size_deg, num_pixels, mesh_shape.

    Returns:
        The maps that could not be made.

    Raises:
        ValueError: If an option cannot be used, the folder holds another set, serves another run,
            or holds a file that is no whole shard.
        TypeError: If a bin is no redshift distribution.
        OSError: If a file cannot be written, or a worker was killed.
    """
    check_bins(nz)
    checks.positive_integers(
        num_maps=num_maps, maps_per_shard=maps_per_shard, batch_size=batch_size,
        num_workers=num_workers,
    )  # fmt: skip
    design = Design(cosmo or Planck18(), dict(prior or {}), sampling, seed)
    layout = {"maps_per_shard": maps_per_shard, "batch_size": batch_size}
    identity = json.dumps(design.to_dict() | layout | _description(nz, options), sort_keys=True)
    tasks = list(_tasks(pathlib.Path(out), num_maps, maps_per_shard, design, tuple(nz), options,
                        seed, batch_size, identity))  # fmt: skip
    with claimed_folder(out) as folder:
        for path in sorted(folder.glob(SHARDS)):
            _require_same(path, identity)
        missing = [task for task in tasks if _num_done(task) < len(task.indices)]
        done = num_maps - sum(len(task.indices) for task in missing)
        quiet = None if verbose else True
        with tqdm(total=num_maps, initial=done, unit="map", disable=quiet) as bar:
            _work(missing, num_workers, bar)
        return [failure for task in tasks for failure in read_failures(task.path)]


def _tasks(
    folder: pathlib.Path,
    num_maps: int,
    maps_per_shard: int,
    design: Design,
    nz: tuple[RedshiftDistribution, ...],
    options: dict[str, Any],
    *rest: Any,
) -> Iterator[Task]:
    """The shards."""
    theta = design.theta(num_maps)
    options = _with_geometry(design, theta, nz, options)
    for number, start in enumerate(range(0, num_maps, maps_per_shard)):
        indices = np.arange(start, min(start + maps_per_shard, num_maps))
        path = folder / f"maps_{number:05d}.h5"
        yield Task(path, indices, theta[indices], design, nz, options, *rest)


def _with_geometry(
    design: Design, theta: np.ndarray, nz: tuple[RedshiftDistribution, ...], options: dict[str, Any]
) -> dict[str, Any]:
    """Options with a box and planes that serve all cosmologies of the prior.

    They come from the corners of the prior, and so do not change when a set grows.
    """
    if options.get("method", "born") not in ("born", "multiplane"):
        return options
    limits = [np.asarray(limits, float) for limits in design.prior.values()]
    corners = np.stack([x.ravel() for x in np.meshgrid(*limits)], axis=-1) if limits else theta[:1]
    box_size, num_planes = box_around(
        depth(sources_of(design.cosmologies(corners), nz)), margin=1.001,
        field_size_deg=options.get("field_size_deg", 5.0),
        **{name: options[name] for name in BOX_OPTIONS if name in options},
    )  # fmt: skip
    return options | {"box_size": box_size, "num_planes": num_planes}


def _work(tasks: list[Task], num_workers: int, bar: tqdm) -> None:
    """Make shards, in this process or in several."""
    if num_workers == 1 or len(tasks) <= 1:
        for task in tasks:
            make_shard(task, bar)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    threads = max(1, (os.cpu_count() or 1) // num_workers)
    pool = ProcessPoolExecutor(num_workers, context, _start_worker, (threads,))
    try:
        futures = {pool.submit(make_shard, task): task for task in tasks}
        for future in as_completed(futures):
            future.result()
            bar.update(len(futures[future].indices))
    except BrokenProcessPool:
        raise OSError(
            "A worker was killed, by the system where memory ran out. What is whole is kept; "
            "the same call goes on, with fewer workers if need be."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int) -> None:
    """Share the cores."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def make_shard(task: Task, bar: tqdm | None = None) -> None:
    """Simulate the maps of a shard and write it.

    Args:
        task: What to make.
        bar: Progress bar to move by the number of maps.

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
        if bar is not None:
            bar.update(len(rows))
    if not maps and not any(path != task.path for path in task.path.parent.glob(SHARDS)):
        raise ValueError(failures[0][1])  # nothing has ever worked: no matter of this cosmology
    _write(task, np.array(kept, int), maps, failures)


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
    task: Task, rows: np.ndarray, maps: list[np.ndarray], failures: list[tuple[int, str]]
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
    attributes = {"identity": task.identity, "seed": task.seed, "num": len(task.indices)}
    hdf5.write(task.path, KIND, FORMAT_VERSION, datasets, attributes)


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


def _num_done(task: Task) -> int:
    """Maps that a shard holds or has given up, 0 where there is no file."""
    if not task.path.exists():
        return 0
    with hdf5.opened(task.path, KIND, FORMAT_VERSION, FIX) as file:
        return int(file.attrs["num"])


def _require_same(path: pathlib.Path, identity: str) -> None:
    """Refuse a shard of another set."""
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        found, expected = json.loads(file.attrs["identity"]), json.loads(identity)
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


def _description(nz: Sequence[RedshiftDistribution], options: Mapping[str, Any]) -> dict[str, Any]:
    """What maps are made of beside their cosmology, as JSON holds it."""
    bins = [{"kind": type(one).__name__} | _plain(dataclasses.asdict(one)) for one in nz]
    return {"nz": bins, "options": _plain(options)}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, arrays and tensors by name, as JSON holds them."""

    def plain(value: Any) -> Any:
        if isinstance(value, str | bool | int | None):
            return value
        if isinstance(value, tf.DType):
            return value.name
        array = known(value)
        return array.tolist() if array is not None and array.dtype != object else str(value)

    return {name: plain(value) for name, value in values.items()}
