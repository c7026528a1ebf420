"""The network inside a recurrent inference machine: what it saw so far, to the next step."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn import ConvGRU, ConvLSTM, Convolution

MEMORIES = {"gru": ConvGRU, "lstm": ConvLSTM, "none": None}

State = list[tuple[tf.Tensor, ...]]


@keras.saving.register_keras_serializable("rim")
class MultiscaleUpdate(keras.layers.Layer):
    """Branches at coarser and coarser scales, each with a memory of its own.

    Branch i works on cells 2**i as wide: patches, a memory, and back to fine cells. A last
    convolution joins them, and adds a linear map of the input. Both start from zero, but for the
    gains, so that a new machine does what the gains say. Called with an input
    [batch, space..., channels] and a state.

    Args:
        filters: Channels of each branch, the finest first.
        out_channels: Channels of the step.
        kernel_size: Odd width of the kernels in cells.
        rank: Dimensions of space: 1, 2 or 3.
        memory: "gru", "lstm", or "none" for convolutions that forget.
        padding: "periodic", "reflect" or "zero".
        gains: Linear map from channels to the step to start from, [channels, out_channels].
        **options: Of a Keras layer.

    Raises:
        ValueError: If `filters` is empty or an option is unknown.
    """

    def __init__(
        self,
        filters: Sequence[int] = (8, 16),
        out_channels: int = 1,
        kernel_size: int = 3,
        rank: int = 3,
        memory: str = "gru",
        padding: str = "periodic",
        gains: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.one_of(memory, "memory", tuple(MEMORIES))
        checks.require(len(filters) > 0, "filters", "name a branch", filters)
        self.filters, self.out_channels = tuple(filters), out_channels
        self.kernel_size, self.rank = kernel_size, rank
        self.memory, self.padding, self.gains = memory, padding, gains
        same = {"kernel_size": kernel_size, "rank": rank, "padding": padding}
        self.inward, self.memories, self.outward = [], [], []
        for level, width in enumerate(self.filters):
            step = {"rank": rank, "stride": 2**level}
            if level:
                first = Convolution(width, activation="tanh", **step)
                self.outward.append(Convolution(self.filters[0], is_transposed=True, **step))
            else:
                first = Convolution(width, activation="tanh", **same)
            self.inward.append(first)
            if memory == "none":
                self.memories.append(Convolution(width, activation="tanh", **same))
            else:
                self.memories.append(MEMORIES[memory](width, **same))
        self.last = Convolution(out_channels, kernel_initializer="zeros", **same)
        start = "zeros" if gains is None else keras.initializers.Constant(gains)
        self.direct = keras.layers.Dense(out_channels, use_bias=False, kernel_initializer=start)

    def build(self, shape: tuple[int | None, ...]) -> None:
        space = [None] * self.rank
        for first, memory in zip(self.inward, self.memories, strict=True):
            first.build((None, *space, shape[-1]))
            memory.build((None, *space, first.filters))
        for width, layer in zip(self.filters[1:], self.outward, strict=True):
            layer.build((None, *space, width))
        self.last.build((None, *space, len(self.filters) * self.filters[0]))
        self.direct.build((None, *space, shape[-1]))

    def initial_state(self, x: tf.Tensor) -> State:
        """Empty memories.

        Args:
            x: Input that will come, shape [batch, space..., channels].

        Returns:
            The state of each branch.
        """
        if self.memory == "none":
            return [()] * len(self.filters)
        states = []
        for level, memory in enumerate(self.memories):
            coarse = x[(slice(None), *[slice(None, None, 2**level)] * self.rank)]
            states.append(memory.initial_state(coarse))
        return states

    def call(self, x: tf.Tensor, states: State) -> tuple[tf.Tensor, State]:
        branches, following = [], []
        for level, (memory, state) in enumerate(zip(self.memories, states, strict=True)):
            h = self.inward[level](x)
            if self.memory == "none":
                h = memory(h)
            else:
                h, state = memory(h, state)
            branches.append(self.outward[level - 1](h) if level else h)
            following.append(state)
        return self.last(tf.concat(branches, axis=-1)) + self.direct(x), following

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "out_channels": self.out_channels,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "memory": self.memory,
            "padding": self.padding,
            "gains": self.gains,
        }
