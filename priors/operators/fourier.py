"""Images seen through some of their Fourier modes, as an interferometer or an MRI scanner does."""

import dataclasses

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import TensorLike
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class MaskedFourier(base.AbstractLinearOperator):
    """Linear operator from a real map to the Fourier modes that were measured.

    y = mask · fft2(x) / sqrt(ny nx): unitary where the mask is one, and zero elsewhere.

    Attributes:
        mask: Which modes are measured, 0 to 1 or boolean, in FFT layout (zero frequency first),
            shape [ny, nx].

    Raises:
        ValueError: If `mask` has not two axes, lies outside [0, 1] or measures nothing.
    """

    mask: TensorLike

    gives_complex = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", base.mask_tensor(self.mask))

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the map, (ny, nx)."""
        return tuple(self.mask.shape)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        modes = tf.signal.fft2d(tf.complex(x, tf.zeros_like(x)))
        return modes * self._scaled(modes.dtype, np.prod(self.shape) ** -0.5)

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        modes = y * self._scaled(y.dtype, np.prod(self.shape) ** 0.5)
        return tf.math.real(tf.signal.ifft2d(modes))

    def _scaled(self, dtype: tf.DType, scale: float) -> tf.Tensor:
        return tf.cast(self.mask, dtype) * tf.constant(scale, dtype)
