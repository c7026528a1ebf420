"""Families of densities for variational inference: maps of normal numbers, with weights."""

import abc
import math
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal

Weights = Any  # a structure of tensors
Mapped = tuple[tf.Tensor, tf.Tensor]  # points [num, size], and log volumes [num]


class AbstractFamily(abc.ABC):
    """Invertible maps of points, one for each value of their weights."""

    @abc.abstractmethod
    def initial(self, size: int, dtype: tf.DType, seed: int | tf.Tensor) -> Weights:
        """Weights of the identity, or nearly so, for points of this size."""

    @abc.abstractmethod
    def forward(self, weights: Weights, z: tf.Tensor) -> Mapped:
        """Points from normal numbers, and the logarithm of the volume that a unit becomes."""

    @abc.abstractmethod
    def inverse(self, weights: Weights, x: tf.Tensor) -> Mapped:
        """Normal numbers from points, and the same logarithm (of `forward`)."""

    def log_prob(self, weights: Weights, x: tf.Tensor) -> tf.Tensor:
        """Log density of points, [num]."""
        z, log_volume = self.inverse(weights, x)
        square = tf.reduce_sum(z**2, axis=-1) + z.shape[-1] * math.log(2 * math.pi)
        return -0.5 * square - log_volume


class MeanField(AbstractFamily):
    """Independent normal numbers: a mean and a width for each parameter."""

    def initial(self, size: int, dtype: tf.DType, seed: int | tf.Tensor) -> Weights:
        return {"mean": tf.zeros([size], dtype), "log_std": tf.zeros([size], dtype)}

    def forward(self, weights: Weights, z: tf.Tensor) -> Mapped:
        x = weights["mean"] + tf.exp(weights["log_std"]) * z
        return x, tf.reduce_sum(weights["log_std"]) * tf.ones_like(z[:, 0])

    def inverse(self, weights: Weights, x: tf.Tensor) -> Mapped:
        z = (x - weights["mean"]) * tf.exp(-weights["log_std"])
        return z, tf.reduce_sum(weights["log_std"]) * tf.ones_like(x[:, 0])


class FullRank(AbstractFamily):
    """Normal numbers with all their correlations."""

    def initial(self, size: int, dtype: tf.DType, seed: int | tf.Tensor) -> Weights:
        return MeanField().initial(size, dtype, seed) | {"lower": tf.zeros([size, size], dtype)}

    def root(self, weights: Weights) -> tf.Tensor:
        """Lower triangular root of the covariance, [size, size]."""
        lower = tf.linalg.band_part(weights["lower"], -1, 0)
        return tf.linalg.set_diag(lower, tf.exp(weights["log_std"]))

    def forward(self, weights: Weights, z: tf.Tensor) -> Mapped:
        x = weights["mean"] + tf.matmul(z, self.root(weights), transpose_b=True)
        return x, tf.reduce_sum(weights["log_std"]) * tf.ones_like(z[:, 0])

    def inverse(self, weights: Weights, x: tf.Tensor) -> Mapped:
        rows = tf.transpose(x - weights["mean"])
        z = tf.transpose(tf.linalg.triangular_solve(self.root(weights), rows))
        return z, tf.reduce_sum(weights["log_std"]) * tf.ones_like(x[:, 0])


class CouplingFlow(AbstractFamily):
    """Layers that shift and stretch one half of the parameters by networks of the other half.

    A normal density with all correlations (or none, in many dimensions) comes last.

    Args:
        num_layers: Layers; neighbours change different halves.
        width: Of the hidden layer of each network.
        full_rank: Whether the last map knows correlations.

    Raises:
        ValueError: If a number is not positive.

    References:
        Dinh, Sohl-Dickstein & Bengio 2017, arXiv:1605.08803.
    """

    def __init__(self, num_layers: int = 6, width: int = 32, full_rank: bool = True) -> None:
        checks.positive_integers(num_layers=num_layers, width=width)
        self.num_layers, self.width = num_layers, width
        self.last = FullRank() if full_rank else MeanField()

    def initial(self, size: int, dtype: tf.DType, seed: int | tf.Tensor) -> Weights:
        layers = []
        for number in range(self.num_layers):
            given = len(_halves(size, number)[0])
            hidden = standard_normal([given, self.width], fold(seed, number), dtype)
            layers.append({
                "hidden": hidden / math.sqrt(max(given, 1)),
                "offset": tf.zeros([self.width], dtype),
                "out": tf.zeros([self.width + 1, 2 * (size - given)], dtype),
            })  # fmt: skip
        return {"layers": layers, "last": self.last.initial(size, dtype, seed)}

    def forward(self, weights: Weights, z: tf.Tensor) -> Mapped:
        total = tf.zeros_like(z[:, 0])
        for number, layer in enumerate(weights["layers"]):
            given, changed = (tf.gather(z, half, axis=1) for half in _halves(z.shape[1], number))
            log_scale, shift = _network(layer, given)
            z = _joined(given, changed * tf.exp(log_scale) + shift, number)
            total += tf.reduce_sum(log_scale, axis=1)
        x, more = self.last.forward(weights["last"], z)
        return x, total + more

    def inverse(self, weights: Weights, x: tf.Tensor) -> Mapped:
        z, total = self.last.inverse(weights["last"], x)
        for number, layer in reversed(list(enumerate(weights["layers"]))):
            given, changed = (tf.gather(z, half, axis=1) for half in _halves(z.shape[1], number))
            log_scale, shift = _network(layer, given)
            z = _joined(given, (changed - shift) * tf.exp(-log_scale), number)
            total += tf.reduce_sum(log_scale, axis=1)
        return z, total


FAMILIES = {"mean_field": MeanField, "full_rank": FullRank, "flow": CouplingFlow}


def _halves(size: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Parameters that a layer takes, and those that it changes."""
    # Neighbours, then strangers, so that any two meet within a few layers.
    period = 2 ** (number // 2 % 3)
    is_given = (np.arange(size) // period + number) % 2 == 0
    if is_given.all() or not is_given.any():
        is_given = (np.arange(size) + number) % 2 == 0
    return np.flatnonzero(is_given), np.flatnonzero(~is_given)


def _joined(given: tf.Tensor, changed: tf.Tensor, number: int) -> tf.Tensor:
    size = given.shape[1] + changed.shape[1]
    order = np.argsort(np.concatenate(_halves(size, number)))
    return tf.gather(tf.concat([given, changed], axis=1), order, axis=1)


def _network(layer: dict[str, tf.Tensor], given: tf.Tensor) -> Mapped:
    """Logarithms of scales, and shifts, of the other half."""
    hidden = tf.tanh(tf.matmul(given, layer["hidden"]) + layer["offset"])
    hidden = tf.concat([hidden, tf.ones_like(hidden[:, :1])], axis=1)
    log_scale, shift = tf.split(tf.matmul(hidden, layer["out"]), 2, axis=1)
    return 2 * tf.tanh(log_scale / 2), shift  # no layer stretches by more than exp(2)
