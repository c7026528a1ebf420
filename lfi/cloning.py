"""Copies of networks that were given, so that training leaves these as they are."""

import keras
import numpy as np

from flowpm_ext.core import checks


def cloned(layer: keras.layers.Layer, name: str, inputs: np.ndarray) -> keras.layers.Layer:
    """Another layer of the same kind, with the same weights where there are any.

    What has no weights yet gets its own. What is frozen (`trainable=False`) stays so.

    Args:
        layer: Keras layer or model, built or not.
        name: What it is for, in messages.
        inputs: Some of its inputs, [num, ...], which build it where its configuration does not.

    Returns:
        The copy.

    Raises:
        ValueError: If Keras cannot make it from its configuration.
    """
    inside = getattr(layer, "embedding", None)
    kinds = {type(part).__name__: type(part) for part in (layer, inside) if part is not None}
    try:
        with keras.saving.custom_object_scope(kinds):
            copy = type(layer).from_config(layer.get_config())
        if len(copy.weights) != len(layer.weights):
            copy(inputs)
        copy.set_weights(layer.get_weights())
    except (TypeError, ValueError, KeyError) as error:
        # Keras says many things over many lines.
        received = f"{type(layer).__name__} ({' '.join(str(error).split())[:80]})"
        rule = "be made again by its `from_config(get_config())`, as files of Keras need too"
        fix = "Let `get_config` tell all arguments of `__init__`."
        checks.require(False, name, rule, received, fix)
    if not layer.trainable:
        copy.trainable = False
    # Also of parts that were frozen after they were made.
    for mine, theirs in zip(copy.variables, layer.variables, strict=False):
        mine.trainable = theirs.trainable
    return copy
