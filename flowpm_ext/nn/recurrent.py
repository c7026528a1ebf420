"""Convolutional memories, one step at a time."""

from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.nn.convolution import PACKAGE, Convolution

State = tuple[tf.Tensor, ...]


class _Memory(keras.layers.Layer):
    """What both memories share."""

    num_states = 1

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        rank: int = 3,
        padding: str = "periodic",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.filters, self.kernel_size = filters, kernel_size
        self.rank, self.padding = rank, padding

    def convolution(self, filters: int) -> Convolution:
        return Convolution(filters, self.kernel_size, self.rank, self.padding)

    def initial_state(self, x: tf.Tensor) -> State:
        """An empty memory.

        Args:
            x: Input that will come, shape [batch, space..., channels].

        Returns:
            Zeros, each of shape [batch, space..., filters].
        """
        shape = tf.concat([tf.shape(x)[:-1], [self.filters]], axis=0)
        zeros = tf.ensure_shape(tf.zeros(shape, x.dtype), [*x.shape[:-1], self.filters])
        return (zeros,) * self.num_states

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "rank": self.rank,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class ConvGRU(_Memory):
    """Gated recurrent unit whose products are convolutions.

    Called with an input [batch, space..., channels] and a state; gives the output
    [batch, space..., filters] and the next state.

    Args:
        filters: Channels of the memory.
        kernel_size: Odd width of the kernels in cells.
        rank: Dimensions of space: 1, 2 or 3.
        padding: "periodic", "reflect" or "zero".
        **options: Of a Keras layer.

    References:
        Ballas, Yao, Pal & Courville 2015, arXiv:1511.06432.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        both = (*shape[:-1], shape[-1] + self.filters)
        self.gates, self.candidate = (
            self.convolution(2 * self.filters),
            self.convolution(self.filters),
        )
        self.gates.build(both)
        self.candidate.build(both)

    def call(self, x: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        (h,) = state
        update, reset = tf.split(tf.sigmoid(self.gates(tf.concat([x, h], -1))), 2, axis=-1)
        new = tf.tanh(self.candidate(tf.concat([x, reset * h], -1)))
        h += update * (new - h)
        return h, (h,)


@keras.saving.register_keras_serializable(PACKAGE)
class ConvLSTM(_Memory):
    """Long short-term memory whose products are convolutions.

    Called with an input [batch, space..., channels] and a state; gives the output
    [batch, space..., filters] and the next state.

    Args:
        filters: Channels of the memory.
        kernel_size: Odd width of the kernels in cells.
        rank: Dimensions of space: 1, 2 or 3.
        padding: "periodic", "reflect" or "zero".
        **options: Of a Keras layer.

    References:
        Shi et al. 2015, arXiv:1506.04214.
    """

    num_states = 2

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.gates = self.convolution(4 * self.filters)
        self.gates.build((*shape[:-1], shape[-1] + self.filters))

    def call(self, x: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        h, c = state
        keep, write, show, new = tf.split(self.gates(tf.concat([x, h], -1)), 4, axis=-1)
        # A memory that starts by keeping learns over many steps (Gers et al. 2000).
        c = tf.sigmoid(keep + 1) * c + tf.sigmoid(write) * tf.tanh(new)
        h = tf.sigmoid(show) * tf.tanh(c)
        return h, (h, c)
