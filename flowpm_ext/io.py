"""Folders that one process at a time writes in, and files that appear whole or not at all."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def staged_folder(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A folder to write in, whose files move to `folder` when all is done.

    Whatever interrupts the work, `folder` keeps what it held before; a folder made for the
    work is removed again.

    Args:
        folder: Where the files shall be; made with its parents if there is none. Files of
            the same names are replaced.

    Yields:
        An empty folder on the same disk.

    Raises:
        ValueError: If the folder cannot be made or written in, or holds a folder of the name
            of a file; then no file is replaced.
    """
    folder = pathlib.Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = pathlib.Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    except OSError as error:
        reason = error.strerror or str(error)
        message = (
            f"`out` must be a folder that can be written. Received: {str(folder)!r} ({reason})."
        )
        raise ValueError(message) from None
    done = False
    try:
        yield stage
        moves = {path: folder / path.name for path in sorted(stage.iterdir())}
        taken = [target.name for target in moves.values() if target.is_dir()]
        if taken:
            raise ValueError(f"`out` must hold no folder where a file shall be. Received: {taken}.")
        for path, target in moves.items():
            os.replace(path, target)
        done = True
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not done:
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()


@contextlib.contextmanager
def claimed_folder(folder: str | os.PathLike, is_shared: bool = False) -> Iterator[pathlib.Path]:
    """A folder to write in, for one process at a time.

    Args:
        folder: Where the files shall be; made with its parents if there is none, and removed
            again if it stays empty.
        is_shared: Whether others that say so too may work there at the same time.

    Yields:
        The folder.

    Raises:
        ValueError: If the folder cannot be made or written in, or another run works there.
    """
    folder = pathlib.Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        reason = error.strerror or str(error)
        message = (
            f"`out` must be a folder that can be written. Received: {str(folder)!r} ({reason})."
        )
        raise ValueError(message) from None
    try:
        _lock(descriptor, folder, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        for path in made:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()


def _lock(descriptor: int, folder: pathlib.Path, kind: int) -> None:
    """Lock a folder until it is closed or the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"`out` must be free. Received: {str(folder)!r}, where another run works."
        raise ValueError(f"{message} Wait for it, or take another --out.") from None
    except OSError:
        pass  # a file system that knows no locks
