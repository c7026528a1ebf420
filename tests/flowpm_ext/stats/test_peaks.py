"""Peak counts against scipy, and soft counts against the change of whole ones."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from flowpm_ext.stats import peak_counts

EDGES = np.linspace(-1.0, 3.0, 9)


def smooth(batch=2, n=48, channels=2, seed=0):
    """Periodic Gaussian maps of unit variance with some dozens of peaks."""
    white = np.random.default_rng(seed).normal(size=(batch, n, n, channels))
    maps = ndimage.gaussian_filter(white, (0, 2, 2, 0), mode="wrap")
    return maps / maps.std()


def theirs(image):
    """Local maxima by a maximum filter without the middle."""
    ring = np.ones((3, 3))
    ring[1, 1] = 0
    highest = ndimage.maximum_filter(image, footprint=ring)
    return np.histogram(image[1:-1, 1:-1][(image > highest)[1:-1, 1:-1]], EDGES)[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_are_those_of_a_maximum_filter(dtype):
    maps = smooth().astype(dtype)
    ours = peak_counts(maps, EDGES)
    assert ours.shape == (2, 2, 8)
    assert ours.dtype == dtype
    for i in range(2):
        for j in range(2):
            np.testing.assert_array_equal(ours[i, j], theirs(maps[i, ..., j]))


def test_borders_and_plateaus_are_no_peaks():
    maps = np.zeros((1, 5, 5, 1))
    maps[0, 0, 2], maps[0, 2, 2], maps[0, 2, 3] = 2.0, 1.0, 1.0
    assert np.sum(peak_counts(maps, EDGES)) == 0
    maps[0, 2, 3] = 0.5
    np.testing.assert_array_equal(peak_counts(maps, [0.0, 1.0, 2.0])[0, 0], [0, 1])


def test_counts_do_not_depend_on_the_orientation():
    maps = smooth()
    turned = np.rot90(maps, axes=(1, 2))[:, ::-1]
    np.testing.assert_array_equal(peak_counts(maps, EDGES), peak_counts(turned, EDGES))


def test_soft_counts_tend_to_whole_ones():
    maps = smooth()
    whole = peak_counts(maps, EDGES)
    far = [np.abs(peak_counts(maps, EDGES, s) - whole).sum() for s in (1e-2, 1e-3, 1e-5)]
    assert far[0] > far[1] > far[2]
    assert far[2] < 0.05 * np.sum(whole)


def test_gradient_is_that_of_finite_differences():
    maps = tf.constant(smooth(batch=1, n=12))
    weights = np.random.default_rng(1).normal(size=(1, 2, 8))
    direction = smooth(batch=1, n=12, seed=2)

    def total(x):
        return tf.reduce_sum(weights * peak_counts(x, EDGES, 0.05))

    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = total(maps)
    along = np.sum(tape.gradient(value, maps) * direction)
    step = 1e-5  # error of the difference: (step / 0.05)**2
    different = (total(maps + step * direction) - total(maps - step * direction)) / (2 * step)
    np.testing.assert_allclose(along, different, rtol=1e-6)


def test_soft_gradient_is_the_change_of_whole_counts():
    """Of many maps, how whole counts change with an amplitude is what the soft gradient says."""
    maps = tf.constant(smooth(batch=200, channels=1), tf.float64)
    amplitude = tf.constant(1.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(amplitude)
        high = tf.reduce_mean(peak_counts(amplitude * maps, [1.5, 2.5, 99.0], 0.02)[..., 1])
    slope = tape.gradient(high, amplitude)
    up, down = (np.mean(peak_counts(a * maps, [1.5, 2.5, 99.0])[..., 1]) for a in (1.1, 0.9))
    # A central difference of 10 %, and the scatter of some 200 peaks that cross the edge.
    np.testing.assert_allclose(slope, (up - down) / 0.2, rtol=0.15)


def test_whole_counts_have_no_gradient():
    maps = tf.constant(smooth(batch=1, n=12))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        counts = peak_counts(maps, EDGES)
    gradient = tape.gradient(counts, maps, unconnected_gradients="zero")
    np.testing.assert_array_equal(gradient, 0)


def test_counts_inside_a_graph():
    maps = smooth(n=16)
    inside = tf.function(lambda x: peak_counts(x, EDGES, 0.1), jit_compile=True)(maps)
    np.testing.assert_allclose(inside, peak_counts(maps, EDGES, 0.1), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": np.zeros((1, 2, 8, 1))}, "`maps` must have at least 3 pixels along a side"),
        ({"maps": np.full((1, 8, 8, 1), np.inf)}, "`maps` must be finite"),
        ({"edges": [1.0, 0.0]}, "`edges` must"),
        ({"edges": [1.0]}, "`edges` must hold at least two edges"),
        ({"smoothing": -0.1}, "`smoothing` must be non-negative|`smoothing` must not be negative"),
        ({"smoothing": [0.1]}, "`smoothing` must"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        peak_counts(**{"maps": np.zeros((1, 8, 8, 1)), "edges": EDGES} | change)
