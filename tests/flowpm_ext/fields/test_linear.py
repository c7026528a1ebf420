"""The linear field against NumPy, against its spectrum, and its gradients."""

import numpy as np
import pytest
import tensorflow as tf
from reference import fields3d

from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import LocalMesh

CELL = 4.0
SHAPES = [(8, 8, 8), (6, 4, 10), (5, 6, 7)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def pk(k):
    return 5e3 * (k / 0.1) ** 0.3 / (1 + (k / 0.2) ** 2)


def box(shape):
    return tuple(CELL * n for n in shape)


def noise(shape, batch=2, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *shape))


@pytest.mark.parametrize("is_fixed", [False, True])
@shapes
def test_field_of_given_noise_is_that_of_numpy(shape, is_fixed):
    white = noise(shape)
    found = linear_field(shape, box(shape), pk, white_noise=white, is_fixed=is_fixed)
    assert found.dtype == tf.float64
    for ours, one in zip(found, white, strict=True):
        expected = fields3d.linear(one, CELL, pk, is_fixed)
        np.testing.assert_allclose(ours, expected, atol=1e-13 * expected.std())  # rounding


@shapes
def test_single_precision(shape):
    white = noise(shape)
    found = linear_field(shape, box(shape), pk, white_noise=white.astype(np.float32))
    expected = linear_field(shape, box(shape), pk, white_noise=white)
    assert found.dtype == tf.float32
    # A few roundings of 6e-8, relative to the largest value.
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


@shapes
def test_drawn_fields_have_the_spectrum(shape):
    num = 1000
    fields = linear_field(shape, box(shape), pk, num, seed=3, dtype=tf.float64).numpy()
    assert fields.shape == (num, *shape)
    modes = np.abs(np.fft.fftn(fields, axes=(1, 2, 3)) / np.prod(shape)) ** 2
    expected = fields3d.power_of_modes(shape, CELL, pk) / np.prod(shape)  # P / V
    pulls = (modes.mean(axis=0).ravel()[1:] / expected.ravel()[1:] - 1) * np.sqrt(num)
    # Scatter 1 for complex modes and sqrt(2) for the few real ones.
    assert np.abs(pulls).max() < 6.5
    # Chance moves the mean pull of half as many independent modes.
    assert abs(pulls.mean()) < 5 * np.sqrt(2 / pulls.size)
    # The mean of a field is zero up to rounding.
    np.testing.assert_allclose(fields.mean(axis=(1, 2, 3)), 0, atol=1e-14 * fields.std())


def test_seed_and_place_in_the_batch_set_the_field():
    first = linear_field(8, 32.0, pk, 3, seed=1).numpy()
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[:2], linear_field(8, 32.0, pk, 2, 1))
    distinct = [*first, *linear_field(8, 32.0, pk, seed=2).numpy()]
    correlation = np.corrcoef([field.ravel() for field in distinct])
    # 512 cells, but only few large modes: less than 0.5 by far in the draws of these seeds.
    assert np.abs(correlation - np.eye(4)).max() < 0.5


