"""Files that appear whole or not at all."""

import contextlib
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
