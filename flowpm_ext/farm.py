"""Files that many workers make: processes of this run, and other runs in the same folder."""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tqdm import tqdm

from flowpm_ext.claims import Claims
from flowpm_ext.workers import run_workers

# How soon to look again for what others make: soon at first, and then less often, for many
# workers that wait would keep a file server busy.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 5.0

Report = Callable[[str, int], None]
"""Takes the name of a file and how much of it there is."""


class Piece(Protocol):
    """A file to make, always the same whoever makes it; it travels to other processes."""

    @property
    def path(self) -> pathlib.Path:
        """The file."""

    @property
    def size(self) -> int:
        """Amount of work, for the progress bar."""

    def is_done(self) -> bool:
        """Whether the file is there, and has all it should; refuses one of other contents."""

    def require_same(self, about: str) -> None:
        """Refuse a claim on the file by a run that makes something else."""

    def make(self, partial: pathlib.Path, report: Callable[[int], None]) -> None:
        """Write the file by way of `partial`, and say after each step how much is done."""


def make_all(
    pieces: Sequence[Piece],
    about: str,
    num_workers: int,
    bar: tqdm,
    prepare: Callable[[], None] | None = None,
) -> None:
    """Make files, together with all who do so in the same folder, and wait until all are there.

    Each is claimed before it is made. One whose worker was killed is made by another.

    Args:
        pieces: The files, in the same order in all runs.
        about: What is made, for other runs to compare.
        num_workers: Processes of this run; with 1, the work is done in this one.
        bar: Progress bar, in units of the sizes of files.
        prepare: What a process does before it starts to work.

    Raises:
        OSError: If a file cannot be written, or all workers were killed.
        Exception: What a worker raises; the others are ended.
    """
    progress = _Progress(bar)
    try:
        if num_workers == 1 or len(pieces) <= 1:
            _work_off(pieces, about, progress)
        else:
            work = functools.partial(_prepare_and_work_off, prepare, pieces, about)
            run_workers(work, min(num_workers, len(pieces)), progress)
    finally:
        for folder in {piece.path.parent for piece in pieces}:
            Claims(about).tidy(folder)


class _Progress:
    """A bar that knows how much there is of each file, which several may report."""

    def __init__(self, bar: tqdm) -> None:
        self._bar, self._done = bar, {}

    def __call__(self, name: str, num: int) -> None:
        more = num - self._done.get(name, 0)
        if more > 0:
            self._done[name] = num
            self._bar.update(more)


def _work_off(pieces: Sequence[Piece], about: str, report: Report) -> None:
    """Make what nobody else makes, until all is there."""
    claims, left, pause = Claims(about), list(pieces), SHORTEST_PAUSE
    while left:
        before = len(left)
        left = [piece for piece in left if not _is_finished(piece, claims, report)]
        if len(left) < before:
            pause = SHORTEST_PAUSE
        else:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _prepare_and_work_off(
    prepare: Callable[[], None] | None, pieces: Sequence[Piece], about: str, report: Report
) -> None:
    """What a process of its own does."""
    if prepare is not None:
        prepare()
    _work_off(pieces, about, report)


def _is_finished(piece: Piece, claims: Claims, report: Report) -> bool:
    """Whether a file is there, after making it if nobody else does."""
    if not piece.is_done():
        with claims.claimed(piece.path) as claim:
            if not claim.is_ours:
                if claim.about is not None:
                    piece.require_same(claim.about)
                return False
            if not piece.is_done():  # by one who has released the claim just before
                piece.make(claim.partial, lambda num: report(piece.path.name, num))
        if not piece.is_done():  # the claim was lost on the way
            return False
    report(piece.path.name, piece.size)
    return True
