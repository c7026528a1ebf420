"""What machines learn from, and how they are judged."""

import csv
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.nn import OwnLoss
from flowpm_ext.stats import cross_correlation, transfer_function
from rim.initial_conditions import InitialConditions

LEARNING_RATE = 2e-3
FLOOR = 0.02  # of the learning rate, in the end
CHECKPOINT, HISTORY = "last.keras", "history.csv"
BANDS = (0.04, 0.06, 0.08, 0.12, 0.17, 0.23, 0.26, 0.34)  # h/Mpc, pairs of edges


@keras.saving.register_keras_serializable("rim")
class TrajectoryError(keras.losses.Loss):
    """Squared error of each step of a trajectory, averaged over cells and steps.

    Args:
        step_weights: Weight of each step; all alike by default.
        name: Of the loss.
        **options: Of a Keras loss.

    Raises:
        ValueError: If weights are negative or all zero.
    """

    def __init__(
        self,
        step_weights: Sequence[float] | None = None,
        name: str = "trajectory_error",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        if step_weights is not None:
            checks.non_negative(step_weights, "step_weights")
            checks.require(sum(step_weights) > 0, "step_weights", "not all be zero", step_weights)
        self.step_weights = step_weights

    def call(self, x: tf.Tensor, trajectory: tf.Tensor) -> tf.Tensor:
        error = tf.square(trajectory - x[:, None])
        per_step = tf.reduce_mean(error, axis=range(2, error.shape.rank))
        if self.step_weights is None:
            return tf.reduce_mean(per_step, axis=1)
        weights = np.asarray(self.step_weights, np.float32)
        return tf.reduce_sum(per_step * (weights / weights.sum()), axis=1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"step_weights": self.step_weights}


class DefaultCompile(OwnLoss):
    """Training of a Keras model by the error of its trajectory, unless it is told otherwise."""

    def default_metrics(self) -> list[keras.metrics.Metric]:
        """What `evaluate` reports besides the loss."""
        return []

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        *,
        metrics: Any = None,
        jit_compile: bool = False,
        **options: Any,
    ) -> None:
        """Say how to train.

        Args:
            optimizer: Of Keras.
            loss: Of x and the trajectory; `TrajectoryError` by default.
            metrics: Of x and the trajectory.
            jit_compile: Whether XLA compiles the whole step; on a CPU networks are slower then.
            **options: Of `keras.Model.compile`.
        """
        loss = TrajectoryError() if loss is None else loss
        metrics = self.default_metrics() if metrics is None else metrics
        super().compile(optimizer, loss=loss, metrics=metrics, jit_compile=jit_compile, **options)


@keras.saving.register_keras_serializable("rim")
class FourierAgreement(keras.metrics.Metric):
    """r(k) and T(k) of the last step with the truth, mean over realisations.

    Args:
        box_size: Side of a cubic box, or three sides (Mpc/h).
        bands: Edges of bands in k (h/Mpc), two for each; around 0.05, 0.1, 0.2 and 0.3 h/Mpc by
            default, without those whose waves are longer than the box.
        name: Of the metric.
        **options: Of a Keras metric.
    """

    def __init__(
        self,
        box_size: float | Sequence[float],
        bands: Sequence[float] | None = None,
        name: str = "fourier_agreement",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.box_size = box_size
        self.bands = bands_in(box_size) if bands is None else tuple(bands)
        pairs = zip(self.bands[::2], self.bands[1::2], strict=True)
        self.centres = [round((low + high) / 2, 6) for low, high in pairs]
        num = len(self.centres)
        self.sums = self.add_weight(shape=(2, num), initializer="zeros", name="sums")
        self.count = self.add_weight(initializer="zeros", name="count")

    def update_state(self, x: tf.Tensor, trajectory: tf.Tensor, sample_weight: Any = None) -> None:
        last = trajectory[:, -1]
        r = cross_correlation(last, x, self.box_size, self.bands).correlation
        t = transfer_function(last, x, self.box_size, self.bands).transfer
        found = tf.reduce_sum(tf.stack([r, t]), axis=1)[:, ::2]
        self.sums.assign_add(tf.cast(found, self.sums.dtype))
        self.count.assign_add(tf.cast(tf.shape(last)[0], self.count.dtype))

    def result(self) -> dict[str, tf.Tensor]:
        mean = self.sums / tf.maximum(self.count, 1.0)
        return {
            f"{letter}({k:.2g})": mean[row, column]
            for row, letter in enumerate("rT")
            for column, k in enumerate(self.centres)
        }

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"box_size": self.box_size, "bands": self.bands}


def agreement_metrics(problem: InitialConditions) -> list[keras.metrics.Metric]:
    """What `evaluate` reports of a machine for initial conditions.

    Args:
        problem: What was observed.

    Returns:
        `FourierAgreement` in the bands that the mesh holds; nothing if it holds none.
    """
    bands = bands_in(problem.box_size, np.pi / problem.cell_size)
    return [FourierAgreement(problem.box_size, bands)] if bands else []