@shapes
def test_fixed_fields_have_the_spectrum_exactly_and_free_phases(shape):
    fields = linear_field(shape, box(shape), pk, 50, 5, is_fixed=True, dtype=tf.float64)
    power = fields3d.power_of_modes(shape, CELL, pk) / np.prod(shape)  # P / V
    power[0, 0, 0] = 1  # the mean is zero
    modes = np.fft.fftn(fields, axes=(1, 2, 3)) / np.prod(shape) / np.sqrt(power)
    moduli = np.abs(modes).reshape(50, -1)[:, 1:]
    np.testing.assert_allclose(moduli, 1, rtol=1e-11)  # rounding, relative to the largest mode
    # The mean of 50 free phases has a modulus of about 50**-0.5 = 0.14, whatever the mode.
    assert np.abs(modes.mean(axis=0)).max() < 0.65
    half = [n // 2 for n in shape]
    if not any(n % 2 for n in shape):  # modes that are their own opposite are 1 or -1
        own = modes[:, :: half[0], :: half[1], :: half[2]].reshape(50, -1)[:, 1:]
        np.testing.assert_allclose(np.abs(own.real), 1, rtol=1e-11)


def test_paired_field_has_the_opposite_phase():
    one, other = (linear_field(8, 32.0, pk, 2, 3, is_paired=x) for x in (False, True))
    np.testing.assert_array_equal(one, -other)


def test_fixed_field_of_no_noise_is_finite_and_so_is_its_gradient():
    white = tf.zeros([1, 4, 4, 4], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(white)
        field = linear_field(4, 16.0, pk, white_noise=white, is_fixed=True)
        total = tf.reduce_sum(field**2)
    assert np.all(np.isfinite(field))
    assert np.all(np.isfinite(tape.gradient(total, white)))


def test_spectrum_is_called_once_with_every_length_of_k():
    calls = []

    def recorded(k):
        calls.append(k)
        return pk(k)

    linear_field((8, 4, 8), (32.0, 16.0, 32.0), recorded)
    (k,) = calls
    assert isinstance(k, np.ndarray) and k.dtype == np.float64
    # Eighths of the sampling frequency, in whole numbers: 0..4 along x and z, 0, 2, 4 along y.
    lengths = {i * i + j * j + m * m for i in range(5) for j in (0, 2, 4) for m in range(5)}
    expected = 2 * np.pi / 32 * np.sqrt(sorted(lengths - {0}))
    np.testing.assert_allclose(k, expected, rtol=1e-14)


def test_table_batch_and_single_precision_spectra():
    k = np.geomspace(0.01, 3, 5)
    table = linear_field(8, 32.0, (k, 30 * k**-1.5), seed=1)
    np.testing.assert_allclose(table, linear_field(8, 32.0, lambda k: 30 * k**-1.5, seed=1),
                               atol=1e-6 * np.std(table))  # fmt: skip
    rows = linear_field(8, 32.0, lambda k: np.stack([pk(k), 4 * pk(k)]), 2, seed=1)
    plain = linear_field(8, 32.0, pk, 2, seed=1).numpy()
    np.testing.assert_allclose(rows, plain * np.array([1, 2])[:, None, None, None], rtol=1e-6)
    single = linear_field(8, 32.0, lambda k: tf.constant(pk(k), tf.float32), 2, seed=1)
    np.testing.assert_allclose(single, plain, atol=1e-6 * plain.std())


@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_field(jit):
    from scipy import interpolate

    k = np.geomspace(0.01, 3, 50)
    spline = interpolate.CubicSpline(k, pk(k))  # knows no tensors
    seed = tf.constant([3, 4])

    def draw(seed):
        return linear_field((6, 4, 8), (24.0, 16.0, 32.0), spline, 2, seed, dtype=tf.float64)

    ours = tf.function(draw, jit_compile=jit, autograph=False)(seed)
    assert ours.shape == (2, 6, 4, 8)
    np.testing.assert_allclose(ours, draw(seed), atol=1e-13 * np.std(ours))


def test_gradient_with_respect_to_the_spectrum():
    weights = noise((4, 6, 4))
    white = noise((4, 6, 4), seed=1)
    theta = tf.constant([5e3, 0.3], tf.float64)

    def total(theta):
        field = linear_field(
            (4, 6, 4), (16.0, 24.0, 16.0), lambda k: theta[0] * k ** theta[1], white_noise=white
        )
        return tf.reduce_sum(weights * field)

    with tf.GradientTape() as tape:
        tape.watch(theta)
        value = total(theta)
    gradient = tape.gradient(value, theta)
    for axis, step in enumerate((1.0, 1e-4)):
        shift = step * np.eye(2)[axis]
        expected = (total(theta + shift) - total(theta - shift)) / (2 * step)
        np.testing.assert_allclose(gradient[axis], expected, rtol=1e-7)  # step squared


def test_gradient_is_finite_where_there_is_no_power():
    amplitude = tf.constant(2.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(amplitude)
        field = linear_field(8, 32.0, lambda k: amplitude * pk(k) * (k < 0.5), seed=1)
        total = tf.reduce_sum(field**2)
    # The field goes as the root of the amplitude.
    np.testing.assert_allclose(tape.gradient(total, amplitude), total / 2, rtol=1e-5)


def test_gradient_with_respect_to_the_noise_is_the_adjoint():
    white, other = (tf.constant(noise((5, 6, 4), seed=s)) for s in (0, 1))

    def draw(white):
        return linear_field((5, 6, 4), (20.0, 24.0, 16.0), pk, white_noise=white)

    with tf.GradientTape() as tape:
        tape.watch(white)
        total = tf.reduce_sum(other * draw(white))
    # The field is linear and symmetric in the noise.
    expected = draw(other)
    np.testing.assert_allclose(tape.gradient(total, white), expected, atol=1e-13 * np.std(expected))


def test_gradient_reaches_the_cosmology():
    sigma8 = tf.constant(0.8, tf.float64)
    white = noise((4, 4, 4))
    with tf.GradientTape() as tape:
        tape.watch(sigma8)
        cosmo = Planck15(sigma8=sigma8)
        field = linear_field(
            4, 16.0, lambda k: power.linear_matter_power(cosmo, k), white_noise=white
        )
        total = tf.reduce_sum(field**2)
    np.testing.assert_allclose(tape.gradient(total, sigma8), 2 * total / sigma8, rtol=1e-12)


def test_mesh_may_be_given():
    ours = linear_field(8, 32.0, pk, mesh=LocalMesh(8, window="tsc"))
    np.testing.assert_array_equal(ours, linear_field(8, 32.0, pk))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_field(0, 32.0, pk), "`mesh_shape` must be a positive integer"),
        (lambda: linear_field(8, -1.0, pk), "`box_size` must be positive"),
        (lambda: linear_field((8, 8, 4), 32.0, pk), "`box_size` must divide into cubic"),
        (lambda: linear_field(8, 32.0, pk, 0), "`batch_size` must be a positive integer"),
        (lambda: linear_field(8, 32.0, lambda k: -pk(k)), "`pk` must be non-negative"),
        (lambda: linear_field(8, 32.0, lambda k: pk(k) * np.nan), "`pk` must be non-negative"),
        (lambda: linear_field(8, 32.0, lambda k: pk(k[1:])), "`pk` must give one value for each"),
        (lambda: linear_field(8, 32.0, lambda k: 1.0), r"`pk` must give .*Received: 1\.0"),
        (lambda: linear_field(8, 32.0, lambda k: [pk(k)] * 3, 2), "`pk` must give one value"),
        (lambda: linear_field(8, 32.0, ([1.0, 0.1], [1.0, 2.0])), "`k` must increase"),
        (lambda: linear_field(8, 32.0, ([0.1, 1.0], [1.0, 0.0])), "`pk` must be positive"),
        (
            lambda: linear_field(8, 32.0, pk, white_noise=noise((8, 8, 4))),
            r"`white_noise` must have shape \[batch, 8, 8, 8\]",
        ),
        (
            lambda: linear_field(8, 32.0, pk, white_noise=noise((8, 8, 8))[0]),
            "`white_noise` must have 4 axes",
        ),
        (
            lambda: linear_field(8, 32.0, pk, white_noise=noise((8, 8, 8)) * np.inf),
            "`white_noise` must be finite",
        ),
        (
            lambda: linear_field(8, 32.0, pk, 3, white_noise=noise((8, 8, 8))),
            "`batch_size` must be the 2 of `white_noise`",
        ),
        (lambda: linear_field(8, 32.0, pk, dtype=tf.int32), "`dtype` must be float32 or"),
        (lambda: linear_field(8, 32.0, pk, mesh=LocalMesh(4)), "`mesh` must have shape"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_spectrum_that_is_no_function():
    with pytest.raises(TypeError, match="`pk` must be a function of k or a pair"):
        linear_field(8, 32.0, 3.0)
