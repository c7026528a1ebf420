"""A network that maps shear to mass in one go, where the survey is and is not the trained one.

A U-Net learns the mean of the posterior from maps of simulations seen through one mask and one
level of noise, drawn anew at each step. It is then given surveys of the same kind, of twice the
noise, of another mask, and of both, as `benchmarks.priors.mass_mapping` gives them to the learned
prior, whose numbers are read from its results; those of both together are measured here. Run
`python -m benchmarks.priors.direct --maps maps`, with the folder that `python -m priors train
--simulate` wrote; `--model FILE` keeps the network for the next run.
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import priors
from benchmarks.priors import mass_mapping
from benchmarks.provenance import commit
from flowpm_ext.nn import UNet
from priors.posterior_estimators import METHOD
from priors.training_maps import HELD_OUT, TRAINING, read_maps

OUTPUT = pathlib.Path(__file__).parent / "results" / "direct.json"
SETTINGS = mass_mapping.CASES | {"noisier elsewhere": (2.0, True)}
NUM_DRAWS = 100
BATCH = 16


class Direct(keras.Model):
    """Mass [batch, side, side] from shear that is zero where there is no galaxy."""

    def __init__(self, scale: float, mask: np.ndarray, **options: Any) -> None:
        super().__init__(**options)
        self.op = priors.operators.KaiserSquires(mask.shape)
        self.scale, self.mask = scale, tf.constant(mask, tf.float32)
        self.network = UNet((32, 64, 128), rank=2, padding="zero")

    def call(self, shear: tf.Tensor) -> tf.Tensor:
        """The mean of the maps behind complex shear."""
        inverted = self.op.adjoint(shear) / self.scale
        inputs = [inverted, tf.broadcast_to(self.mask, tf.shape(inverted))]
        return self.scale * self.network(tf.stack(inputs, axis=-1))[..., 0]


def observed(op: Any, kappa: tf.Tensor, mask: np.ndarray, noise_std: np.ndarray) -> tf.Tensor:
    """Complex shear with new noise, zero behind the mask."""
    noise = [tf.random.normal(tf.shape(kappa)) * noise_std for _ in range(2)]
    return tf.cast(mask, tf.complex64) * (op(kappa) + tf.complex(*noise))


def cut(kappa: tf.Tensor, side: int) -> tf.Tensor:
    """A part of a map, mirrored and turned at random, of mean zero."""
    part = tf.image.random_crop(kappa[..., None], (side, side, 1))
    part = tf.image.random_flip_left_right(tf.image.random_flip_up_down(part))
    part = tf.image.rot90(part, tf.random.uniform([], 0, 4, tf.int32))[..., 0]
    return part - tf.reduce_mean(part)


def trained(
    kappa: np.ndarray,
    mask: np.ndarray,
    noise_std: np.ndarray,
    num_steps: int,
    seed: int,
    path: pathlib.Path | None,
) -> Direct:
    """The network of one survey: that whose weights are in a file, or a new one that is kept."""
    keras.utils.set_random_seed(seed)
    model = Direct(float(kappa.std()), mask)
    if path is not None and path.exists():
        model(tf.zeros((1, *mask.shape), tf.complex64))  # makes the weights
        model.load_weights(path)
        return model
    rate = keras.optimizers.schedules.CosineDecay(2e-3, num_steps)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), "mse")
    side = mask.shape[0]
    data = tf.data.Dataset.from_tensor_slices(kappa).shuffle(len(kappa), seed=seed).repeat()
    data = data.map(lambda one: cut(one, side)).batch(BATCH)
    data = data.map(lambda part: (observed(model.op, part, mask, noise_std), part))
    model.fit(
        data.prefetch(2), steps_per_epoch=num_steps // 10, epochs=10, verbose=2, shuffle=False
    )
    if path is not None:
        model.save_weights(path)
    return model


def judged(
    model: Direct, truths: np.ndarray, power: np.ndarray, noise: float, flip: bool, seed: int
) -> dict[str, Any]:
    """Error of the network and of the exact Wiener filter of the very survey."""
    mask, noise_std = mass_mapping.seen(truths.shape[1], noise, flip, seed)
    model.mask, found = tf.constant(mask, tf.float32), []
    for number, truth in enumerate(truths):
        likelihood = mass_mapping.observed(truth, mask, noise_std, seed + number)
        shear = np.where(mask, likelihood.data, 0)[None].astype(np.complex64)
        wiener = priors.wiener_filter(likelihood, power).numpy()
        found.append(mass_mapping.ratios(model(shear).numpy()[0], wiener, truth, mask))
    return {"rmse over Wiener's": mass_mapping.mean_and_error(found)}


def of_prior(name: str, truths: np.ndarray, seed: int) -> dict[str, Any]:
    """The learned prior on the same survey: what its own benchmark measured, or measured now."""
    known = json.loads(mass_mapping.OUTPUT.read_text())
    found = known.get(name) or mass_mapping.simulated(
        priors.load_pretrained(), truths, NUM_DRAWS, *SETTINGS[name], seed, METHOD["method"]
    )
    return {name: found[name] for name in ("maps", "rmse over Wiener's", "coverage")}


def main() -> None:
    """Train, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--num-maps", type=int, default=20)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--model", type=pathlib.Path, help=".weights.h5 to read, or to make")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    seed, side = options.seed, options.side
    mask, noise_std = mass_mapping.seen(side, 1.0, False, seed)
    kappa, start = read_maps(options.maps / TRAINING).kappa, time.perf_counter()
    model = trained(kappa, mask, noise_std, options.steps, seed, options.model)
    about = {"commit": commit(), "seed": seed, "time": time.strftime("%Y-%m-%d %H:%M")}
    results: dict[str, Any] = {"steps": options.steps, "weights": model.count_params(),
        "seconds to train": time.perf_counter() - start} | about  # fmt: skip
    truths = mass_mapping.truths_of(options.maps / HELD_OUT, options.num_maps, side, seed)
    power = priors.load_pretrained().trained_power((side, side)).astype(np.float32)
    for name, (noise, flip) in SETTINGS.items():
        results[name] = {"direct": judged(model, truths, power, noise, flip, seed),
                         "learned prior": of_prior(name, truths, seed)}  # fmt: skip
        print(f"{name}: {json.dumps(results[name], indent=1)}", flush=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
