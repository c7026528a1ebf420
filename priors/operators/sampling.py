"""Images seen with coarser pixels."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import static
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class DownSampling(base.AbstractLinearOperator):
    """Linear operator that averages a real or complex image over squares of pixels.

    Attributes:
        factor: Fine pixels along each side of a coarse one.
        shape: Sides of the fine image, (ny, nx) or (..., ny, nx); both pixel sides divide by
            `factor`.

    Raises:
        ValueError: If `factor` is not a positive integer, `shape` is not two or more positive
            integers, or a side does not divide.
    """

    factor: int = static()
    shape: tuple[int, ...] = static()

    takes_complex = None
    gives_complex = None

    def __post_init__(self) -> None:
        checks.positive_integers(factor=self.factor)
        shape = base.image_shape(self.shape)
        divides = all(n % self.factor == 0 for n in shape[-2:])
        checks.require(divides, "shape", f"have pixels that divide by {self.factor}", shape)
        object.__setattr__(self, "factor", int(self.factor))
        object.__setattr__(self, "shape", shape)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Sides of the coarse image."""
        return (*self.shape[:-2], *(n // self.factor for n in self.shape[-2:]))

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        ny, nx = self.data_shape[-2:]
        lead = tf.shape(x)[:-2]
        blocks = tf.reshape(x, tf.concat([lead, [ny, self.factor, nx, self.factor]], axis=0))
        return tf.ensure_shape(tf.reduce_mean(blocks, axis=[-3, -1]), [*x.shape[:-2], ny, nx])

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        share = y / tf.cast(self.factor**2, y.dtype)
        return tf.repeat(tf.repeat(share, self.factor, axis=-2), self.factor, axis=-1)