def bands_in(box_size: float | Sequence[float], largest: float = np.inf) -> tuple[float, ...]:
    """Edges of the usual bands, without waves that a mesh cannot hold.

    Args:
        box_size: Side of a cubic box, or three sides (Mpc/h).
        largest: Nyquist frequency of the mesh (h/Mpc).

    Returns:
        Edges in k (h/Mpc), two for each band; none if no band fits.
    """
    steps = np.meshgrid(*[np.arange(9)] * 3, indexing="ij")
    sides = np.broadcast_to(box_size, 3)
    k = np.sqrt(sum((2 * np.pi * n / side) ** 2 for n, side in zip(steps, sides, strict=True)))
    pairs = list(zip(BANDS[::2], BANDS[1::2], strict=True))
    held = [np.any((k >= low) & (k < high)) for low, high in pairs]
    first = held.index(True) if any(held) else len(pairs)
    return tuple(edge for low, high in pairs[first:] if high <= largest for edge in (low, high))


def mocks(
    problem: InitialConditions,
    batch_size: int = 4,
    seed: int | tf.Tensor = 0,
    num: int | None = None,
    first: int = 0,
) -> tf.data.Dataset:
    """Pairs of an observation and its truth, simulated while they are asked for.

    Args:
        problem: What is simulated.
        batch_size: Realisations in a batch.
        seed: An integer, or a stateless seed of shape [2]; two data sets of different seeds
            share nothing.
        num: Batches; endless by default.
        first: Number of the first batch, to go on where another data set ended.

    Returns:
        Data set of (y, x), float32 [batch_size, nx, ny, nz] each.

    Raises:
        ValueError: If a number is not a positive integer.
    """
    checks.positive_integers(batch_size=batch_size)
    shape = (batch_size, *problem.mesh.shape)

    def draw(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = problem.simulate(fold(seed, number), batch_size)
        return tf.ensure_shape(y, shape), tf.ensure_shape(x, shape)

    last = tf.int64.max if num is None else first + num
    return tf.data.Dataset.range(first, last).map(draw).prefetch(2)


def train(
    machine: keras.Model,
    folder: str | os.PathLike,
    num_epochs: int = 20,
    updates_per_epoch: int = 100,
    batch_size: int = 2,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    num_validation: int = 8,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 1,
) -> keras.Model:
    """Train a machine on mocks that are simulated on the way, with a checkpoint after each epoch.

    The same call goes on with a run that was stopped. The learning rate falls along a cosine, and
    gradients longer than one are shortened.

    Args:
        machine: `CosmicRIM`, or a model that is called in the same way and has a `problem`.
        folder: Where `last.keras` and `history.csv` are kept; made if there is none.
        num_epochs: Epochs in all, those of an interrupted run counted in.
        updates_per_epoch: Updates of the weights in each.
        batch_size: Realisations of each update.
        learning_rate: The highest one.
        seed: Of the mocks.
        num_validation: Realisations, never trained on, that each epoch is judged by.
        callbacks: More of Keras.
        verbose: 1 for a progress bar, 2 for a line per epoch, 0 for silence.

    Returns:
        The trained machine: `machine` itself, or the one that was found in the folder.

    Raises:
        ValueError: If a number is not positive, the folder holds another machine, or the loss
            is not finite.
    """
    checks.positive_integers(
        num_epochs=num_epochs, updates_per_epoch=updates_per_epoch, num_validation=num_validation
    )
    checks.positive(learning_rate, "learning_rate")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    total = num_epochs * updates_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, total, alpha=FLOOR)
    machine.compile(keras.optimizers.Adam(rate, clipnorm=1.0))
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        found = keras.models.load_model(checkpoint)
        is_same = _architecture(found) == _architecture(machine)
        rule = "hold no other machine than this"
        checks.require(is_same, "folder", rule, str(folder), "Name an empty folder.")
        machine.set_weights(found.get_weights())
        machine.optimizer.build(machine.trainable_variables)
        for mine, its in zip(machine.optimizer.variables, found.optimizer.variables, strict=True):
            mine.assign(its)
    done = int(machine.optimizer.iterations.numpy())
    if done < total:
        machine.fit(
            mocks(machine.problem, batch_size, fold(seed, 0), first=done),
            initial_epoch=done // updates_per_epoch,
            epochs=num_epochs,
            steps_per_epoch=updates_per_epoch,
            validation_data=mocks(machine.problem, 1, fold(seed, 1), num_validation),
            callbacks=[_Checkpoint(folder), *callbacks],
            shuffle=False,
            verbose=verbose,
        )
    return machine


def _architecture(machine: keras.Model) -> dict[str, Any]:
    """What makes a machine, without its name."""
    return {key: value for key, value in machine.get_config().items() if key != "name"}


class _Checkpoint(keras.callbacks.Callback):
    """The whole model after each epoch, in a file that is never broken, and a table of epochs."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not np.isfinite(logs["loss"]):
            raise ValueError(
                f"The loss of epoch {epoch + 1} is not finite. Lower the learning rate; "
                "the same call goes on from the epoch before."
            )
        partial = self.folder / "partial.keras"
        self.model.save(partial)
        os.replace(partial, self.folder / CHECKPOINT)
        with open(self.folder / HISTORY, "a", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            if file.tell() == 0:
                table.writerow(["epoch", *logs])
            table.writerow([epoch, *(float(value) for value in logs.values())])
