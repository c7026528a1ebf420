"""Steps of training hold nothing that a TPU refuses: loss, gradients and the change of weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from accelerator import refusals

import flowpm_ext as fpm
import rim
from flowpm_ext.nn import SmallCNN
from lfi import Compressor
from lfi.density import CouplingFlow, MaskedAutoregressiveFlow, MixtureDensity
from lfi.lens_finder.finder import LensFinder
from priors import Denoiser


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def refused_in_training(model, *batch):
    """What a TPU refuses of one step of training."""
    model.compile(keras.optimizers.AdamW(1e-3), run_eagerly=True)
    if not isinstance(model, rim.CosmicRIM):  # whose weights are there already
        model.fit(*batch, batch_size=len(batch[0]), verbose=0)
    model.optimizer.build(model.trainable_variables)
    return refusals(lambda *data: model.train_step(data), *map(tf.constant, batch))


DENSITIES = {
    "mixture": MixtureDensity,
    "autoregressive": MaskedAutoregressiveFlow,
    "spline": CouplingFlow,
    "bounded": lambda *sizes: CouplingFlow(*sizes, "affine", low=[-9.0, -9.0], high=[9.0, 9.0]),
    "linear": lambda *sizes: MixtureDensity(*sizes, linear=True),
}


@pytest.mark.parametrize("kind", DENSITIES)
def test_densities(kind):
    density = DENSITIES[kind](2, 3)
    density.adapt(noise(50, 3), noise(50, 2, seed=1))
    assert refused_in_training(density, noise(8, 3), noise(8, 2, seed=1)) == []


def with_noise(x, seed):
    return x + tf.random.stateless_normal(tf.shape(x), seed)


@pytest.mark.parametrize(("loss", "change"), [("vmim", with_noise), ("gnll", None), ("mse", None)])
def test_compressors(loss, change):
    compressor = Compressor(SmallCNN(4), 2, loss=loss, noise=change)
    assert refused_in_training(compressor, noise(8, 16, 16, 1), noise(8, 2)) == []


def test_denoiser():
    maps = noise(8, 16, 16)
    denoiser = Denoiser((4, 8), sigma_min=0.1, sigma_max=2.0, augment=True)
    denoiser.adapt(maps)
    assert refused_in_training(denoiser, maps) == []


def test_lens_finder():
    labels = (noise(8, 1) > 0).astype(np.float32)
    assert refused_in_training(LensFinder(side=16), noise(8, 16, 16, 4), labels) == []


PROBLEMS = {
    "steps of a particle mesh": dict(dynamics="pm", num_steps=2),
    "redshift space": dict(dynamics="1lpt", redshift_space=True, bias=(1.0, 0.5)),
    "masked": dict(mask=np.arange(8) < 6, noise_std=0.5),
    "counts": dict(likelihood="poisson", mean_count=2.0),
    "noise of a spectrum": dict(dynamics="linear", noise_power=lambda k: 100 / k),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_recurrent_inference_machine(kind):
    options = dict(PROBLEMS[kind])
    if "mask" in options:
        options["mask"] = np.broadcast_to(options["mask"], [8, 8, 8])
    problem = rim.InitialConditions(fpm.Planck15(), 8, 50.0, **options)
    machine = rim.CosmicRIM(problem, 2, (4, 4))
    fields = noise(2, 8, 8, 8)
    assert refused_in_training(machine, np.abs(fields), fields) == []
