"""Stateless randomness: one integer names a draw, and draws inside it are numbered."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks


def stateless_seed(seed: int | tf.Tensor) -> tf.Tensor:
    """Seed of TensorFlow's stateless functions, int32 [2].

    Args:
        seed: An integer, or a seed of shape [2] that passes through.

    Returns:
        The seed, int32 tensor of shape [2].

    Raises:
        ValueError: If `seed` is neither one integer nor two.
        TypeError: If `seed` is not made of integers.
    """
    if isinstance(seed, int | np.integer):
        # Two halves of a 64-bit integer, so that neighbouring and negative seeds differ.
        low, high = int(seed) & 0x7FFFFFFF, (int(seed) >> 31) & 0x7FFFFFFF
        return tf.constant([high, low], tf.int32)
    checks.require(
        hasattr(seed, "dtype") and tf.as_dtype(seed.dtype).is_integer,
        "seed", "be an integer or two", seed, error=TypeError,
    )  # fmt: skip
    seed = tf.convert_to_tensor(seed)
    checks.require(seed.shape.rank in (0, 1), "seed", "be an integer or two", seed)
    if seed.shape.rank == 0:
        return tf.stack([0, tf.cast(seed, tf.int32)])
    checks.require(seed.shape[0] == 2, "seed", "be an integer or two", seed)
    return tf.cast(seed, tf.int32)


def fold(seed: int | tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Seed of draw `number` within `seed`, int32 [2]; independent for different numbers.

    Args:
        seed: An integer, or a seed of shape [2].
        number: Which draw, an integer scalar.

    Returns:
        The seed, int32 tensor of shape [2].

    Raises:
        ValueError: If `seed` is neither one integer nor two.
    """
    return tf.random.experimental.stateless_fold_in(stateless_seed(seed), number)
