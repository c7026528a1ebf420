"""A mesh in slabs, one on the device of each of several processes."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import kernel, zeros
from flowpm_ext.core.types import static
from flowpm_ext.mesh import differences, painting
from flowpm_ext.mesh.base import AbstractMesh
from flowpm_ext.mesh.halo import Halo, Slab
from flowpm_ext.mesh.processes import Processes
from flowpm_ext.numerics import fourier

DEFAULT_HALO = 16


@dataclasses.dataclass(frozen=True)
class ShardedMesh(AbstractMesh):
    """A mesh whose planes along the first axis are shared out to processes, in their order.

    Each process holds a slab of planes and the particles that start in it, and keeps these
    wherever they go: what they reach beyond the slab is exchanged with the neighbours. Modes are
    shared out along the second axis, and are held as [..., ny / num_devices, nz // 2 + 1, nx].

    Attributes:
        shape: Cells along each axis: an integer for a cube, or three.
        window: How particles are spread and read, "cic" or "tsc".
        processes: The processes; this one alone by default.
        halo: Planes on either side of the slab that its particles may reach, 16 for None. They
            may be more than a slab has, and become fewer where they would go around the box.

    Raises:
        ValueError: If `shape` is not one or three positive integers, or does not divide by the
            number of processes, `halo` is not a positive integer, or `window` is unknown.

    References:
        Frigo & Johnson 2005, Proc. IEEE 93, 216, for transforms in slabs.
    """

    processes: Processes | None = static(default=None)  # noqa: RUF009 (a field)
    halo: int | None = static(default=None)

    # XLA has no exchanges, and leaves out the check of the halo.
    is_compilable = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "processes", self.processes or _this_one())
        size = self.num_devices
        checks.require(
            all(side % size == 0 for side in self.shape[:2]),
            "mesh_shape", f"divide by the {size} processes along its first two axes", self.shape,
            _remedy(self.shape, size),
        )  # fmt: skip
        halo = DEFAULT_HALO if self.halo is None else self.halo
        is_good = isinstance(halo, int | np.integer) and halo >= 1
        checks.require(is_good, "halo", "be a positive integer", halo)
        object.__setattr__(self, "halo", min(int(halo), self._slab.most_beyond))

    @property
    def num_devices(self) -> int:
        return self.processes.size

    @property
    def first_plane(self) -> int:
        return self.processes.rank * self.local_shape[0]

    @property
    def local_shape(self) -> tuple[int, int, int]:
        nx, ny, nz = self.shape
        return nx // self.num_devices, ny, nz

    def refined(self, factor: int, window: str) -> Self:
        shape = tuple(factor * side for side in self.shape)
        return dataclasses.replace(self, shape=shape, window=window, halo=factor * self.halo)

    def rfft3(self, field: tf.Tensor) -> tf.Tensor:
        batch, size, (nx, ny, nz) = field.shape[:-3], self.num_devices, self.shape
        modes = fourier.rfft2(field)
        rows = tf.reshape(modes, [_flat(batch), nx // size, size, ny // size, nz // 2 + 1])
        columns = self.processes.all_to_all(tf.transpose(rows, [2, 0, 3, 4, 1]))
        columns = tf.transpose(columns, [1, 2, 3, 0, 4])
        return tf.signal.fft(tf.reshape(columns, _with(batch, modes, self._modes_shape)))

    def irfft3(self, modes: tf.Tensor) -> tf.Tensor:
        batch, size, (nx, ny, nz) = modes.shape[:-3], self.num_devices, self.shape
        columns = tf.signal.ifft(modes)
        columns = tf.reshape(columns, [_flat(batch), ny // size, nz // 2 + 1, size, nx // size])
        rows = self.processes.all_to_all(tf.transpose(columns, [3, 0, 1, 2, 4]))
        rows = tf.transpose(rows, [1, 4, 0, 2, 3])
        rows = tf.reshape(rows, _with(batch, modes, (nx // size, ny, nz // 2 + 1)))
        return fourier.irfft2(rows, nz)

    def differences(self, field: tf.Tensor, is_wide: bool = False) -> tf.Tensor:
        width = differences.REACH + (self.halo if is_wide else 0)
        return _differences(self._halo._replace(width=width).extended(field))

    def wavenumbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, y, z = (k.ravel() for k in fourier.wavenumbers(self.shape, 1.0))
        rows = self._modes_shape[0]
        y = y[self.processes.rank * rows :][:rows]
        return x[None, None, :], y[:, None, None], z[None, :, None]

    def mode_weights(self) -> np.ndarray:
        return fourier.half_plane_weights(self.shape[-1])[:, None]

    def widened(self, field: tf.Tensor) -> tf.Tensor:
        return self._halo.extended(field)

    def folded(self, wide: tf.Tensor) -> tf.Tensor:
        return self._halo.folded(wide)

    def spread(self, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        with self._reached(position):
            wide = self._halo.wide_shape(self.local_shape)
            return _spread(position, weight, wide, self._slab)

    def read(self, wide: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return _read(wide, position, self._slab)

    def slopes(self, wide: tf.Tensor, position: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return _slopes(wide, position, weight, self._slab)

    def readout(self, field: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        with self._reached(position):
            return self.read(self.widened(field), position)

    def sum(self, x: tf.Tensor, axis: int | Sequence[int] | None = None) -> tf.Tensor:
        return self.processes.sum(tf.reduce_sum(x, axis))

    def replicated(self, x: tf.Tensor) -> tf.Tensor:
        return self.processes.replicated(x)

    @property
    def _halo(self) -> Halo:
        return Halo(self.processes, self.halo)

    @property
    def _modes_shape(self) -> tuple[int, int, int]:
        nx, ny, nz = self.shape
        return ny // self.num_devices, nz // 2 + 1, nx

    @property
    def _slab(self) -> Slab:
        planes = self.local_shape[0]
        return Slab(self.first_plane, planes, self.shape[0], self.halo, self.window)

    def _reached(self, position: tf.Tensor) -> contextlib.AbstractContextManager:
        """Where what uses the halo belongs: it runs after the check that the halo is enough."""
        reach = _reach(position, self._slab)
        before = self._halo.require_wide_enough(reach)
        return tf.control_dependencies(before)


@functools.cache
def _this_one() -> Processes:
    return Processes()


# What a process does without the others is compiled: ten times quicker than operation by operation.
@kernel
def _reach(position: tf.Tensor, slab: Slab) -> tf.Tensor:
    return slab.reach(position)


@kernel
def _spread(
    position: tf.Tensor, weight: tf.Tensor | None, sides: tuple[int, ...], slab: Slab
) -> tf.Tensor:
    channels = [] if weight is None else weight.shape[2:].as_list()
    empty = zeros([tf.shape(position)[0], *sides, *channels], position.dtype)
    empty = tf.ensure_shape(empty, [position.shape[0], *sides, *channels])
    return painting.paint(empty, slab.inside(position), weight, slab.window)


@kernel
def _read(wide: tf.Tensor, position: tf.Tensor, slab: Slab) -> tf.Tensor:
    return painting.readout(wide, slab.inside(position), slab.window)


@kernel
def _slopes(wide: tf.Tensor, position: tf.Tensor, weight: tf.Tensor, slab: Slab) -> tf.Tensor:
    return painting.slopes(wide, slab.inside(position), weight, slab.window)


_differences = kernel(differences.between)


def _flat(batch: tf.TensorShape) -> int:
    """Length of leading axes taken as one, -1 where it is not known."""
    return batch.num_elements() if batch.is_fully_defined() else -1


def _with(batch: tf.TensorShape, x: tf.Tensor, sides: Sequence[int]) -> Sequence[int] | tf.Tensor:
    """Leading axes of x before other sides."""
    if batch.is_fully_defined():
        return [*batch, *sides]
    return tf.concat([tf.shape(x)[:-3], sides], axis=0)


def _remedy(shape: Sequence[int], size: int) -> str:
    """Numbers that would do."""
    common = math.gcd(*shape[:2])
    fewer = max(n for n in range(1, size + 1) if common % n == 0)
    sides = [-(-side // size) * size for side in shape[:2]] + [shape[2]]
    return f"Take {fewer} processes, or a mesh of {tuple(sides)}."
