"""What a long reconstruction has done so far."""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from rim.initial_conditions import InitialConditions


class Checkpoint:
    """Arrays by name in a folder, for one problem, observation and way to solve it.

    Args:
        folder: Where they are kept; None keeps nothing.
        problem: What was observed.
        y: The observation.
        settings: All that the result depends on besides.
        start: Arrays that it depends on besides.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None,
        problem: InitialConditions,
        y: tf.Tensor,
        settings: Sequence[object],
        start: Sequence[np.ndarray] = (),
    ) -> None:
        self.folder = None
        if folder is None:
            return
        text = json.dumps([problem.get_config(), *settings], sort_keys=True)
        content = b"".join(np.asarray(array).tobytes() for array in (y, *start))
        mark = hashlib.sha256(text.encode() + content).hexdigest()[:16]
        self.folder = pathlib.Path(folder) / f"unfinished-{mark}"

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Arrays that were saved.

        Args:
            name: Their name.

        Returns:
            The arrays; None if there are none.
        """
        path = None if self.folder is None else self.folder / f"{name}.npz"
        if path is None or not path.exists():
            return None
        with np.load(path) as file:
            return dict(file)

    def save(self, name: str, **arrays: np.ndarray | float) -> None:
        """Keep arrays, in a file that is never broken.

        Args:
            name: Their name.
            **arrays: The arrays.

        Raises:
            OSError: If the file cannot be written.
        """
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{name}.partial.npz"
        np.savez(partial, **arrays)
        os.replace(partial, self.folder / f"{name}.npz")

    def clear(self) -> None:
        """Remove what was kept."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
