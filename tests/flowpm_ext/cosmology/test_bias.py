"""Bias models: values, gradients, batches and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import bias

Z = np.array([0.1, 0.62, 1.5])
GROWTH = np.array([0.9, 0.7, 0.5])


def at(model, z=Z, growth=GROWTH):
    return model(tf.constant(z), tf.constant(growth)).numpy()


def test_models_are_their_formulas():
    np.testing.assert_array_equal(at(bias.constant_linear_bias(1.5)), [1.5, 1.5, 1.5])
    np.testing.assert_array_equal(at(bias.inverse_growth_linear_bias(1.5)), 1.5 / GROWTH)
    expected = 0.7 * ((1 + Z) / 1.62) ** 1.3
    np.testing.assert_allclose(at(bias.des_y1_ia_bias(0.7, 1.3)), expected, rtol=1e-15)
    assert at(bias.des_y1_ia_bias(0.7, -3.0, 1.5))[2] == pytest.approx(0.7)


@pytest.mark.parametrize(
    "model",
    [
        bias.constant_linear_bias, bias.inverse_growth_linear_bias,
        lambda b: bias.des_y1_ia_bias(b, 1.0),
    ],
    ids=["constant", "inverse growth", "power law"],
)  # fmt: skip
def test_amplitudes_are_linear_and_may_be_a_batch(model):
    amplitudes = tf.constant([1.0, 2.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(amplitudes)
        value = model(amplitudes)(tf.constant(Z), tf.constant(GROWTH))
    assert value.shape == (2, 3)
    np.testing.assert_allclose(value[1], 2 * value[0], rtol=1e-15)
    np.testing.assert_allclose(
        tape.gradient(value, amplitudes), tf.reduce_sum(value, axis=1) / amplitudes, rtol=1e-14
    )


def test_type_is_that_of_the_redshifts():
    value = bias.des_y1_ia_bias(0.7, 1.3)(tf.constant(Z, tf.float32), tf.constant(1.0))
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, at(bias.des_y1_ia_bias(0.7, 1.3)), rtol=1e-6)


def test_a_number_is_a_constant_bias_and_a_function_is_left_alone():
    assert at(bias.as_bias(2.0, "bias"))[0] == 2.0
    assert bias.as_bias(at, "bias") is at


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: bias.constant_linear_bias(np.nan), "b"),
        (lambda: bias.inverse_growth_linear_bias(np.inf), "b"),
        (lambda: bias.des_y1_ia_bias(np.nan, 1.0), "amplitude"),
        (lambda: bias.des_y1_ia_bias(1.0, np.nan), "eta"),
        (lambda: bias.des_y1_ia_bias(1.0, 1.0, np.nan), "z0"),
        (lambda: bias.as_bias(np.nan, "ia_bias"), "ia_bias"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(make, name):
    with pytest.raises(ValueError, match=rf"`{name}` must be finite\. Received: "):
        make()
