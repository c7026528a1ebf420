"""Images as they would be seen from another side."""

import tensorflow as tf


def turned(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Each image mirrored at random along its axes, square ones of two axes turned by quarters.

    Args:
        x: Shape [batch, space..., channels].
        seed: A stateless seed of shape [2].

    Returns:
        The same shape.

    References:
        Dieleman, Willett & Dambre 2015, arXiv:1503.07077.
    """
    rank = x.shape.rank - 2
    shape = [rank + 1, tf.shape(x)[0], *([1] * (rank + 1))]
    chosen = tf.random.stateless_uniform(shape, seed, 0, 2, tf.int32, alg="philox") > 0
    for axis in range(rank):
        x = tf.where(chosen[axis], tf.reverse(x, [axis + 1]), x)
    if rank == 2 and x.shape[1] == x.shape[2] is not None:
        x = tf.where(chosen[rank], tf.transpose(x, [0, 2, 1, 3]), x)
    return x
