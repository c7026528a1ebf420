"""HDF5 files that several processes write, each a part of the rows, and that read like one."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.mesh import Processes

ENDING = r"(\.\d+)?\.\d+of\d+"  # of the name of a part
PART = re.compile(rf"(?P<whole>.+?){ENDING}|\.(?P<begun>.+?)({ENDING})?\.partial")


def write(
    path: str | os.PathLike,
    kind: str,
    format_version: int,
    rows: Mapping[str, tuple[np.ndarray, Mapping[str, Any]]],
    attributes: Mapping[str, Any],
    processes: Processes | None = None,
    *,
    others: Mapping[str, tuple[np.ndarray, Mapping[str, Any]]] | None = None,
    mark: str = "",
) -> None:
    """A file with datasets whose rows are shared out to processes.

    Of several processes each writes its rows to a file of its own, beside which the file of this
    name is an index (virtual datasets of HDF5). The index appears when all parts are whole.

    Args:
        path: File to write; one of this name is replaced.
        kind: What the file is, for those who read it.
        format_version: Version of its layout.
        rows: Rows of this process (any unit), as many as every other has, and attributes of each
            dataset.
        attributes: Attributes of the file.
        processes: Those that hold the rows, in their order; None for this one alone.
        others: What all processes have alike.
        mark: A dot and a number, in the names of the parts; with another one for each writing, a
            file that is replaced stays whole until the new one is.

    Raises:
        OSError: If the file cannot be written.
    """
    path, processes = pathlib.Path(path), processes or Processes()
    size, names, datasets = processes.size, [], dict(rows)
    if size > 1:
        names = [f"{path.name}{mark}.{i + 1}of{size}" for i in range(size)]
        part = path.with_name(names[processes.rank])
        hdf5.write(part, _part_of(kind), format_version, datasets, {})
        processes.wait()
        datasets = {
            name: (_index(names, name, values), about) for name, (values, about) in rows.items()
        }
    if processes.rank == 0:
        hdf5.write(path, kind, format_version, datasets | dict(others or {}), attributes)
        for part in _parts(path):
            if part.name not in names:
                part.unlink(missing_ok=True)
    processes.wait()


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, kind: str, format_version: int, fix: str
) -> Iterator[h5py.File]:
    """A file that `write` made, for reading, with all of its parts.

    Args:
        path: The file.
        kind: What it must be.
        format_version: The version of the layout that is understood.
        fix: What to do about a file that cannot be used.

    Yields:
        The file.

    Raises:
        ValueError: If it or a part is absent, truncated, of another kind or format version.
    """
    path = pathlib.Path(path)
    with hdf5.opened(path, kind, format_version, fix) as file:
        virtual = [x for x in file.values() if isinstance(x, h5py.Dataset) and x.is_virtual]
        names = {source.file_name for x in virtual for source in x.virtual_sources()}
    # With the index closed, or what is wrong with a part would be told of the index.
    for name in sorted(names):  # HDF5 itself would give zeros for one that is not there
        with hdf5.opened(path.with_name(name), _part_of(kind), format_version, fix):
            pass
    with hdf5.opened(path, kind, format_version, fix) as file:
        yield file


def remove(path: pathlib.Path) -> None:
    """Remove a file that `write` made, with its parts and those that were cut short.

    Args:
        path: The file, which need not be there.
    """
    for one in (path, *_parts(path)):
        one.unlink(missing_ok=True)


def file_of(name: str) -> str | None:
    """The file that a part belongs to.

    Args:
        name: Name of a file.

    Returns:
        The name that `write` was given for it, if this is a part, or one that was cut short; None
        for others.
    """
    found = PART.fullmatch(name)
    return found and (found["whole"] or found["begun"])


def _parts(path: pathlib.Path) -> list[pathlib.Path]:
    """Parts of a file, of all its writings."""
    return [one for one in path.parent.iterdir() if file_of(one.name) == path.name]


def _part_of(kind: str) -> str:
    return f"part of a {kind}"


def _index(names: list[str], dataset: str, values: np.ndarray) -> h5py.VirtualLayout:
    """Rows of all parts, one part after the other; HDF5 looks for them beside the index."""
    count = len(values)
    layout = h5py.VirtualLayout((len(names) * count, *values.shape[1:]), values.dtype)
    for i, name in enumerate(names):
        layout[i * count : (i + 1) * count] = h5py.VirtualSource(name, dataset, values.shape)
    return layout
