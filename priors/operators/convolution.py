"""Images blurred by a point-spread function."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.numerics import fourier
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class Convolution(base.AbstractLinearOperator):
    """Linear operator that convolves real, periodic images with a point-spread function.

    A point source at a pixel becomes the point-spread function with its centre there. Each band
    may have its own. Differentiable with respect to `psf` too.

    Attributes:
        psf: Point-spread functions (any unit), shape [py, px] or [..., py, px], where the leading
            axes broadcast to those of `shape`; the centre is the pixel (py // 2, px // 2). They
            are used as given: one that sums to 1 keeps the flux.
        shape: Sides of the image, (ny, nx), or (num_bands, ny, nx) for one of several bands; its
            pixels are at least those of `psf`.

    Raises:
        ValueError: If `shape` is not two or more positive integers, or `psf` has less than two
            axes, is not finite, is larger than the image or does not broadcast to it.
        TypeError: If `psf` is complex.
    """

    psf: TensorLike
    shape: tuple[int, ...] = static()

    def __post_init__(self) -> None:
        shape = base.image_shape(self.shape)
        psf = base.real_numbers(self.psf, "psf")
        checks.rank(psf, "psf", tuple(range(2, len(shape) + 1)))
        fits = all(p <= n for p, n in zip(psf.shape[-2:], shape[-2:], strict=True))
        checks.require(fits, "psf", f"fit into a map of {shape[-2:]} pixels", psf.shape)
        # From the last axis on: a point-spread function without bands serves them all.
        pairs = zip(psf.shape[-3::-1], shape[-3::-1], strict=False)
        fits = all(p in (1, n) for p, n in pairs)
        checks.require(fits, "psf", f"have one or {shape[:-2]} bands", psf.shape)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "psf", psf)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(x, self._transfer())

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return fourier.filter2(y, tf.math.conj(self._transfer()))

    def _transfer(self) -> tf.Tensor:
        """Transform of the point-spread functions centred on the first pixel."""
        (py, px), (ny, nx) = self.psf.shape[-2:], self.shape[-2:]
        bands = [[0, 0]] * (self.psf.shape.rank - 2)
        padded = tf.pad(self.psf, [*bands, [0, ny - py], [0, nx - px]])
        return fourier.rfft2(tf.roll(padded, [-(py // 2), -(px // 2)], axis=[-2, -1]))
