"""Trains a small model under a strategy, and prints its losses and weights as JSON.

Run by test_training.py: `python replicas.py one|mirrored|workers|killed|plain FOLDER`; "plain" is
a model of Keras alone, by several workers, and "killed" ends the last of them in the third epoch.
"""

import json
import os
import pathlib
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.nn import OwnLoss


class Killed(keras.callbacks.Callback):
    """An end without a word."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class KerasLine(OwnLoss, keras.Model):
    """A line whose loss is one of Keras."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.dense(x)


class Line(KerasLine):
    """A line whose loss is its own."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        each = tf.reduce_mean((y - y_pred) ** 2, axis=-1)
        if sample_weight is None:
            return tf.reduce_mean(each)
        total = tf.reduce_sum(sample_weight)
        return tf.math.divide_no_nan(tf.reduce_sum(sample_weight * each), total)


def strategy(kind):
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    if kind in ("workers", "killed", "plain"):
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def uneven(used, x, y):
    """Losses and weights where the last batch is shared out as two and one, or one and nothing."""
    weight = np.linspace(0.1, 5, len(x)).astype(np.float32)
    weight[32] = 0  # all of a batch, or of a part
    found = {}
    for name, kind, weighting in (
        ("own", Line, None), ("weighted", Line, weight), ("of Keras", KerasLine, weight)
    ):  # fmt: skip
        with used.scope():
            model = kind()
            model.build((None, 3))
            model.compile(keras.optimizers.SGD(0.02), loss="mse" if kind is KerasLine else None)
        for size in (35, 33):
            part = {} if weighting is None else {"sample_weight": weighting[:size]}
            data = {"x": x[:size], "y": y[:size], "batch_size": 16, "verbose": 0} | part
            history = model.fit(**data, epochs=2, shuffle=False).history
            found[f"{name} {size}"] = history["loss"] + [model.evaluate(**data)]
        found[f"{name} weights"] = np.concatenate([w.numpy().ravel() for w in model.weights])
    return {name: np.array(values, float).tolist() for name, values in found.items()}


def main(kind, folder):
    used = strategy(kind)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 3)).astype(np.float32)
    y = (x @ np.array([[1.0], [-2.0], [0.5]]) + 0.1 * rng.normal(size=(96, 1))).astype(np.float32)
    with used.scope():
        model = keras.Sequential([keras.layers.Dense(1)]) if kind == "plain" else Line()
        model.build((None, 3))
        model.compile(
            keras.optimizers.SGD(0.02, 0.6), **({"loss": "mse"} if kind == "plain" else {})
        )
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    index = task.get("index", 0)
    callbacks = [keras.callbacks.BackupAndRestore(pathlib.Path(folder) / f"backup_{index}")]
    if kind == "killed" and index == 1:
        callbacks.append(Killed())
    history = model.fit(
        x, y, batch_size=16, epochs=4, shuffle=False, verbose=0, validation_data=(x[:32], y[:32]),
        validation_batch_size=16, callbacks=callbacks,
    ).history  # fmt: skip
    found = {name: [float(value) for value in values] for name, values in history.items()}
    found["evaluate"] = float(model.evaluate(x, y, batch_size=16, verbose=0))
    found["weights"] = np.concatenate([w.numpy().ravel() for w in model.weights]).tolist()
    if kind in ("one", "mirrored", "workers") and len(history["loss"]) == 4:
        found |= uneven(used, x, y)
    print("FOUND" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
