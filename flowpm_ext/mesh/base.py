"""What a periodic mesh can do: the one seam between one device and many."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import kernel, unfolded
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import Structure, static
from flowpm_ext.mesh import painting


@dataclasses.dataclass(frozen=True)
class AbstractMesh(Structure, abc.ABC):
    """A periodic mesh of cubic cells in three dimensions, and the particles around it.

    Physics is written against these operations and never against how the mesh is stored. A
    field is the part of the mesh that this device holds, [batch, *local_shape], and modes are
    its part of the half space of Fourier modes. Every operation has its adjoint. Meshes with
    equal options are equal, so that one of them serves a compiled function as well as another.

    Attributes:
        shape: Cells along each axis of the whole mesh: an integer for a cube, or three.
        window: How particles are spread and read, "cic" or "tsc".

    Raises:
        ValueError: If `shape` is not one or three positive integers, or `window` is unknown.
    """

    shape: tuple[int, int, int] = static()
    window: str = static(default="cic")

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", mesh_sides(self.shape))
        checks.one_of(self.window, "window", painting.WINDOWS)

    @property
    def num_devices(self) -> int:
        """Devices that hold the mesh, all of them equal parts."""
        return 1

    @property
    def first_plane(self) -> int:
        """The first of the planes along the first axis that are held here."""
        return 0

    def refined(self, factor: int, window: str) -> Self:
        """A mesh on the same devices with other cells.

        Args:
            factor: New cells along one of the old.
            window: How particles are spread and read on it, "cic" or "tsc".

        Returns:
            The mesh.
        """
        shape = tuple(factor * side for side in self.shape)
        return dataclasses.replace(self, shape=shape, window=window)

    @property
    @abc.abstractmethod
    def local_shape(self) -> tuple[int, int, int]:
        """Cells along each axis of the part of the mesh held here."""

    @abc.abstractmethod
    def rfft3(self, field: tf.Tensor) -> tf.Tensor:
        """Unnormalised Fourier modes of real fields [..., *local_shape]."""

    @abc.abstractmethod
    def irfft3(self, modes: tf.Tensor) -> tf.Tensor:
        """Real fields [..., *local_shape] from modes; the inverse of `rfft3`."""

    def alone(self, function: Callable) -> Callable:
        """A function of what is held here, to call where it asks nothing of other devices.

        Where XLA cannot compile what surrounds it, it is compiled by itself: ten times quicker
        than operation by operation. `function` is one of a module, not made for the call.
        """
        return function if self.is_compilable else _kernel_of(function)

    @abc.abstractmethod
    def differences(self, field: tf.Tensor, is_wide: bool = False) -> tf.Tensor:
        """Central differences of fourth order along the axes, [batch, *local_shape, 3].

        `field` has shape [batch, *local_shape]. If `is_wide`, the result is there for all cells
        that particles held here may reach, as `widened` would make it of the differences.
        """

    @abc.abstractmethod
    def wavenumbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Wavenumbers along each axis (radians per cell) of the modes held here, to broadcast.

        The Nyquist frequency of an even side is negative on the first two axes.
        """

    @abc.abstractmethod
    def mode_weights(self) -> np.ndarray:
        """How many modes each one held here stands for, 1 or 2, ready to broadcast."""

    def lattice(self, dtype: tf.DType = tf.float32) -> tf.Tensor:
        """Corners of the cells held here, in cells: shape [num_cells, 3]."""
        sides = [np.arange(n) for n in self.local_shape]
        sides[0] += self.first_plane
        axes = tf.meshgrid(*(unfolded(side, dtype) for side in sides), indexing="ij")
        return tf.reshape(tf.stack(axes, axis=-1), [-1, 3])

    @abc.abstractmethod
    def widened(self, field: tf.Tensor) -> tf.Tensor:
        """Fields [batch, *local_shape, ...] on all cells that particles held here may reach.

        Those cells are the wide part of the mesh. Where one device holds the whole mesh it is that.
        """

    @abc.abstractmethod
    def folded(self, wide: tf.Tensor) -> tf.Tensor:
        """What all devices have on the wide parts, added up on the cells that each holds.

        The adjoint of `widened`.
        """

    @abc.abstractmethod
    def spread(self, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        """Mass of the particles held here, as for `paint`, on the wide part."""

    @abc.abstractmethod
    def read(self, wide: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Values of a wide part at positions (cells) that were spread before.

        `wide` has shape [batch, cells of the wide part, ...], the result
        [batch, num_particles, ...].
        """

    @abc.abstractmethod
    def slopes(self, wide: tf.Tensor, position: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """Slopes of a wide part with channels at positions that were spread before.

        Args:
            wide: A wide part, [batch, cells of the wide part, channels].
            position: Positions in cells, [batch, num_particles, 3].
            weight: Factor of each channel, [batch, num_particles, channels].

        Returns:
            Gradient by the positions of the sum over channels of weight times what `read`
            finds, [batch, num_particles, 3].
        """

    def paint(self, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        """Fields of the mass of particles at positions [batch, num_particles, 3] (cells).

        `weight` is the mass of each particle in mean cells, [batch, num_particles]; 1 by default.
        """
        return self.folded(self.spread(position, weight))

    @abc.abstractmethod
    def readout(self, field: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        """Values [batch, num_particles, ...] at positions (cells) of [batch, *local_shape, ...]."""

    def white_noise(
        self, seed: int | tf.Tensor, batch_size: int = 1, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        """Independent normal numbers of unit variance, [batch_size, *local_shape].

        They depend on the seed, the shape of the mesh and the place in the batch, and on nothing
        else: every plane is drawn from its own seed.
        """
        _, *plane = self.shape
        num_here = self.local_shape[0]

        def draw(number: tf.Tensor) -> tf.Tensor:
            realization = fold(seed, number // num_here)
            place = self.first_plane + number % num_here
            return standard_normal(plane, fold(realization, place), dtype)

        numbers = tf.range(batch_size * num_here)
        planes = tf.map_fn(draw, numbers, fn_output_signature=tf.TensorSpec(plane, dtype))
        return tf.reshape(planes, [batch_size, num_here, *plane])

    @abc.abstractmethod
    def sum(self, x: tf.Tensor, axis: int | Sequence[int] | None = None) -> tf.Tensor:
        """Sum over axes of what every device holds; `axis=()` only adds up the devices.

        Every device has the result, and the same gradient by it. Where it is used with what each
        has a part of, it goes through `replicated`.
        """

    @abc.abstractmethod
    def replicated(self, x: tf.Tensor) -> tf.Tensor:
        """What every device has, for use with what each has a part of.

        The same numbers. The gradient by them is added up over the devices, so that every device
        has the whole of it.
        """

    def mean(self, field: tf.Tensor) -> tf.Tensor:
        """Mean of each field [batch, *local_shape] over the whole mesh: [batch, 1, 1, 1].

        Made to be combined with fields: what is no field, such as a loss, takes `sum`.
        """
        total = self.replicated(self.sum(field, axis=(1, 2, 3)))
        return total[:, None, None, None] / float(np.prod(self.shape))


@functools.cache
def _kernel_of(function: Callable) -> Callable:
    return kernel(function)


def mesh_sides(
    shape: int | Sequence[int] | AbstractMesh, name: str = "mesh_shape"
) -> tuple[int, int, int]:
    """Cells along three axes, from one integer for a cube or from three.

    Args:
        shape: What was received; a mesh has the sides it has.
        name: Name of the argument, for the message.

    Returns:
        Three positive integers.

    Raises:
        ValueError: If it is neither one positive integer nor three.
    """
    sides = np.asarray(shape.shape if isinstance(shape, AbstractMesh) else shape)
    is_whole = sides.dtype.kind in "iu" or (
        sides.dtype.kind == "f" and bool(np.all(np.isfinite(sides) & (sides == np.round(sides))))
    )
    is_good = is_whole and sides.shape in ((), (3,)) and bool(np.all(sides >= 1))
    checks.require(is_good, name, "be a positive integer, or three", shape)
    nx, ny, nz = np.broadcast_to(sides, 3).tolist()
    return int(nx), int(ny), int(nz)
