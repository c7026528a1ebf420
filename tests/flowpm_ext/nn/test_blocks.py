"""Keras blocks against NumPy, and by what shifts and ends of a box must do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from flowpm_ext.nn import ConvGRU, ConvLSTM, Convolution, UNet, pad

MODES = {"periodic": "wrap", "reflect": "mirror", "zero": "constant"}


def noise(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", sorted(MODES))
def test_convolution_is_that_of_scipy(rank, padding):
    layer = Convolution(3, 5, rank, padding)
    x = noise(2, *[8] * rank, 2)
    found = layer(x).numpy()
    kernel, bias = (weight.numpy() for weight in layer.weights)
    expected = np.zeros_like(found)
    for i in range(2):
        for out in range(3):
            for channel in range(2):
                expected[i, ..., out] += ndimage.correlate(
                    x.numpy()[i, ..., channel], kernel[..., channel, out], mode=MODES[padding]
                )
    # float32 sums of 5**rank products.
    np.testing.assert_allclose(found, expected + bias, atol=2e-5)


@pytest.mark.parametrize("padding", sorted(MODES))
def test_padding_is_that_of_numpy(padding):
    x = noise(1, 5, 4, 2)
    mode = {"periodic": "wrap", "reflect": "reflect", "zero": "constant"}[padding]
    expected = np.pad(x.numpy(), [(0, 0), (2, 2), (2, 2), (0, 0)], mode=mode)
    np.testing.assert_array_equal(pad(x, 2, padding), expected)
    assert pad(x, 0, padding) is x


def test_patches_and_back():
    """With a kernel of ones over the size of a patch, patches are means."""
    down = Convolution(1, rank=2, stride=2, kernel_initializer=keras.initializers.Constant(0.25))
    up = Convolution(
        1, rank=2, stride=2, is_transposed=True, kernel_initializer=keras.initializers.Constant(1.0)
    )
    x = noise(1, 6, 4, 1)
    means = x.numpy().reshape(1, 3, 2, 2, 2, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(down(x), means, atol=1e-6)
    np.testing.assert_allclose(up(down(x)), means.repeat(2, 1).repeat(2, 2), atol=1e-6)
    assert down.compute_output_shape((None, 6, 4, 1)) == (None, 3, 2, 1)
    assert up.compute_output_shape((None, 3, None, 1)) == (None, 6, None, 1)


@pytest.mark.parametrize("cell", [ConvGRU, ConvLSTM])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_memory_is_equivariant_and_remembers(cell, rank):
    layer = cell(4, 3, rank)
    x = noise(2, *[6] * rank, 3)
    state = layer.initial_state(x)
    first, state = layer(x, state)
    second, _ = layer(x, state)
    assert first.shape == (2, *[6] * rank, 4)
    assert np.abs(first - second).max() > 1e-3
    axes = list(range(1, rank + 1))
    rolled = tf.roll(x, [1] * rank, axes)
    again, state = layer(rolled, layer.initial_state(rolled))
    np.testing.assert_allclose(again, tf.roll(first, [1] * rank, axes), atol=1e-6)


def test_gru_forgets_or_keeps_as_its_gate_says():
    layer = ConvGRU(1, 1, 1)
    x = noise(1, 4, 1)
    state = (noise(1, 4, 1, seed=1),)
    layer(x, state)
    bias = layer.gates.inner.bias
    bias.assign([-30.0, 0.0])
    np.testing.assert_allclose(layer(x, state)[0], state[0], atol=1e-6)
    bias.assign([30.0, 0.0])
    new = layer(x, state)[0].numpy()
    gates = tf.concat([x, state[0]], -1).numpy() @ layer.gates.inner.kernel.numpy()[0]
    reset = 1 / (1 + np.exp(-gates[..., 1:]))
    kernel = layer.candidate.inner.kernel.numpy()[0]
    together = np.concatenate([x.numpy(), reset * state[0].numpy()], -1)
    np.testing.assert_allclose(new, np.tanh(together @ kernel), atol=1e-5)


def test_lstm_is_that_of_keras_without_space():
    """With kernels of one cell it is an ordinary LSTM; Keras orders the gates i, f, c, o."""
    mine = ConvLSTM(3, 1, 1)
    x = noise(4, 1, 2)
    first, state = mine(x, mine.initial_state(x))
    second, _ = mine(2 * x, state)
    kernel = mine.gates.inner.kernel.numpy()[0]
    keep, write, show, new = np.split(kernel, 4, axis=1)
    peer = keras.layers.LSTM(3, return_sequences=True, unit_forget_bias=True)
    steps = tf.concat([x, 2 * x], axis=1)
    peer(steps)
    order = np.concatenate([write, keep, new, show], axis=1)
    peer.set_weights([order[:2], order[2:], peer.get_weights()[2]])
    np.testing.assert_allclose(peer(steps), tf.concat([first, second], 1), atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unet_is_equivariant_under_its_coarsest_patch(rank):
    layer = UNet((4, 6, 8), 2, rank=rank)
    x = noise(1, *[8] * rank, 3)
    found = layer(x)
    assert found.shape == (1, *[8] * rank, 2)
    axes = list(range(1, rank + 1))
    rolled = layer(tf.roll(x, [4] * rank, axes))
    np.testing.assert_allclose(rolled, tf.roll(found, [4] * rank, axes), atol=1e-5)
    assert np.abs(layer(tf.roll(x, [1] * rank, axes)) - tf.roll(found, [1] * rank, axes)).max() > 0


@pytest.mark.parametrize(
    "layer", [Convolution(3, 3, 2, "reflect"), UNet((2, 4), 2, rank=2), ConvGRU(2), ConvLSTM(2)]
)
def test_layers_are_rebuilt_from_their_configuration(layer):
    twin = type(layer).from_config(layer.get_config())
    assert twin.get_config() == layer.get_config()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradient_is_that_of_differences(jit_compile):
    keras.utils.set_random_seed(0)
    layer, x = UNet((2, 3), 1, rank=1), noise(1, 8, 1)

    @tf.function(jit_compile=jit_compile)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(layer(x) ** 2)
        return value, tape.gradient(value, x)

    direction = noise(1, 8, 1, seed=3)
    step = 1e-2
    ahead, behind = (slope(x + sign * step * direction)[0] for sign in (1, -1))
    along = float(tf.reduce_sum(slope(x)[1] * direction))
    # Central differences of float32 values of order one.
    assert along == pytest.approx(float(ahead - behind) / (2 * step), rel=2e-2, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Convolution(3, 4), "`kernel_size` must be odd"),
        (lambda: Convolution(3, rank=4), "`rank` must be one of"),
        (lambda: Convolution(3, padding="wrap"), "`padding` must be one of"),
        (lambda: Convolution(0), "`filters` must be"),
        (lambda: UNet(()), "`filters` must name a scale"),
        (lambda: UNet((2, 2), rank=1)(noise(1, 5, 1)), "`x` must have sides that divide by 2"),
        (lambda: pad(noise(1, 4, 1), 5), "`width` must be from 0 to 4"),
        (lambda: pad(noise(1, 4, 1), 4, "reflect"), "`width` must be from 0 to 3"),
        (lambda: pad(noise(1, 4, 1), 1, "wrap"), "`padding` must be one of"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
