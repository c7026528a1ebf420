"""Trained members of an ensemble in a folder, so that an interrupted training goes on."""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

History = dict[str, list[float]]


class MemberFiles:
    """Weights and loss curves of members, with a mark of what they were trained on.

    Args:
        folder: Where they are kept; made where it is missing.
        arrays: All that they learn from.
        options: How they learn.
        members: The densities, untrained.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        arrays: Sequence[np.ndarray | None],
        options: Sequence[Any],
        members: Sequence[keras.Model],
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        mark = hashlib.sha256(repr(list(options)).encode())
        for array in arrays:
            mark.update(repr(None if array is None else array.shape).encode())
            mark.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        self._marks = []
        for member in members:
            of_member, config = mark.copy(), _nameless(member.get_config())
            of_member.update(repr([type(member).__name__, sorted(config.items())]).encode())
            # An embedding may have learned before.
            for weight in member.get_weights() if config.get("embedding") else ():
                of_member.update(np.ascontiguousarray(weight).tobytes())
            self._marks.append(of_member.hexdigest())

    def keep(self, number: int, member: keras.Model, history: History) -> None:
        """Write a trained member.

        Args:
            number: Which of the ensemble.
            member: It.
            history: Its loss curves.
        """
        weights, about = self._paths(number)
        about.unlink(missing_ok=True)
        member.save_weights(weights)
        history = {name: [float(x) for x in values] for name, values in history.items()}
        partial = about.with_suffix(".partial")
        partial.write_text(json.dumps({"mark": self._marks[number], "history": history}))
        os.replace(partial, about)  # the last: without it there is no member

    def restored(self, number: int, member: keras.Model) -> History | None:
        """Give a member the weights that were kept, if they are of the same data and options.

        Args:
            number: Which of the ensemble.
            member: It, untrained, and as it was left where nothing fits.

        Returns:
            Its loss curves, or None.
        """
        weights, about = self._paths(number)
        try:
            kept = json.loads(about.read_text())
        except (OSError, ValueError):
            return None
        if kept.get("mark") != self._marks[number]:
            return None
        member.load_weights(weights)
        return kept["history"]

    def _paths(self, number: int) -> tuple[pathlib.Path, pathlib.Path]:
        start = self.folder / f"member_{number}"
        return start.with_suffix(".weights.h5"), start.with_suffix(".json")


def _nameless(config: Any) -> Any:
    """A configuration of Keras without the names it makes up, which count on."""
    if isinstance(config, dict):
        left_out = ("name", "registered_name", "build_config", "compile_config")
        return {key: _nameless(value) for key, value in config.items() if key not in left_out}
    if isinstance(config, list | tuple):
        return [_nameless(part) for part in config]
    return config
