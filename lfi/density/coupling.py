"""Coupling flows: half of the components move as the other half says."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from lfi.density.flow import TRANSFORMS, Flow, chosen_transform

BOUND = 3.0  # of the logarithm of a scale


class CouplingStep(keras.layers.Layer):
    """A linear mix of all components, and a move of half of them.

    One component alone moves as the context says.

    Args:
        num_dims: Components.
        num_context: Components of the context.
        transform: "spline" or "affine".
        hidden: Units of the hidden layers.
        activation: Of the hidden layers.
        num_pieces: Of a spline.
        bound: Half the side of the box of a spline.
        mixing: Orthogonal matrix, [num_dims, num_dims].
        **options: Of a Keras layer.

    References:
        Dinh, Sohl-Dickstein & Bengio 2016, arXiv:1605.08803; Durkan et al. 2019,
        arXiv:1906.04032.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int,
        transform: str,
        hidden: Sequence[int],
        activation: str,
        num_pieces: int,
        bound: float,
        mixing: np.ndarray,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.num_still = num_dims // 2
        chosen = chosen_transform(transform, num_pieces, bound, BOUND)
        self.transform, self.bound, self.num_each = chosen
        self.mixing = np.asarray(mixing, np.float32)
        layers = [keras.layers.Dense(width, activation=activation) for width in hidden]
        outputs = (num_dims - self.num_still) * self.num_each
        layers.append(keras.layers.Dense(outputs, kernel_initializer="zeros"))
        self.network = keras.Sequential(layers)
        self.network.build((None, self.num_still + num_context))
        self.built = True

    def forward(self, z: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Towards normal numbers.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims], and log |det| of the Jacobian, [batch].
        """
        z = tf.matmul(z, self.mixing)
        still, moving = z[:, : self.num_still], z[:, self.num_still :]
        parameters = self._parameters(still, seen)
        moving, growth = self.transform.forward(moving, parameters, self.bound)
        return tf.concat([still, moving], axis=-1), tf.reduce_sum(growth, axis=-1)

    def inverse(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Back from normal numbers.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims].
        """
        still, moving = z[:, : self.num_still], z[:, self.num_still :]
        parameters = self._parameters(still, seen)
        moving = self.transform.inverse(moving, parameters, self.bound)
        return tf.matmul(tf.concat([still, moving], axis=-1), self.mixing, transpose_b=True)

    def _parameters(self, still: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        out = self.network(tf.concat([still, seen], axis=-1))
        return tf.reshape(out, [-1, out.shape[-1] // self.num_each, self.num_each])


@keras.saving.register_keras_serializable("lfi")
class CouplingFlow(Flow):
    """Coupling steps with random rotations between them; density and draws take one pass each.

    Args:
        num_dims: Components of y.
        num_context: Components of the context.
        transform: "spline" (monotone rational-quadratic) or "affine".
        num_steps: Steps.
        hidden: Units of the hidden layers of each.
        activation: Of the hidden layers.
        num_pieces: Pieces of a spline.
        bound: Half the side of the box of splines, in standard deviations of y.
        seed: Of the rotations.
        **options: Of `ConditionalDensity`.

    Raises:
        ValueError: If an option is unknown or a number is not positive.

    References:
        Durkan et al. 2019, arXiv:1906.04032; Dinh, Sohl-Dickstein & Bengio 2016,
        arXiv:1605.08803.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int,
        transform: str = "spline",
        num_steps: int = 5,
        hidden: Sequence[int] = (100, 100),
        activation: str = "relu",
        num_pieces: int = 8,
        bound: float = 5.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(num_dims, num_context, **options)
        checks.one_of(transform, "transform", TRANSFORMS)
        checks.positive_integers(num_steps=num_steps, num_pieces=num_pieces)
        checks.positive(bound, "bound")
        self._config = {
            "transform": transform,
            "num_steps": num_steps,
            "hidden": list(hidden),
            "activation": activation,
            "num_pieces": num_pieces,
            "bound": bound,
            "seed": seed,
        }
        rng = np.random.default_rng(seed)
        self.steps = [
            CouplingStep(
                num_dims, num_context, transform, hidden, activation, num_pieces, bound,
                mixing=np.linalg.qr(rng.normal(size=(num_dims, num_dims)))[0],
            )
            for _ in range(num_steps)
        ]  # fmt: skip
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._config
