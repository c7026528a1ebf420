"""Bias operators: closed forms, a naive tidal field, means and gradients."""

import numpy as np
import pytest
import tensorflow as tf
from reference import fields3d

from flowpm_ext.fields import eulerian_bias, lagrangian_bias_weights, squared_tidal_field
from flowpm_ext.mesh import LocalMesh

SHAPES = [(4, 4, 4), (6, 4, 5), (5, 3, 6)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noise(shape, batch=2, seed=0, dtype=np.float64):
    field = np.random.default_rng(seed).normal(size=(batch, *shape))
    return (field - field.mean(axis=(1, 2, 3), keepdims=True)).astype(dtype)


def wave(shape, waves):
    """A plane wave with whole numbers of waves along each axis."""
    phase = sum(
        2 * np.pi * m * x / n for m, x, n in zip(waves, np.indices(shape), shape, strict=True)
    )
    return np.cos(phase + 0.3)[None]


@pytest.mark.parametrize("waves", [(1, 0, 0), (0, 2, 0), (1, -2, 3), (3, 1, -1)], ids=str)
def test_tide_of_a_plane_wave(waves):
    d = wave((8, 6, 10), waves)
    # s_ij = (n_i n_j - delta_ij / 3) d for a wave along n; the rest is rounding.
    np.testing.assert_allclose(squared_tidal_field(d), 2 / 3 * d**2, atol=1e-14)


@shapes
def test_tide_is_that_of_all_nine_components(shape):
    field = noise(shape)
    found = squared_tidal_field(field)
    for ours, one in zip(found, field, strict=True):
        np.testing.assert_allclose(ours, fields3d.squared_tidal_field(one), atol=1e-13)


def test_no_tide_in_the_middle_of_a_sphere():
    x = np.indices((16, 16, 16)) - 8
    field = np.exp(-np.sum(x**2, axis=0) / 8.0)[None]
    s2 = squared_tidal_field(field)[0].numpy()
    assert s2[8, 8, 8] < 1e-15 < 0.01 < s2.max()
    # The same along all axes and their opposites.
    around = [s2[11, 8, 8], s2[5, 8, 8], s2[8, 11, 8], s2[8, 5, 8], s2[8, 8, 5]]
    np.testing.assert_allclose(around, s2[8, 8, 11], rtol=1e-12)


def by_hand(d, b1, b2, bs):
    s2 = np.stack([fields3d.squared_tidal_field(one) for one in d])
    d2 = d**2
    return (
        b1 * d
        + b2 * (d2 - d2.mean(axis=(1, 2, 3), keepdims=True))
        + bs * (s2 - s2.mean(axis=(1, 2, 3), keepdims=True))
    )


@pytest.mark.parametrize("bs", [0.0, 0.4])
def test_weights_and_overdensity_by_hand(bs):
    field = noise((6, 4, 5))
    weights = lagrangian_bias_weights(field, 0.8, -0.3, bs, growth=0.7)
    # Rounding of a few transforms of unit variance.
    np.testing.assert_allclose(weights, 1 + by_hand(0.7 * field, 0.8, -0.3, bs), atol=1e-13)
    tracers = eulerian_bias(field, 1.8, -0.3, bs)
    np.testing.assert_allclose(tracers, by_hand(field, 1.8, -0.3, bs), atol=1e-13)


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mean_of_weights_is_one(shape, dtype):
    weights = lagrangian_bias_weights(noise(shape, dtype=dtype), 1.3, 0.7, -0.9)
    assert weights.dtype == dtype
    expected = np.ones(2)
    found = np.mean(weights, axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(found, expected, atol=10 * np.finfo(dtype).eps)


def test_parameters_may_differ_between_fields():
    field = noise((4, 4, 4))
    b1, b2, bs, growth = np.array([[0.5, 1.5], [0.1, 0.2], [0.3, -0.3], [0.6, 0.9]])
    weights = lagrangian_bias_weights(field, b1, b2, bs, growth)
    tracers = eulerian_bias(field, b1, b2, bs)
    for i in range(2):
        one = lagrangian_bias_weights(field[i : i + 1], b1[i], b2[i], bs[i], growth[i])
        np.testing.assert_allclose(weights[i], one[0], atol=1e-14)
        np.testing.assert_allclose(
            tracers[i], eulerian_bias(field[i : i + 1], b1[i], b2[i], bs[i])[0], atol=1e-14
        )


def test_single_precision():
    field = noise((6, 4, 5))
    single = lagrangian_bias_weights(field.astype(np.float32), 0.8, -0.3, 0.4, 0.7)
    # Roundings of 6e-8 of numbers up to ten.
    np.testing.assert_allclose(
        single, lagrangian_bias_weights(field, 0.8, -0.3, 0.4, 0.7), atol=3e-6
    )


@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_weights(jit):
    field = tf.constant(noise((6, 4, 5)))

    def weights(field, b1, bs):
        return lagrangian_bias_weights(field, b1, 0.2, bs) + eulerian_bias(field, b1)

    arguments = (field, tf.constant(0.7, tf.float64), tf.constant(0.3, tf.float64))
    function = tf.function(weights, jit_compile=jit, autograph=False)
    np.testing.assert_allclose(function(*arguments), weights(*arguments), atol=1e-13)


def test_gradients():
    upstream = noise((4, 3, 6), seed=1)
    start = [noise((4, 3, 6)), 0.8, -0.3, 0.0, 0.7]  # a tensor that is zero keeps its gradient
    start = [tf.constant(x, tf.float64) for x in start]
    steps = [noise((4, 3, 6), seed=2), *np.ones(4)]

    def total(arguments):
        return tf.reduce_sum(upstream * lagrangian_bias_weights(*arguments))

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = total(start)
    gradients = tape.gradient(value, start)
    for i, gradient in enumerate(gradients):
        up, down = (
            total([x + (sign * 1e-5 * steps[i] if i == j else 0) for j, x in enumerate(start)])
            for sign in (1, -1)
        )
        found = np.sum(gradient * steps[i])
        # The polynomial is of second order: only rounding, 1e-15 of the sum over the step.
        np.testing.assert_allclose(found, (up - down) / 2e-5, rtol=1e-7, atol=1e-7)


FIELD = noise((4, 4, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lagrangian_bias_weights(FIELD[0], 1.0), "`linear_field` must have 4 axes"),
        (lambda: lagrangian_bias_weights(FIELD * np.nan, 1.0), "`linear_field` must be finite"),
        (lambda: eulerian_bias(FIELD * np.inf, 1.0), "`overdensity` must be finite"),
        (lambda: eulerian_bias(FIELD, np.ones(3)), "`b1` must be one number, or one for each"),
        (lambda: eulerian_bias(FIELD, np.nan), "`b1` must be finite"),
        (lambda: eulerian_bias(FIELD, 1.0, 0.0, np.ones((2, 1))), "`bs` must be one number"),
        (lambda: lagrangian_bias_weights(FIELD, 1.0, growth=np.inf), "`growth` must be finite"),
        (lambda: squared_tidal_field(FIELD, LocalMesh(8)), "`overdensity` must have shape"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_fields_of_integers_are_refused():
    with pytest.raises(TypeError, match="`overdensity` must be float32 or float64"):
        eulerian_bias(np.ones((1, 4, 4, 4), int), 1.0)
