"""Removal of windows: the modes of painted particles, and a product written out."""

import numpy as np
import pytest
import tensorflow as tf
from reference import spectra as naive

from flowpm_ext.mesh import LocalMesh
from flowpm_ext.stats import compensate_window, power_spectrum

windows = pytest.mark.parametrize("window", ["cic", "tsc"])


@windows
@pytest.mark.parametrize("sides", [(6, 4, 8), (5, 7, 3)], ids=str)
def test_each_mode_is_divided_by_the_transform(sides, window):
    field = np.random.default_rng(0).normal(size=(2, *sides))
    before = np.fft.fftn(field, axes=(1, 2, 3))
    after = np.fft.fftn(compensate_window(field, window), axes=(1, 2, 3))
    for index, k, _ in naive.modes(sides, 1.0):
        factor = np.prod([naive.window_transform(x, window) for x in k])
        np.testing.assert_allclose(after[:, *index] * factor, before[:, *index], atol=1e-12)
    np.testing.assert_allclose(after[:, 0, 0, 0], before[:, 0, 0, 0], atol=1e-12)


@windows
def test_painted_particles_have_the_shot_noise_of_points_again(window):
    # Each field is one particle somewhere in a cell: <|delta_k|**2> over places is that of a
    # point plus aliases, which are small where k is.
    n, num = 16, 400
    position = np.random.default_rng(1).uniform(0, n, (num, 1, 3)).astype(np.float64)
    mesh = LocalMesh(n, window=window)
    field = mesh.paint(tf.constant(position)) * n**3 - 1.0
    edges = 2 * np.pi / n * np.array([0.9, 1.1, 2.1, 3.1])
    expected = float(n**3)  # 1 / number density, in cells
    power = power_spectrum(field, float(n), edges, window=window).power.numpy().mean(0)
    raw = power_spectrum(field, float(n), edges).power.numpy().mean(0)
    # Aliases of CIC at a fifth of the Nyquist frequency and below are under 1 per cent; those of
    # the 400 places average out further. The window itself takes a tenth or more.
    np.testing.assert_allclose(power[:2], expected, rtol=0.01)
    assert np.all(raw[1:] < 0.96 * expected)


@windows
def test_power_of_the_compensated_field_is_the_compensated_power(window):
    field = np.random.default_rng(2).normal(size=(1, 8, 6, 4))
    box = (20.0, 15.0, 10.0)
    once = power_spectrum(compensate_window(field, window), box).power
    np.testing.assert_allclose(once, power_spectrum(field, box, window=window).power, rtol=1e-12)


@windows
def test_compiled_float32_and_gradient(window):
    x = np.random.default_rng(3).normal(size=(1, 4, 5, 6))
    double = compensate_window(x, window)
    run = tf.function(lambda x: compensate_window(x, window), jit_compile=True, autograph=False)
    np.testing.assert_allclose(run(tf.constant(x)), double, rtol=1e-12, atol=1e-13)
    single = compensate_window(x.astype(np.float32), window)
    assert single.dtype == tf.float32
    np.testing.assert_allclose(single, double, atol=1e-5 * np.abs(double).max())
    # Linear and its own adjoint, since the factors are real.
    y = np.random.default_rng(4).normal(size=x.shape)
    with tf.GradientTape() as tape:
        x = tf.constant(x)
        tape.watch(x)
        product = tf.reduce_sum(y * compensate_window(x, window))
    np.testing.assert_allclose(tape.gradient(product, x), compensate_window(y, window), atol=1e-12)


def test_bad_input_is_refused():
    field = np.zeros((1, 4, 4, 4))
    with pytest.raises(ValueError, match="`window` must be one of 'cic', 'tsc'"):
        compensate_window(field, "ngp")
    with pytest.raises(ValueError, match="`field` must be finite"):
        compensate_window(field + np.nan)
    with pytest.raises(ValueError, match="`field` must have 4 axes"):
        compensate_window(field[0])
