"""Means and standard deviations of training data that may be too large for one look."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks

NUM_BATCHES = 300
BATCH_SIZE = 256


def batches(x: Any, theta: Any = None) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
    """Training pairs in parts, to be looked at once before training.

    Args:
        x: Data [num, ...]; or a dataset or `keras.utils.PyDataset` of batches (x, theta), of which
            at most 300 are read; or None.
        theta: Parameters [num, P] where x is an array or None. All of them are read.

    Yields:
        x [batch, ...], or None, and theta [batch, P].

    Raises:
        ValueError: If lengths differ, a value of an array is not finite, or there is nothing to
            read.
    """
    if theta is None:
        yield from _of_dataset(x)
        return
    theta = np.asarray(theta)
    checks.finite(theta, "theta")
    x = None if x is None else np.asarray(x)
    rule = f"hold {len(theta)} examples, as many as `theta`"
    checks.require(
        x is None or len(x) == len(theta), "x", rule, len(theta) if x is None else len(x)
    )
    size = max(BATCH_SIZE, math.ceil(len(theta) / NUM_BATCHES))
    for start in range(0, len(theta), size):
        part = None if x is None else x[start : start + size]
        if part is not None:
            checks.finite(part, "x", f"See the examples from number {start}.")
        yield part, theta[start : start + size]


class Moments:
    """Mean and standard deviation of numbers that come in batches.

    Args:
        num_kept: Last axes to keep apart, 0 or 1; all others are averaged over.
    """

    def __init__(self, num_kept: int = 1) -> None:
        self.num_kept = num_kept
        self._parts: list[tuple[int, np.ndarray, np.ndarray]] = []

    def add(self, values: np.ndarray) -> None:
        """Take a batch into account.

        Args:
            values: Shape [..., size], or any shape where no axis is kept.
        """
        values = np.asarray(values, np.float64)
        axes = tuple(range(values.ndim - self.num_kept))
        self._parts.append((len(values), values.mean(axes), values.var(axes)))

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of all batches, each of shape [size] or [].

        References:
            Chan, Golub & LeVeque 1983, The American Statistician 37, 242.
        """
        counts, means, variances = (np.array(part) for part in zip(*self._parts, strict=True))
        mean = np.average(means, axis=0, weights=counts)
        variance = np.average(variances + (means - mean) ** 2, axis=0, weights=counts)
        return mean, np.sqrt(variance)


def _of_dataset(dataset: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first batches of a dataset."""
    readable = isinstance(dataset, tf.data.Dataset) or hasattr(dataset, "__getitem__")
    checks.require(
        readable, "x", "be an array with `theta`, or a dataset of pairs", type(dataset).__name__,
        "A generator can be read once only: call `adapt` with other pairs first.",
    )  # fmt: skip
    if isinstance(dataset, tf.data.Dataset):
        found = dataset.take(NUM_BATCHES)
    else:
        found = (dataset[number] for number in range(min(len(dataset), NUM_BATCHES)))
    for batch in found:
        rule = "give pairs (x, theta)"
        is_pair = isinstance(batch, tuple | list) and len(batch) >= 2
        checks.require(is_pair, "x", rule, type(batch).__name__)
        yield np.asarray(batch[0]), np.asarray(batch[1])
