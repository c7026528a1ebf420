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


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("window", "sides"), CASES)
def test_channels_are_painted_each_as_alone(window, sides, channels):
    mesh, position, weight = data(sides, channels)
    together = painting.paint(mesh, position, weight, window)
    for channel in range(channels):
        alone = painting.paint(mesh[..., channel], position, weight[..., channel], window)
        np.testing.assert_allclose(together[..., channel], alone, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("window", "sides"), CASES)
def test_painting_channels_is_the_adjoint_of_reading_them(window, sides, channels):
    mesh, position, weight = data(sides, channels)
    painted = painting.paint(tf.zeros_like(mesh), position, weight, window)
    values = painting.readout(mesh, position, window)
    # Rounding of sums over some hundred numbers of order one.
    np.testing.assert_allclose(
        tf.reduce_sum(painted * mesh), tf.reduce_sum(weight * values), atol=1e-11
    )


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("window", "sides"), CASES)
def test_slopes_are_finite_differences_of_what_is_read(window, sides, channels, jit):
    mesh, position, weight = data(sides, channels)

    def total(position):
        return tf.reduce_sum(weight * painting.readout(mesh, position, window), axis=-1)

    slopes = tf.function(painting.slopes, jit_compile=jit, autograph=False)
    found = slopes(mesh, position, weight, window)
    step = 1e-6
    for axis in range(len(sides)):
        ahead = step * tf.one_hot(axis, len(sides), dtype=tf.float64)
        expected = (total(position + ahead) - total(position - ahead)) / (2 * step)
        # Both windows are parabolas at most, so that rounding over the step is all.
        np.testing.assert_allclose(found[..., axis], expected, atol=1e-8)


@pytest.mark.parametrize(("window", "sides"), CASES)
def test_slopes_are_the_gradient_of_reading(window, sides):
    mesh, position, weight = data(sides)
    with tf.GradientTape() as tape:
        tape.watch(position)
        total = tf.reduce_sum(weight * painting.readout(mesh, position, window))
    expected = tape.gradient(total, position)
    slopes = painting.slopes(mesh, position, weight, window)
    np.testing.assert_allclose(slopes, expected, atol=1e-12)


def test_weights_of_another_shape_are_refused():
    mesh, position, weight = data((8, 6))
    with pytest.raises(ValueError, match="`weight` must have shape"):
        painting.paint(mesh, position, weight[..., 0])
    with pytest.raises(ValueError, match="`weight` must have shape"):
        painting.slopes(mesh, position, weight[..., :2])
    with pytest.raises(ValueError, match="with channels"):
        painting.slopes(mesh[..., 0], position, weight[..., 0])
