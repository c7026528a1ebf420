"""Masked autoregressive flows."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from lfi.density.flow import TRANSFORMS, Flow, chosen_transform

BOUND = 5.0  # of the logarithm of a scale


class MaskedDense(keras.layers.Layer):
    """A dense layer of which some connections are cut.

    Args:
        mask: Zeros and ones, [inputs, outputs].
        activation: Of the result.
        kernel_initializer: Of the kernel.
        **options: Of a Keras layer.
    """

    def __init__(
        self,
        mask: np.ndarray,
        activation: str | None = None,
        kernel_initializer: str = "glorot_uniform",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mask = np.asarray(mask, np.float32)
        self.activation = keras.activations.get(activation)
        start = keras.initializers.get(kernel_initializer)
        self.kernel = self.add_weight(shape=self.mask.shape, initializer=start, name="kernel")
        self.bias = self.add_weight(shape=self.mask.shape[1:], initializer="zeros", name="bias")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.activation(tf.matmul(x, self.kernel * self.mask) + self.bias)


class MADE(keras.layers.Layer):
    """A network whose outputs for a component know the components before it, and the context.

    Args:
        order: Place of each component in the order, a permutation of 0, 1, ...
        num_context: Components of the context.
        hidden: Units of the hidden layers.
        num_outputs: For each component.
        activation: Of the hidden layers.
        **options: Of a Keras layer.

    References:
        Germain et al. 2015, arXiv:1502.03509.
    """

    def __init__(
        self,
        order: Sequence[int],
        num_context: int,
        hidden: Sequence[int] = (50, 50),
        num_outputs: int = 2,
        activation: str = "tanh",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        order = np.asarray(order)
        self.num_outputs = num_outputs
        # The context comes before all components: it has place -1.
        before = np.concatenate([order, np.full(num_context, -1)])
        self.layers = []
        for width in hidden:
            # Units that know places up to theirs; the last component is known by none.
            places = np.arange(width) % order.size - 1
            if width < order.size:
                # Spread, so that the last components are told of something too.
                places = np.round(np.linspace(-1, order.size - 2, width))
            mask = before[:, None] <= places
            self.layers.append(MaskedDense(mask, activation))
            before = places
        mask = np.repeat(before[:, None] < order, num_outputs, axis=1)
        self.layers.append(MaskedDense(mask, kernel_initializer="zeros"))
        self.built = True

    def call(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        x = tf.concat([z, seen], axis=-1)
        for layer in self.layers:
            x = layer(x)
        return tf.reshape(x, [-1, z.shape[-1], self.num_outputs])


class AutoregressiveStep(keras.layers.Layer):
    """A move of each component as those before it say.

    Args:
        order: Place of each component in the order.
        num_context: Components of the context.
        hidden: Units of the hidden layers.
        activation: Of the hidden layers.
        transform: "affine" or "spline".
        num_pieces: Of a spline.
        bound: Half the side of the box of a spline.
        **options: Of a Keras layer.

    References:
        Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057; Durkan et al. 2019,
        arXiv:1906.04032.
    """

    def __init__(
        self,
        order: Sequence[int],
        num_context: int,
        hidden: Sequence[int],
        activation: str,
        transform: str,
        num_pieces: int,
        bound: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.order = np.asarray(order)
        chosen = chosen_transform(transform, num_pieces, bound, BOUND)
        self.transform, self.bound, num_each = chosen
        self.network = MADE(order, num_context, hidden, num_each, activation)
        self.built = True

    def forward(self, z: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Towards normal numbers.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims], and log |det| of the Jacobian, [batch].
        """
        z, growth = self.transform.forward(z, self.network(z, seen), self.bound)
        return z, tf.reduce_sum(growth, axis=-1)

    def inverse(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Back from normal numbers, one component after another.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims].
        """
        y = tf.zeros_like(z)
        for place in range(self.order.size):
            one = int(np.flatnonzero(self.order == place)[0])
            parameters = self.network(y, seen)[:, one]
            found = self.transform.inverse(z[:, one], parameters, self.bound)
            y = tf.where(self.order == place, found[:, None], y)
        return y


@keras.saving.register_keras_serializable("lfi")
class MaskedAutoregressiveFlow(Flow):
    """Steps in which each component depends on those before it, in orders that alternate.

    Its density takes one pass, a draw as many as there are components. Components are never mixed,
    so that with splines it easily learns several modes along each, and edges of boxes.

    Args:
        num_dims: Components of y.
        num_context: Components of the context.
        num_steps: Steps.
        hidden: Units of the hidden layers of each.
        activation: Of the hidden layers.
        transform: "affine" or "spline" (monotone rational-quadratic).
        num_pieces: Pieces of a spline.
        bound: Half the side of the box of splines, in standard deviations of y.
        **options: Of `ConditionalDensity`.

    Raises:
        ValueError: If `transform` is unknown or a number is not positive.

    References:
        Papamakarios, Pavlakou & Murray 2017, arXiv:1705.07057; Durkan et al. 2019,
        arXiv:1906.04032.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int,
        num_steps: int = 5,
        hidden: Sequence[int] = (50, 50),
        activation: str = "tanh",
        transform: str = "affine",
        num_pieces: int = 8,
        bound: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__(num_dims, num_context, **options)
        checks.one_of(transform, "transform", TRANSFORMS)
        checks.positive_integers(num_steps=num_steps, num_pieces=num_pieces)
        checks.positive(bound, "bound")
        self._config = {
            "num_steps": num_steps,
            "hidden": list(hidden),
            "activation": activation,
            "transform": transform,
            "num_pieces": num_pieces,
            "bound": bound,
        }
        order = np.arange(num_dims)
        self.steps = [
            AutoregressiveStep(
                order[::sign], num_context, hidden, activation, transform, num_pieces, bound
            )
            for sign in [1 if step % 2 == 0 else -1 for step in range(num_steps)]
        ]
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._config
