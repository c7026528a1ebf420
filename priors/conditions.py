"""What a denoiser is told beside noisy maps: the parameters of the simulations behind them."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, known

CHUNK = 64  # maps at a time
ROUNDING = 1e-5  # of the range: parameters in float32 may leave it by their last digit


class Conditions(keras.layers.Layer):
    """Parameters as numbers from -1 to 1 over the range that training has shown.

    Args:
        num: How many there are.

    Raises:
        ValueError: If `num` is not a positive integer.
    """

    def __init__(self, num: int) -> None:
        super().__init__()
        checks.positive_integers(num_parameters=num)
        self.num = num
        # An empty range until training data are seen.
        for name, value in (("low", np.inf), ("high", -np.inf)):
            first = keras.initializers.Constant(value)
            weight = self.add_weight(shape=(num,), initializer=first, trainable=False, name=name)
            setattr(self, name, weight)
        self.built = True

    def learn(self, parts: Iterable[TensorLike]) -> None:
        """Take the range of parameters from those of training.

        Args:
            parts: Parameters [num_maps, num], some after others.

        Raises:
            ValueError: If they have another shape, are not finite, or one of them never varies.
        """
        low, high = np.full(self.num, np.inf), np.full(self.num, -np.inf)
        for part in parts:
            self.check_shape(part, 2)
            checks.finite(part, "parameters")
            part = np.asarray(part)
            low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
        varies = bool(np.all(low < high))
        fix = "Leave out those that are the same for all maps."
        checks.require(varies, "parameters", "each vary over the maps", high - low, fix)
        self.low.assign(low)
        self.high.assign(high)

    def check(self, parameters: Any) -> None:
        """Refuse parameters that the network cannot know; those of a graph pass.

        Args:
            parameters: Shape [num] or [batch, num].

        Raises:
            ValueError: If they are missing, have another shape, are not finite, or are outside of
                the range of training.
        """
        fix = f"The network was trained with {self.num} of them for each map."
        checks.require(parameters is not None, "parameters", "be given", None, fix)
        self.check_shape(parameters, (1, 2))
        checks.finite(parameters, "parameters")
        values = known(parameters)
        if values is None or not tf.executing_eagerly():  # weights of a graph have no value
            return
        low, high = np.asarray(self.low), np.asarray(self.high)
        adapted = bool(np.all(low < high))
        checks.require(adapted, "adapt", "be called with maps and parameters before", None)
        room = ROUNDING * (high - low)
        inside = np.all((values >= low - room) & (values <= high + room), axis=-1)
        received = values if values.ndim == 1 else values[~inside][:4]
        rule = f"lie in the range of training, {low.tolist()} to {high.tolist()}"
        checks.require(bool(np.all(inside)), "parameters", rule, received)

    def check_shape(self, parameters: TensorLike, ndim: int | tuple[int, ...]) -> None:
        """Refuse another number of parameters.

        Args:
            parameters: Shape [..., num].
            ndim: Axes that they may have.

        Raises:
            ValueError: If they have other axes, or are not `num` in the last.
        """
        checks.rank(parameters, "parameters", ndim)
        last = tf.TensorShape(np.shape(parameters))[-1]
        fix = "It is `num_parameters` of the network."
        checks.require(last == self.num, "parameters", f"be {self.num} numbers", parameters, fix)

    def call(self, level: tf.Tensor, parameters: TensorLike) -> tf.Tensor:
        """A level, and numbers from -1 to 1 beside it.

        Args:
            level: From -1 to 1, shape [1, 1] or [batch, 1].
            parameters: Shape [num] or [batch, num].

        Returns:
            Shape [1, 1 + num] or [batch, 1 + num].
        """
        parameters = tf.reshape(parameters, [-1, self.num])
        parameters = 2 * (parameters - self.low) / (self.high - self.low) - 1
        size = tf.maximum(tf.shape(level)[0], tf.shape(parameters)[0])
        parts = (level, 1), (parameters, self.num)
        return tf.concat([tf.broadcast_to(part, [size, width]) for part, width in parts], axis=1)


def told(network: Any, parameters: Any) -> tf.Tensor | None:
    """What a network is to be told of the simulations, checked.

    Args:
        network: A `Denoiser`, or any function.
        parameters: Shape [num] or [batch, num], or None.

    Returns:
        float32, or None for networks that know of none.

    Raises:
        ValueError: If parameters are missing or refused by the network, or it knows of none.
    """
    conditions = getattr(network, "conditions", None)
    if conditions is not None:
        conditions.check(parameters)
        return cast(parameters, tf.float32)
    fix = "See `num_parameters` of `Denoiser`."
    rule = "be left out for a network that was trained without"
    checks.require(parameters is None, "parameters", rule, parameters, fix)
    return None


def pair(data: Any, name: str, is_pair: bool) -> tuple[Any, Any]:
    """Maps of training data, and parameters where the network takes them.

    Args:
        data: Maps, or a pair of maps and parameters.
        name: Of the argument, for the message.
        is_pair: Whether there are parameters.

    Returns:
        Maps, and parameters or None.

    Raises:
        ValueError: If data are a pair and should not be, or the other way round.
    """
    given = isinstance(data, tuple | list) and len(data) == 2
    fix = "See `num_parameters` of `Denoiser`."
    rule = "be a pair (maps, parameters)" if is_pair else "be maps without parameters"
    is_right = given if is_pair else not isinstance(data, tuple)
    checks.require(is_right, name, rule, type(data).__name__, fix)
    return tuple(data) if is_pair else (data, None)


def batches(data: Any, name: str, is_pair: bool) -> Iterable[tuple[np.ndarray, Any]]:
    """Training data a chunk at a time.

    Args:
        data: Maps, a pair of maps and parameters, or a dataset of batches of either.
        name: Of the argument, for messages.
        is_pair: Whether there are parameters.

    Yields:
        Maps [num, ...], and parameters [num, num_parameters] or None.

    Raises:
        ValueError: If data are a pair and should not be, or the other way round.
    """
    if isinstance(data, tf.data.Dataset):
        for batch in data:
            if is_pair:
                yield tuple(np.asarray(part) for part in pair(batch, name, True))
            else:  # what stands beside the maps is of no use
                yield np.asarray(batch[0] if isinstance(batch, tuple) else batch), None
        return
    maps, parameters = pair(data, name, is_pair)
    maps, parameters = np.asarray(maps), None if parameters is None else np.asarray(parameters)
    if parameters is not None:
        fits = len(parameters) == len(maps)
        checks.require(fits, "parameters", f"be of {len(maps)} maps", parameters.shape)
    for first in range(0, len(maps), CHUNK):
        part = slice(first, first + CHUNK)
        yield maps[part], None if parameters is None else parameters[part]
