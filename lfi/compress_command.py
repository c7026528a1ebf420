"""What the command line does to compress maps to summaries."""

import argparse
import pathlib

import keras
import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.nn import EpochBar
from flowpm_ext.nn.residual import ResNet, SmallCNN
from lfi import dataset, plot
from lfi.chains import with_suffix
from lfi.commands import require_new
from lfi.compressors import Compressor
from lfi.dataset import Observation, Simulations
from lfi.saving import load_keras

FIX = "Make it with `python -m lfi compress`."


def compress(options: argparse.Namespace) -> None:
    """Train a compressor on one part of the data, and write the summaries of the other.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    path = pathlib.Path(options.output)
    stem = path.with_suffix("")
    saved, figure = with_suffix(stem, "_compressor.keras"), with_suffix(stem, "_loss.png")
    require_new([path] if options.compressor else [path, saved, figure], options.overwrite)
    if not dataset.is_simulations(options.data):
        _compress_observation(options, path)
        return
    data = dataset.read_simulations(options.data)
    checks.finite(data.x, "x", "Leave such simulations out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    split = (0.0 if options.compressor else 0.5) if options.split is None else options.split
    first, rest = _parts(len(data.x), split, options.seed)
    if options.compressor:
        model = _loaded_compressor(options.compressor, data.x.shape[1:])
        _require_same_noise(model, options.noise)
    else:
        model, history = _trained_compressor(data.take(first), options)
        model.save(saved)
        plot.loss_figure([history], f"loss ({options.loss})").savefig(figure, dpi=110)
        print(f"compressor and its loss: {saved}, {figure}")
    unseen = data.take(rest)
    _say_information(model, unseen, options.seed)
    summaries = model.compress(unseen.x, seed=options.seed)
    dataset.write_simulations(path, unseen._replace(x=summaries))
    print(f"summaries of {len(rest)} simulations, {summaries.shape[1]} of each: {path}")


def _parts(num: int, split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and the others in their order."""
    checks.in_range(split, "split", 0, 0.95)
    order = np.random.default_rng(seed).permutation(num)
    first = round(split * num)
    return order[:first], np.sort(order[first:])


def _network(name: str, num_outputs: int) -> keras.layers.Layer:
    if name == "dense":
        widths = (128, 128)
        return keras.Sequential([keras.layers.Dense(n, activation="relu") for n in widths])
    return {"cnn": SmallCNN, "resnet": ResNet}[name](num_outputs)


def _trained_compressor(
    data: Simulations, options: argparse.Namespace
) -> tuple[Compressor, dict[str, list[float]]]:
    """A compressor and the history of its training, on nine tenths of the data given here."""
    is_map, rank = options.network != "dense", data.x.ndim
    rule = "be maps [num, ny, nx] or [num, ny, nx, bins]"
    fix = "For vectors there is --network dense."
    checks.require(not is_map or rank in (3, 4), "x", rule, f"shape {data.x.shape}", fix)
    checks.require(is_map or rank == 2, "x", "be [num, num_data]", f"shape {data.x.shape}")
    checks.positive_integers(epochs=options.epochs, batch_size=options.batch_size)
    checks.require(len(data.x) >= 20, "split", "leave 20 simulations to train on", len(data.x))
    keras.utils.set_random_seed(options.seed)
    num = data.theta.shape[1]
    network = _network(options.network, num)
    if is_map:
        large = min(data.x.shape[1:3]) >= network.total_stride
        rule = f"have sides of at least {network.total_stride} pixels"
        checks.require(large, "x", rule, f"shape {data.x.shape}")
    noise = dataset.WhiteNoise(options.noise) if options.noise is not None else None
    model = Compressor(
        network, num, options.loss, low=data.low, high=data.high, noise=noise, seed=options.seed
    )
    model.compile(keras.optimizers.Adam(options.learning_rate, clipnorm=5.0))
    # Rows come in random order, so that the last tenth is as good as any.
    held = max(1, len(data.x) // 10)
    stop = keras.callbacks.EarlyStopping(patience=options.patience, restore_best_weights=True)
    history = model.fit(
        data.x[:-held], data.theta[:-held], validation_data=(data.x[-held:], data.theta[-held:]),
        epochs=options.epochs, batch_size=options.batch_size, callbacks=[stop, EpochBar()],
        verbose=0,
    ).history  # fmt: skip
    return model, history


def _loaded_compressor(path: str, shape: tuple[int, ...]) -> Compressor:
    model = load_keras(pathlib.Path(path), "compressor", Compressor, FIX)
    seen = model.get_build_config()["input_shape"]
    rule = f"have shape [num, {', '.join(map(str, seen[1:]))}], as what the compressor learned from"
    checks.require(tuple(seen[1:]) == tuple(shape), "x", rule, f"data of shape {tuple(shape)}")
    return model


def _require_same_noise(model: Compressor, std: float | None) -> None:
    """Refuse a noise that is not that of the training."""
    own = getattr(model.noise, "std", None)
    rule = "be left out, or be that of the compressor"
    checks.require(std is None or std == own, "noise", rule, std, f"It was trained with {own}.")


def _compress_observation(options: argparse.Namespace, path: pathlib.Path) -> None:
    """Summaries of an observation, which has its own noise."""
    received = f"{options.data} without `theta`"
    fix = "For an observation give --compressor."
    checks.require(bool(options.compressor), "DATA", "hold `theta`", received, fix)
    rule = "be left out: an observation has its own"
    checks.require(options.noise is None, "noise", rule, options.noise)
    found = dataset.read_observation(options.data)
    checks.finite(found.x, "x")
    model = _loaded_compressor(options.compressor, found.x.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.write_observation(path, Observation(model.compress(found.x[None])[0], found.truth))
    print(f"summaries of the observation: {path}")


def _say_information(model: Compressor, data: Simulations, seed: int) -> None:
    """Print what summaries say about parameters, where that can be known."""
    if model.density is None or data.low is None or data.high is None:
        return
    entropy = float(np.sum(np.log(data.high - data.low)))
    bound, error = model.mutual_information(data.x, data.theta, entropy, seed)
    print(f"summaries say at least {bound:.2f} +- {error:.2f} nats about the parameters")
