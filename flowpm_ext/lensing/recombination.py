"""Many light cones from the slabs of a few."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import fold
from flowpm_ext.lensing.planes import LensPlanes


def recombined(planes: LensPlanes, num_cones: int, seed: int | tf.Tensor = 0) -> LensPlanes:
    """Light cones whose slabs are drawn at random from those of a batch.

    Each slab comes from any light cone of the batch, at its own distance, and is turned, mirrored
    and shifted by whole pixels. A field that is small beside the box sees another part of it each
    time; large modes are as many as the batch has boxes. The projection of each slab keeps its
    mass. Differentiable with respect to the planes.

    Args:
        planes: Lens planes of one or several light cones.
        num_cones: Light cones to make.
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        The planes of `num_cones` light cones.

    Raises:
        ValueError: If `num_cones` is not a positive integer.

    References:
        Petri, Haiman & May 2016, arXiv:1601.06792.
    """
    checks.positive_integers(num_cones=num_cones)
    seeds = tf.stack([fold(seed, number) for number in range(3)])
    return dataclasses.replace(planes, overdensity=_drawn(planes.overdensity, num_cones, seeds))


@compiled
def _drawn(slabs: tf.Tensor, num: int, seeds: tf.Tensor) -> tf.Tensor:
    """Slabs [num_planes, num, n, n] from those of [num_planes, batch, n, n]."""
    num_planes, batch, side = slabs.shape[:3]
    shape = [num_planes, num]

    def integers(seed: tf.Tensor, shape: list[int], below: int) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, 0, below, tf.int32, alg="philox")

    x = tf.gather(slabs, integers(seeds[0], shape, batch), batch_dims=1)
    places = (integers(seeds[1], [2, *shape, 1], side) + tf.range(side)) % side
    # Two mirrors and a transposition make all eight orientations of a square.
    *mirrored, turned = tf.unstack(integers(seeds[2], [3, *shape, 1], 2) > 0)
    for axis in range(2):
        place = tf.where(mirrored[axis], side - 1 - places[axis], places[axis])
        x = tf.gather(x, place, axis=2 + axis, batch_dims=2)
    return tf.where(turned[..., None], tf.linalg.matrix_transpose(x), x)
