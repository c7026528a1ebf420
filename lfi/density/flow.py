"""Densities made of invertible steps from y to normal numbers."""

from types import ModuleType
from typing import Any

import tensorflow as tf

from flowpm_ext.core.seeds import stateless_seed
from lfi.density import affine, spline
from lfi.density.base import ConditionalDensity, normal_log_prob

TRANSFORMS = ("spline", "affine")  # of one component by what a network says


def chosen_transform(
    name: str, num_pieces: int, box: float, scale_bound: float
) -> tuple[ModuleType, float, int]:
    """How a component moves.

    Args:
        name: "spline" or "affine".
        num_pieces: Of a spline.
        box: Half the side of the box of a spline.
        scale_bound: Of the logarithm of an affine scale.

    Returns:
        Module with `forward` and `inverse`, the bound that these take, and how many numbers
        describe a move.

    References:
        Durkan et al. 2019, arXiv:1906.04032; Dinh, Sohl-Dickstein & Bengio 2016,
        arXiv:1605.08803.
    """
    if name == "affine":
        return affine, scale_bound, affine.NUM_PARAMETERS
    return spline, box, spline.num_parameters(num_pieces)


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
