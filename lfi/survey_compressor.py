"""Networks that compress the maps of a lensing survey, trained on maps without end."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import integer_seed
from flowpm_ext.nn import SmallCNN, seeded_layers
from lfi.compressors import Compressor
from lfi.hybrid import WithSpectra
from lfi.lognormal_field import LognormalField
from lfi.survey import NAMES, LensingTask

CHANNELS = (8, 16, 32, 64)  # twice as many take 2.7 times as long: better spent on steps
NUM_HELD = 512  # maps that training is judged by
LEARNING_RATE = 2e-3


def survey_compressor(
    task: LensingTask, loss: str = "vmim", has_spectra: bool = True,
    channels: Sequence[int] = CHANNELS, seed: int = 0,
) -> Compressor:  # fmt: skip
    """An untrained network that is given noisy maps, and their spectra beside them.

    Args:
        task: The survey, whose noise and turns it adds to maps in training.
        loss: "vmim", "gnll", "mse" or "mae".
        has_spectra: Whether it is given the spectra.
        channels: Of the stages of the network of maps.
        seed: Of its weights, of noise and turns.

    Returns:
        A `Compressor` to two summaries.

    Raises:
        ValueError: If the loss is unknown.

    References:
        Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459; Makinen et al. 2024, arXiv:2407.18909.
    """
    with seeded_layers(integer_seed(seed, 0)):
        cnn = SmallCNN(64, channels)
        first = [WithSpectra(cnn, task.pixel_size_arcmin, task.ell_edges)]
        if not has_spectra:
            first = [cnn, keras.layers.ReLU()]
        dense = [keras.layers.Dense(width, activation="relu") for width in (128, 64)]
        bounds = {"low": task.low, "high": task.high} if loss == "vmim" else {}
        model = Compressor(
            keras.Sequential([*first, *dense]), len(NAMES), loss, augment=task.flips,
            noise=task.noise, seed=seed, **bounds,
        )  # fmt: skip
        model.build((None, task.num_pixels, task.num_pixels, len(task.nz)))
    return model


def train_on_stream(
    model: Compressor, field: LognormalField, num_steps: int, batch_size: int = 32,
    num_epochs: int = 20, seed: int = 0, **options: Any,
) -> keras.callbacks.History:  # fmt: skip
    """Train a compressor on new maps in every step, with a rate that rises and falls.

    Args:
        model: It, untrained.
        field: Where maps come from.
        num_steps: Updates.
        batch_size: Maps in each.
        num_epochs: Parts, after each of which 512 held-out maps are looked at.
        seed: Of the maps.
        **options: Of `Compressor.fit`.

    Returns:
        The history.

    Raises:
        ValueError: If a number is not a positive integer.
    """
    checks.positive_integers(num_steps=num_steps, num_epochs=num_epochs)
    per_epoch = -(-num_steps // num_epochs)
    warmup = num_steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 20, num_epochs * per_epoch - warmup, warmup_target=LEARNING_RATE,
        warmup_steps=warmup,
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(rate, clipnorm=5.0))
    held: tf.data.Dataset = field.stream(batch_size, seed + 1).take(-(-NUM_HELD // batch_size))
    return model.fit(
        field.stream(batch_size, seed), steps_per_epoch=per_epoch, epochs=num_epochs,
        validation_data=held.cache(), **options,
    )  # fmt: skip
