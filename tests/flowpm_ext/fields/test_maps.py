"""Random maps against the statistics they are asked to have."""

import math

import numpy as np
import pytest
import tensorflow as tf
from astropy import units as u

from flowpm_ext.fields import gaussian, gaussian_map, lognormal, lognormal_map, power_map

SHAPE = (24, 30)
PIXEL = math.radians(2.0 / 60.0)


def cl(ell):
    return 1e-9 * (ell / 500.0) ** -0.5 / (1 + ell / 2000.0)


def ell_map(shape=SHAPE, pixel=PIXEL):
    ny, nx = shape
    ell = np.zeros(shape)
    for i in range(ny):
        for j in range(nx):
            along_y, along_x = min(i, ny - i) / ny, min(j, nx - j) / nx
            ell[i, j] = 2 * np.pi * math.hypot(along_x, along_y) / pixel
    return ell


def expected_power(shape=SHAPE):
    ell = ell_map(shape)
    power = np.zeros(shape)
    power[ell > 0] = cl(ell[ell > 0]) / PIXEL**2
    return power


@pytest.mark.parametrize("shape", [SHAPE, (7, 9), (1, 5)], ids=str)
def test_power_map_is_the_spectrum_over_the_pixel_area(shape):
    power = power_map(cl, shape, PIXEL)
    np.testing.assert_allclose(power, expected_power(shape), rtol=1e-12)
    assert power.dtype == tf.float64
    assert power[0, 0] == 0


def test_power_map_takes_units_and_tensors():
    np.testing.assert_allclose(power_map(cl, SHAPE, 2 * u.arcmin), expected_power(), rtol=1e-12)
    single = power_map(lambda ell: tf.constant(cl(ell), tf.float32), SHAPE, PIXEL)
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, expected_power(), rtol=1e-6)


def test_power_map_joins_a_table_by_power_laws():
    ell = np.array([800.0, 2000.0, 5000.0])
    values = 3.0 * ell**-1.5
    power = power_map((ell, values), SHAPE, PIXEL).numpy().ravel()[1:]
    expected = 3.0 * ell_map().ravel()[1:] ** -1.5 / PIXEL**2
    np.testing.assert_allclose(power, expected, rtol=1e-12)  # inside the table and outside


