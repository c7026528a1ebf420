"""Planes beyond a slab, which its neighbours hold: copied from them, or added to theirs."""

from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import known
from flowpm_ext.mesh.processes import Processes


class Halo(NamedTuple):
    """Planes of a periodic mesh on either side of the slab of a process.

    Attributes:
        processes: The processes, in the order of their slabs.
        width: Planes on either side, at most as many as a slab has.
    """

    processes: Processes
    width: int

    def wide_shape(self, sides: tuple[int, int, int]) -> tuple[int, int, int]:
        """Sides of a slab with its halo.

        Args:
            sides: Sides of the slab.

        Returns:
            The sides.
        """
        planes, *plane = sides
        return (planes + 2 * self.width, *plane)

    def extended(self, field: tf.Tensor) -> tf.Tensor:
        """A slab with the planes that its neighbours hold; the adjoint of `folded`.

        Args:
            field: Field of any unit, shape [batch, planes, ...].

        Returns:
            The same with the halo, [batch, planes + 2 width, ...].

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        if self.width == 0:
            return field
        first, last = field[:, : self.width], field[:, -self.width :]
        below, above = self.processes.to_neighbours(up=last, down=first)
        return tf.concat([below, field, above], axis=1)

    def folded(self, wide: tf.Tensor) -> tf.Tensor:
        """A slab to which the halos of its neighbours are added.

        Args:
            wide: Sums of any unit, shape [batch, planes + 2 width, ...].

        Returns:
            Sums of the slab, shape [batch, planes, ...].

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        width, planes = self.width, wide.shape[1] - 2 * self.width
        first, last = wide[:, :width], wide[:, -width:]
        below, above = self.processes.to_neighbours(up=last, down=first)
        others = [[0, 0]] * (wide.shape.rank - 2)
        below = tf.pad(below, [[0, 0], [0, planes - width], *others])
        above = tf.pad(above, [[0, 0], [planes - width, 0], *others])
        return wide[:, width:-width] + below + above

    def require_wide_enough(self, reach: tf.Tensor, planes: int) -> list[tf.Operation]:
        """Refuse a halo that is too narrow; all processes do so together.

        Args:
            reach: Planes beyond the slab that particles of this process are spread to, scalar.
            planes: Planes of a slab.

        Returns:
            In a graph, what must run before the halo is used.

        Raises:
            ValueError: If a particle of any process reaches beyond the halo; in a graph,
                `tf.errors.InvalidArgumentError` when it runs.

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        needed = self.processes.maximum(reach)
        value = known(needed)
        fix = f"Set `halo`, up to the {planes} planes of a slab, or take fewer processes."
        if value is not None:
            checks.require(
                bool(value <= self.width), "halo", f"be at least {value:g}", self.width, fix
            )
            return []
        words = tf.strings.format(
            "`halo` must be at least {}. Received: " + f"{self.width}. {fix}",
            tf.cast(needed, tf.int32),
        )
        return [tf.debugging.Assert(needed <= self.width, [words])]


class Slab(NamedTuple):
    """Where a slab with its halo lies in the whole mesh.

    Attributes:
        first: First plane of the slab.
        planes: Planes of the slab.
        side: Planes of the whole mesh.
        width: Planes of the halo on either side.
        window: How particles are spread, "cic" or "tsc".
    """

    first: int
    planes: int
    side: int
    width: int
    window: str

    def inside(self, position: tf.Tensor) -> tf.Tensor:
        """Positions counted from the first plane of the halo.

        Args:
            position: Positions in cells (they wrap around), [batch, num_particles, 3].

        Returns:
            Positions (cells), in the same shape.

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        x = self._from_slab(position) + float(self.width)
        return tf.concat([x[..., None], position[..., 1:]], axis=-1)

    def reach(self, position: tf.Tensor) -> tf.Tensor:
        """Planes beyond the slab that particles are spread to, infinite where one is nowhere.

        Args:
            position: Positions in cells (they wrap around), [batch, num_particles, 3].

        Returns:
            Number of planes, scalar.

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        x = self._from_slab(tf.stop_gradient(position))
        low, high = tf.reduce_min(x), tf.reduce_max(x)
        if self.window == "cic":
            low, high = tf.floor(low), tf.floor(high) + 1
        else:
            low, high = tf.floor(low + 0.5) - 1, tf.floor(high + 0.5) + 1
        reach = tf.maximum(tf.maximum(-low, high - (self.planes - 1)), 0)
        is_somewhere = tf.reduce_all(tf.math.is_finite(x))
        return tf.where(is_somewhere, reach, tf.constant(float("inf"), x.dtype))

    def _from_slab(self, position: tf.Tensor) -> tf.Tensor:
        """Planes from the first of the slab to the nearest periodic image."""
        x = position[..., 0] - float(self.first)
        around = tf.round((x - (self.planes - 1) / 2) / self.side)
        return x - self.side * tf.stop_gradient(around)
