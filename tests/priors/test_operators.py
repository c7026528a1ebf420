"""Operators: the contract, which every subclass must meet, and what each one does."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from reference import gaussian_posterior

from priors import GaussianLikelihood, operators

SIDES = [(8, 8), (9, 7), (6, 9), (5, 12)]
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, jit_compile=True, autograph=False),
}
# Rounding of transforms of a hundred numbers of order one, with a margin of ten.
ROUNDING = {"float32": 1e-5, "float64": 1e-12}


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def examples(sides):
    """An operator of each class on maps of these sides."""
    mask = random(sides) > 0
    lensing = operators.KaiserSquires(sides)
    return {
        operators.KaiserSquires: lensing,
        operators.MaskedFourier: operators.MaskedFourier(mask),
        operators.Convolution: operators.Convolution(random((3, 4)), sides),
        operators.Mask: operators.Mask(mask),
        operators.DownSampling: operators.DownSampling(3, (2, 3 * sides[0], 3 * sides[1])),
        operators.Mixing: operators.Mixing(random((5, 2)), sides),
        operators.ModeMixing: operators.ModeMixing(
            random((3, 2, sides[0], sides[1] // 2 + 1)) * (1 + 0.5j), sides[1]
        ),
        operators.Padding: operators.Padding(2, (2, *sides)),
        operators.Shift: operators.Shift([[0.3, -1.6], [2.0, 0.5]], (2, *sides)),
        operators.Product: operators.Mask(mask) @ lensing @ operators.Mask(mask),
    }


def subclasses(cls):
    return {cls, *(found for child in cls.__subclasses__() for found in subclasses(child))}


CLASSES = sorted(subclasses(operators.AbstractLinearOperator), key=lambda cls: cls.__name__)
CONCRETE = [cls for cls in CLASSES if not cls.__abstractmethods__]


def pair(op, dtype, batch=()):
    x = random((*batch, *op.shape), 1)
    y = random((*batch, *op.data_shape), 2) + 1j * random((*batch, *op.data_shape), 3)
    y = y if op.gives_complex else y.real
    kind = {"float32": "complex64", "float64": "complex128"}[dtype]
    return tf.constant(x, dtype), tf.constant(y, kind if op.gives_complex else dtype)


def inner(a, b):
    return np.sum(np.conj(np.asarray(a, np.complex128)) * np.asarray(b, np.complex128)).real


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("cls", CONCRETE)
def test_adjoint(cls, sides, dtype, mode):
    op = examples(sides)[cls]  # a class without an example fails here
    x, y = pair(op, dtype)
    forward, backward = MODES[mode](lambda x: op(x)), MODES[mode](lambda y: op.adjoint(y))
    assert forward(x).dtype == y.dtype
    assert backward(y).dtype == x.dtype
    np.testing.assert_allclose(
        inner(forward(x), y), inner(x, backward(y)), atol=ROUNDING[dtype] * x.numpy().size
    )


@pytest.mark.parametrize("cls", CONCRETE)
def test_linear_batched_and_frozen(cls):
    op = examples((6, 9))[cls]
    x, y = pair(op, "float64", batch=(2, 3))
    assert op(x).shape == (2, 3, *op.data_shape)
    assert op.adjoint(y).shape == (2, 3, *op.shape)
    np.testing.assert_allclose(op(x)[1, 2], op(x[1, 2]), atol=1e-12)
    np.testing.assert_allclose(op.adjoint(y)[1, 2], op.adjoint(y[1, 2]), atol=1e-12)
    np.testing.assert_allclose(op(2 * x[0] - x[1]), 2 * op(x[0]) - op(x[1]), atol=1e-12)
    np.testing.assert_allclose(op.normal(x), op.adjoint(op(x)), atol=1e-12)
    with pytest.raises(dataclasses.FrozenInstanceError):
        op.other = 1


@pytest.mark.parametrize("cls", CONCRETE)
def test_gradient_of_a_misfit_is_the_adjoint_of_the_residual(cls):
    op = examples((8, 7))[cls]
    x, y = pair(op, "float64")
    with tf.GradientTape() as tape:
        tape.watch(x)
        residual = op(x) - y
        misfit = tf.reduce_sum(tf.math.real(residual * tf.math.conj(residual))) / 2
    np.testing.assert_allclose(tape.gradient(misfit, x), op.adjoint(op(x) - y), atol=1e-12)


@pytest.mark.parametrize("cls", CONCRETE)
def test_operators_are_arguments_of_a_graph(cls):
    op = examples((6, 8))[cls]
    traces = []

    @tf.function(jit_compile=True, autograph=False)
    def apply(op, x):
        traces.append(1)
        return op(x)

    x, _ = pair(op, "float64")
    np.testing.assert_allclose(apply(op, x), op(x), atol=1e-12)
    apply(examples((6, 8))[cls], x)
    assert len(traces) == 1


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_kaiser_squires_is_the_sum_over_plane_waves(sides):
    kappa = random(sides)
    matrix = gaussian_posterior.shear_matrix(*sides)
    expected = (matrix @ kappa.ravel()).reshape(sides)
    np.testing.assert_allclose(operators.KaiserSquires(sides)(kappa), expected, atol=1e-12)


@pytest.mark.parametrize("sides", [*SIDES, (2, 2), (1, 6), (360, 360)], ids=str)
def test_kaiser_squires_is_unitary_up_to_the_mean(sides):
    op = operators.KaiserSquires(sides)
    e, b = random((2, *sides))
    e, b = e - e.mean(), b - b.mean()
    gamma = op(e).numpy() + 1j * op(b).numpy()
    np.testing.assert_allclose(inner(gamma, gamma), inner(e, e) + inner(b, b), rtol=1e-12)
    found = op.modes(gamma)
    np.testing.assert_allclose(found.e, e, atol=1e-12)
    np.testing.assert_allclose(found.b, b, atol=1e-12)
    np.testing.assert_allclose(op.adjoint(gamma), found.e, atol=1e-12)
    np.testing.assert_allclose(op.adjoint(-1j * gamma), found.b, atol=1e-12)
    np.testing.assert_allclose(op.normal(e + 3.0), e, atol=1e-12)


def test_shear_of_a_plane_wave_turns_with_twice_its_angle():
    ny, nx = 12, 16
    y, x = np.mgrid[:ny, :nx]
    for i, j in ((0, 1), (1, 0), (2, 3), (-1, 2), (3, -5)):
        kappa = np.cos(2 * np.pi * (i * y / ny + j * x / nx) + 0.3)
        phi = np.arctan2(i / ny, j / nx)
        gamma = operators.KaiserSquires((ny, nx))(kappa)
        np.testing.assert_allclose(gamma, np.exp(2j * phi) * kappa, atol=1e-12)


def test_convolution_is_a_sum_over_shifts():
    psf, x = random((3, 4)), random((7, 6))
    expected = sum(
        psf[i, j] * np.roll(x, (i - 1, j - 2), axis=(0, 1)) for i in range(3) for j in range(4)
    )
    np.testing.assert_allclose(operators.Convolution(psf, (7, 6))(x), expected, atol=1e-12)


def test_convolution_gradient_with_respect_to_the_psf():
    psf, x, weight = tf.constant(random((3, 3))), random((6, 5), 1), random((6, 5), 2)
    with tf.GradientTape() as tape:
        tape.watch(psf)
        value = tf.reduce_sum(weight * operators.Convolution(psf, (6, 5))(x))
    gradient = tape.gradient(value, psf)
    # Linear in the psf: the value at a unit psf is the derivative.
    for i, j in ((0, 0), (1, 1), (2, 0)):
        unit = np.zeros((3, 3))
        unit[i, j] = 1.0
        expected = np.sum(weight * operators.Convolution(unit, (6, 5))(x))
        np.testing.assert_allclose(gradient[i, j], expected, rtol=1e-12)


def blend(dtype="float64"):
    """From two sources of 6 x 5 pixels to five bands of 5 x 4 coarse ones."""
    shifts = operators.Shift(tf.constant([[0.4, -1.0], [-0.7, 0.2]], dtype), (2, 10, 8))
    psf = np.abs(random((5, 3, 3))).astype(dtype)
    mixing = operators.Mixing(np.abs(random((5, 2), 1)).astype(dtype), (10, 8))
    seen = operators.DownSampling(2, (5, 10, 8)) @ operators.Convolution(psf, (5, 10, 8))
    return seen @ mixing @ shifts @ operators.Padding(2, (2, 6, 4))


def test_convolution_has_a_psf_for_each_band():
    psf, x = random((3, 3, 2)), random((4, 3, 7, 6))
    op = operators.Convolution(psf, (3, 7, 6))
    for band in range(3):
        alone = operators.Convolution(psf[band], (7, 6))
        np.testing.assert_allclose(op(x)[:, band], alone(x[:, band]), atol=1e-12)
    shared = operators.Convolution(psf[0], (3, 7, 6))
    np.testing.assert_allclose(shared(x), operators.Convolution(psf[0], (7, 6))(x), atol=1e-12)


def test_down_sampling_is_the_mean_of_squares():
    x = random((2, 4, 6))
    found = operators.DownSampling(2, (2, 4, 6))(x)
    assert found.shape == (2, 2, 3)
    np.testing.assert_allclose(found[1, 1, 2], x[1, 2:4, 4:6].mean(), rtol=1e-12)
    np.testing.assert_allclose(operators.DownSampling(1, (4, 6))(x), x, atol=0)


def test_mixing_is_a_matrix_product():
    sed, x = random((5, 2)), random((2, 4, 3), 1)
    op = operators.Mixing(sed, (4, 3))
    assert (op.shape, op.data_shape) == ((2, 4, 3), (5, 4, 3))
    np.testing.assert_allclose(op(x), (sed @ x.reshape(2, -1)).reshape(5, 4, 3), atol=1e-13)
    with tf.GradientTape() as tape:
        variable = tf.constant(sed)
        tape.watch(variable)
        value = tf.reduce_sum(operators.Mixing(variable, (4, 3))(x)[2])
    expected = np.zeros((5, 2))
    expected[2] = x.sum(axis=(1, 2))
    np.testing.assert_allclose(tape.gradient(value, variable), expected, atol=1e-12)


def test_mode_mixing_is_a_sum_of_convolutions():
    psf, x = random((3, 2, 6, 7)), random((2, 6, 7), 1)
    found = operators.ModeMixing(np.fft.rfft2(psf), 7)(x)
    expected = np.fft.ifft2(np.einsum("bsyx,syx->byx", np.fft.fft2(psf), np.fft.fft2(x))).real
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_shift_moves_pixels_and_band_limited_images():
    x = random((2, 6, 7))
    op = operators.Shift([[2.0, -1.0], [0.0, 3.0]], (2, 6, 7))
    expected = [np.roll(x[0], (2, -1), (0, 1)), np.roll(x[1], (0, 3), (0, 1))]
    np.testing.assert_allclose(op(x), expected, atol=1e-12)

    def wave(y, x):
        return np.cos(2 * np.pi * (2 * y / 8 - x / 9) + 0.4) + np.sin(2 * np.pi * 3 * x / 9)

    grid = np.mgrid[:8, :9]
    found = operators.Shift([0.3, -1.7], (8, 9))(wave(*grid))
    np.testing.assert_allclose(found, wave(grid[0] - 0.3, grid[1] + 1.7), atol=1e-12)


def test_shift_gradient_with_respect_to_the_offset():
    x, weight = random((6, 7)), random((6, 7), 1)

    def value(offset):
        return tf.reduce_sum(weight * operators.Shift(offset, (6, 7))(x))

    offset = tf.constant([0.4, -0.7], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(offset)
        result = value(offset)
    step = 1e-5  # central differences of order one: an error of its square
    expected = [
        (value(offset + step * unit) - value(offset - step * unit)) / (2 * step)
        for unit in np.eye(2)
    ]
    np.testing.assert_allclose(tape.gradient(result, offset), expected, rtol=1e-7)


def test_padding_is_numpys():
    x = random((2, 4, 3))
    expected = np.pad(x, ((0, 0), (2, 2), (2, 2)))
    np.testing.assert_allclose(operators.Padding(2, (2, 4, 3))(x), expected, atol=0)


@pytest.mark.parametrize("mode", MODES)
def test_a_blend_has_an_adjoint_and_a_likelihood(mode):
    op = blend()
    assert (op.shape, op.data_shape) == ((2, 6, 4), (5, 5, 4))
    x, y = pair(op, "float64", batch=(3,))
    forward, backward = MODES[mode](lambda x: op(x)), MODES[mode](lambda y: op.adjoint(y))
    np.testing.assert_allclose(inner(forward(x), y), inner(x, backward(y)), atol=1e-11)
    noise_std = np.linspace(0.5, 1.5, 5)[:, None, None]
    likelihood = GaussianLikelihood(op, y[0], noise_std)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = MODES[mode](lambda x: likelihood.log_prob(x))(x)
    chi = (y[0].numpy() - op(x).numpy()) / noise_std
    norm = np.sum(np.log(2 * np.pi * noise_std**2)) * 20 / 2
    np.testing.assert_allclose(value, -np.sum(chi**2, axis=(1, 2, 3)) / 2 - norm, rtol=1e-12)
    np.testing.assert_allclose(tape.gradient(value, x), likelihood.gradient(x), atol=1e-11)


def test_masked_fourier_is_numpys_transform():
    x, mask = random((6, 7)), random((6, 7), 1) > 0
    expected = mask * np.fft.fft2(x, norm="ortho")
    np.testing.assert_allclose(operators.MaskedFourier(mask)(x), expected, atol=1e-13)


def test_product_applies_the_right_one_first():
    x = random((5, 5))
    mask = operators.Mask(random((5, 5), 1) > 0)
    lensing = operators.KaiserSquires((5, 5))
    np.testing.assert_allclose((lensing @ mask)(x), lensing(mask(x)), atol=0)
    assert (mask @ lensing).gives_complex
    assert not (mask @ operators.Convolution(np.ones((1, 1)), (5, 5))).gives_complex


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: operators.KaiserSquires((4,)), ValueError, "`shape` must be two positive"),
        (lambda: operators.KaiserSquires((4, 0)), ValueError, r"Received: \(4, 0\)\."),
        (lambda: operators.KaiserSquires((4, 4.5)), ValueError, "`shape` must be two positive"),
        (lambda: operators.Mask(np.zeros((3, 3))), ValueError, "`mask` must hold a non-zero"),
        (lambda: operators.Mask(np.ones(3)), ValueError, "`mask` must have 2 axes"),
        (lambda: operators.MaskedFourier(2 * np.ones((3, 3))), ValueError, r"lie in \[0, 1\]"),
        (lambda: operators.MaskedFourier(np.full((3, 3), np.nan)), ValueError, "`mask` must"),
        (lambda: operators.Convolution(np.ones((5, 3)), (4, 4)), ValueError, "`psf` must fit"),
        (lambda: operators.Convolution(np.ones(3), (4, 4)), ValueError, "`psf` must have 2 axes"),
        (
            lambda: operators.Convolution(np.full((2, 2), np.inf), (4, 4)),
            ValueError,
            "`psf` must be finite",
        ),
        (lambda: operators.Convolution(1j * np.ones((2, 2)), (4, 4)), TypeError, "`psf` must be"),
        (
            lambda: operators.Convolution(np.ones((2, 3, 3)), (5, 8, 8)),
            ValueError,
            "`psf` must have one or",
        ),
        (
            lambda: operators.Convolution(np.ones((2, 3, 3)), (8, 8)),
            ValueError,
            "`psf` must have 2 axes",
        ),
        (lambda: operators.Convolution(np.ones((3, 3)), (8,)), ValueError, "two or more positive"),
        (lambda: operators.DownSampling(2, (4, 5)), ValueError, "`shape` must have pixels that"),
        (lambda: operators.DownSampling(0, (4, 4)), ValueError, "`factor` must be a positive"),
        (lambda: operators.Mixing(np.ones(3), (4, 4)), ValueError, "`sed` must have 2 axes"),
        (lambda: operators.Mixing(1j * np.ones((2, 2)), (4, 4)), TypeError, "`sed` must be real"),
        (lambda: operators.Mixing(np.ones((2, 2)), (4,)), ValueError, "`pixels` must be two"),
        (
            lambda: operators.Mixing(np.full((2, 2), np.nan), (4, 4)),
            ValueError,
            "`sed` must be finite",
        ),
        (lambda: operators.ModeMixing(np.ones((1, 1, 4, 3)), 4), TypeError, "`matrix` must be com"),
        (lambda: operators.ModeMixing(np.ones((1, 4, 3)), 4), ValueError, "`matrix` must have 4"),
        (
            lambda: operators.ModeMixing(1j * np.ones((1, 1, 4, 3)), 6),
            ValueError,
            "`matrix` must have 4 columns",
        ),
        (lambda: operators.Padding(0, (4, 4)), ValueError, "`margin` must be a positive"),
        (
            lambda: operators.Shift(np.ones((3, 2)), (2, 4, 4)),
            ValueError,
            "`offset` must have shape",
        ),
        (lambda: operators.Shift([1j, 2], (4, 4)), TypeError, "`offset` must be real floats"),
        (lambda: operators.Shift([1.0, np.inf], (4, 4)), ValueError, "`offset` must be finite"),
        (
            lambda: operators.KaiserSquires((4, 4))(np.ones((4, 5))),
            ValueError,
            r"`x` must end in axes \(4, 4\)\. Received: \(4, 5\)\.",
        ),
        (lambda: operators.KaiserSquires((4, 4))(np.ones(4)), ValueError, "`x` must end in axes"),
        (
            lambda: operators.KaiserSquires((4, 4))(1j * np.ones((4, 4))),
            TypeError,
            "`x` must be real",
        ),
        (
            lambda: operators.KaiserSquires((4, 4)).adjoint(np.ones((4, 4))),
            TypeError,
            r"`y` must be complex\. Received: 'float64'\.",
        ),
        (
            lambda: operators.KaiserSquires((4, 4)).modes(np.ones((4, 4))),
            TypeError,
            "`gamma` must be complex",
        ),
        (
            lambda: operators.KaiserSquires((4, 4)) @ operators.KaiserSquires((4, 5)),
            ValueError,
            "`outer` must take images",
        ),
    ],
)
def test_messages(make, error, message):
    with pytest.raises(error, match=message):
        make()
