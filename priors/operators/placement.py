"""Small images at their places in a larger frame."""

import dataclasses

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.numerics import fourier
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class Padding(base.AbstractLinearOperator):
    """Linear operator that puts a frame of zeros around a real or complex image.

    Attributes:
        margin: Pixels of the frame on each side.
        shape: Sides of the image without it, (ny, nx) or (..., ny, nx).

    Raises:
        ValueError: If `margin` is not a positive integer, or `shape` is not two or more positive
            integers.
    """

    margin: int = static()
    shape: tuple[int, ...] = static()

    takes_complex = None
    gives_complex = None

    def __post_init__(self) -> None:
        checks.positive_integers(margin=self.margin)
        object.__setattr__(self, "margin", int(self.margin))
        object.__setattr__(self, "shape", base.image_shape(self.shape))

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Sides of the image with its frame."""
        return (*self.shape[:-2], *(n + 2 * self.margin for n in self.shape[-2:]))

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        frame = [[self.margin, self.margin]] * 2
        return tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + frame)

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        inside = slice(self.margin, -self.margin)
        return y[..., inside, inside]


@dataclasses.dataclass(frozen=True)
class Shift(base.AbstractLinearOperator):
    """Linear operator that moves real, periodic images, by fractions of a pixel too.

    What lies between pixels is the band-limited image: a wave moves with its phase. At the
    Nyquist frequency a real wave moved by half a pixel vanishes. Differentiable with respect to
    `offset` too.

    Attributes:
        offset: How far each image moves along y and x (pixels), shape [2], or [num_sources, 2]
            for one of several images.
        shape: Sides of the image, (ny, nx) or (num_sources, ny, nx).

    Raises:
        ValueError: If `shape` is not two or more positive integers, or `offset` does not end in
            an axis of two, is not finite, or is not one for all images or one for each.
        TypeError: If `offset` is complex.

    References:
        Bracewell 2000, The Fourier Transform and Its Applications, chapter 6 (shift theorem).
    """

    offset: TensorLike
    shape: tuple[int, ...] = static()

    def __post_init__(self) -> None:
        shape = base.image_shape(self.shape)
        offset = base.real_numbers(self.offset, "offset")
        fits = tuple(offset.shape) in ((2,), (*shape[:-2], 2))
        checks.require(fits, "offset", f"have shape (2,) or {(*shape[:-2], 2)}", offset.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "offset", offset)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(x, self._transfer(x.dtype))

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(y, tf.math.conj(self._transfer(y.dtype)))

    def _transfer(self, dtype: tf.DType) -> tf.Tensor:
        """Phases of the waves, [..., ny, nx // 2 + 1]."""
        offset = tf.cast(self.offset, dtype)[..., None, None]
        waves = fourier.wavenumbers(self.shape[-2:], 1.0)
        along = [_phases(k, offset[..., i, :, :]) for i, k in enumerate(waves)]
        return along[0] * along[1]


def _phases(k: np.ndarray, offset: tf.Tensor) -> tf.Tensor:
    """exp(-i k offset); at the Nyquist frequency its real part, as for a wave of both signs."""
    angle = tf.constant(k, offset.dtype) * offset
    is_odd = tf.constant(np.abs(k) < np.pi * (1 - 1e-9), offset.dtype)
    return tf.complex(tf.cos(angle), -tf.sin(angle) * is_odd)
