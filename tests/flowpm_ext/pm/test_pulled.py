"""The force with its gradient in one go, against autodiff through the force."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.pm.forces import Gravity

SIDE = 8


@pytest.mark.parametrize("kernel", ["finite_difference", "spectral"])
@pytest.mark.parametrize("window", ["cic", "tsc"])
@pytest.mark.parametrize("with_response", [False, True])
@pytest.mark.parametrize("refinement", [1, 2])
def test_force_and_gradients_are_those_of_a_tape(kernel, window, with_response, refinement):
    rng = np.random.default_rng(1)
    force = Gravity.on((SIDE, SIDE, SIDE), refinement, kernel, window)
    position = tf.constant(rng.uniform(0, SIDE, (2, 200, 3)))
    upstream = tf.constant(rng.normal(size=(2, 200, 3)))
    nodes = force.response_nodes
    response = [tf.constant(1 + 0.3 * rng.normal(size=nodes.shape))] if with_response else []
    with tf.GradientTape() as tape:
        tape.watch([position, *response])
        expected = force(position, *response)
    gradients = tape.gradient(expected, [position, *response], output_gradients=upstream)
    found, by_position, by_response = force.pulled(position, upstream, *response)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())
    np.testing.assert_allclose(by_position, gradients[0], atol=1e-11 * np.abs(gradients[0]).max())
    assert len(by_response) == len(response)
    for pair in zip(by_response, gradients[1:], strict=True):
        one, other = (tf.convert_to_tensor(part).numpy() for part in pair)
        np.testing.assert_allclose(one, other, atol=1e-11 * np.abs(other).max())
