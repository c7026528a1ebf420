"""Transforms against NumPy's, and their derivatives against finite differences."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.numerics import fourier

MAPS = [(6, 8), (7, 9), (6, 9), (7, 8), (1, 2), (1, 1)]
BOXES = [(4, 6, 8), (5, 3, 7), (4, 5, 6), (3, 4, 9), (2, 1, 2)]
SHAPES = MAPS + BOXES
# Tracing and compiling take longer than the transforms: all shapes eagerly, four in a graph.
CASES = [(shape, "eager") for shape in SHAPES]
CASES += [(s, m) for s in ((6, 8), (7, 9), (4, 6, 8), (5, 3, 7)) for m in ("graph", "xla")]
SECOND = [(s, "eager") for s in ((6, 9), (7, 8), (3, 4, 9), (4, 5, 6))]
SECOND += [(s, m) for s in ((6, 8), (5, 3, 7)) for m in ("graph", "xla")]
# Rounding of a transform of a few hundred numbers of order one, with a margin of ten.
ROUNDING = {"float32": 1e-5, "float64": 1e-13}
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, jit_compile=True, autograph=False),
}


def forward(x, ndim):
    return {2: fourier.rfft2, 3: fourier.rfft3}[ndim](x)


def inverse(y, last, ndim):
    return {2: fourier.irfft2, 3: fourier.irfft3}[ndim](y, last)


def draws(shape, dtype="float64", num=1):
    rng = np.random.default_rng(7)
    values = [tf.constant(rng.normal(size=(2, *shape)), dtype) for _ in range(num)]
    return values[0] if num == 1 else values


def curved(shape):
    """Real function of the real field with a Hessian, through both transforms."""
    rng = np.random.default_rng(3)
    half = (*shape[:-1], shape[-1] // 2 + 1)
    weight = tf.constant(rng.normal(size=half) + 1j * rng.normal(size=half))

    def value(x):
        modes = forward(x, len(shape))
        # The weight and the square leave modes that belong to no real field.
        back = inverse(weight * modes * modes, shape[-1], len(shape))
        return tf.reduce_sum(back**3) + tf.reduce_sum(tf.math.real(weight * modes) ** 2)

    return value


def gradient_of(function):
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)

    return gradient


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("shape", "mode"), CASES, ids=str)
def test_values_are_numpys(shape, dtype, mode):
    x = draws(shape, dtype)
    axes = tuple(range(1, 1 + len(shape)))
    expected = np.fft.rfftn(np.asarray(x, np.float64), axes=axes)
    ndim = len(shape)
    modes = MODES[mode](lambda x: forward(x, ndim))(x)
    assert modes.dtype == tf.as_dtype("complex64" if dtype == "float32" else "complex128")
    scale = ROUNDING[dtype] * np.sqrt(x[0].numpy().size)
    np.testing.assert_allclose(modes, expected, atol=scale, rtol=0)
    again = MODES[mode](lambda y: inverse(y, shape[-1], ndim))(modes)
    np.testing.assert_allclose(again, x, atol=ROUNDING[dtype], rtol=0)


@pytest.mark.parametrize(("shape", "mode"), CASES, ids=str)
def test_first_derivatives(shape, mode):
    x, v = draws(shape, num=2)
    value = curved(shape)

    def both(x, v):
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
            result = value(x)
        return tf.reduce_sum(gradient_of(value)(x) * v), accumulator.jvp(result)

    reverse, tangent = MODES[mode](both)(x, v)
    step = 1e-5  # truncation and rounding of a central difference are both near 1e-10
    expected = (value(x + step * v) - value(x - step * v)) / (2 * step)
    np.testing.assert_allclose(reverse, expected, rtol=1e-7)
    np.testing.assert_allclose(tangent, expected, rtol=1e-7)


@pytest.mark.parametrize(("shape", "mode"), SECOND, ids=str)
def test_second_derivatives(shape, mode):
    x, v = draws(shape, num=2)
    gradient = gradient_of(curved(shape))

    def both(x, v):
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
            result = gradient(x)
        return accumulator.jvp(result), gradient_of(lambda x: tf.reduce_sum(gradient(x) * v))(x)

    forward_over_reverse, reverse_over_reverse = MODES[mode](both)(x, v)
    step = 1e-5
    expected = (gradient(x + step * v) - gradient(x - step * v)) / (2 * step)
    size = np.abs(expected).max()
    np.testing.assert_allclose(forward_over_reverse, expected, atol=1e-7 * size, rtol=0)
    np.testing.assert_allclose(reverse_over_reverse, expected, atol=1e-7 * size, rtol=0)


@pytest.mark.parametrize("shape", [(6, 8), (16, 16), (4, 6, 8), (5, 3, 7)], ids=str)
def test_gradient_in_single_precision(shape):
    x = draws(shape)
    gradient = gradient_of(curved(shape))(x)
    single = gradient_of(lambda x: curved(shape)(tf.cast(x, tf.float64)))(tf.cast(x, tf.float32))
    # The input is rounded to 6e-8, and the function has third powers.
    np.testing.assert_allclose(single, gradient, atol=1e-5 * np.abs(gradient).max(), rtol=0)
    half = tf.cast(x, tf.float32)
    linear = gradient_of(lambda x: tf.reduce_sum(tf.math.real(forward(x, len(shape)))))(half)
    exact = gradient_of(lambda x: tf.reduce_sum(tf.math.real(forward(x, len(shape)))))(x)
    # TensorFlow's own gradient of rfft2d is near 1e-5 in single precision.
    np.testing.assert_allclose(linear, exact, atol=1e-4 * np.abs(exact).max(), rtol=0)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_half_plane_weights_count_all_modes(n):
    weights = fourier.half_plane_weights(n)
    assert weights.sum() == n
    x = draws((3, n))
    power = np.abs(fourier.rfft2(x).numpy()) ** 2
    total = (weights * power).sum(axis=(-2, -1)) / (3 * n)
    np.testing.assert_allclose(total, (x.numpy() ** 2).sum(axis=(-2, -1)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (5, 4, 6)], ids=str)
def test_wavenumbers_differentiate_a_plane_wave(shape):
    spacing = np.linspace(0.5, 1.5, len(shape))
    positions = [np.arange(n) * d for n, d in zip(shape, spacing, strict=True)]
    k = [2 * np.pi / (n * d) for n, d in zip(shape, spacing, strict=True)]
    phase = sum(ki * xi for ki, xi in zip(k, np.meshgrid(*positions, indexing="ij"), strict=True))
    for is_half, transform in ((True, np.fft.rfftn), (False, np.fft.fftn)):
        laplacian = -sum(ki**2 for ki in fourier.wavenumbers(shape, spacing, is_half))
        expected = -sum(ki**2 for ki in k) * transform(np.sin(phase))
        np.testing.assert_allclose(laplacian * transform(np.sin(phase)), expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(6, 8), (7, 9)], ids=str)
def test_filter_multiplies_modes(shape):
    x = draws(shape)
    full = np.fft.fft2(np.random.default_rng(0).normal(size=shape))  # of a real kernel
    expected = np.fft.ifft2(full * np.fft.fft2(x)).real
    result = fourier.filter2(x, fourier.half_plane(full))
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_unknown_batch_is_welcome():
    spec = tf.TensorSpec([None, 4, 6, 8], tf.float64)
    function = tf.function(fourier.rfft3, input_signature=[spec])
    assert function(draws((4, 6, 8))).shape == (2, 4, 6, 5)


def test_registered_gradients_are_left_alone():
    importlib.reload(fourier)  # a second registration is refused by TensorFlow
    x = draws((4, 6, 8))
    assert gradient_of(curved((4, 6, 8)))(x).shape == x.shape


def test_messages():
    with pytest.raises(ValueError, match="`x` must end in 3 axes of known size"):
        fourier.rfft3(tf.zeros([4, 4]))
    with pytest.raises(ValueError, match="`x` must end in 2 axes of known size"):
        tf.function(fourier.rfft2, input_signature=[tf.TensorSpec([None, 4])])(tf.zeros([4, 4]))
    with pytest.raises(ValueError, match=r"`nz` must be 8 or 9\. Received: 10\."):
        fourier.irfft3(tf.zeros([4, 4, 5], tf.complex64), 10)
    with pytest.raises(ValueError, match=r"`nx` must be 8 or 9\. Received: 7\."):
        fourier.irfft2(tf.zeros([4, 5], tf.complex64), 7)
