# %% [markdown]
# # Training on two workers
#
# `python examples/training_on_workers.py` trains a conditional density by Keras's own `fit`, once
# in this process and once in two, which share every batch. Losses are the same. Each worker keeps
# a backup of its own, from which `fit` goes on when the job was killed and is started again.
# `FLOWPM_EXT_SMALL=1` runs a small version.

# %%
import json
import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from flowpm_ext.launcher import launch
from lfi.density import MixtureDensity

is_small = os.environ.get("FLOWPM_EXT_SMALL") == "1"
num_pairs, num_epochs = (512, 2) if is_small else (8192, 10)
out = pathlib.Path("training_on_workers")

# %% [markdown]
# ## What to learn
# Two parameters θ and three numbers x with noise; the density is that of θ given x.


# %%
def simulations():
    """Pairs of parameters and data."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(num_pairs, 2)).astype(np.float32)
    mean = np.stack([theta[:, 0], theta[:, 1] ** 2, theta.sum(axis=1)], axis=1)
    return theta, (mean + 0.3 * rng.normal(size=mean.shape)).astype(np.float32)


def trained(strategy, folder):
    """Losses of a training under a strategy: the model is made and compiled in its scope."""
    theta, x = simulations()
    keras.utils.set_random_seed(1)
    with strategy.scope():
        density = MixtureDensity(2, 3)
        density.adapt(x, theta)
        density.compile(keras.optimizers.Adam(1e-3))
    backup = keras.callbacks.BackupAndRestore(folder)
    options = {"batch_size": 128, "epochs": num_epochs, "shuffle": False, "verbose": 0}
    return density.fit(x, theta, callbacks=[backup], **options).history["loss"]


# %% [markdown]
# ## The workers
# TF_CONFIG tells each who it is. The strategy comes before all other work of TensorFlow.


# %%
def work():
    """What each worker does."""
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    losses = trained(strategy, out / f"backup_{index}")
    (out / f"losses_{index}.json").write_text(json.dumps(losses))


def compare():
    """Train in two workers and here, and draw the losses."""
    out.mkdir(exist_ok=True)
    ended = launch([sys.executable, __file__], 2)
    if ended.code:
        raise RuntimeError(ended.output[ended.failed])
    shared = np.array(json.loads((out / "losses_0.json").read_text()))
    alone = np.array(trained(tf.distribute.get_strategy(), out / "backup_alone"))
    figure = Figure((5, 3.5), layout="constrained")
    axes = figure.subplots()
    epochs = 1 + np.arange(num_epochs)
    axes.plot(epochs, alone, "o-", label="one process")
    axes.plot(epochs, shared, "x--", label="two workers, half of every batch each")
    axes.set(xlabel="epoch", ylabel="mean of −ln p(θ | x)")
    axes.legend()
    figure.savefig(out / "losses.png", dpi=150)
    largest = np.max(np.abs(shared / alone - 1))
    print(f"last loss {shared[-1]:.4f}; largest difference from one process {largest:.1e}")


# %%
if os.environ.get("TF_CONFIG"):
    work()
else:
    compare()
