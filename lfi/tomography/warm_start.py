"""Bins that a classifier begins with, learned by cross-entropy."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

BATCH, LEARNING_RATE = 500, 2e-3


def warm_start(model: Any, x: np.ndarray, labels: np.ndarray) -> None:
    """Teach a `BinClassifier` the bins of galaxies.

    Args:
        model: The classifier, built.
        x: Photometric features, float32 [num_galaxies, num_features].
        labels: Bin of each galaxy, [num_galaxies].
    """
    optimizer, variables = keras.optimizers.Adam(LEARNING_RATE), model.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(x: tf.Tensor, label: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(label, model.logits(x))
            loss = tf.reduce_mean(each)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    data = tf.data.Dataset.from_tensor_slices((x, labels.astype(np.int32)))
    data = data.shuffle(len(x), seed=model.seed)
    data = data.batch(min(BATCH, len(x)), drop_remainder=True)
    for batch in data.repeat(model.warm_epochs):
        step(*batch)
