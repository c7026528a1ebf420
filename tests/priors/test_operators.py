"""Operators: the contract, which every subclass must meet, and what each one does."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from reference import gaussian_posterior

from priors import operators

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
