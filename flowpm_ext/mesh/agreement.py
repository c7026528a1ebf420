"""What processes tell each other beside numbers: what they run, where, and that one has failed."""

import contextlib
import platform
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from flowpm_ext.mesh.processes import Processes
from flowpm_ext.version import __version__

MAX_LETTERS = 96


def require_one_version(processes: Processes) -> None:
    """Refuse processes that would trace different programs, and wait for each other for ever.

    Args:
        processes: All of which call this.

    Raises:
        ValueError: If versions of this package, of TensorFlow or of Python differ.
    """
    python = platform.python_version()
    mine = f"flowpm-ext {__version__}, TensorFlow {tf.__version__}, Python {python}"
    said = _said(processes, mine)
    if len(set(said)) > 1:
        received = "; ".join(f"process {i + 1} has {text}" for i, text in enumerate(said))
        message = f"All processes must run the same versions. Received: {received}."
        raise ValueError(f"{message} Install the same in all places.")


def num_on_this_machine(processes: Processes) -> int:
    """How many processes share the machine of this one.

    Args:
        processes: All of which call this.

    Returns:
        Their number, with this one.
    """
    said = _said(processes, platform.node())
    return said.count(said[processes.rank])


@contextlib.contextmanager
def together(processes: Processes) -> Iterator[None]:
    """Work without exchanges, which ends when all are done, and fails for all if for one.

    Args:
        processes: All of which work.

    Yields:
        Nothing.

    Raises:
        ValueError: If it failed in another process, which has the error itself.
    """
    try:
        yield
    except Exception:
        processes.maximum(tf.ones([]))
        raise
    if processes.maximum(tf.zeros([])) > 0:
        message = "All processes must be able to begin. Received: an error in another one."
        raise ValueError(f"{message} That one says what is wrong.")


def _said(processes: Processes, text: str) -> list[str]:
    """Texts of all processes, in their order."""
    letters = np.frombuffer(text.encode()[:MAX_LETTERS].ljust(MAX_LETTERS), np.uint8)
    rows = processes.gathered(tf.constant(letters.astype(np.int32))).numpy()
    return [bytes(row.astype(np.uint8)).decode(errors="replace").rstrip() for row in rows]
