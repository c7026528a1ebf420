"""A filter of the force that learns what a mesh and long time steps leave out."""

import math
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks


@keras.saving.register_keras_serializable(package="flowpm_ext")
class FourierFilter(keras.layers.Layer):
    """A multiplier of the potential, 1 + f(k, a), to be learnt: the `correction` of `nbody`.

    f is k**2 / (1 + k**2) times a small network of k and a with sines between its layers. It
    fades like k**2 on large scales, which keep their linear growth, and is zero before training.

    Args:
        units: Width of the hidden layers of the network.
        num_layers: Number of hidden layers.
        seed: Seed of the initial weights.
        **kwargs: As for `keras.layers.Layer`, for example `dtype="float64"`.

    Raises:
        ValueError: If `units` or `num_layers` is not a positive integer.

    References:
        Lanzieri, Lanusse & Starck 2022, arXiv:2207.05509.
    """

    def __init__(self, units: int = 16, num_layers: int = 2, seed: int = 0, **kwargs: Any) -> None:
        checks.positive_integers(units=units, num_layers=num_layers)
        super().__init__(**kwargs)
        self.units, self.num_layers, self.seed = int(units), int(num_layers), seed
        self.hidden = [self._sines(number) for number in range(self.num_layers)]
        self.last = keras.layers.Dense(1, kernel_initializer="zeros", dtype=self.dtype_policy)
        # The inputs are always k and a: weights can be made, and loaded, before the first call.
        for number, layer in enumerate([*self.hidden, self.last]):
            layer.build((None, 2 if number == 0 else self.units))

    def call(self, k: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
        """Multipliers of the potential.

        Args:
            k: Wavenumbers (radians per cell), shape [num_nodes].
            a: Scale factors, shape [num_forces].

        Returns:
            Multipliers, shape [num_forces, num_nodes].

        Raises:
            ValueError: If an argument has not one axis.
        """
        checks.rank(k, "k", 1)
        checks.rank(a, "a", 1)
        x = tf.stack(tf.meshgrid(k / math.pi, a), axis=-1)
        for layer in self.hidden:
            x = layer(x)
        return 1 + k**2 / (1 + k**2) * self.last(x)[..., 0]

    def get_config(self) -> dict[str, Any]:
        """Arguments that make this layer again.

        Returns:
            What Keras saves, without the weights.
        """
        config = {"units": self.units, "num_layers": self.num_layers, "seed": self.seed}
        return super().get_config() | config

    def _sines(self, number: int) -> keras.layers.Dense:
        """Hidden layer of this number; the biases are phases, and no two units start alike."""
        return keras.layers.Dense(
            self.units,
            activation=tf.sin,
            kernel_initializer=keras.initializers.GlorotNormal(seed=self.seed + 2 * number),
            bias_initializer=keras.initializers.RandomUniform(
                -math.pi, math.pi, seed=self.seed + 2 * number + 1
            ),
            dtype=self.dtype_policy,
        )
