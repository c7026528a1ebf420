"""Functions that change data at random, inside of training."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core.types import TensorLike

Draw = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def drawn(function: Draw | None, x: TensorLike, seed: tf.Tensor) -> TensorLike:
    """Data changed by a function; as they are where there is none.

    Args:
        function: Takes data and a seed [2], and gives data of the same shape; or None.
        x: Shape [batch, ...].
        seed: Stateless seed, [2].

    Returns:
        The shape of `x`.
    """
    if function is None:
        return x
    x = tf.cast(x, tf.float32)
    return tf.ensure_shape(function(x, seed), x.shape)


def saved(function: Draw | None, name: str) -> Any:
    """What a file keeps of a function: its name, where Keras knows it.

    Args:
        function: The function, an object with `get_config`, or None.
        name: Of the argument, for the warning that it is not kept.

    Returns:
        A configuration, or None.
    """
    if function is None:
        return None
    named = function if inspect.isfunction(function) else type(function)
    if keras.saving.get_registered_name(named) != named.__name__:
        return keras.saving.serialize_keras_object(function)
    text = "Register it with `keras.saving.register_keras_serializable`, or set it after loading."
    warnings.warn(f"`{name}` is not saved. {text}", UserWarning, stacklevel=2)
    return None
