"""A U-Net whose every block knows a level, such as that of the noise on its input."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn.convolution import PACKAGE, Convolution

NUM_WAVES = 8  # cosines of the level that the network sees
LEVEL_WIDTH = 64


class _LevelBlock(keras.layers.Layer):
    """Two convolutions around a shortcut; the noise level scales and shifts what is between."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__()
        self.width = width
        self.first = Convolution(width, **options)
        self.last = Convolution(width, kernel_initializer="zeros", **options)
        constraint = options["kernel_constraint"]
        self.shortcut = keras.layers.Dense(width, use_bias=False, kernel_constraint=constraint)
        self.modulation = keras.layers.Dense(2 * width, kernel_initializer="zeros")

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.first.build(shape)
        self.last.build((*shape[:-1], self.width))
        self.shortcut.build(shape)
        self.modulation.build((None, LEVEL_WIDTH))

    def call(self, x: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        inner = self.first(x)
        gain, shift = tf.split(spread(self.modulation(level), x), 2, axis=-1)
        return self.shortcut(x) + self.last(keras.ops.gelu(inner * (1 + gain) + shift))


@keras.saving.register_keras_serializable(PACKAGE)
class LevelUNet(keras.layers.Layer):
    """A U-Net that a level enters in every block, and whose first output is zero.

    Called with x [batch, space..., channels] and levels [batch, num_levels] or [1, num_levels]
    from -1 to 1; the result is [batch, space..., out_channels]. Each axis of space must divide
    by 2**(len(filters) - 1).

    Args:
        filters: Channels at each scale, the finest first.
        out_channels: Channels of the result.
        kernel_size: Odd width of the kernels in cells.
        rank: Dimensions of space: 1, 2 or 3.
        padding: "periodic", "reflect" or "zero".
        kernel_constraint: Of the kernels that maps go through, such as a `SpectralNorm`.
        num_levels: Numbers that the blocks know.
        **options: Of a Keras layer.

    Raises:
        ValueError: If `filters` is empty, or `num_levels` is not a positive integer.

    References:
        Ronneberger, Fischer & Brox 2015, arXiv:1505.04597; Perez et al. 2018, arXiv:1709.07871
        (the level scales and shifts features).
    """

    def __init__(
        self,
        filters: Sequence[int] = (16, 32, 64),
        out_channels: int = 1,
        kernel_size: int = 3,
        rank: int = 2,
        padding: str = "periodic",
        kernel_constraint: keras.constraints.Constraint | None = None,
        num_levels: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.require(len(filters) > 0, "filters", "name a scale", filters)
        checks.positive_integers(num_levels=num_levels)
        self.num_levels = num_levels
        self.filters, self.out_channels = tuple(filters), out_channels
        self.kernel_size, self.rank, self.padding = kernel_size, rank, padding
        self.kernel_constraint = constraint = keras.constraints.get(kernel_constraint)
        patches = {"rank": rank, "stride": 2, "kernel_constraint": constraint}
        options = {
            "kernel_size": kernel_size, "rank": rank, "padding": padding,
            "kernel_constraint": constraint,
        }  # fmt: skip
        coarser, finer = self.filters[1:], self.filters[:-1]
        self.levels = [keras.layers.Dense(LEVEL_WIDTH, "gelu") for _ in range(2)]
        self.down = [_LevelBlock(width, **options) for width in self.filters]
        self.pool = [Convolution(width, **patches) for width in coarser]
        self.unpool = [Convolution(width, is_transposed=True, **patches) for width in finer]
        self.up = [_LevelBlock(width, **options) for width in finer]
        self.last = Convolution(out_channels, **options, kernel_initializer="zeros")

    def build(self, shape: tuple[int | None, ...]) -> None:
        space = (None,) * (self.rank + 1)
        for layer, width in zip(
            self.levels, (self.num_levels * NUM_WAVES, LEVEL_WIDTH), strict=True
        ):
            layer.build((None, width))
        self.down[0].build((*space, shape[-1]))
        for i, (fine, coarse) in enumerate(itertools.pairwise(self.filters)):
            self.pool[i].build((*space, fine))
            self.down[i + 1].build((*space, coarse))
            self.unpool[i].build((*space, coarse))
            self.up[i].build((*space, 2 * fine))
        self.last.build((*space, self.filters[0]))

    def call(self, x: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        patch = 2 ** (len(self.filters) - 1)
        sides = [side for side in x.shape[1:-1] if side is not None]
        rule = f"have sides that divide by {patch}"
        checks.require(all(side % patch == 0 for side in sides), "y", rule, sides)
        waves = np.arange(1, NUM_WAVES + 1, dtype=np.float32)
        level = tf.cos(math.pi / 2 * (level[..., None] + 1) * waves)  # [batch, levels, waves]
        level = tf.reshape(level, [-1, self.num_levels * NUM_WAVES])
        for layer in self.levels:
            level = layer(level)
        across = [self.down[0](x, level)]
        for pool, block in zip(self.pool, self.down[1:], strict=True):
            across.append(block(pool(across[-1]), level))
        x = across.pop()
        for unpool, block in zip(reversed(self.unpool), reversed(self.up), strict=True):
            x = block(tf.concat([unpool(x), across.pop()], axis=-1), level)
        return self.last(x)

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], level_shape: tuple | None = None
    ) -> tuple[int | None, ...]:
        return (*x_shape[:-1], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "out_channels", "kernel_size", "rank", "padding", "num_levels")
        constraint = keras.constraints.serialize(self.kernel_constraint)
        own = {name: getattr(self, name) for name in names} | {"kernel_constraint": constraint}
        return super().get_config() | own


def spread(values: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Numbers of a batch with the axes that maps have beside, to be multiplied with them.

    Args:
        values: Shape [], [batch] or [batch, channels].
        maps: Shape [batch, ...] or [batch, ..., channels].

    Returns:
        Shape [], [batch, 1, ...] or [batch, 1, ..., channels], of the rank of `maps`.
    """
    if values.shape.rank == 0:
        return values
    ones = [1] * (maps.shape.rank - values.shape.rank)
    shape = tf.shape(values)
    return tf.reshape(values, tf.concat([shape[:1], ones, shape[1:]], axis=0))
