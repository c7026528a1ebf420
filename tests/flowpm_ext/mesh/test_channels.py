"""Painting and reading several channels at once, with the slopes of what is read."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.mesh import painting

CASES = [(window, sides) for window in ("cic", "tsc") for sides in ((8, 6), (6, 5, 8))]


def data(sides, channels=3, num=40):
    rng = np.random.default_rng(0)
    position = rng.uniform(-5, 15, (2, num, len(sides)))
    mesh = rng.normal(size=(2, *sides, channels))
    weight = rng.normal(size=(2, num, channels))
    return tuple(tf.constant(x) for x in (mesh, position, weight))


@pytest.mark.parametrize(("window", "sides"), CASES)
def test_channels_are_painted_each_as_alone(window, sides):
    mesh, position, weight = data(sides)
    together = painting.paint(mesh, position, weight, window)
    for channel in range(3):
        alone = painting.paint(mesh[..., channel], position, weight[..., channel], window)
        np.testing.assert_allclose(together[..., channel], alone, atol=1e-12)


@pytest.mark.parametrize(("window", "sides"), CASES)
def test_values_and_slopes_are_those_of_reading_and_its_gradient(window, sides):
    mesh, position, weight = data(sides)
    with tf.GradientTape() as tape:
        tape.watch(position)
        values = painting.readout(mesh, position, window)
        total = tf.reduce_sum(weight * values)
    expected = tape.gradient(total, position)
    for jit in (False, True):
        read = tf.function(painting.readout_with_slopes, jit_compile=jit, autograph=False)
        found, slopes = read(mesh, position, weight, window)
        np.testing.assert_allclose(found, values, atol=1e-12)
        np.testing.assert_allclose(slopes, expected, atol=1e-12)


def test_weights_of_another_shape_are_refused():
    mesh, position, weight = data((8, 6))
    with pytest.raises(ValueError, match="`weight` must have shape"):
        painting.paint(mesh, position, weight[..., 0])
    with pytest.raises(ValueError, match="`weight` must have shape"):
        painting.readout_with_slopes(mesh, position, weight[..., :2])
    with pytest.raises(ValueError, match="with channels"):
        painting.readout_with_slopes(mesh[..., 0], position, weight[..., 0])
