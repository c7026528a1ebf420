"""HDF5 files that appear whole or not at all, and say what they are."""

import contextlib
import io
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from flowpm_ext.version import __version__


def write(
    path: str | os.PathLike,
    kind: str,
    format_version: int,
    datasets: Mapping[str, tuple[np.ndarray | h5py.VirtualLayout, Mapping[str, Any]]],
    attributes: Mapping[str, Any],
    partial: pathlib.Path | None = None,
) -> None:
    """A file with datasets and attributes, under a temporary name until it is whole.

    Args:
        path: File to write; one of this name is replaced.
        kind: What the file is, for those who read it.
        format_version: Version of its layout.
        datasets: Values (any unit), or in which other files they are, and attributes of each.
        attributes: Attributes of the file.
        partial: The temporary name, in the same folder, where several may write the file.

    Raises:
        OSError: If the file cannot be written, with its name and the reason; then one of this
            name is left as it was.
    """
    path = pathlib.Path(path)
    marks = {"format": kind, "format_version": format_version, "package_version": __version__}
    # Always the same name, so that what a killed process leaves is written over by the next.
    partial = partial or path.with_name(f".{path.name}.partial")
    try:
        with _Disk(partial, "w+") as disk:
            with h5py.File(disk, "w") as file:
                file.attrs.update(marks | dict(attributes))
                for name, (values, about) in datasets.items():
                    _created(file, name, values).attrs.update(about)
            disk.require_whole()
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None:  # what no system call has refused
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):  # it is not there, or no longer
            partial.unlink()


def _created(file: h5py.File, name: str, values: np.ndarray | h5py.VirtualLayout) -> h5py.Dataset:
    if isinstance(values, h5py.VirtualLayout):
        return file.create_virtual_dataset(name, values)
    return file.create_dataset(name, data=values)


class _Disk(io.FileIO):
    """A file for HDF5 to write in, which is not told that a disk is full.

    Told, HDF5 says so over many lines, and keeps the broken file open until the process ends.
    """

    failure: OSError | None = None

    def write(self, data: memoryview) -> int:
        """Write all of it, or nothing any more after a failure."""
        rest = memoryview(data).cast("B")
        with self._remembered():
            while rest and self.failure is None:
                rest = rest[super().write(rest) :]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Set the size, where the disk has room for it."""
        with self._remembered():
            return super().truncate(size)
        return self.tell()

    def require_whole(self) -> None:
        """Raise what went wrong, if anything did.

        Raises:
            OSError: If something could not be written.
        """
        if self.failure is not None:
            raise self.failure

    @contextlib.contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error


@contextlib.contextmanager
def opened(
    path: str | os.PathLike, kind: str, format_version: int, fix: str
) -> Iterator[h5py.File]:
    """A file that `write` made, for reading.

    Args:
        path: The file.
        kind: What it must be.
        format_version: The version of the layout that is understood.
        fix: What to do about a file that cannot be used.

    Yields:
        The file.

    Raises:
        ValueError: If it is absent, truncated, of another kind or of another format version.
    """
    path = pathlib.Path(path)
    _require(path.is_file(), path, f"be a {kind}", "there is no such file", fix)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = str(error).partition("(")[2].rstrip(")") or str(error)
        _require(False, path, f"be a whole {kind} in HDF5", reason, fix)
    with file:
        _require(file.attrs.get("format") == kind, path, f"be a {kind}", "another HDF5 file", fix)
        found = int(file.attrs.get("format_version", 0))
        by = file.attrs.get("package_version", "an unknown version")
        reason = f"format {found}, written by flowpm_ext {by}; this is {__version__}"
        _require(found == format_version, path, f"have format {format_version}", reason, fix)
        try:
            yield file
        except (KeyError, OSError, ValueError) as error:  # what is not there, or no JSON
            _require(False, path, f"be a whole {kind}", error, fix)


def _require(condition: bool, path: pathlib.Path, rule: str, received: object, fix: str) -> None:
    if not condition:
        raise ValueError(f"`{path}` must {rule}. Received: {received}. {fix}".rstrip())
