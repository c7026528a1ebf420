"""Lognormal overdensities against NumPy, and against the spectrum they are asked to have."""

import numpy as np
import pytest
import tensorflow as tf
from reference import fields3d

from flowpm_ext.fields import linear_field, lognormal_field

CELL = 4.0
SHAPES = [(8, 8, 8), (6, 4, 10), (5, 6, 7)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def pk(k):
    return 60.0 * (k / 0.1) ** 0.3 / (1 + (k / 0.4) ** 2)


def box(shape):
    return tuple(CELL * n for n in shape)


def noise(shape, batch=2, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *shape))


@shapes
def test_field_of_given_noise_is_that_of_numpy(shape):
    white = noise(shape)
    found = lognormal_field(shape, box(shape), pk, white_noise=white)
    for ours, one in zip(found, white, strict=True):
        # Rounding of a few transforms.
        np.testing.assert_allclose(ours, fields3d.lognormal(one, CELL, pk), atol=1e-12)
    single = lognormal_field(shape, box(shape), pk, white_noise=white.astype(np.float32))
    assert single.dtype == tf.float32
    # A few roundings of 6e-8, multiplied by the logarithm's range.
    np.testing.assert_allclose(1 + single, 1 + found, rtol=1e-5)


@shapes
def test_drawn_fields_have_the_spectrum_bound_and_skewness(shape):
    num = 3000
    fields = lognormal_field(shape, box(shape), pk, num, seed=2, dtype=tf.float64).numpy()
    assert fields.min() > -1
    expected = fields3d.power_of_modes(shape, CELL, pk)
    variance = expected.mean()
    assert variance > 0.3  # far from Gaussian
    modes = np.abs(np.fft.fftn(fields, axes=(1, 2, 3))) ** 2 / np.prod(shape)
    ratio = modes.reshape(num, -1)[:, 1:] / expected.ravel()[1:]
    pulls = (ratio.mean(axis=0) - 1) / ratio.std(axis=0) * np.sqrt(num)
    assert np.abs(pulls).max() < 5  # up to 255 independent ones
    # The modes of one field are not independent of each other; fields are.
    of_fields = ratio.mean(axis=1)
    assert abs(of_fields.mean() - 1) < 5 * of_fields.std() / np.sqrt(num) < 0.05
    # Chance moves the mean of a field by sqrt(variance / cells), and there are 3000 of them.
    assert abs(fields.mean()) < 5 * fields.mean(axis=(1, 2, 3)).std() / np.sqrt(num)
    skewness = np.mean(fields**3, axis=(1, 2, 3))
    of_shifted = variance**2 * (3 + variance)  # a lognormal variable of mean 1
    assert abs(skewness.mean() - of_shifted) < 5 * skewness.std() / np.sqrt(num)


def test_small_fluctuations_are_gaussian():
    def low(k):
        return 1e-8 * pk(k)

    white = noise((6, 6, 6))
    found = lognormal_field(6, 24.0, low, white_noise=white)
    expected = linear_field(6, 24.0, low, white_noise=white)
    # What is left is of second order in the deviation, 6e-5.
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.std(expected))
    assert np.abs(found - expected).max() > 0


def test_seed_and_batch_of_spectra():
    first = lognormal_field(6, 24.0, pk, 2, seed=1)
    np.testing.assert_array_equal(first, lognormal_field(6, 24.0, pk, 2, seed=1))
    assert np.abs(first - lognormal_field(6, 24.0, pk, 2, seed=2)).min() > 0
    rows = lognormal_field(6, 24.0, lambda k: np.stack([pk(k), 0.1 * pk(k)]), 2, seed=1)
    lower = lognormal_field(6, 24.0, lambda k: 0.1 * pk(k), 2, seed=1)
    np.testing.assert_allclose(rows[0], first[0], atol=1e-6)  # rounding in float32
    np.testing.assert_allclose(rows[1], lower[1], atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_field(jit):
    def draw(seed):
        return lognormal_field(6, 24.0, pk, 2, seed, dtype=tf.float64)

    seed = tf.constant(4)
    found = tf.function(draw, jit_compile=jit, autograph=False)(seed)
    np.testing.assert_allclose(found, draw(seed), atol=1e-12)


def test_gradients_with_respect_to_spectrum_and_noise():
    weights, direction = noise((4, 6, 5), seed=1), noise((4, 6, 5), seed=2)
    amplitude, white = tf.constant(1.0, tf.float64), tf.constant(noise((4, 6, 5)))

    def total(amplitude, white):
        field = lognormal_field(
            (4, 6, 5), (16.0, 24.0, 20.0), lambda k: amplitude * pk(k), white_noise=white
        )
        return tf.reduce_sum(weights * field)

    with tf.GradientTape() as tape:
        tape.watch([amplitude, white])
        value = total(amplitude, white)
    by_amplitude, by_white = tape.gradient(value, [amplitude, white])
    step = 1e-5  # its square is the error of a central difference
    expected = (total(amplitude + step, white) - total(amplitude - step, white)) / (2 * step)
    np.testing.assert_allclose(by_amplitude, expected, rtol=1e-7)
    up, down = (total(amplitude, white + sign * step * direction) for sign in (1, -1))
    np.testing.assert_allclose(np.sum(by_white * direction), (up - down) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lognormal_field(6, 24.0, lambda k: -pk(k)), "`pk` must be non-negative"),
        (lambda: lognormal_field(6, (24.0, 24.0, 20.0), pk), "`box_size` must divide"),
        (
            # One wave of variance 2 has a correlation function down to -2.
            lambda: lognormal_field(
                (8, 1, 1), (32.0, 4.0, 4.0), lambda k: 512.0 * (k < 0.2), dtype=tf.float64
            ),
            "`pk` must have a correlation function above -1",
        ),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
