"""What models that know their own loss share."""

from typing import Any

import keras
import tensorflow as tf


class SharedTraining:
    """Training of a Keras model by several workers; put it before `keras.Model`.

    In Keras 3.15 `fit` fails under a MultiWorkerMirroredStrategy, on the first batch and on the
    averages over workers, which it takes along the first axis of what is a number. Here a model is
    built from the part of a batch that this worker has, and a step reports vectors of one number.
    Losses and gradients are those of the whole batch, however it is shared out. A loss of the
    model's own (`compute_loss`) is a mean over samples, weighted where weights are given.
    """

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Update the weights once.

        Args:
            data: A batch, as `fit` takes it.

        Returns:
            What Keras reports, by name.
        """
        return _reported(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluate one batch.

        Args:
            data: A batch, as `fit` takes it.

        Returns:
            What Keras reports, by name.
        """
        return _reported(super().test_step(data))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        strategy = self.distribute_strategy
        if iterator is not None and _has_workers(strategy):
            _, _, batches = next(iter(iterator))
            data_batch = tf.nest.map_structure(
                lambda part: strategy.experimental_local_results(part)[0], next(batches)
            )
            iterator = None
        super()._maybe_symbolic_build(iterator, data_batch)

    def _compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:  # fmt: skip
        """The loss of the whole batch over the number of replicas, with the slope by one's part.

        Keras sums gradients over replicas and averages what they report. Replicas may hold parts
        of different size, or nothing of a small batch.
        """
        loss = super()._compute_loss(x, y, y_pred, sample_weight, training)
        size = tf.distribute.get_strategy().num_replicas_in_sync
        replica = tf.distribute.get_replica_context()
        if size == 1 or replica is None:  # None while Keras builds a model
            return loss
        if not self._has_own_loss():
            loss *= size  # which Keras has divided by
        held = tf.cast(self._held(x, sample_weight), loss.dtype)
        mine = tf.math.multiply_no_nan(loss, held)  # nothing has no mean
        sums = [tf.stop_gradient(mine), held]
        total, everything = replica.all_reduce("SUM", sums)
        mine = tf.math.divide_no_nan(mine, everything)
        whole = tf.math.divide_no_nan(total, everything * size)
        return mine + tf.stop_gradient(whole - mine)

    def _has_own_loss(self) -> bool:
        return type(self).compute_loss is not keras.Model.compute_loss

    def _held(self, x: Any, sample_weight: Any) -> tf.Tensor:
        """What the mean of this part counts in that of the batch."""
        if sample_weight is not None and self._has_own_loss():
            return tf.reduce_sum(sample_weight)
        return tf.shape(next(part for part in tf.nest.flatten(x) if part is not None))[0]


class OwnLoss(SharedTraining):
    """Training of a Keras model whose loss is its own; put it before `keras.Model`."""

    def compile(
        self, optimizer: Any = "adam", *, jit_compile: bool = False, **options: Any
    ) -> None:
        """Say how to train.

        Args:
            optimizer: Of Keras.
            jit_compile: Whether XLA compiles a step; on a CPU networks are slower then.
            **options: Of `keras.Model.compile`.
        """
        super().compile(optimizer, jit_compile=jit_compile, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as a file says that a model was.

        Args:
            config: What `get_compile_config` gave.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _has_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether each process holds a part of the replicas."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def _reported(values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What a step reports, with an axis for Keras to average over the workers along."""
    if not _has_workers(tf.distribute.get_strategy()):
        return values
    return {name: tf.reshape(value, [1]) for name, value in values.items()}
