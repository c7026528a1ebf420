"""Mixtures of Gaussians whose parameters depend on a context."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, stateless_seed
from lfi.density.base import LOG_2PI, ConditionalDensity, lower_triangle


@keras.saving.register_keras_serializable("lfi")
class MixtureDensity(ConditionalDensity):
    """A mixture density network with full covariances.

    Args:
        num_dims: Components of y.
        num_context: Components of the context.
        num_components: Gaussians in the mixture.
        hidden: Units of the hidden layers.
        activation: Of the hidden layers.
        **options: Of `ConditionalDensity`.

    Raises:
        ValueError: If a number is not a positive integer.

    References:
        Bishop 1994, Neural Computing Research Group Report NCRG/94/004.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int,
        num_components: int = 4,
        hidden: Sequence[int] = (50, 50),
        activation: str = "tanh",
        **options: Any,
    ) -> None:
        super().__init__(num_dims, num_context, **options)
        checks.positive_integers(num_components=num_components)
        self.num_components, self.hidden, self.activation = num_components, hidden, activation
        self.num_below = num_dims * (num_dims - 1) // 2
        self.num_each = 1 + 2 * num_dims + self.num_below
        layers = [keras.layers.Dense(width, activation=activation) for width in hidden]
        layers.append(keras.layers.Dense(num_components * self.num_each))
        self.network = keras.Sequential(layers)
        self.network.build((None, num_context))
        self.built = True

    def parameters(self, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Weights, means and inverse Cholesky factors of the components.

        Args:
            seen: Standardised context, [batch, num_context].

        Returns:
            Log weights [batch, num_components], means [..., num_dims], and lower triangles L
            [..., num_dims, num_dims] with L L^T the inverse covariance transposed: L (y - mean) is
            normal.

        References:
            Williams 1996, Neural Computation 8, 843.
        """
        out = tf.reshape(self.network(seen), [-1, self.num_components, self.num_each])
        logits, mean, log_diagonal, below = tf.split(
            out, [1, self.num_dims, self.num_dims, self.num_below], axis=-1
        )
        # Means of a new network differ, so that its components do not learn the same.
        spread = np.linspace(-1, 1, self.num_components) if self.num_components > 1 else np.zeros(1)
        mean += tf.constant(spread[:, None], mean.dtype)
        triangle = lower_triangle(log_diagonal, below)
        return tf.nn.log_softmax(logits[..., 0], axis=-1), mean, triangle

    def standard_log_prob(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        log_weight, mean, triangle = self.parameters(seen)
        white = tf.linalg.matvec(triangle, z[:, None] - mean)
        log_root = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(triangle)), axis=-1)
        each = -0.5 * tf.reduce_sum(white**2 + LOG_2PI, axis=-1) + log_root
        return tf.reduce_logsumexp(log_weight + each, axis=-1)

    def standard_sample(self, seen: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        log_weight, mean, triangle = self.parameters(seen)
        chosen = tf.random.stateless_categorical(log_weight, 1, stateless_seed(fold(seed, 0)))
        mean, triangle = (tf.gather(part, chosen[:, 0], batch_dims=1) for part in (mean, triangle))
        white = tf.random.stateless_normal(tf.shape(mean), stateless_seed(fold(seed, 1)))
        return mean + tf.linalg.triangular_solve(triangle, white[..., None])[..., 0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_components": self.num_components,
            "hidden": list(self.hidden),
            "activation": self.activation,
        }
