"""Training by a seed that leaves the random generators of the process as they were."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed


@contextlib.contextmanager
def seeded_layers(seed: int) -> Iterator[None]:
    """Where layers that have no seed of their own take it from this one.

    Keras draws such seeds from the generator of Python. It and that of NumPy, which initialisers
    of others may use, go on afterwards as if nothing had been drawn.

    Args:
        seed: An integer from 0 to 2**32 - 1.

    Returns:
        A context for `with`.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def shuffled_batches(
    parts: Any, batch_size: int, seed: int | tf.Tensor
) -> tuple[tf.data.Dataset, int]:
    """Batches in a new order in each epoch, without end.

    The order that `fit` gives arrays comes from TensorFlow's global generator; this one is that
    of the seed, whatever was drawn before.

    Args:
        parts: Arrays [num, ...], in any structure.
        batch_size: Rows in each batch; the last of an epoch may have fewer.
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        The dataset of such structures, and how many batches are an epoch: `steps_per_epoch`.

    Raises:
        ValueError: If `batch_size` is not a positive integer.
    """
    checks.positive_integers(batch_size=batch_size)
    num = len(tf.nest.flatten(parts)[0])
    num_full = num // batch_size * batch_size
    start = stateless_seed(seed)

    def rows(epoch: tf.Tensor) -> tf.data.Dataset:
        key = start + tf.stack([0, tf.cast(epoch, tf.int32)])
        order = tf.random.experimental.stateless_shuffle(tf.range(num), key)
        full = tf.reshape(order[:num_full], [-1, batch_size])
        batches = tf.data.Dataset.from_tensor_slices(full)
        if num_full < num:
            batches = batches.concatenate(tf.data.Dataset.from_tensors(order[num_full:]))
        return batches

    def chosen(rows: tf.Tensor, parts: Any) -> Any:
        return tf.nest.map_structure(lambda part: tf.gather(part, rows), parts)

    # Arrays come beside the rows: as constants of a function they might be sent to a device.
    whole = tf.data.Dataset.from_tensors(parts).repeat()
    dataset = tf.data.Dataset.zip(tf.data.Dataset.counter().flat_map(rows), whole)
    dataset = dataset.map(chosen, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE), -(-num // batch_size)
