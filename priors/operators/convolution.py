"""Images blurred by a point-spread function."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.numerics import fourier
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class Convolution(base.AbstractLinearOperator):
    """Linear operator that convolves a real, periodic map with a point-spread function.

    A point source at a pixel becomes the point-spread function with its centre there.
    Differentiable with respect to `psf` too.

    Attributes:
        psf: Point-spread function (any unit), shape [py, px]; its centre is the pixel
            (py // 2, px // 2). It is used as given: one that sums to 1 keeps the flux.
        shape: Pixels of the map, (ny, nx), at least those of `psf`.

    Raises:
        ValueError: If `shape` is not two positive integers, `psf` has not two axes, is not
            finite, or is larger than the map.
        TypeError: If `psf` is complex.
    """

    psf: TensorLike
    shape: tuple[int, int] = static()

    def __post_init__(self) -> None:
        shape = base.map_shape(self.shape)
        psf = tf.convert_to_tensor(self.psf, name="psf")
        checks.rank(psf, "psf", 2)
        kind = psf.dtype
        checks.require(kind.is_floating, "psf", "be real floats", kind.name, error=TypeError)
        checks.finite(psf, "psf")
        fits = all(p <= n for p, n in zip(psf.shape, shape, strict=True))
        checks.require(fits, "psf", f"fit into a map of {shape} pixels", psf.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "psf", psf)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(x, self._transfer())

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(y, tf.math.conj(self._transfer()))

    def _transfer(self) -> tf.Tensor:
        """Transform of the point-spread function centred on the first pixel."""
        (py, px), (ny, nx) = self.psf.shape, self.shape
        padded = tf.pad(self.psf, [[0, ny - py], [0, nx - px]])
        return fourier.rfft2(tf.roll(padded, [-(py // 2), -(px // 2)], axis=[0, 1]))
