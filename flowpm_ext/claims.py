"""Files that several runs make together, each claimed by one of them before it works on it.

A claim is a hidden file beside the one to be made. Creating a file that must not exist is the one
thing that folders shared over a network do for one process alone; their locks are not relied on.
"""

import contextlib
import itertools
import json
import os
import pathlib
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from flowpm_ext.process_identity import has_ended, myself

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
# Between creating a claim and saying in it whose it is, a moment passes. One that stays empty for
# longer is of a process that was killed just then.
MOMENT_SECONDS = 5.0


class Claim(NamedTuple):
    """What came of claiming a file."""

    is_ours: bool
    """Whether the file is to be made here; otherwise another is at work on it."""
    about: str | None
    """What the one who holds the claim makes; None where that is not known."""
    partial: pathlib.Path
    """Name to write under until the file is whole, of nobody else."""


class Claims:
    """The claims of one process.

    One whose owner has died is taken over: at once where the owner was a process of this machine,
    and otherwise after it has shown no sign of life for a while, by the clock of the one who
    waits. An owner that was only held up, and goes on, does its work in vain but breaks nothing,
    because each writes under a name of its own.

    Args:
        about: What is made, for others to compare with what they make.
        beat_seconds: Time between signs of life (seconds).
        stale_seconds: Time without one (seconds) after which an owner counts as dead.
    """

    def __init__(
        self,
        about: str,
        beat_seconds: float = BEAT_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._about, self._beat, self._stale = about, beat_seconds, stale_seconds
        self._last_signs: dict[pathlib.Path, tuple[int, float]] = {}

    @contextlib.contextmanager
    def claimed(self, path: pathlib.Path) -> Iterator[Claim]:
        """Claim a file while it is made.

        Args:
            path: The file; it need not exist.

        Yields:
            The claim, which is ours unless a live one holds it. Whether the file is still
            missing must be looked up after it.

        Raises:
            OSError: If the claim cannot be written.
        """
        dead: list[tuple[pathlib.Path, dict[str, Any]]] = []
        # To take over a claim is to create its successor, which one of several can do; were it
        # removed instead, a slower one would remove the claim of the faster.
        for number in itertools.count():
            place = _place(path, number)
            owner = myself() | {"token": uuid.uuid4().hex, "about": self._about}
            if _create(place, path, owner):
                break
            found = _read_owner(place)
            if not self._is_dead(place, found):
                about = None if found is None else found.get("about")
                yield Claim(False, about, _partial(path, owner))
                return
            dead.append((place, found))
        held = [*dead, (place, owner)]

        def is_lost() -> bool:
            found = _read_owner(place)
            is_ours = found is not None and found.get("token") == owner["token"]
            return not is_ours or _place(path, number + 1).exists()

        try:
            with self._signs_of_life(place):
                yield Claim(True, self._about, _partial(path, owner))
        except OSError:
            # One that took us for dead makes the file, and has removed what we wrote.
            if not is_lost():
                raise
        finally:
            for _, one in held:
                _remove(_partial(path, one))
            if not is_lost():
                for claim, _ in held:
                    _remove(claim)

    def tidy(self, folder: pathlib.Path) -> None:
        """Remove the claims of the dead, and what they have left half written.

        Args:
            folder: Where the files are.
        """
        names = {path.name[1:].rpartition(".claim")[0] for path in folder.glob(".*.claim*")}
        for name in sorted(names):
            with contextlib.suppress(OSError), self.claimed(folder / name):
                pass

    @contextlib.contextmanager
    def _signs_of_life(self, place: pathlib.Path) -> Iterator[None]:
        """Touch a claim again and again."""
        done = threading.Event()

        def touch() -> None:
            while not done.wait(self._beat):
                with contextlib.suppress(OSError):
                    os.utime(place)

        thread = threading.Thread(target=touch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _is_dead(self, place: pathlib.Path, owner: dict[str, Any] | None) -> bool:
        """Whether the owner of a claim works no more."""
        if not owner:
            return owner is not None  # and not released just now
        if has_ended(owner):
            return True
        try:
            sign = place.stat().st_mtime_ns
        except OSError:
            return False  # released just now
        last, since = self._last_signs.get(place, (None, 0.0))
        if sign != last:  # two clocks are never compared, which may differ
            self._last_signs[place] = (sign, time.monotonic())
            return False
        return time.monotonic() - since > self._stale


def _place(path: pathlib.Path, number: int) -> pathlib.Path:
    return path.with_name(f".{path.name}.claim{number}")


def _partial(path: pathlib.Path, owner: dict[str, Any]) -> pathlib.Path:
    return path.with_name(f".{path.name}.{owner.get('token', '')}.partial")


def _create(place: pathlib.Path, path: pathlib.Path, owner: dict[str, Any]) -> bool:
    """Write a claim, if there is none."""
    try:
        descriptor = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    try:
        with open(descriptor, "w") as file:
            json.dump(owner, file)
    except OSError as error:
        _remove(place)
        raise OSError(error.errno, error.strerror, str(path)) from None
    return True


def _read_owner(place: pathlib.Path) -> dict[str, Any] | None:
    """What a claim says: nothing at all where it stays empty, and None where there is none."""
    deadline = time.monotonic() + MOMENT_SECONDS
    while True:
        with contextlib.suppress(ValueError):  # not written yet
            try:
                return json.loads(place.read_text())
            except FileNotFoundError:
                return None
            except OSError:
                return {"token": None}  # there, and not for us to read
        if time.monotonic() > deadline:
            return {}
        time.sleep(MOMENT_SECONDS / 100)


def _remove(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
