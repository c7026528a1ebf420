"""Densities made of invertible steps from y to normal numbers."""

from typing import Any

import tensorflow as tf

from flowpm_ext.core.seeds import stateless_seed
from lfi.density.base import ConditionalDensity, normal_log_prob


class Flow(ConditionalDensity):
    """A chain of steps, each with `forward(z, seen)` and `inverse(z, seen)`.

    `forward` goes towards normal numbers, and gives them with log |det| of its Jacobian.

    Args:
        num_dims: Components of y.
        num_context: Components of the context.
        **options: Of `ConditionalDensity`.
    """

    def __init__(self, num_dims: int, num_context: int, **options: Any) -> None:
        super().__init__(num_dims, num_context, **options)
        self.steps: list = []

    def standard_log_prob(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        z, growth = self.to_normal(z, seen)
        return normal_log_prob(z) + growth

    def to_normal(self, z: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normal numbers from standardised y.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims], and log |det| of the Jacobian, [batch].
        """
        total = tf.zeros_like(z[..., 0])
        for step in self.steps:
            z, growth = step.forward(z, seen)
            total += growth
        return z, total

    def standard_sample(self, seen: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        shape = tf.stack([tf.shape(seen)[0], self.num_dims])
        z = tf.random.stateless_normal(shape, stateless_seed(seed))
        for step in reversed(self.steps):
            z = step.inverse(z, seen)
        return z
