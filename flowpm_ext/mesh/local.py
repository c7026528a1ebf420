"""The whole mesh on one device."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import unfolded, zeros
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import static
from flowpm_ext.mesh import painting
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

    window: str = static(default="cic")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of(self.window, "window", painting.WINDOWS)

    @property
    def local_shape(self) -> tuple[int, int, int]:
        return self.shape

    def rfft3(self, field: tf.Tensor) -> tf.Tensor:
        return fourier.rfft3(field)

    def irfft3(self, modes: tf.Tensor) -> tf.Tensor:
        return fourier.irfft3(modes, self.shape[-1])

    def roll(self, field: tf.Tensor, shift: int, axis: int) -> tf.Tensor:
        return tf.roll(field, shift, axis + 1)

    def wavenumbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return fourier.wavenumbers(self.shape, 1.0)

    def mode_weights(self) -> np.ndarray:
        return fourier.half_plane_weights(self.shape[-1])

    def lattice(self, dtype: tf.DType = tf.float32) -> tf.Tensor:
        axes = tf.meshgrid(*(unfolded(np.arange(n), dtype) for n in self.shape), indexing="ij")
        return tf.reshape(tf.stack(axes, axis=-1), [-1, 3])

    def paint(self, position: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        shape = [*self.shape, *([] if weight is None else weight.shape[2:])]
        empty = zeros([tf.shape(position)[0], *shape], position.dtype)
        return painting.paint(tf.ensure_shape(empty, [None, *shape]), position, weight, self.window)

    def readout(self, field: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
        return painting.readout(field, position, self.window)

    def slopes(self, field: tf.Tensor, position: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return painting.slopes(field, position, weight, self.window)

    def white_noise(
        self, seed: int | tf.Tensor, batch_size: int = 1, dtype: tf.DType = tf.float32
    ) -> tf.Tensor:
        num_planes, *plane = self.shape

        def draw(number: tf.Tensor) -> tf.Tensor:
            realization = fold(seed, number // num_planes)
            return standard_normal(plane, fold(realization, number % num_planes), dtype)

        numbers = tf.range(batch_size * num_planes)
        planes = tf.map_fn(draw, numbers, fn_output_signature=tf.TensorSpec(plane, dtype))
        return tf.reshape(planes, [batch_size, *self.shape])

    def sum(self, x: tf.Tensor, axis: int | Sequence[int] | None = None) -> tf.Tensor:
        return tf.reduce_sum(x, axis)
