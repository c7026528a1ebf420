"""What command lines share: refusals in one line, and a start without chatter."""

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

NO_MEMORY = "there is not enough memory."
LOST = (
    "another process of this run has ended. The same command goes on from the last checkpoint, "
    "with as many processes as you like."
)


class OneLineParser(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with exit code 2."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")


class Terminated(KeyboardInterrupt):
    """The system asked the process to end, as Ctrl-C does on a terminal."""


def raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
    """Handler of SIGTERM, by which work ends as it does at Ctrl-C.

    Args:
        number: Number of the signal.
        frame: Where the program was.

    Raises:
        Terminated: Always.
    """
    raise Terminated


def run_command(name: str, work: Callable[[], None], what_is_left: Callable[[], str]) -> int:
    """Run a command whose refusals, warnings and end are one line each on standard error.

    Args:
        name: Of the command, for those lines.
        work: What it does.
        what_is_left: Called when it was interrupted, to say what was kept.

    Returns:
        The exit code: 0; 2 for bad input, too little memory or another process that is lost; 130
        where it was interrupted, and 143 where it was ended by SIGTERM.
    """
    try:
        return _tried(name, work)
    except KeyboardInterrupt as end:
        _say(name, f"interrupted; {what_is_left()}")
        return 143 if isinstance(end, Terminated) else 130


def _tried(name: str, work: Callable[[], None]) -> int:
    """The exit code of work; it may also be interrupted while an error is told."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *where: _say(name, f"warning: {message}")
            work()
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _say(name, f"error: {error or NO_MEMORY}")
        return 2
    except Exception as error:
        _raise_hidden_interruption(error)
        known = _in_words(error)
        if known is None:
            raise
        _say(name, f"error: {known}")
        return 2
    return 0


def _raise_hidden_interruption(error: Exception) -> None:
    """Raise what a signal raised while TensorFlow made an error, of which it makes another one."""
    found = re.search("REPLACED BY (Terminated|KeyboardInterrupt)", str(error))
    if found:
        raise {"Terminated": Terminated}.get(found[1], KeyboardInterrupt) from None


def _in_words(error: Exception) -> str | None:
    """What an error that TensorFlow raised from a graph says to a user; None for others.

    TensorFlow, and with it its own words for these, need not be loaded.
    """
    text = str(error)
    if type(error).__name__ == "ResourceExhaustedError":
        return NO_MEMORY
    if "Collective ops is aborted" in text:
        return LOST
    refusal = re.search(r"`\w+` must [^\]\n]*", text)
    return refusal[0] if refusal and type(error).__module__.startswith("tensorflow") else None


def _say(name: str, message: object) -> None:
    print(f"{name}: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """Text without line breaks.

    Args:
        message: A text, or an exception.

    Returns:
        Its words, joined by single blanks.
    """
    return " ".join(str(message).split())


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep what TensorFlow's C++ says while it starts off the terminal, unless it fails.

    Signals wait so long: in the middle of an import they would come out as another error.

    Yields:
        Nothing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    terminal = os.dup(2)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except Exception:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
