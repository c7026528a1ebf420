"""Networks from maps to numbers: what they do not see, what they keep, and what they learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.nn import ResNet, SmallCNN

NETWORKS = {
    "small": lambda **options: SmallCNN(3, (4, 6), **options),
    "residual": lambda **options: ResNet(3, (4, 6), **options),
    "group": lambda **options: ResNet(3, (4, 6), normalization="group", **options),
    "layer": lambda **options: ResNet(3, (4, 6), normalization="layer", **options),
}


def noise(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def woken(kind, shape=(None, 8, 8), **options):
    """A network whose blocks are not the identity any more."""
    keras.utils.set_random_seed(0)
    layer = NETWORKS[kind](**options)
    layer.build(shape)
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign_add(0.3 * noise(*weight.shape, seed=number))
    return layer


@pytest.mark.parametrize("kind", NETWORKS)
def test_periodic_maps_may_be_rolled_by_the_total_stride(kind):
    layer, x = woken(kind), noise(2, 16, 24)
    found = layer(x)
    assert layer.total_stride == 4
    assert found.shape == (2, 3)
    # float32 sums of 24 means in another order.
    np.testing.assert_allclose(layer(tf.roll(x, [4, 8], [1, 2])), found, atol=1e-5)
    assert np.abs(layer(tf.roll(x, 1, 1)) - found).max() > 1e-3
    ended = woken(kind, padding="zero")
    assert np.abs(ended(tf.roll(x, [4, 8], [1, 2])) - ended(x)).max() > 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_maps_of_any_size_and_channels(kind):
    layer = woken(kind, (None, 8, 8, 2))
    for sides in ((4, 4), (8, 12), (9, 7)):
        assert layer(noise(2, *sides, 2)).shape == (2, 3)
    # A map that repeats has the same means as one of its parts.
    x = noise(1, 8, 8, 2)
    np.testing.assert_allclose(layer(tf.tile(x, [1, 2, 3, 1])), layer(x), atol=1e-5)
    one = woken(kind)
    np.testing.assert_array_equal(one(x[..., 0]), one(x[..., :1]))


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_example_does_not_depend_on_the_batch_or_on_training(kind):
    layer, x = woken(kind), noise(4, 8, 8)
    together = layer(x, training=True)
    np.testing.assert_allclose(together[:1], layer(x[:1], training=False), atol=1e-5)


def test_a_new_block_is_the_identity():
    keras.utils.set_random_seed(0)
    deep, shallow = ResNet(2, (4,), blocks=3), ResNet(2, (4,), blocks=1)
    x = noise(2, 8, 8)
    shallow(x)
    deep(x)
    for mine, other in ((deep.down[0], shallow.down[0]), (deep.last, shallow.last)):
        mine.set_weights(other.get_weights())
    np.testing.assert_array_equal(deep(x), shallow(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_network_comes_back_from_a_file(kind, tmp_path):
    layer = woken(kind)
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    inputs = keras.Input((8, 8))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    x = noise(3, 8, 8)
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("kind", ["small", "residual"])
def test_network_learns_what_a_map_holds(kind):
    """The logarithm of the amplitude of white noise, which normalisation would hide."""
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, [600, 1])
    x = np.exp(y)[..., None] * rng.normal(size=(600, 16, 16))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16))
    network = SmallCNN if kind == "small" else ResNet
    model = keras.Model(inputs, network(1, (8, 16))(inputs))
    model.compile(keras.optimizers.Adam(5e-3), "mse", jit_compile=False)
    model.fit(x[:500], y[:500], batch_size=50, epochs=12, verbose=0)
    # The variance of y is 1/3; 256 pixels know it to a hundredth of that.
    assert model.evaluate(x[500:], y[500:], verbose=0) < 0.03


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradient_under_xla_is_that_of_differences(kind):
    layer, x, direction = woken(kind, activation="gelu"), noise(2, 8, 8), noise(2, 8, 8, seed=1)

    @tf.function(jit_compile=True)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(layer(x) ** 2)
        return value, tape.gradient(value, x)

    step = 5e-3
    ahead, behind = (float(slope(x + sign * step * direction)[0]) for sign in (1, -1))
    value, gradient = slope(x)
    along = float(tf.reduce_sum(gradient * direction))
    # Central differences of a float32 sum, whose last digits the step divides.
    tolerance = 2e-6 * float(value) / step
    assert along == pytest.approx((ahead - behind) / (2 * step), rel=1e-2, abs=tolerance)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ResNet(2, ()), "`channels` must name a stage"),
        (lambda: ResNet(0), "`num_outputs` must be a positive integer"),
        (lambda: SmallCNN(2, blocks=0), "`blocks` must be a positive integer"),
        (lambda: SmallCNN(2, padding="wrap"), "`padding` must be one of"),
        (lambda: ResNet(2, normalization="batch"), "`normalization` must be one of"),
        (lambda: SmallCNN(2, (2, 2))(noise(1, 3, 8)), "`x` must have sides of at least 4 cells"),
        (lambda: SmallCNN(2, (2, 2))(noise(1, 8)), "`x` must have 3 or 4 axes"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
