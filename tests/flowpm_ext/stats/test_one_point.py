"""Distributions of pixels against NumPy and scipy, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.stats import moments, one_point

EDGES = np.linspace(-2.0, 2.0, 9)


def noise(shape=(2, 12, 10, 3), seed=0):
    return np.random.default_rng(seed).gumbel(size=shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_density_is_that_of_a_histogram(dtype):
    maps = noise().astype(dtype)
    ours = one_point(maps, EDGES)
    assert ours.shape == (2, 3, 8)
    for i in range(2):
        for j in range(3):
            counts, _ = np.histogram(maps[i, ..., j], EDGES)
            # One quotient, in the precision of the maps.
            np.testing.assert_allclose(
                ours[i, j], counts / 120 / np.diff(EDGES), rtol=4 * np.finfo(dtype).eps
            )


def test_density_with_soft_edges_is_that_of_blurred_pixels():
    """A soft edge is a hard one for pixels with logistic noise."""
    maps = noise()
    ours = one_point(maps, EDGES, 0.3).numpy()
    above = stats.logistic.cdf((maps[..., None] - EDGES) / 0.3)
    expected = -np.diff(above.mean(axis=(1, 2)), axis=-1) / np.diff(EDGES)
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


def test_soft_density_has_gradients():
    maps, direction = tf.constant(noise((1, 4, 5, 1))), noise((1, 4, 5, 1), seed=1)
    weights = np.arange(8.0)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = tf.reduce_sum(weights * one_point(maps, EDGES, 0.2))
    along = np.sum(tape.gradient(value, maps) * direction)
    up, down = (
        tf.reduce_sum(weights * one_point(maps + s * direction, EDGES, 0.2)) for s in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(along, (up - down) / 2e-5, rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_are_those_of_scipy(dtype):
    maps = (5 + noise()).astype(dtype)
    found = moments(maps)
    wide = maps.astype(float)
    rtol = 1e-12 if dtype == np.float64 else 1e-4  # (maps - mean)**4, about a mean of 5
    for ours, theirs in zip(found, [np.mean, np.var, stats.skew, stats.kurtosis], strict=True):
        expected = [[theirs(wide[i, ..., j].ravel()) for j in range(3)] for i in range(2)]
        np.testing.assert_allclose(ours, expected, rtol=rtol)
        assert ours.dtype == dtype


def test_moments_have_gradients():
    maps, direction = tf.constant(noise((1, 4, 5, 1))), noise((1, 4, 5, 1), seed=1)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = tf.add_n(list(moments(maps)))
    along = np.sum(tape.gradient(value, maps) * direction)
    up, down = (tf.add_n(list(moments(maps + s * direction))) for s in (1e-5, -1e-5))
    np.testing.assert_allclose(along, np.sum(up - down) / 2e-5, rtol=1e-7)


def test_inside_a_graph():
    maps = noise()
    both = tf.function(lambda x: (one_point(x, EDGES, 0.1), moments(x)), jit_compile=True)(maps)
    np.testing.assert_allclose(both[0], one_point(maps, EDGES, 0.1), rtol=1e-12)
    np.testing.assert_allclose(both[1].kurtosis, moments(maps).kurtosis, rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match="`maps` must"):
        moments(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="`edges` must"):
        one_point(noise(), [2.0, 1.0])
    with pytest.raises(ValueError, match="`smoothing` must"):
        one_point(noise(), EDGES, -1.0)
    with pytest.raises(TypeError, match="`maps` must be of type float32 or float64"):
        moments(noise().astype(complex))
