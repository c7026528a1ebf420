"""A normal density around its own context."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core.seeds import stateless_seed
from lfi.density.base import ConditionalDensity, lower_triangle, normal_log_prob


@keras.saving.register_keras_serializable("lfi")
class GaussianAround(ConditionalDensity):
    """A normal density whose mean is the context, and whose covariance is learned from it.

    Args:
        num_dims: Components of y and of the context.
        num_context: The same number; it is there so that all densities are made alike.
        hidden: Units of the hidden layers of the covariance.
        activation: Of the hidden layers.
        **options: Of `ConditionalDensity`.

    Raises:
        ValueError: If a number is not a positive integer.

    References:
        Nix & Weigend 1994, Proc. IEEE ICNN 1, 55; Williams 1996, Neural Computation 8, 843.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int | None = None,
        hidden: Sequence[int] = (32, 32),
        activation: str = "tanh",
        **options: Any,
    ) -> None:
        super().__init__(num_dims, num_dims, **options)
        self.hidden, self.activation = hidden, activation
        self.num_below = num_dims * (num_dims - 1) // 2
        layers = [keras.layers.Dense(width, activation=activation) for width in hidden]
        outputs = num_dims + self.num_below
        # Starts at the variance of y, where the mean has the whole of the gradient.
        layers.append(keras.layers.Dense(outputs, kernel_initializer="zeros"))
        self.network = keras.Sequential(layers)
        self.network.build((None, num_dims))
        self.built = True

    def standardise(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Set what y and the context are standardised with, which must be the same.

        Args:
            mean: Shape [num_dims].
            scale: Standard deviations, shape [num_dims].
        """
        for weights, value in (
            ((self.y_mean, self.context_mean), mean),
            ((self.y_scale, self.context_scale), scale),
        ):
            for weight in weights:
                weight.assign(value)

    def triangle(self, seen: tf.Tensor) -> tf.Tensor:
        """Lower triangles L that turn deviations of standardised y from the mean normal.

        Args:
            seen: Standardised context, [batch, num_dims].

        Returns:
            Shape [batch, num_dims, num_dims]; the inverse covariance is L^T L.

        References:
            Williams 1996, Neural Computation 8, 843.
        """
        log_diagonal, below = tf.split(self.network(seen), [self.num_dims, self.num_below], axis=-1)
        return lower_triangle(log_diagonal, below)

    def standard_log_prob(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        triangle = self.triangle(seen)
        log_root = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(triangle)), axis=-1)
        return normal_log_prob(tf.linalg.matvec(triangle, z - seen)) + log_root

    def standard_sample(self, seen: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        white = tf.random.stateless_normal(tf.shape(seen), stateless_seed(seed))
        return seen + tf.linalg.triangular_solve(self.triangle(seen), white[..., None])[..., 0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"hidden": list(self.hidden), "activation": self.activation}
