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


class Line(OwnLoss, keras.Model):
    """A line whose loss is its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = keras.layers.Dense(1, kernel_initializer="ones")

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.dense(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.reduce_mean((y - y_pred) ** 2)


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
    print("FOUND" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
