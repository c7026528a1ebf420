"""Central differences of fourth order on a mesh."""

from collections.abc import Sequence

import tensorflow as tf

REACH = 2  # cells on either side that a difference needs
NEIGHBOURS = (-1, 1, -2, 2)  # shifts that bring the next cell, the last one, and those beyond


def periodic(field: tf.Tensor) -> tf.Tensor:
    """Differences of a field that is periodic along all axes.

    Args:
        field: Field of any unit, shape [batch, nx, ny, nz].

    Returns:
        Slopes along the axes (unit of the field / cell), shape [batch, nx, ny, nz, 3].

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    return _together(field, [tf.roll(field, shift, 1) for shift in NEIGHBOURS])


def between(wide: tf.Tensor) -> tf.Tensor:
    """Differences of planes of which the neighbours are known, periodic along the other axes.

    Args:
        wide: Field of any unit, shape [batch, planes + 4, ny, nz]: two more planes at either end.

    Returns:
        Slopes along the axes (unit of the field / cell), shape [batch, planes, ny, nz, 3].

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
    """
    planes = wide.shape[1] - 2 * REACH
    moved = [wide[:, REACH - shift :][:, :planes] for shift in (0, *NEIGHBOURS)]
    return _together(moved[0], moved[1:])


def _together(field: tf.Tensor, along_x: Sequence[tf.Tensor]) -> tf.Tensor:
    """Differences along all axes, given the neighbours along the first."""
    along = [along_x, *([tf.roll(field, shift, axis) for shift in NEIGHBOURS] for axis in (2, 3))]
    return tf.stack(
        [(8 * (next_one - last_one) - (next_two - last_two)) / 12
         for next_one, last_one, next_two, last_two in along], axis=-1,
    )  # fmt: skip