def test_power_map_gradient():
    ell, amplitude = np.geomspace(10, 2e4, 20), tf.constant(1.7, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(amplitude)
        total = tf.reduce_sum(power_map((ell, amplitude * cl(ell)), SHAPE, PIXEL))
    np.testing.assert_allclose(tape.gradient(total, amplitude), total / amplitude, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [SHAPE, (9, 7)], ids=str)
def test_gaussian_maps_have_the_power(shape, dtype):
    num = 2000
    power = expected_power(shape).astype(dtype)
    maps = gaussian_map(power, seed=3, batch_size=num)
    assert maps.shape == (num, *shape)
    assert maps.dtype == dtype
    modes = np.abs(np.fft.fft2(maps, norm="ortho")) ** 2
    pulls = (modes.mean(axis=0).ravel()[1:] / power.ravel()[1:] - 1) * np.sqrt(num)
    # Scatter 1 for complex modes and sqrt(2) for the few real ones.
    assert np.abs(pulls).max() < 6.5
    assert abs(pulls.mean()) < 0.25
    # The mean is fixed at zero, up to the rounding of a sum over the map.
    spread = np.sqrt(power.mean())
    assert np.abs(maps.numpy().mean(axis=(1, 2))).max() < 10 * np.finfo(dtype).eps * spread


def test_lognormal_power_is_the_requested_one_where_nothing_is_clipped():
    power, shift = expected_power(), 0.05
    found, clipped = lognormal.underlying_power(power, shift)
    # Only the mean is clipped: the exact correlation of the map follows from the Gaussian one.
    correlation = shift**2 * np.expm1(np.fft.ifft2(found).real)
    again = np.fft.fft2(correlation).real
    offset = again[0, 0]
    assert 0 < clipped < 1e-2
    np.testing.assert_allclose(again[1:, 1:], power[1:, 1:], rtol=0.02)
    assert abs(offset) < 0.05 * power.max()


def test_lognormal_maps_have_power_bound_and_skewness():
    num, shift = 3000, 0.05
    power = expected_power()
    maps = lognormal_map(power, shift, seed=1, batch_size=num).numpy()
    assert maps.min() > -shift
    found, _ = lognormal.underlying_power(power, shift)
    sigma2 = float(np.mean(found))
    variance = shift**2 * np.expm1(sigma2)
    # 3000 maps of about a hundred independent pixels each.
    np.testing.assert_allclose(maps.mean(), 0, atol=0.01 * np.sqrt(variance))
    np.testing.assert_allclose(maps.var(), power.mean(), rtol=0.02)
    skewness = np.mean((maps / np.sqrt(variance)) ** 3)
    expected = (np.exp(sigma2) + 2) * np.sqrt(np.expm1(sigma2))
    np.testing.assert_allclose(skewness, expected, rtol=0.06)
    modes = np.mean(np.abs(np.fft.fft2(maps, norm="ortho")) ** 2, axis=0)
    ratio = (modes / np.where(power > 0, power, 1))[power > 0]
    # Chance moves one mode by 1 / sqrt(3000) = 2 %, twice that where it is real.
    assert np.abs(ratio - 1).max() < 0.15
    np.testing.assert_allclose(ratio.mean(), 1, atol=0.01)


def test_lognormal_is_gaussian_for_a_large_shift():
    power = expected_power()
    found = lognormal_map(power, 1e4, seed=2)
    # The exponential's second order is sigma / shift, and the mean mode is not clipped away.
    np.testing.assert_allclose(found, gaussian_map(power, seed=2), atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_maps(jit):
    power = tf.constant(expected_power())
    for draw in (
        lambda power: gaussian_map(power, 4, 2),
        lambda power: lognormal_map(power, 0.05, 4, 2),
    ):
        function = tf.function(draw, jit_compile=jit, autograph=False)
        np.testing.assert_allclose(function(power), draw(power), atol=1e-12)


def test_seed_sets_the_map():
    power = expected_power()
    np.testing.assert_array_equal(gaussian_map(power, 1), gaussian_map(power, 1))
    assert np.abs(gaussian_map(power, 1) - gaussian_map(power, 2)).min() > 0


def test_gradients_with_respect_to_power_and_shift():
    rng = np.random.default_rng(0)
    power, shift = tf.constant(expected_power()), tf.constant(0.05, tf.float64)
    weights = rng.normal(size=(1, *SHAPE))
    direction = power.numpy() * np.cos(ell_map() / 700.0)
    step = 1e-5
    for draw in (
        lambda power, shift: shift * gaussian_map(power, 4),
        lambda power, shift: lognormal_map(power, shift, 4),
    ):
        with tf.GradientTape() as tape:
            tape.watch([power, shift])
            value = tf.reduce_sum(weights * draw(power, shift))
        by_power, by_shift = tape.gradient(value, [power, shift])
        assert np.all(np.isfinite(by_power))  # at the modes without power too

        def total(t, s, draw=draw):
            return np.sum(weights * draw(power + t * direction, shift * (1 + s)))

        expected = (total(step, 0) - total(-step, 0)) / (2 * step)
        np.testing.assert_allclose(np.sum(by_power * direction), expected, rtol=1e-6)
        expected = (total(0, step) - total(0, -step)) / (2 * step)
        np.testing.assert_allclose(by_shift * shift, expected, rtol=1e-6)


TABLE = (np.array([10.0, 100.0]), np.array([2.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: power_map(cl, (4,), PIXEL), "`shape` must be two positive integers"),
        (lambda: power_map(cl, (0, 4), PIXEL), r"`shape` must be .*Received: \(0, 4\)\."),
        (lambda: power_map(cl, SHAPE, 0.0), "`pixel_size` must be positive"),
        (lambda: power_map(cl, SHAPE, 1 * u.Mpc), "`pixel_size` must have a unit"),
        (lambda: power_map(lambda ell: -ell, SHAPE, PIXEL), "`cl` must be non-negative"),
        (lambda: power_map(lambda ell: ell * np.nan, SHAPE, PIXEL), "`cl` must be non-negative"),
        (lambda: power_map(lambda ell: ell[:3], SHAPE, PIXEL), "`cl` must give one value"),
        (lambda: power_map((TABLE[0][::-1], TABLE[1]), SHAPE, PIXEL), "`ell` must increase"),
        (lambda: power_map((TABLE[0], TABLE[1][:1]), SHAPE, PIXEL), "`cl` must have shape"),
        (lambda: power_map((TABLE[0] - 10, TABLE[1]), SHAPE, PIXEL), "`ell` must be positive"),
        (lambda: power_map((TABLE[0], 0 * TABLE[1]), SHAPE, PIXEL), "`cl` must be positive"),
        (lambda: power_map(([1.0], [1.0]), SHAPE, PIXEL), "`ell` must hold at least two"),
        (lambda: gaussian_map(-expected_power(), 0), "`power` must be non-negative"),
        (lambda: gaussian_map(expected_power()[0], 0), "`power` must have 2 axes"),
        (lambda: gaussian_map(np.roll(expected_power(), 1), 0), "zero frequency first"),
        (lambda: gaussian.checked_power(expected_power(), (3, 3)), r"have shape \(3, 3\)"),
        (lambda: lognormal_map(expected_power(), -1.0, 0), "`shift` must be positive"),
        (lambda: lognormal_map(expected_power(), 1e-4, 0), "`shift` must be larger"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
