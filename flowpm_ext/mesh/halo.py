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
        width: Planes on either side; those beyond the slabs of the neighbours are handed on by
            them.
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
        wide, up, down = [field], field, field
        for width in self._hops(field.shape[1]):
            up, down = self.processes.to_neighbours(up=up[:, -width:], down=down[:, :width])
            wide = [up, *wide, down]
        return tf.concat(wide, axis=1)

    def folded(self, wide: tf.Tensor) -> tf.Tensor:
        """A slab to which the halos of its neighbours are added.

        Args:
            wide: Sums of any unit, shape [batch, planes + 2 width, ...].

        Returns:
            Sums of the slab, shape [batch, planes, ...].

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        planes = wide.shape[1] - 2 * self.width
        hops = self._hops(planes)
        parts = tf.split(wide, [*hops[::-1], planes, *hops], axis=1)
        below, slab, above = parts[: len(hops)], parts[len(hops)], parts[len(hops) + 1 :]
        # From the furthest on, each process passes to the next what it has for it and beyond.
        up = down = None
        for to_above, to_below in zip(above[::-1], below, strict=True):
            up = to_above if up is None else to_above + _padded(up, planes, at_end=False)
            down = to_below if down is None else to_below + _padded(down, planes, at_end=True)
            up, down = self.processes.to_neighbours(up=up, down=down)
        if hops:
            slab += _padded(up, planes, at_end=False) + _padded(down, planes, at_end=True)
        return slab

    def _hops(self, planes: int) -> list[int]:
        """Planes of the halo that each neighbour, near to far, has in its slab."""
        full, rest = divmod(self.width, planes)
        return [planes] * full + [rest] * (rest > 0)

    def require_wide_enough(self, reach: tf.Tensor) -> list[tf.Operation]:
        """Refuse a halo that is too narrow; all processes do so together.

        Args:
            reach: Planes beyond the slab that particles of this process are spread to, scalar.

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
        fix = "Make the mesh with `halo=` at least that."
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

    @property
    def most_beyond(self) -> int:
        """Planes beyond the slab that particles can be spread to, wherever they are."""
        return (self.side - self.planes + 1) // 2 + 2

    def _from_slab(self, position: tf.Tensor) -> tf.Tensor:
        """Planes from the first of the slab to the nearest periodic image."""
        x = position[..., 0] - float(self.first)
        around = tf.round((x - (self.planes - 1) / 2) / self.side)
        return x - self.side * tf.stop_gradient(around)


def _padded(x: tf.Tensor, planes: int, *, at_end: bool) -> tf.Tensor:
    """Planes at the end, or at the beginning, of so many that are zero otherwise."""
    missing = planes - x.shape[1]
    around = [missing, 0] if at_end else [0, missing]
    return tf.pad(x, [[0, 0], around, *[[0, 0]] * (x.shape.rank - 2)])
