"""A function of many examples, a batch at a time."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike

BATCH_SIZE = 64  # another number is another compilation


def in_batches(
    function: Callable[[np.ndarray, int], tf.Tensor], x: TensorLike, unit: str = "",
    progress: bool = False,
) -> np.ndarray:  # fmt: skip
    """A function of many examples, by batches of one size, so that it compiles once.

    Args:
        function: Of a batch and its number.
        x: Shape [num, ...].
        unit: What examples are called beside the progress bar.
        progress: Whether to show one.

    Returns:
        Results, shape [num, ...].

    Raises:
        ValueError: If there are no examples.

    References:
        Batches and their order.
    """
    num, result = len(x), None
    checks.require(num > 0, "x", "hold an example", np.shape(x))
    with tqdm(total=num, unit=f" {unit}", disable=not progress) as bar:
        for number, start in enumerate(range(0, num, BATCH_SIZE)):
            part = np.asarray(x[start : start + BATCH_SIZE])
            missing = BATCH_SIZE - len(part)  # repeats of the last one fill the batch
            found = function(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]), number)
            found = found.numpy()[: len(part)]
            result = np.empty((num, *found.shape[1:]), found.dtype) if result is None else result
            result[start : start + len(part)] = found
            bar.update(len(part))
    return result
