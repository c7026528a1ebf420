"""The one wording of refusals."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.core import checks

LARGE = np.full([3, 4], np.nan)

REFUSED = [
    (checks.finite, (np.nan, "x"), "`x` must be finite. Received: nan."),
    (
        checks.finite,
        (LARGE, "x", "Mask it."),
        "`x` must be finite. Received: '12 of 12 values NaN or infinite'. Mask it.",
    ),
    (checks.positive, (0.0, "x"), "`x` must be positive. Received: 0.0."),
    (checks.positive, ([1.0, -2.0, 0.0], "x"), "`x` must be positive. Received: [-2.,  0.]."),
    (checks.positive, (tf.constant(-1.0), "x"), "`x` must be positive. Received: -1.0."),
    (checks.positive, (np.inf, "x"), "`x` must be positive. Received: inf."),
    (checks.non_negative, (-1, "x"), "`x` must be non-negative. Received: -1."),
    (checks.in_range, (2.0, "x", 0, 1), "`x` must lie in [0, 1]. Received: 2.0."),
    (checks.in_range, (np.nan, "x", 0, 1), "`x` must lie in [0, 1]. Received: nan."),
    (checks.increasing, ([1.0, 1.0], "x"), "`x` must increase. Received: [1., 1.]."),
    (checks.increasing, ([1.0, np.nan], "x"), "`x` must be finite. Received: [ 1., nan]."),
    (checks.one_of, ("c", "x", ["a", "b"]), "`x` must be one of 'a', 'b'. Received: 'c'."),
    (checks.rank, (LARGE, "x", 1), "`x` must have 1 axes. Received: shape (3, 4)."),
    (checks.rank, (1.0, "x", (1, 2)), "`x` must have 1 or 2 axes. Received: 1.0."),
    (
        checks.static_grid,
        (tf.zeros([3]), "x", 2),
        "`x` must end in 2 axes of known size. Received: 'shape (3,)'. "
        "Set the shape with `tf.ensure_shape`.",
    ),
]


@pytest.mark.parametrize("check, arguments, message", REFUSED)
def test_refusals_are_worded_alike(check, arguments, message):
    with pytest.raises(ValueError) as refusal:
        check(*arguments)
    assert " ".join(str(refusal.value).split()) == " ".join(message.split())


@pytest.mark.parametrize(
    "check, arguments",
    [
        (checks.finite, ([1.0, -1.0], "x")),
        (checks.positive, (np.array([[1e-300]]), "x")),
        (checks.non_negative, (0, "x")),
        (checks.in_range, ([0.0, 1.0], "x", 0, 1)),
        (checks.increasing, ([1.0], "x")),
        (checks.increasing, (tf.constant([1, 2]), "x")),
        (checks.one_of, ("a", "x", ["a", "b"])),
        (checks.rank, (tf.zeros([2, 2]), "x", (1, 2))),
        (checks.require, (True, "x", "be good", None)),
    ],
)
def test_good_values_pass(check, arguments):
    check(*arguments)


def test_error_of_another_kind():
    with pytest.raises(TypeError, match=r"`x` must be text. Received: 3. Quote it."):
        checks.require(False, "x", "be text", 3, "Quote it.", TypeError)


def test_values_of_a_graph_pass_unchecked_and_constants_do_not():
    @tf.function
    def double(x):
        checks.positive(x, "x")
        return 2 * x

    assert double(tf.constant(-1.0)) == -2.0
    with pytest.raises(ValueError, match=r"`x` must be positive"):
        tf.function(lambda: double.python_function(tf.constant(-1.0)))()


def test_sides_of_a_grid():
    assert checks.static_grid(tf.zeros([7, 3, 4]), "x", 2) == (3, 4)


def test_large_arrays_and_long_texts_are_shortened():
    assert checks.shown(LARGE) == "shape (3, 4)"
    assert checks.shown(tf.zeros([100])) == "shape (100,)"
    assert checks.shown("text") == "'text'"
    assert len(checks.shown(list(range(1000)))) == 200
