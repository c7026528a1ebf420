"""Cheap files for test_farm.py to make: in processes of its own, and in this one.

`python pieces.py FOLDER NUM NUM_WORKERS [HOW]` makes them like a run of its own.
"""

import dataclasses
import os
import pathlib
import signal
import sys
import time

from tqdm import tqdm

from flowpm_ext.farm import make_all

ABOUT = "pieces"


@dataclasses.dataclass(frozen=True)
class TextPiece:
    """A file of two lines; who made it is written down in another."""

    folder: pathlib.Path
    number: int
    how: str = ""

    @property
    def path(self):
        return self.folder / f"piece_{self.number:02d}.txt"

    @property
    def size(self):
        return 2

    @property
    def made(self):
        """Where each making leaves a line."""
        return self.folder.parent / "made.txt"

    def is_done(self):
        return self.path.exists()

    def require_same(self, about):
        if about != ABOUT:
            raise ValueError(f"`{self.path}` must be of {ABOUT}. Received: {about}.")

    def make(self, partial, report):
        self._disturb(partial)
        with open(self.made, "a") as file:  # one write, which appends whole
            file.write(f"{self.number} {os.getpid()}\n")
        if self.how == "together":
            self._wait_for_another()
        report(1)
        partial.write_text(f"piece {self.number}\n" * 2)
        os.replace(partial, self.path)
        report(2)

    def _wait_for_another(self):
        """Hold on until another process has made a piece too."""
        deadline = time.monotonic() + 60
        while len({line.split()[1] for line in self.made.read_text().splitlines()}) < 2:
            if time.monotonic() > deadline:
                raise TimeoutError("Nobody else makes pieces.")
            time.sleep(0.01)

    def _disturb(self, partial):
        """What goes wrong at one of them, the first time."""
        mark = self.folder.parent / f"disturbed_{self.number}"
        is_first = self.how in ("killed always", "raises") or not mark.exists()
        if self.number != 3 or self.how in ("", "together") or not is_first:
            return
        mark.touch()
        partial.write_text("half")
        if self.how == "raises":
            raise ValueError("`piece` must work.\nReceived: 3.")
        if self.how == "waits":
            time.sleep(600)
        is_fatal = self.how.startswith("killed")
        os.kill(os.getpid(), signal.SIGKILL if is_fatal else signal.SIGINT)


def pieces_of(folder, num, how=""):
    return [TextPiece(pathlib.Path(folder), number, how) for number in range(num)]


def run(folder, num, num_workers=1, how="", about=ABOUT):
    """Make pieces; returns how far a bar of that many has moved."""
    pieces = pieces_of(folder, num, how)
    with tqdm(total=2 * num, disable=True) as bar:
        moved = []
        bar.update = moved.append
        make_all(pieces, about, num_workers, bar)
    return sum(moved)


if __name__ == "__main__":
    # Background jobs of a shell ignore Ctrl-C, and so would this if the tests are such a job.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
