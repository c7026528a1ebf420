"""Likelihoods of images that have noise on them."""

import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import cast
from priors.likelihood import GaussianLikelihood

ROOM = 0.5  # of the variance of the data's noise that noise on the image may be a part of
NUM_PROBES = 16


def with_noise_of_the_image(
    likelihood: GaussianLikelihood, sigma: float
) -> tuple[GaussianLikelihood, bool]:
    """The likelihood of an image with noise, and whether that noise is a part of the data's.

    Args:
        likelihood: Of the image without noise.
        sigma: Standard deviation of the noise on the image.

    Returns:
        The likelihood with less noise if there is room for it, else with more.
    """
    part = sigma**2 * largest_gain(likelihood)
    if part <= ROOM * _least_noise(likelihood) ** 2:
        noise_std = tf.sqrt(tf.maximum(likelihood.noise_std**2 - part, part))
        return likelihood.replace(noise_std=noise_std), True
    return with_noise(likelihood, cast(gain(likelihood) * sigma, likelihood.dtype)), False


def room_for_noise(likelihood: GaussianLikelihood) -> float:
    """The most noise on an image that may be a part of the data's noise.

    Args:
        likelihood: Of the image without noise.

    Returns:
        Standard deviation of the noise on the image.
    """
    room = math.sqrt(ROOM / largest_gain(likelihood))
    return 0.999 * _least_noise(likelihood) * room  # 0.999 for rounding


def largest_gain(likelihood: GaussianLikelihood, num_steps: int = 20) -> float:
    """The largest variance of a mode of the data of white noise of variance one, A' A at most."""
    x = standard_normal(likelihood.op.shape, 0, likelihood.dtype)
    size = 1.0
    for _ in range(num_steps):  # power iteration
        x = likelihood.op.normal(x / tf.norm(x))
        size = float(tf.norm(x))
    return size


def with_noise(likelihood: GaussianLikelihood, noise: tf.Tensor) -> GaussianLikelihood:
    """The likelihood of data with more noise on them."""
    return likelihood.replace(noise_std=tf.sqrt(likelihood.noise_std**2 + noise**2))


def gain(likelihood: GaussianLikelihood) -> float:
    """Standard deviation of each real component of the data of white noise of variance one.

    The mean over the data that feel the image at all.
    """
    shape = (NUM_PROBES, *likelihood.op.shape)
    # Signs are white too, and exact where the operator does not mix pixels.
    signs = tf.sign(standard_normal(shape, 0, likelihood.dtype))
    energy = tf.reduce_mean(tf.abs(likelihood.op(signs)) ** 2, axis=0)
    components = 2 if likelihood.data.dtype.is_complex else 1
    return math.sqrt(float(tf.reduce_mean(energy[energy > 0])) / components)


def _least_noise(likelihood: GaussianLikelihood) -> float:
    """The least standard deviation of an observed datum."""
    noise, mask = np.broadcast_arrays(likelihood.noise_std.numpy(), likelihood.mask.numpy())
    return float(noise[mask].min())
