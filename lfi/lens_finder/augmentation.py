"""Stamps as they would be seen from another side."""

import tensorflow as tf


def turned_stamps(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Each stamp turned by quarters and mirrored at random.

    Args:
        x: Shape [batch, side, side, num_bands].
        seed: A stateless seed of shape [2].

    Returns:
        The same shape.

    References:
        Dieleman, Willett & Dambre 2015, arXiv:1503.07077.
    """
    which = tf.random.stateless_uniform([3, tf.shape(x)[0], 1, 1, 1], seed) < 0.5
    x = tf.where(which[0], tf.reverse(x, [1]), x)
    x = tf.where(which[1], tf.reverse(x, [2]), x)
    return tf.where(which[2], tf.transpose(x, [0, 2, 1, 3]), x)
