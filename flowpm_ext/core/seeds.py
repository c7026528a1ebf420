"""Stateless randomness: one integer names a draw, and draws inside it are numbered."""

import math
from collections.abc import Sequence

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
    # TensorFlow's own stateless_fold_in gives another seed under XLA than outside it.
    mixed = tf.random.stateless_uniform(
        [2], stateless_seed(seed), None, None, tf.int32, alg="philox"
    )
    # Both words, so that no two of a hundred thousand simulations begin alike by chance.
    return mixed + tf.stack([0, tf.cast(number, tf.int32)])


def integer_seed(seed: int | tf.Tensor, number: int) -> int:
    """Seed of draw `number` within `seed`, for code that wants one integer.

    Args:
        seed: An integer, or a seed of shape [2].
        number: Which draw.

    Returns:
        An integer from 0 to 2**31 - 1.

    Raises:
        ValueError: If `seed` is neither one integer nor two.
    """
    return int(fold(seed, number)[1].numpy()) & 0x7FFFFFFF


def generator(seed: int | tf.Tensor) -> np.random.Generator:
    """A generator of NumPy.

    Args:
        seed: An integer, or a seed of shape [2].

    Returns:
        The generator.

    Raises:
        ValueError: If `seed` is neither one integer nor two.
    """
    return np.random.default_rng(stateless_seed(seed).numpy().view(np.uint32))


def standard_uniform(
    shape: Sequence[int], seed: int | tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Uniform numbers from 0 to 1, the same however the call is run.

    `tf.random.stateless_uniform` draws other floating numbers under XLA than outside it, but the
    same bits.

    Args:
        shape: Sides of the result.
        seed: An integer, or a seed of shape [2].
        dtype: float32 or float64.

    Returns:
        Numbers above 0 and below 1, of shape `shape`, the same in both types.

    Raises:
        ValueError: If `seed` is neither one integer nor two.

    References:
        Salmon et al. 2011, Proc. SC11 (Philox).
    """
    bits = tf.random.stateless_uniform(
        shape, stateless_seed(seed), None, None, tf.uint32, alg="philox"
    )
    # 23 bits and a half: as many as float32 holds, so that none is rounded to one.
    return (tf.cast(tf.bitwise.right_shift(bits, 9), dtype) + 0.5) * 2.0**-23


def standard_normal(
    shape: Sequence[int], seed: int | tf.Tensor, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Normal numbers of mean 0 and variance 1, the same however the call is run.

    `tf.random.stateless_normal` draws other numbers under XLA than outside it. Here the
    bits are those of the Philox generator everywhere, turned by the Box-Muller transform: eager,
    graph and XLA agree to rounding, and so do float32 and float64.

    Args:
        shape: Sides of the result, known when a graph is traced.
        seed: An integer, or a seed of shape [2].
        dtype: float32 or float64.

    Returns:
        Normal numbers of shape `shape`.

    Raises:
        ValueError: If `seed` is neither one integer nor two.

    References:
        Box & Muller 1958, Ann. Math. Stat. 29, 610.
    """
    size = math.prod(shape)
    bits = tf.random.stateless_uniform(
        [2, (size + 1) // 2], stateless_seed(seed), None, None, tf.uint32, alg="philox"
    )
    # Half a step away from zero, whose logarithm is infinite: no number is beyond 6.7.
    uniform = (tf.cast(bits, dtype) + 0.5) * 2.0**-32
    radius = tf.sqrt(-2.0 * tf.math.log(uniform[0]))
    angle = 2.0 * math.pi * uniform[1]
    pairs = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=0)
    return tf.reshape(pairs[:size], shape)
