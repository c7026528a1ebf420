"""The whole mesh on one device."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core.compile import compiled, zeros
from flowpm_ext.mesh import differences, painting
from flowpm_ext.mesh.base import AbstractMesh
from flowpm_ext.numerics import fourier


@dataclasses.dataclass(frozen=True)
class LocalMesh(AbstractMesh):
    """A mesh that one device holds.

    Attributes:
        shape: Cells along each axis: an integer for a cube, or three.
        window: How particles are spread and read, "cic" or "tsc".

    Raises:
        ValueError: If `shape` is not one or three positive integers, or `window` is unknown.
    """

    @property
    def local_shape(self) -> tuple[int, int, int]:
        return self.shape

    def rfft3(self, field: tf.Tensor) -> tf.Tensor:
        return fourier.rfft3(field)

    def irfft3(self, modes: tf.Tensor) -> tf.Tensor:
        return fourier.irfft3(modes, self.shape[-1])

    def differences(self, field: tf.Tensor, is_wide: bool = False) -> tf.Tensor:
        return differences.periodic(field)

    def wavenumbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return fourier.wavenumbers(self.shape, 1.0)

    def mode_weights(self) -> np.ndarray:
        return fourier.half_plane_weights(self.shape[-1])

    def widened(self, field: tf.Tensor) -> tf.Tensor:
        return field

    def folded(self, wide: tf.Tensor) -> tf.Tensor:
        return wide

    @compiled
    def spread(self, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        shape = [*self.shape, *([] if weight is None else weight.shape[2:])]
        empty = zeros([tf.shape(position)[0], *shape], position.dtype)
        return painting.paint(empty, position, weight, self.window)

    @compiled
    def read(self, wide: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return painting.readout(wide, position, self.window)

    @compiled
    def slopes(self, wide: tf.Tensor, position: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return painting.slopes(wide, position, weight, self.window)

    def readout(self, field: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return self.read(field, position)

    def sum(self, x: tf.Tensor, axis: int | Sequence[int] | None = None) -> tf.Tensor:
        return tf.reduce_sum(x, axis)

    def replicated(self, x: tf.Tensor) -> tf.Tensor:
        return x
