"""Sources of several colours, seen together in several bands."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.numerics import fourier
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class Mixing(base.AbstractLinearOperator):
    """Linear operator that adds up sources in each band: Y = A S.

    Each source has one image, the same in all bands up to its brightness there. Differentiable
    with respect to `sed` too.

    Attributes:
        sed: Spectral energy distributions A: brightness of each source in each band (any unit),
            shape [num_bands, num_sources].
        pixels: Pixels of an image of one source, (ny, nx).

    Raises:
        ValueError: If `sed` has not two axes or is not finite, or `pixels` are not two positive
            integers.
        TypeError: If `sed` is complex.

    References:
        Melchior et al. 2018, Astron. Comput. 24, 129, arXiv:1802.10157.
    """

    sed: TensorLike
    pixels: tuple[int, int] = static()

    def __post_init__(self) -> None:
        sed = base.real_numbers(self.sed, "sed")
        checks.rank(sed, "sed", 2)
        object.__setattr__(self, "sed", sed)
        object.__setattr__(self, "pixels", base.map_shape(self.pixels, "pixels"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sides of the images of all sources, (num_sources, ny, nx)."""
        return (self.sed.shape[1], *self.pixels)

    @property
    def data_shape(self) -> tuple[int, int, int]:
        """Sides of the images in all bands, (num_bands, ny, nx)."""
        return (self.sed.shape[0], *self.pixels)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return tf.einsum("bs,...syx->...byx", tf.cast(self.sed, x.dtype), x)

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return tf.einsum("bs,...byx->...syx", tf.cast(self.sed, y.dtype), y)


@dataclasses.dataclass(frozen=True)
class ModeMixing(base.AbstractLinearOperator):
    """Linear operator that mixes real, periodic images of several sources mode by mode.

    Convolutions, shifts and mixing of sources in one: in each Fourier mode the data are a matrix
    times the sources.

    Attributes:
        matrix: Complex multipliers (any unit) on the half plane of `numerics.fourier.rfft2`,
            shape [num_data, num_sources, ny, nx // 2 + 1].
        nx: Pixels along x, which the half plane leaves open.

    Raises:
        ValueError: If `matrix` has not four axes or does not fit `nx`.
        TypeError: If `matrix` is not complex.
    """

    matrix: TensorLike
    nx: int = static()

    def __post_init__(self) -> None:
        matrix = tf.convert_to_tensor(self.matrix, name="matrix")
        checks.rank(matrix, "matrix", 4)
        kind = matrix.dtype
        checks.require(kind.is_complex, "matrix", "be complex", kind.name, error=TypeError)
        checks.positive_integers(nx=self.nx)
        fits = matrix.shape[-1] == self.nx // 2 + 1
        checks.require(fits, "matrix", f"have {self.nx // 2 + 1} columns", matrix.shape)
        object.__setattr__(self, "matrix", matrix)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sides of the images of all sources, (num_sources, ny, nx)."""
        return (self.matrix.shape[1], self.matrix.shape[2], self.nx)

    @property
    def data_shape(self) -> tuple[int, int, int]:
        """Sides of the data, (num_data, ny, nx)."""
        return (self.matrix.shape[0], self.matrix.shape[2], self.nx)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        modes = fourier.rfft2(x)[..., tf.newaxis, :, :, :]
        mixed = tf.reduce_sum(tf.cast(self.matrix, modes.dtype) * modes, axis=-3)
        return fourier.irfft2(mixed, self.nx)

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        modes = fourier.rfft2(y)[..., :, tf.newaxis, :, :]
        matrix = tf.math.conj(tf.cast(self.matrix, modes.dtype))
        return fourier.irfft2(tf.reduce_sum(matrix * modes, axis=-4), self.nx)
