"""Correlation coefficients and transfer functions: by scaling, a loop, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf
from reference import spectra as naive

from flowpm_ext.stats import cross_correlation, transfer_function

SIDES, BOX, CELL = (8, 6, 4), (20.0, 15.0, 10.0), 2.5
EDGES = 2 * np.pi / 20.0 * np.array([1.0, 2.0, 3.0, 4.0])


def noise(seed=0, batch=2, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(batch, *SIDES)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_field_with_itself(dtype):
    x = noise(dtype=dtype)
    rounding = 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(cross_correlation(x, x, BOX).correlation, 1.0, rtol=rounding)
    np.testing.assert_allclose(cross_correlation(x, -3 * x, BOX).correlation, -1.0, rtol=rounding)
    np.testing.assert_allclose(transfer_function(2 * x, x, BOX).transfer, 2.0, rtol=rounding)
    np.testing.assert_allclose(transfer_function(x, -2 * x, BOX).transfer, 0.5, rtol=rounding)
    assert cross_correlation(x, x, BOX).correlation.dtype == dtype


@pytest.mark.parametrize("window", [None, "cic"])
def test_both_are_those_of_a_loop_over_modes(window):
    a = noise()
    b = 0.5 * noise(1) + a
    r = cross_correlation(a, b, BOX, EDGES, shot_noise=(1.0, 2.0), window=window)
    t = transfer_function(a, b, BOX, EDGES, shot_noise=(1.0, 2.0), window=window)
    for i in range(2):
        pairs = ((a, a), (b, b), (a, b))
        found = [naive.binned(x[i], y[i], CELL, EDGES, window=window) for x, y in pairs]
        (k, aa, count), (_, bb, _), (_, ab, _) = found
        # Rounding of sums.
        expected = ab / np.sqrt((aa - 1) * (bb - 2))
        np.testing.assert_allclose(r.correlation[i], expected, rtol=1e-12)
        np.testing.assert_allclose(t.transfer[i], np.sqrt((aa - 1) / (bb - 2)), rtol=1e-12)
        for result in (r, t):
            np.testing.assert_allclose(result.k, k, rtol=1e-13)
            np.testing.assert_array_equal(result.num_modes, count)


def test_without_power_both_are_zero_with_gradients_zero():
    a, b = tf.constant(noise()), tf.zeros([2, *SIDES], tf.float64)
    for call in (cross_correlation, transfer_function):
        for x, y in ((a, b), (b, a), (b, b)):
            with tf.GradientTape() as tape:
                tape.watch([x, y])
                value = call(x, y, BOX)[1]
            np.testing.assert_array_equal(value, 0.0)
            for gradient in tape.gradient(value, [x, y]):
                np.testing.assert_array_equal(gradient, 0.0)
    # More shot noise than power is no power.
    np.testing.assert_array_equal(transfer_function(a, a, BOX, shot_noise=(1e3, 0.0))[1], 0.0)


@pytest.mark.parametrize("call", [cross_correlation, transfer_function])
def test_gradients_are_finite_differences(call):
    a, b = (tf.constant(noise(seed, batch=1)) for seed in (0, 1))
    upstream = tf.constant([[0.3, -1.0, 0.7]], tf.float64)

    def loss(a, b):
        return tf.reduce_sum(upstream * call(a, a + b, BOX, EDGES)[1])

    loss = tf.function(loss, jit_compile=True, autograph=False)
    theory, numeric = tf.test.compute_gradient(loss, [a, b], delta=1e-4)
    for ours, theirs in zip(theory, numeric, strict=True):
        # The differences err by the square of the step.
        np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("call", [cross_correlation, transfer_function])
def test_eager_and_compiled_calls_agree(call):
    a, b = noise(dtype=np.float32), noise(1, dtype=np.float32)
    run = tf.function(lambda a, b: call(a, b, BOX), jit_compile=True, autograph=False)
    for ours, theirs in zip(run(a, b), call(a, b, BOX), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # rounding of float32


def test_fields_of_two_types_are_taken_in_the_wider():
    a = noise(dtype=np.float32)
    assert cross_correlation(a, a.astype(np.float64), BOX).correlation.dtype == tf.float64


def test_float32_fields_of_great_power_do_not_overflow():
    a = 1e12 * noise(dtype=np.float32)
    np.testing.assert_allclose(cross_correlation(a, a, BOX).correlation, 1.0, rtol=1e-5)


@pytest.mark.parametrize("call", [cross_correlation, transfer_function])
def test_bad_input_is_refused(call):
    a = noise()
    with pytest.raises(ValueError, match="`b` must have the shape of `a`"):
        call(a, a[:, :4], BOX)
    with pytest.raises(ValueError, match="`shot_noise` must be two numbers"):
        call(a, a, BOX, shot_noise=1.0)
    with pytest.raises(ValueError, match="`shot_noise` must be non-negative"):
        call(a, a, BOX, shot_noise=(0.0, -1.0))
    with pytest.raises(ValueError, match="`k_edges` must have modes"):
        call(a, a, BOX, [0.0, 0.1])
    with pytest.raises(ValueError, match="`a` must be finite"):
        call(a * np.nan, a, BOX)
