"""Lens planes: the matter of slabs of a box, projected along the line of sight."""

import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_uniform
from flowpm_ext.core.types import Structure, TensorLike, cast, floating, is_fixed, static
from flowpm_ext.mesh import AbstractMesh, painting
from flowpm_ext.pm.potential_descent import BandPassedGravity
from flowpm_ext.pm.views import Look

# The 48 ways to turn and mirror a cube onto itself.
TURNS = np.array(
    [
        np.eye(3)[list(order)] * signs
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
)


@dataclasses.dataclass(frozen=True)
class LensPlanes(Structure):
    """Matter between here and the sources, in slabs of equal thickness; the nearest comes first.

    Planes are periodic. The observer looks along their normal, through the middle of each.
    Distances that are no tensors stay arrays: what follows from them and from a cosmology of
    numbers is then no part of a program.

    Attributes:
        overdensity: Mean overdensity of each slab along the line of sight, shape
            [num_planes, batch, ny, nx].
        chi: Comoving distances of the middle of the slabs (Mpc/h), shape [num_planes].
        thickness: Of a slab (Mpc/h), a scalar.
        side: Of a plane (Mpc/h), a scalar.
    """

    overdensity: TensorLike
    chi: TensorLike
    thickness: TensorLike
    side: TensorLike

    def __post_init__(self) -> None:
        object.__setattr__(self, "overdensity", tf.convert_to_tensor(self.overdensity))
        dtype = floating(self.chi)
        for name in ("chi", "thickness", "side"):
            value = getattr(self, name)
            is_number = is_fixed(value)
            value = np.asarray(value, dtype.as_numpy_dtype) if is_number else cast(value, dtype)
            object.__setattr__(self, name, value)

    @property
    def num_planes(self) -> int:
        """Number of planes."""
        return self.overdensity.shape[0]


@dataclasses.dataclass(frozen=True)
class Slab(Look):
    """Mean overdensity of a slab of a cubic box along one of its axes.

    Every particle of the slab is on the plane with its whole mass: the sum over a plane is the
    number of particles in the slab, for a slab that is the whole box that of all.

    Attributes:
        batch_size: Number of light cones.
        num_boxes: Boxes that follow each other along each of them; those of one light cone are
            neighbours along the batch axis of the particles.
        num_cells: Cells of the particle positions along a side.
        num_pixels: Pixels of the plane along a side.
        num_slabs: Slabs in a box.
        window: How particles are spread, "cic" or "tsc".
        descent: What moves the particles before they are seen, or None.
        mesh: The mesh whose devices hold the particles; None for this device.
    """

    batch_size: int = static()
    num_boxes: int = static()
    num_cells: int = static()
    num_pixels: int = static()
    num_slabs: int = static(default=1)
    window: str = static(default="cic")
    descent: BandPassedGravity | None = static(default=None)  # noqa: RUF009 (a field)
    mesh: AbstractMesh | None = static(default=None)  # noqa: RUF009 (a field)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.batch_size, self.num_pixels, self.num_pixels

    def __call__(
        self,
        position: tf.Tensor,
        turn: tf.Tensor,
        shift: tf.Tensor,
        box: tf.Tensor,
        alpha: tf.Tensor | None = None,
        band: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mean overdensity along the third axis of the turned and shifted box.

        Args:
            position: Positions (cells), shape [batch_size * num_boxes, num_particles, 3].
            turn: Rotation, maybe with a reflection, shape [batch_size, 3, 3]; a constant.
            shift: Shift after the rotation (cells), shape [batch_size, 3]; a constant.
            box: Which of the boxes, a whole number.
            alpha: Strength of the descent, shape [batch_size or 1, 1, 1].
            band: Both ends of its band (radians per cell), shape [2].

        Returns:
            Overdensity, shape [batch_size, num_pixels, num_pixels].
        """
        # Drawn at random: their gradient would be three sums over all particles for nobody.
        turn, shift = tf.stop_gradient(turn), tf.stop_gradient(shift)
        if self.num_boxes > 1:
            shape = [self.batch_size, self.num_boxes, *position.shape[1:]]
            position = tf.gather(tf.reshape(position, shape), tf.cast(box, tf.int32), axis=1)
        if self.descent is not None:
            position += alpha * self.descent(position, band)
        # Axis by axis, of which most planes need two: cheaper than products of small matrices.
        parts = tf.unstack(position, axis=-1)

        def turned(axis: int) -> tf.Tensor:
            along = zip(parts, tf.unstack(turn[..., axis, None], axis=1), strict=True)
            return sum(part * factor for part, factor in along) + shift[:, axis, None]

        mass = None
        if self.num_slabs > 1:
            depth = tf.math.floormod(turned(2), float(self.num_cells))
            mass = tf.cast(depth < self.num_cells / self.num_slabs, position.dtype)
        plane = tf.zeros(self.shape, position.dtype)
        pixels = tf.stack([turned(0), turned(1)], axis=-1) * (self.num_pixels / self.num_cells)
        plane = painting.paint(plane, pixels, mass, self.window)
        num_particles = position.shape[1]
        if self.mesh is not None:
            plane = self.mesh.sum(plane, axis=())
            num_particles *= self.mesh.num_devices
        mean = num_particles / (self.num_slabs * self.num_pixels**2)
        return plane / mean - 1


def orientations(
    num_planes: int, look: Slab, seed: int | tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How each slab is turned, shifted and from which box it is cut, at random.

    Slabs of one box that follow each other are turned and shifted alike, so that together they
    are the box. With one box for all of a light cone, structure comes back from another side.

    Args:
        num_planes: Number of planes.
        look: The slab.
        seed: An integer, or a stateless seed of shape [2].
        dtype: float32 or float64.

    Returns:
        Rotations [num_planes, batch, 3, 3], shifts (cells) [num_planes, batch, 3] and the
        number of the box [num_planes], the nearest plane first.
    """
    crossing = np.arange(num_planes) // look.num_slabs  # boxes in the order of the line of sight
    num_crossings = int(crossing[-1]) + 1
    shape = [num_crossings, look.batch_size]
    number = tf.random.stateless_uniform(
        shape, fold(seed, 0), 0, len(TURNS), dtype=tf.int32, alg="philox"
    )
    unit = standard_uniform([*shape, 3], fold(seed, 1), dtype)
    turn = tf.gather(tf.gather(tf.constant(TURNS, dtype), number), crossing)
    shift = tf.gather(look.num_cells * unit, crossing)
    depth = (np.arange(num_planes) % look.num_slabs) * look.num_cells / look.num_slabs
    shift -= tf.constant(depth[:, None, None] * np.array([0.0, 0.0, 1.0]), dtype)
    return turn, shift, tf.constant(crossing % look.num_boxes, dtype)
