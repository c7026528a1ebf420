"""Records of tensors that TensorFlow sees through, and the types of arguments."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.core.types import Structure, TensorLike, cast, floating, is_fixed, known, static


@dataclasses.dataclass(frozen=True)
class Line(Structure):
    slope: TensorLike
    offset: TensorLike | None = None
    name: str = static(default="line")

    def __post_init__(self):
        if known(self.slope) is not None and not np.all(np.isfinite(known(self.slope))):
            raise ValueError("slope")

    def __call__(self, x):
        return self.slope * x + (0.0 if self.offset is None else self.offset)


@dataclasses.dataclass(frozen=True)
class Pair(Structure):
    first: Line
    second: Line


def test_leaves_are_the_fields_that_are_not_static_or_none():
    pair = Pair(Line(1.0, 2.0), Line(3.0, name="other"))
    assert tf.nest.flatten(pair) == [1.0, 2.0, 3.0]
    doubled = tf.nest.map_structure(lambda x: 2 * x, pair)
    assert doubled == Pair(Line(2.0, 4.0), Line(6.0, name="other"))


def test_structure_passes_through_functions_and_tapes():
    traces = []

    @tf.function(jit_compile=True)
    def shifted(line, x):
        traces.append(line.name)
        return line.replace(slope=line.slope + 1.0), line(x)

    line = Line(tf.constant(2.0), tf.constant(1.0))
    with tf.GradientTape() as tape:
        tape.watch(line)
        moved, value = shifted(line, tf.constant(3.0))
    assert isinstance(moved, Line)
    assert (float(moved.slope), float(value)) == (3.0, 7.0)
    gradient = tape.gradient(value, line)
    assert (float(gradient.slope), float(gradient.offset)) == (3.0, 1.0)
    shifted(line.replace(slope=tf.constant(5.0)), tf.constant(3.0))
    assert traces == ["line"]
    shifted(line.replace(name="other"), tf.constant(3.0))
    assert traces == ["line", "other"]


def test_replacement_is_checked():
    with pytest.raises(ValueError, match="slope"):
        Line(1.0).replace(slope=np.nan)


def test_cast_keeps_all_digits_and_gradients():
    assert float(cast(0.1, tf.float64)) == 0.1
    assert cast([1, 2], tf.float32).dtype == tf.float32
    assert float(cast(1e300, tf.float32)) == np.inf
    x = tf.Variable(0.1)
    with tf.GradientTape() as tape:
        y = cast(x, tf.float64)
    assert float(tape.gradient(y, x)) == 1.0


@pytest.mark.parametrize(
    "value, dtype",
    [
        (1, tf.float64),
        ([1.0], tf.float64),
        (np.zeros(2, np.float32), tf.float32),
        (np.arange(2), tf.float64),
        (tf.zeros(2), tf.float32),
        (tf.Variable(1.0), tf.float32),
    ],
)
def test_floating_type_of_arguments(value, dtype):
    assert floating(value) == dtype


def test_numbers_that_nothing_differentiates():
    assert is_fixed((Line(1.0, np.ones(2)), {"a": 2}))
    assert not is_fixed((Line(1.0, tf.ones(2)), 1.0))
    assert not is_fixed([keras.Variable(2.0)])


def test_values_are_known_outside_graphs():
    np.testing.assert_array_equal(known(tf.constant([1.0, 2.0])), [1.0, 2.0])
    assert known(tf.Variable(2.0)) == 2.0

    @tf.function
    def inside(x):
        assert known(x) is None
        assert known(tf.constant(3.0)) == 3.0
        return x

    inside(tf.constant(1.0))


def test_variables_of_keras_keep_their_gradient():
    variable = keras.Variable(2.0)
    with tf.GradientTape() as tape:
        value = cast(variable, tf.float64) ** 2
    assert float(tape.gradient(value, variable.value)) == 4.0
    assert known(variable) == 2.0
