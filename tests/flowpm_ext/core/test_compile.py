"""Functions that compile themselves, and the gradient that TensorFlow lacks under XLA."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.core.compile import compiled, folded, unfolded, zeros
from flowpm_ext.core.types import Structure, cast


def test_eager_calls_trace_once_for_each_shape_and_option():
    traces = []

    @compiled
    def power(x, exponent=2, name="a"):
        traces.append((tuple(x.shape), exponent, name))
        return x**exponent

    for value in (1.0, 2.0, 3.0):
        assert float(power(value)) == value**2
    power(np.ones(3))
    power(np.zeros(3), exponent=3)
    power(np.zeros(3), exponent=3, name="b")
    assert traces == [((), 2, "a"), ((3,), 2, "a"), ((3,), 3, "a"), ((3,), 3, "b")]
    assert power(2.0).dtype == tf.float64
    assert power(np.float32([1.0])).dtype == tf.float32


def test_inside_a_graph_the_function_belongs_to_it():
    @compiled
    def double(x):
        return 2 * x

    graph = tf.function(double).get_concrete_function(tf.TensorSpec([], tf.float32)).graph
    assert not any("Call" in op.type for op in graph.get_operations())


def test_derivatives_of_second_order_pass_through_slices_under_xla():
    @compiled
    def cut_and_join(x):
        return tf.reduce_sum(tf.sin(tf.concat([x[1:3] ** 2, x[:2] * x[2:4]], axis=0)[1:]) ** 2)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = cut_and_join(x)
        return tape.gradient(value, x)

    x = tf.constant(np.linspace(0.3, 1.5, 5))
    direction = tf.constant(np.linspace(-1.0, 1.0, 5) ** 2)
    step = 1e-6
    expected = (gradient(x + step * direction) - gradient(x - step * direction)) / (2 * step)
    with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
        slope = gradient(x)
    # Truncation step**2 = 1e-12, rounding 1e-16 / step = 1e-10.
    np.testing.assert_allclose(accumulator.jvp(slope), expected, atol=1e-8)
    with tf.GradientTape() as tape:
        tape.watch(x)
        along = tf.reduce_sum(gradient(x) * direction)
    np.testing.assert_allclose(tape.gradient(along, x), expected, atol=1e-8)


def test_integers_in_a_structure_are_numbers():
    traces = []

    @dataclasses.dataclass(frozen=True)
    class Line(Structure):
        slope: float

    @compiled
    def at_two(line):
        traces.append(line)
        return 2 * line.slope

    values = [at_two(Line(slope)).numpy() for slope in (2, 3, 1.5, np.float32(0.5))]
    assert values == [4.0, 6.0, 3.0, 1.0]
    assert len(traces) == 1


def test_what_follows_from_numbers_is_a_constant_of_the_graph():
    calls = []

    @folded
    def power(line, exponent):
        calls.append(tf.executing_eagerly())
        return square(line.slope) * exponent

    @compiled
    def square(x):
        calls.append(tf.executing_eagerly())
        return cast(x, tf.float64) ** 2

    @dataclasses.dataclass(frozen=True)
    class Line(Structure):
        slope: float

    @tf.function
    def inside(x):
        found = power(Line(0.1), exponent=3.0)
        assert isinstance(found, np.ndarray)
        return x * cast(found, x.dtype)

    assert float(inside(tf.constant(1.0))) == pytest.approx(0.03)
    assert calls == [True, True]  # operation by operation, not compiled
    types = {
        op.type for op in inside.get_concrete_function(tf.constant(1.0)).graph.get_operations()
    }
    assert not types & {"Cast", "Pow"}

    x = tf.constant(2.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.function(lambda x: power(Line(x), exponent=3.0))(x)
    assert float(tape.gradient(value, x)) == 12.0
    assert tf.is_tensor(power(Line(0.1), exponent=3.0))


@pytest.mark.parametrize("jit", [False, True])
def test_what_follows_from_unfolded_constants_is_made_when_the_program_runs(jit):
    values = np.arange(3.0)
    np.testing.assert_array_equal(unfolded(values, tf.float64), values)
    np.testing.assert_array_equal(zeros([2, 3], tf.complex64), np.zeros([2, 3]))

    @tf.function(jit_compile=jit)
    def outer():
        return unfolded(values, tf.float32)[:, None] + zeros([3, 4], tf.float32)

    np.testing.assert_array_equal(outer(), np.tile(values[:, None], 4))
    # Graph optimisers fold operations without state alone, and both rest on one with state.
    stateful = [op.type for op in outer.get_concrete_function().graph.get_operations()
                if op.op_def.is_stateful]  # fmt: skip
    assert stateful == ["Empty", "Empty"]


def test_compiled_programs_hold_no_mesh():
    # 2**20 cells from three arrays of a hundred numbers: without `unfolded` 4 MB of constants.
    @tf.function(jit_compile=True)
    def sphere(x):
        axes = [unfolded(np.arange(101.0) ** 2, tf.float32) for _ in range(3)]
        return x * (axes[0][:, None, None] + axes[1][:, None] + axes[2])

    program = sphere.experimental_get_compiler_ir(tf.ones([101] * 3))(stage="optimized_hlo")
    assert not re.search(r"= f32\[101,101(,101)?\]\S* constant\(", program)
