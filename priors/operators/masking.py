"""Images of which some pixels were seen."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core.types import TensorLike
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class Mask(base.AbstractLinearOperator):
    """Linear operator that multiplies a real or complex map by a mask; its own adjoint.

    Attributes:
        mask: Weights of the pixels, 0 to 1 or boolean, shape [ny, nx].

    Raises:
        ValueError: If `mask` has not two axes, lies outside [0, 1] or is zero everywhere.
    """

    mask: TensorLike

    takes_complex = None
    gives_complex = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", base.mask_tensor(self.mask))

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the map, (ny, nx)."""
        return tuple(self.mask.shape)

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.mask, x.dtype) * x

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return self._forward(y)
