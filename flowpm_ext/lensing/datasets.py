"""Sets of simulated maps on disk: many cosmologies, in shards that workers share out."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.types import known
from flowpm_ext.cosmology.parameters import Cosmology, Planck18
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.farm import make_all
from flowpm_ext.io import claimed_folder
from flowpm_ext.lensing.design import Design
from flowpm_ext.lensing.rays import box_around
from flowpm_ext.lensing.shards import SHARDS, Failure, Task, num_done, read_failures
from flowpm_ext.lensing.sources import check_bins, depth, sources_of

BOX_OPTIONS = ("box_size", "num_planes", "num_slabs", "max_repeats")


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
    was stopped. Called again, the function makes the shards that are missing; a larger `num_maps`
    adds to the set. Called with the same options elsewhere at the same time, on any machine that
    sees the folder, it shares in the work: each shard is claimed by one worker, which others
    take over when that one has died, and all calls return when the set is complete. A map that
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
        num_workers: Processes of this call that work side by side.
        verbose: 1 to show a progress bar.
        **options: Of `convergence_maps`, such as method, field_size_deg, num_pixels, mesh_shape.

    Returns:
        The maps that could not be made.

    Raises:
        ValueError: If an option cannot be used, another set is in the folder or made there, it
            serves a run of another kind, or holds a file that is no whole shard.
        TypeError: If a bin is no redshift distribution.
        OSError: If a file cannot be written, or all workers were killed.
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
    threads = max(1, len(os.sched_getaffinity(0)) // num_workers)
    with claimed_folder(out, is_shared=True) as folder:
        done = {path: num_done(path, identity) for path in sorted(folder.glob(SHARDS))}
        missing = [task for task in tasks if done.get(task.path, 0) < task.size]
        num = num_maps - sum(task.size for task in missing)
        quiet = None if verbose else True
        with tqdm(total=num_maps, initial=num, unit="map", disable=quiet) as bar:
            prepare = functools.partial(_share_cores, threads)
            make_all(missing, identity, num_workers, bar, prepare)
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


def _share_cores(threads: int) -> None:
    """What a worker does first."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


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
