"""The residual network of CMU DeepLens, and a small one of the same kind."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from flowpm_ext.core import checks


class Architecture(NamedTuple):
    """What a network is made of."""

    filters: int
    """Channels of the first convolution."""
    kernel_size: int
    """Its odd width in pixels."""
    stride: int
    """Pixels from one of its cells to the next."""
    stages: tuple[tuple[int, int], ...]
    """Channels inside and outside of the units of each stage, half as fine as the one before."""
    units: int
    """Units in each stage."""


SIZES = {
    "small": Architecture(24, 5, 2, ((16, 32), (32, 64), (48, 96)), 2),
    "deeplens": Architecture(
        32, 7, 1, ((16, 32), (32, 64), (64, 128), (128, 256), (256, 512)), 3
    ),
}  # fmt: skip
MOMENTUM = 0.9  # of the moving averages of batch normalisation: a few epochs are few batches


@keras.saving.register_keras_serializable("lfi")
class DeepLens(keras.layers.Layer):
    """Stages of bottleneck units that add to what they were given, and the mean over the stamp.

    A unit is three convolutions of width 1, 3 and 1, each but the last with batch normalisation
    and an exponential linear unit, before which both act once more on what comes in. Input
    [batch, ny, nx, num_bands], result [batch, channels of the last stage].

    Args:
        filters: Channels of the first convolution.
        kernel_size: Its odd width in pixels.
        stride: Pixels from one of its cells to the next.
        stages: Channels inside and outside of the units of each stage; each but the first begins
            with a stride of two.
        units: Units in each stage.
        **options: Of a Keras layer.

    Raises:
        ValueError: If a number is not a positive integer, or there is no stage.

    References:
        Lanusse et al. 2018, arXiv:1703.02642, section 3; He et al. 2016, arXiv:1603.05027.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        stride: int,
        stages: Sequence[Sequence[int]],
        units: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(
            filters=filters, kernel_size=kernel_size, stride=stride, units=units
        )
        checks.require(len(stages) > 0, "stages", "name a stage", stages)
        self.architecture = Architecture(
            filters, kernel_size, stride, tuple((int(a), int(b)) for a, b in stages), units
        )
        self.stem = _Step(filters, kernel_size, stride)
        self.blocks, before = [], filters
        for level, (inner, outer) in enumerate(self.architecture.stages):
            for number in range(units):
                shape = inner, outer, 2 if level > 0 and number == 0 else 1
                # What leaves the first convolution is activated already.
                first = level == 0 and number == 0
                self.blocks.append(_Unit(before, *shape, is_activated=first))
                before = outer

    def build(self, shape: tuple[int | None, ...]) -> None:
        for layer in (self.stem, *self.blocks):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        x = self.stem(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return tf.reduce_mean(x, axis=[1, 2])

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], self.architecture.stages[-1][1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.architecture._asdict()


class _Step(keras.layers.Layer):
    """A convolution without bias, batch normalisation, and an exponential linear unit."""

    def __init__(self, filters: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = _convolution(filters, kernel_size, stride, use_bias=False)
        self.norm = keras.layers.BatchNormalization(momentum=MOMENTUM)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.convolution.build(shape)
        self.norm.build(self.compute_output_shape(shape))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        return tf.nn.elu(self.norm(self.convolution(x), training=training))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.convolution.compute_output_shape(shape)


class _Unit(keras.layers.Layer):
    """A bottleneck that adds to what it was given, or to a projection of that."""

    def __init__(
        self, before: int, inner: int, outer: int, stride: int, is_activated: bool
    ) -> None:
        super().__init__()
        self.norm = None
        if not is_activated:
            self.norm = keras.layers.BatchNormalization(momentum=MOMENTUM)
        self.steps = [_Step(inner, 1, stride), _Step(inner, 3)]
        self.last = _convolution(outer, 1)
        self.shortcut = None
        if stride > 1 or before != outer:
            self.shortcut = _convolution(outer, 1, stride)

    def build(self, shape: tuple[int | None, ...]) -> None:
        for layer in (self.norm, self.shortcut):
            if layer is not None:
                layer.build(shape)
        for layer in (*self.steps, self.last):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        y = x if self.norm is None else tf.nn.elu(self.norm(x, training=training))
        passed = x if self.shortcut is None else self.shortcut(y)
        for step in self.steps:
            y = step(y, training=training)
        return passed + self.last(y)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        for layer in (*self.steps, self.last):
            shape = layer.compute_output_shape(shape)
        return shape


def _convolution(
    filters: int, kernel_size: int, stride: int = 1, use_bias: bool = True
) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters, kernel_size, stride, "same", use_bias=use_bias, kernel_initializer="he_normal"
    )
