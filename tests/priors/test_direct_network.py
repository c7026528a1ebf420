"""A prior serves other noise than it has seen; a network of one noise level does not."""

import keras
import numpy as np
import tensorflow as tf

from benchmarks.priors import direct
from flowpm_ext.nn import UNet
from priors import Denoiser

SIDE, OLD, NEW = 16, 0.5, 1.5  # levels of noise


def maps(num, seed):
    """Lognormal maps of variance 1: peaks on a quiet floor."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
    white = np.random.default_rng(seed).normal(size=(num, SIDE, SIDE))
    field = np.fft.irfft2(np.fft.rfft2(white) * np.exp(-((frequency / 0.12) ** 2)), (SIDE, SIDE))
    x = np.exp(1.2 * field / field.std())
    return ((x - x.mean()) / x.std()).astype(np.float32)


def test_a_network_of_one_noise_level_is_worse_elsewhere():
    keras.utils.set_random_seed(0)
    x, held_out = maps(512, 0), maps(256, 1)
    noise = np.random.default_rng(2).normal(size=held_out.shape).astype(np.float32)
    denoiser = Denoiser((8, 16), sigma_min=0.2, sigma_max=3.0, ema_momentum=0.98)
    denoiser.adapt(x)
    denoiser.compile(keras.optimizers.Adam(3e-3))
    denoiser.fit(x, batch_size=32, epochs=20, verbose=0)
    inputs = keras.Input((SIDE, SIDE, 1))
    direct = keras.Model(inputs, UNet((8, 16), rank=2)(inputs))
    direct.compile(keras.optimizers.Adam(3e-3), "mse")
    data = tf.data.Dataset.from_tensor_slices(x[..., None]).shuffle(512, seed=0).batch(32)
    data = data.map(lambda part: (part + OLD * tf.random.normal(tf.shape(part)), part))
    direct.fit(data, epochs=20, verbose=0, shuffle=False)
    ratio = {}
    for level in (OLD, NEW):
        y = held_out + level * noise
        found = direct.predict(y[..., None], verbose=0)[..., 0], denoiser(y, level).numpy()
        errors = [np.mean((each - held_out) ** 2) for each in found]
        ratio[level] = errors[0] / errors[1]
    # Where it was trained it is as good: the network is no straw man.
    assert 0.8 < ratio[OLD] < 1.2
    assert ratio[NEW] > 1.5


def test_a_network_that_is_kept_is_not_trained_again(tmp_path):
    mask, noise_std = np.ones((SIDE, SIDE), bool), np.full((SIDE, SIDE), 0.3, np.float32)
    path, kappa = tmp_path / "direct.weights.h5", maps(32, 0)
    shear = (maps(2, 1) + 1j * maps(2, 2)).astype(np.complex64)
    first = direct.trained(kappa, mask, noise_std, 10, 1, path)(shear)
    again = direct.trained(kappa, mask, noise_std, 10, 5, path)(shear)
    np.testing.assert_allclose(again, first, atol=1e-6)
