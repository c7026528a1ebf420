"""A network with as many outputs as are wanted."""

from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks


class Headed(keras.layers.Layer):
    """A network, and a dense layer after it where it has another number of outputs.

    Args:
        network: Keras layer or model from x to [batch, anything].
        num_outputs: Outputs that are wanted.
        **options: Of a Keras layer.
    """

    def __init__(self, network: keras.layers.Layer, num_outputs: int, **options: Any) -> None:
        super().__init__(**options)
        self.network, self.num_outputs = network, num_outputs
        self.head: keras.layers.Layer | None = None

    def build(self, shape: tuple[int | None, ...]) -> None:
        out = self.network(keras.KerasTensor((None, *shape[1:]), dtype="float32")).shape
        checks.require(len(out) == 2, "network", "give [batch, anything]", f"shape {tuple(out)}")
        if out[-1] != self.num_outputs:
            self.head = keras.layers.Dense(self.num_outputs)
            self.head.build(out)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        out = self.network(x)
        return out if self.head is None else self.head(out)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], self.num_outputs)
