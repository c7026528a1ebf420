"""A U-Net of any dimension."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn.convolution import PACKAGE, Convolution


@keras.saving.register_keras_serializable(PACKAGE)
class UNet(keras.layers.Layer):
    """Convolutions at coarser and coarser scales, and back, with links across.

    Input [batch, space..., channels] and result [batch, space..., out_channels]; each axis of
    space must divide by 2**(len(filters) - 1).

    Args:
        filters: Channels at each scale, the finest first.
        out_channels: Channels of the result.
        kernel_size: Odd width of the kernels in cells.
        rank: Dimensions of space: 1, 2 or 3.
        padding: "periodic", "reflect" or "zero".
        activation: Between convolutions.
        **options: Of a Keras layer.

    Raises:
        ValueError: If `filters` is empty, or a number is not a positive integer.

    References:
        Ronneberger, Fischer & Brox 2015, arXiv:1505.04597.
    """

    def __init__(
        self,
        filters: Sequence[int] = (16, 32, 64),
        out_channels: int = 1,
        kernel_size: int = 3,
        rank: int = 3,
        padding: str = "periodic",
        activation: str = "gelu",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.require(len(filters) > 0, "filters", "name a scale", filters)
        self.filters, self.out_channels = tuple(filters), out_channels
        self.kernel_size, self.rank = kernel_size, rank
        self.padding, self.activation = padding, activation

        def twice(width: int) -> list[Convolution]:
            options = {"kernel_size": kernel_size, "rank": rank, "padding": padding}
            return [Convolution(width, activation=activation, **options) for _ in range(2)]

        self.down = [twice(width) for width in self.filters]
        self.pool = [Convolution(w, rank=rank, stride=2) for w in self.filters[1:]]
        self.up = [twice(width) for width in self.filters[:-1]]
        self.unpool = [
            Convolution(w, rank=rank, stride=2, is_transposed=True) for w in self.filters[:-1]
        ]
        self.last = Convolution(out_channels, kernel_size, rank, padding)

    def build(self, shape: tuple[int | None, ...]) -> None:
        space = [None] * self.rank
        channels = shape[-1]
        for level, width in enumerate(self.filters):
            if level:
                self.pool[level - 1].build((None, *space, channels))
                channels = width
            _build_chain(self.down[level], space, channels)
            channels = width
        for level, width in reversed(list(enumerate(self.filters[:-1]))):
            self.unpool[level].build((None, *space, channels))
            _build_chain(self.up[level], space, 2 * width)
            channels = width
        self.last.build((None, *space, channels))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        patch = 2 ** (len(self.filters) - 1)
        sides = [side for side in x.shape[1:-1] if side is not None]
        rule = f"have sides that divide by {patch}"
        checks.require(all(side % patch == 0 for side in sides), "x", rule, sides)
        across = []
        for level in range(len(self.filters)):
            if level:
                x = self.pool[level - 1](x)
            for layer in self.down[level]:
                x = layer(x)
            across.append(x)
        for level in reversed(range(len(self.filters) - 1)):
            x = tf.concat([self.unpool[level](x), across[level]], axis=-1)
            for layer in self.up[level]:
                x = layer(x)
        return self.last(x)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "out_channels": self.out_channels,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "padding": self.padding,
            "activation": self.activation,
        }


def _build_chain(layers: list[Convolution], space: list[None], channels: int) -> None:
    """Build convolutions that follow each other."""
    for layer in layers:
        layer.build((None, *space, channels))
        channels = layer.filters
