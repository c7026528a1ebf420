"""Angular spectra against a loop over modes, plane waves, Parseval, white noise and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology.angular_cl import tracer_pairs
from flowpm_ext.stats import angular_power

PIXEL = 3.0  # arcmin
RADIANS = np.deg2rad(PIXEL / 60)
shapes = pytest.mark.parametrize("sides", [(8, 8), (6, 10), (7, 9)])


def noise(sides, channels=2, batch=2, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *sides, channels))


def naive(a, b, edges, window):
    """Binned spectrum of two maps [ny, nx], mode by mode, from the sums that define it."""
    ny, nx = a.shape
    y, x = np.mgrid[:ny, :nx]
    found = [[] for _ in edges[1:]]
    for i in range(ny):
        for j in range(nx):
            m, n = (i if 2 * i <= ny else i - ny), (j if 2 * j <= nx else j - nx)
            wave = np.exp(-2j * np.pi * (m * y / ny + n * x / nx))
            product = (np.mean(a * wave) * np.conj(np.mean(b * wave))).real
            if window:
                product /= (np.sinc(m / ny) * np.sinc(n / nx)) ** 2
            ell = 2 * np.pi * np.hypot(m / ny, n / nx) / RADIANS
            bin_of = np.searchsorted(np.asarray(edges) * (1 - 1e-6), ell, side="right") - 1
            if ell > 0 and 0 <= bin_of < len(found):
                found[bin_of].append((ell, product * RADIANS**2 * ny * nx))
    return [(*np.mean(modes, axis=0), len(modes)) for modes in found]


@shapes
@pytest.mark.parametrize("window", [None, "pixel"])
def test_spectra_are_those_of_a_loop_over_modes(sides, window):
    maps = noise(sides, channels=3)
    edges = 2 * np.pi / (RADIANS * max(sides)) * np.arange(1, 5)
    ours = angular_power(maps, PIXEL, edges, window)
    assert ours.cl.shape == (2, 6, 3)
    for batch in range(2):
        for number, (i, j) in enumerate(zip(*tracer_pairs(3), strict=True)):
            theirs = np.array(naive(maps[batch, ..., i], maps[batch, ..., j], edges, window))
            # Rounding of the sums of the transform, for spectra that may cancel.
            scale = np.abs(theirs[:, 1]).max()
            np.testing.assert_allclose(ours.cl[batch, number], theirs[:, 1], atol=1e-12 * scale)
            np.testing.assert_allclose(ours.ell, theirs[:, 0], rtol=1e-13)
            np.testing.assert_array_equal(ours.num_modes, theirs[:, 2])


def test_a_plane_wave_is_in_its_bin_alone():
    n = 16
    x = np.arange(n) / n
    maps = (0.3 * np.cos(2 * np.pi * 3 * x + 0.4) * np.ones((n, 1)))[None, ..., None]
    found = angular_power(maps, PIXEL)
    cl, ell, counts = (x.numpy() for x in (found.cl[0, 0], found.ell, found.num_modes))
    # Half of the variance, 0.3**2 / 2, in each of the two modes.
    np.testing.assert_allclose(cl[2] * counts[2], 0.3**2 / 2 * (n * RADIANS) ** 2, rtol=1e-13)
    np.testing.assert_allclose(np.delete(cl, 2), 0, atol=1e-18)
    np.testing.assert_allclose(ell[2], 2 * np.pi * 3 / (n * RADIANS), rtol=0.1)


@shapes
def test_all_modes_together_are_the_variance(sides):
    maps = noise(sides)
    found = angular_power(maps, PIXEL, [1.0, 2 * np.pi / RADIANS])
    area = RADIANS**2 * np.prod(sides)
    variance = np.var(maps, axis=(1, 2))
    total = found.cl[:, :, 0] * tf.cast(found.num_modes, tf.float64) / area
    np.testing.assert_allclose(total.numpy()[:, [0, 2]], variance, rtol=1e-13)


def test_white_noise_has_the_power_of_a_pixel():
    maps = noise((64, 64), channels=1, batch=50)
    found = angular_power(maps, PIXEL)
    error = np.sqrt(2 / found.num_modes.numpy() / 50)
    assert np.max(np.abs(tf.reduce_mean(found.cl[:, 0], 0) / RADIANS**2 - 1) / error) < 4.5


def test_the_pixel_window_undoes_the_mean_over_a_pixel():
    """A band-limited map averaged over pixels, and the same at points."""
    n, fine = 12, 24
    x = (np.arange(n * fine) + 0.5) / (n * fine)
    wave = np.cos(2 * np.pi * (2 * x[:, None] + 4 * x) + 0.3)
    means = wave.reshape(n, fine, n, fine).mean(axis=(1, 3))[None, ..., None]
    x = (np.arange(n) + 0.5) / n
    points = np.cos(2 * np.pi * (2 * x[:, None] + 4 * x) + 0.3)[None, ..., None]
    ours = angular_power(means, PIXEL, window="pixel").cl
    # The mean over 24 points of a pixel is its integral to (pi 4 / 12)**2 / 24**2 / 6 in a mode.
    peak = angular_power(points, PIXEL).cl
    np.testing.assert_allclose(ours, peak, atol=1e-3 * np.max(peak))
    assert np.max(angular_power(means, PIXEL).cl) < 0.7 * np.max(peak)


def test_gradient_is_the_adjoint_of_a_quadratic_form():
    """C is quadratic in the map: its gradient along the map itself is twice C, exactly."""
    maps = tf.constant(noise((6, 10)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(maps)
        cl = angular_power(maps, PIXEL, window="pixel").cl
        total = tf.reduce_sum(cl * [[[1.0], [2.0], [0.5]]])
    along = tf.reduce_sum(tape.gradient(total, maps) * maps)
    np.testing.assert_allclose(along, 2 * total, rtol=1e-12)


def test_dtypes_and_graphs():
    maps = noise((8, 6)).astype(np.float32)
    found = angular_power(maps, PIXEL)
    assert found.cl.dtype == found.ell.dtype == tf.float32
    inside = tf.function(lambda x: angular_power(x, PIXEL).cl, jit_compile=True)(maps)
    # Rounding of float32 transforms of 48 pixels.
    scale = np.abs(found.cl).max()
    np.testing.assert_allclose(inside, found.cl, atol=1e-6 * scale)
    np.testing.assert_allclose(
        found.cl, angular_power(maps.astype(float), PIXEL).cl, atol=1e-6 * scale
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": np.zeros((8, 8, 1))}, "`maps` must have rank 4|`maps` must have 4"),
        ({"maps": np.full((1, 8, 8, 1), np.nan)}, "`maps` must be finite"),
        ({"pixel_size_arcmin": 0.0}, "`pixel_size_arcmin` must be positive"),
        ({"pixel_size_arcmin": [1.0, 2.0]}, "`pixel_size_arcmin` must be one number"),
        ({"window": "cic"}, "`window` must be"),
        ({"ell_edges": [200.0, 100.0]}, "`ell_edges` must"),
        ({"ell_edges": [1.0, 2.0]}, "`ell_edges` must have modes in every bin"),
        ({"ell_edges": [100.0]}, "`ell_edges` must hold at least two edges"),
    ],
)
def test_refusals(change, message):
    arguments = {"maps": np.zeros((1, 8, 8, 1)), "pixel_size_arcmin": PIXEL} | change
    with pytest.raises(ValueError, match=message):
        angular_power(**arguments)


def test_complex_maps_are_refused():
    with pytest.raises(TypeError, match="`maps` must be of type float32 or float64"):
        angular_power(np.zeros((1, 8, 8, 1), complex), PIXEL)
