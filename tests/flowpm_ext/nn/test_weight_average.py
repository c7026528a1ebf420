"""Running averages of weights during a training."""

import keras
import numpy as np
import pytest

from flowpm_ext.nn import WeightAverage


def test_average_remembers_what_it_should():
    """One weight w that gradient descent moves by -0.1 (w - 1) at each update of one batch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    start = float(model.get_weights()[0][0, 0])
    x = np.ones((20, 1))
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(float(model.get_weights()[0][0, 0]))
    )
    model.fit(x, x, batch_size=2, epochs=3, verbose=0, callbacks=[WeightAverage(0.5), look])
    weight = mean = start
    expected = []
    for number in range(1, 31):
        weight -= 0.1 * (weight - 1)
        memory = min(0.5, number / (9 + number))
        mean = memory * mean + (1 - memory) * weight
        if number % 10 == 0:
            expected.append(mean)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    assert float(model.get_weights()[0][0, 0]) == seen[-1]


def test_momentum_is_checked():
    with pytest.raises(ValueError, match="`momentum` must"):
        WeightAverage(1.5)
