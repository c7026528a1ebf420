"""Networks that turn maps of any size into a few numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn.convolution import PACKAGE, Convolution

NORMALIZATIONS = (None, "group", "layer")


class _Pyramid(keras.layers.Layer):
    """Stages at coarser and coarser scales, their mean over the map, and a dense layer."""

    def __init__(
        self,
        num_outputs: int,
        channels: Sequence[int],
        blocks: int,
        kernel_size: int,
        padding: str,
        activation: str,
        first_stride: int,
        make_block: Callable[[int], keras.layers.Layer],
        down_activation: str | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(
            num_outputs=num_outputs, blocks=blocks, kernel_size=kernel_size,
            first_stride=first_stride,
        )  # fmt: skip
        checks.require(len(channels) > 0, "channels", "name a stage", channels)
        self.num_outputs, self.channels, self.blocks = num_outputs, tuple(channels), blocks
        self.kernel_size, self.padding, self.activation = kernel_size, padding, activation
        self.first_stride, self.last = first_stride, keras.layers.Dense(num_outputs)
        strides = [first_stride] + [2] * (len(self.channels) - 1)
        self.down = [
            Convolution(width, kernel_size, 2, padding, stride, activation=down_activation)
            for width, stride in zip(self.channels, strides, strict=True)
        ]
        self.steps = [make_block(width) for width in self.channels for _ in range(blocks)]

    @property
    def total_stride(self) -> int:
        """Cells of a map for one of the last stage, along each axis."""
        return self.first_stride * 2 ** (len(self.channels) - 1)

    def build(self, shape: tuple[int | None, ...]) -> None:
        before = shape[3] if len(shape) == 4 else 1
        for level, (layer, width) in enumerate(zip(self.down, self.channels, strict=True)):
            layer.build((None, None, None, before))
            for block in self.steps[level * self.blocks : (level + 1) * self.blocks]:
                block.build((None, None, None, width))
            before = width
        self.last.build((None, before))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        checks.rank(x, "x", (3, 4))
        x = x[..., None] if x.shape.rank == 3 else x
        sides = [side for side in x.shape[1:3] if side is not None]
        large = all(side >= self.total_stride for side in sides)
        checks.require(large, "x", f"have sides of at least {self.total_stride} cells", sides)
        for level, layer in enumerate(self.down):
            x = layer(x)
            for block in self.steps[level * self.blocks : (level + 1) * self.blocks]:
                x = block(x)
        return self.last(tf.reduce_mean(keras.activations.get(self.activation)(x), axis=[1, 2]))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], self.num_outputs)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "channels": self.channels,
            "blocks": self.blocks,
            "kernel_size": self.kernel_size,
            "padding": self.padding,
            "activation": self.activation,
            "first_stride": self.first_stride,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class SmallCNN(_Pyramid):
    """Plain convolutions and strides: the network to begin with.

    Input [batch, ny, nx] or [batch, ny, nx, channels] and result [batch, num_outputs]. A map may
    have any size; cells beyond a multiple of the total stride are not seen. With periodic padding
    the result does not change when a map is rolled by the total stride.

    Args:
        num_outputs: Numbers for each map.
        channels: Channels of each stage; each is half as fine as the one before.
        blocks: Convolutions in each stage.
        kernel_size: Odd width of the kernels in cells.
        padding: "periodic", "reflect" or "zero".
        activation: Between convolutions.
        first_stride: Side in cells of the patches that the first stage sees; 1 keeps the
            resolution of the map, for about four times the time of 2.
        **options: Of a Keras layer.

    Raises:
        ValueError: If `channels` is empty, or a number is not a positive integer.

    References:
        LeCun et al. 1998, Proc. IEEE 86, 2278.
    """

    def __init__(
        self,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64, 64),
        blocks: int = 1,
        kernel_size: int = 3,
        padding: str = "periodic",
        activation: str = "relu",
        first_stride: int = 2,
        **options: Any,
    ) -> None:
        def make_block(width: int) -> keras.layers.Layer:
            return Convolution(width, kernel_size, 2, padding, activation=activation)

        super().__init__(
            num_outputs, channels, blocks, kernel_size, padding, activation, first_stride,
            make_block, activation, **options,
        )  # fmt: skip


@keras.saving.register_keras_serializable(PACKAGE)
class ResNet(_Pyramid):
    """Stages of blocks that add to what they were given.

    Input [batch, ny, nx] or [batch, ny, nx, channels] and result [batch, num_outputs]. A map may
    have any size; cells beyond a multiple of the total stride are not seen. With periodic padding
    the result does not change when a map is rolled by the total stride.

    Each block starts as the identity, which trains deep networks without normalisation. That is
    the default: normalisation hides how strong a map is, and so much of its cosmology.

    Args:
        num_outputs: Numbers for each map.
        channels: Channels of each stage; each is half as fine as the one before.
        blocks: Blocks of two convolutions in each stage.
        kernel_size: Odd width of the kernels in cells.
        padding: "periodic", "reflect" or "zero".
        activation: Between convolutions.
        first_stride: Side in cells of the patches that the first stage sees; 1 keeps the
            resolution of the map, for about four times the time of 2.
        normalization: None, "group" (at most eight groups of channels over the map) or "layer"
            (all channels of each cell); both do the same in training and later.
        **options: Of a Keras layer.

    Raises:
        ValueError: If `channels` is empty, an option is unknown, or a number is not a positive
            integer.

    References:
        He et al. 2016, arXiv:1603.05027; De & Smith 2020, arXiv:2002.10444.
    """

    def __init__(
        self,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        blocks: int = 2,
        kernel_size: int = 3,
        padding: str = "periodic",
        activation: str = "relu",
        first_stride: int = 2,
        normalization: str | None = None,
        **options: Any,
    ) -> None:
        checks.one_of(normalization, "normalization", NORMALIZATIONS)

        def make_block(width: int) -> keras.layers.Layer:
            return _ResidualBlock(width, kernel_size, padding, activation, normalization)

        super().__init__(
            num_outputs, channels, blocks, kernel_size, padding, activation, first_stride,
            make_block, None, **options,
        )  # fmt: skip
        self.normalization = normalization

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"normalization": self.normalization}


class _ResidualBlock(keras.layers.Layer):
    """x plus a learned multiple, zero at first, of two convolutions of it."""

    def __init__(
        self, width: int, kernel_size: int, padding: str, activation: str, normalization: str | None
    ) -> None:
        super().__init__()
        self.activation = keras.activations.get(activation)
        self.convolutions = [Convolution(width, kernel_size, 2, padding) for _ in range(2)]
        self.norms = []
        if normalization is not None:
            self.norms = [_normalization(normalization, width) for _ in range(2)]

    def build(self, shape: tuple[int | None, ...]) -> None:
        for layer in (*self.convolutions, *self.norms):
            layer.build(shape)
        self.gain = self.add_weight(shape=(), initializer="zeros", name="gain")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        y = x
        for number, convolution in enumerate(self.convolutions):
            y = self.norms[number](y) if self.norms else y
            y = convolution(self.activation(y))
        return x + self.gain * y


def _normalization(kind: str, width: int) -> keras.layers.Layer:
    """Of all channels of a cell, or of at most eight groups of channels over the map."""
    if kind == "layer":
        return keras.layers.LayerNormalization()
    return keras.layers.GroupNormalization(math.gcd(8, width))
