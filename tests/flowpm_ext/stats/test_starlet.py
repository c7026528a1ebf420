"""Starlets against scipy's convolutions, their adjoint, noise and l1-norms."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from flowpm_ext.stats import starlet, starlet_adjoint, starlet_l1norm, starlet_noise

MODES = {"mirror": "reflect", "periodic": "wrap"}  # scipy's names
boundaries = pytest.mark.parametrize("boundary", MODES)
B3 = np.array([1, 4, 6, 4, 1]) / 16


def noise(shape=(2, 16, 20, 2), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def theirs(image, num_scales, mode):
    """Scales of one map [ny, nx]."""
    scales = []
    for scale in range(num_scales):
        holes = np.zeros(4 * 2**scale + 1)
        holes[:: 2**scale] = B3
        smooth = ndimage.convolve1d(image, holes, axis=0, mode=mode)
        smooth = ndimage.convolve1d(smooth, holes, axis=1, mode=mode)
        scales.append(image - smooth)
        image = smooth
    return [*scales, image]


@boundaries
@pytest.mark.parametrize("num_scales", [1, 3, 4])
def test_scales_are_those_of_convolutions(boundary, num_scales):
    maps = noise()
    ours = starlet(maps, num_scales, boundary)
    assert ours.shape == (2, num_scales + 1, 16, 20, 2)
    for i in range(2):
        for j in range(2):
            expected = theirs(maps[i, ..., j], num_scales, MODES[boundary])
            # Rounding of sums of numbers around 1.
            np.testing.assert_allclose(ours[i, ..., j], expected, atol=1e-14)


@boundaries
def test_scales_sum_to_the_map(boundary):
    maps = noise()
    np.testing.assert_allclose(tf.reduce_sum(starlet(maps, 3, boundary), 1), maps, atol=1e-14)
    means = tf.reduce_mean(starlet(maps, 3, boundary), [2, 3])
    # Wavelets have no mean: either boundary keeps that of the map.
    np.testing.assert_allclose(means[:, :-1], 0, atol=1e-15)


@boundaries
@pytest.mark.parametrize("sides", [(16, 16), (9, 13)])
def test_adjoint_identity(boundary, sides):
    x, w = noise((2, *sides, 3)), noise((2, 4, *sides, 3), seed=1)
    left = np.sum(starlet(x, 3, boundary) * w)
    right = np.sum(x * starlet_adjoint(w, boundary))
    np.testing.assert_allclose(left, right, rtol=1e-12)


@boundaries
def test_adjoint_is_the_gradient(boundary):
    x, w = tf.constant(noise()), noise((2, 4, 16, 20, 2), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        coefficients = starlet(x, 3, boundary)
    gradient = tape.gradient(coefficients, x, output_gradients=tf.constant(w))
    np.testing.assert_allclose(gradient, starlet_adjoint(w, boundary), atol=1e-13)


def test_isotropic():
    """The wavelet of a pixel is the same along both axes and after a quarter turn."""
    maps = np.zeros((1, 33, 33, 1))
    maps[0, 16, 16] = 1
    scales = starlet(maps, 3, "periodic").numpy()[0, ..., 0]
    np.testing.assert_allclose(scales, np.rot90(scales, axes=(1, 2)), atol=1e-16)


def test_noise_is_the_norm_of_the_wavelet_of_a_pixel():
    maps = np.zeros((1, 128, 128, 1))
    maps[0, 64, 64] = 1
    scales = starlet(maps, 4, "periodic").numpy()[0, ..., 0]
    np.testing.assert_allclose(starlet_noise(4), np.sqrt(np.sum(scales**2, (1, 2))), rtol=1e-13)
    # As tabulated by Starck & Murtagh 1998, to the digits given.
    np.testing.assert_allclose(starlet_noise(4)[:4], [0.889, 0.200, 0.086, 0.041], atol=2e-3)


@boundaries
def test_l1norm_is_that_of_a_weighted_histogram(boundary):
    maps, edges = noise(), np.linspace(-3, 3, 7)
    ours = starlet_l1norm(maps, edges, 3, boundary=boundary)
    assert ours.shape == (2, 2, 4, 6)
    for i in range(2):
        for j in range(2):
            for scale, w in enumerate(theirs(maps[i, ..., j], 3, MODES[boundary])):
                expected, _ = np.histogram(w, edges, weights=np.abs(w))
                np.testing.assert_allclose(ours[i, j, scale], expected, rtol=1e-12)


def test_l1norm_in_units_of_noise():
    maps, edges = noise(), np.linspace(-3, 3, 7)
    ours = starlet_l1norm(maps, edges, 3, noise=[2.0, 0.5])
    for j, level in enumerate([2.0, 0.5]):
        scales = [theirs(one[..., j] / level, 3, "reflect") for one in maps]
        for scale, unit in enumerate(starlet_noise(3)):
            for i in range(2):
                w = scales[i][scale] / unit
                expected, _ = np.histogram(w, edges, weights=np.abs(w))
                np.testing.assert_allclose(ours[i, j, scale], expected, rtol=1e-12, atol=1e-12)


def test_l1norm_of_white_noise_is_that_of_a_normal_number():
    maps = noise((4, 128, 128, 1))
    ours = starlet_l1norm(maps, [-9.0, 9.0], 2, noise=1.0, boundary="periodic")
    # <|x|> = sqrt(2 / pi); 65536 pixels, of which at the third scale some 1 in 60 is independent.
    mean = np.mean(ours[:, 0, :, 0], axis=0) / 128**2
    np.testing.assert_allclose(mean, np.sqrt(2 / np.pi), rtol=0.1)
    np.testing.assert_allclose(mean[0], np.sqrt(2 / np.pi), rtol=0.015)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_l1norm_has_gradients(smoothing):
    maps, direction = tf.constant(noise((1, 8, 8, 1))), noise((1, 8, 8, 1), seed=1)
    edges = np.linspace(-3, 3, 4)
    weights = np.random.default_rng(2).normal(size=(1, 1, 3, 3))

    def total(x):
        return tf.reduce_sum(weights * starlet_l1norm(x, edges, 2, smoothing=smoothing))

    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = total(maps)
    along = np.sum(tape.gradient(value, maps) * direction)
    step = 1e-7  # no coefficient crosses an edge or zero on the way
    different = (total(maps + step * direction) - total(maps - step * direction)) / (2 * step)
    np.testing.assert_allclose(along, different, rtol=1e-5)


def test_float32_and_graphs():
    maps = noise().astype(np.float32)
    ours = starlet(maps)
    assert ours.dtype == tf.float32
    assert ours.shape[1] == 4  # log2 of 16, less one, and what is left
    np.testing.assert_allclose(ours, starlet(maps.astype(float)), atol=1e-6)
    inside = tf.function(lambda x: starlet_adjoint(starlet(x)), jit_compile=True)(maps)
    np.testing.assert_allclose(inside, starlet_adjoint(ours), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: starlet(np.zeros((8, 8))), "`maps` must"),
        (lambda: starlet(noise(), 5), "`num_scales` must be at most 4 for maps of 16 pixels"),
        (lambda: starlet(noise(), 0), "`num_scales` must be a positive integer"),
        (lambda: starlet(noise(), boundary="open"), "`boundary` must be"),
        (lambda: starlet(np.zeros((1, 3, 3, 1))), "`maps` must have at least 4 pixels"),
        (lambda: starlet_adjoint(noise()), "`coefficients` must"),
        (lambda: starlet_adjoint(noise((1, 5, 8, 8, 1))), "`num_scales` must be at most 3"),
        (lambda: starlet_l1norm(noise(), [0.0, 1.0], noise=0.0), "`noise` must be positive"),
        (lambda: starlet_l1norm(noise(), [0.0, 1.0], noise=[1.0] * 3), "`noise` must be one"),
        (lambda: starlet_l1norm(noise(), [1.0, 0.0]), "`edges` must"),
        (lambda: starlet_noise(0), "`num_scales` must be a positive integer"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
