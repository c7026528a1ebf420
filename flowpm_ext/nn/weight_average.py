"""Running averages of the weights of a network in training."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks


class WeightAverage(keras.callbacks.Callback):
    """Averages of weights over updates, in the place of the weights wherever these are looked at.

    Put it before callbacks that validate, keep or restore weights: while a model is validated, at
    the end of an epoch and after training it has the averages; the optimizer goes on from the
    weights of its own. Keras's `SwapEMAWeights` leaves a model without averages where
    training ends early, and its averages begin with the random weights of the start.

    Args:
        momentum: Weight of the past at each update; the memory is short at first.

    Raises:
        ValueError: If `momentum` is not between 0 and 1.

    References:
        Polyak & Juditsky 1992, SIAM J. Control Optim. 30, 838.
    """

    def __init__(self, momentum: float = 0.999) -> None:
        super().__init__()
        checks.in_range(momentum, "momentum", 0.0, 1.0)
        self.momentum = momentum
        self._means: list[tf.Variable] | None = None
        self._kept: list[tf.Tensor] | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget an earlier training."""
        self._means = self._kept = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Go on from the weights of the last update."""
        if self._means is None:  # now, as other callbacks may have restored weights before
            weights = self.model.trainable_variables
            self._means = [tf.Variable(weight.value, trainable=False) for weight in weights]
            self._num_updates = tf.Variable(0.0, trainable=False)
            self._update = tf.function(self._take_in, autograph=False)
        self._hide()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Take in the weights after an update."""
        self._update()

    def on_test_begin(self, logs: Any = None) -> None:
        """Validate the averages."""
        self._show()

    def on_test_end(self, logs: Any = None) -> None:
        """Go back; the end of the epoch shows them again."""
        self._hide()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show averages to the callbacks that follow."""
        self._show()

    def _take_in(self) -> None:
        number = self._num_updates.assign_add(1.0)
        rest = 1 - tf.minimum(np.float32(self.momentum), number / (9 + number))
        for mean, weight in zip(self._means, self.model.trainable_variables, strict=True):
            mean.assign_add(tf.cast(rest, mean.dtype) * (weight.value - mean))

    def _show(self) -> None:
        if self._kept is None and self._means is not None:
            self._kept = [tf.identity(weight.value) for weight in self.model.trainable_variables]
            for weight, mean in zip(self.model.trainable_variables, self._means, strict=True):
                weight.assign(mean)

    def _hide(self) -> None:
        if self._kept is not None:
            for weight, value in zip(self.model.trainable_variables, self._kept, strict=True):
                weight.assign(value)
            self._kept = None
