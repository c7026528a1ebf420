"""Structures of bounded parameters as vectors: inverses, slopes and refusals."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate

from flowpm_ext.inference import Parameter, Space, fit_variational, laplace, maximum, sample


class Model(NamedTuple):
    amplitude: object
    others: object


LOW = np.array([[-1.0, 0.0, 2.0]])
SPACE = Space(
    Model(Parameter((), low=0.0), [Parameter((2, 3), LOW, 5.0), Parameter((4,), high=1.0)])
)
KINDS = [Parameter(), Parameter((), 2.0), Parameter((), None, -1.0), Parameter((), -2.0, 3.0)]


def test_vectors_and_values_are_inverse_and_inside():
    u = np.random.default_rng(1).normal(size=(5, 7, 11)) * 3
    values = SPACE.values(u)
    assert isinstance(values, Model) and SPACE.size == 11
    assert values.others[0].shape == (5, 7, 2, 3)
    assert np.all(values.amplitude > 0) and np.all(values.others[1] < 1)
    assert np.all(values.others[0] > LOW) and np.all(values.others[0] < 5)
    # Near a bound of order one, of which eps is cut off exp(-|u|) > exp(-12).
    np.testing.assert_allclose(SPACE.vector(values), u, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_slope_is_the_derivative(kind):
    u = np.linspace(-3, 3, 7)
    value, log_slope = kind.bounded(tf.constant(u))
    step = 1e-5
    ends = [kind.bounded(tf.constant(u + sign * step))[0].numpy() for sign in (1, -1)]
    # Central differences: h^2 and rounding over h.
    np.testing.assert_allclose(np.exp(log_slope), np.abs(ends[0] - ends[1]) / (2 * step), rtol=1e-8)
    np.testing.assert_allclose(kind.unbounded(value), u, rtol=1e-10, atol=1e-12)


def test_densities_keep_their_integral():
    space = Space({"rate": Parameter((), 0.0), "share": Parameter((), 0.0, 1.0)})

    def log_prob(values):  # Gamma(3) and Beta(3, 2), normalised
        rate, share = values["rate"], values["share"]
        gamma = 2 * tf.math.log(rate) - rate - np.log(2)
        return gamma + 2 * tf.math.log(share) + tf.math.log(1 - share) + np.log(12)

    of_vector = space.log_prob(log_prob)

    def density(a, b):
        return np.exp(float(of_vector(tf.constant([[a, b]], tf.float64))[0]))

    grid = np.linspace(-9, 9, 61)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    points = tf.constant(np.stack([x.ravel(), y.ravel()], axis=1))
    table = np.exp(of_vector(points)).reshape(x.shape)
    # Sums over smooth functions that vanish at the ends converge exponentially.
    total = integrate.trapezoid(integrate.trapezoid(table, grid), grid)
    np.testing.assert_allclose(total, 1, rtol=1e-3)
    assert density(0.0, 0.0) > 0


def test_float32_and_tracing():
    space = Space({"x": Parameter((2,), 0.0, 1.0)}, tf.float32)
    compiled = tf.function(space.values, jit_compile=True)
    u = tf.constant([[-1.0, 2.0]])
    np.testing.assert_allclose(compiled(u)["x"], space.values(u)["x"], rtol=1e-6)
    assert compiled(u)["x"].dtype == tf.float32


@pytest.mark.parametrize("bounds", [(None, None), (-50.0, 50.0)])
@pytest.mark.parametrize("shape", ["one number", "a column"])
def test_one_number_for_each_chain(bounds, shape):
    """With bounds, sums with the slopes would make any shape one that fits."""
    space = Space({"x": Parameter((2,), *bounds)})

    def log_prob(values):
        each = -0.5 * tf.reduce_sum(values["x"] ** 2, axis=-1)
        return tf.reduce_sum(each) if shape == "one number" else each[:, None]

    quiet = {"progress": False, "jit_compile": False}
    for fit in (
        lambda: sample(log_prob, space, 5, "hmc", **quiet),
        lambda: fit_variational(log_prob, space, num_steps=50, **quiet),
        lambda: laplace(log_prob, space),
        lambda: maximum(log_prob, space),
    ):
        with pytest.raises(ValueError, match="`log_prob` must give one number for each of"):
            fit()


def test_refusals():
    with pytest.raises(ValueError, match="`low` must be below high"):
        Parameter((), 2.0, 1.0)
    with pytest.raises(ValueError, match="`high` must be finite"):
        Parameter((), high=np.inf)
    with pytest.raises(ValueError, match=r"`low` must broadcast to the shape \(2,\)"):
        Parameter((2,), np.zeros(3))
    with pytest.raises(TypeError, match="`parameters` must hold objects of the type Parameter"):
        Space({"a": 3.0})
    with pytest.raises(ValueError, match=r"`values\['a'\]` must be inside of \(0.0, 1.0\)"):
        Space({"a": Parameter((), 0.0, 1.0)}).vector({"a": 1.5})
    with pytest.raises(ValueError, match=r"`values\['a'\]` must end in the shape \(3,\)"):
        Space({"a": Parameter((3,))}).vector({"a": np.zeros(2)})
    others = [np.full((2, 3), 3.0), np.array([0.0, 0.0, np.nan, 0.0])]
    with pytest.raises(ValueError, match=r"`start.others\[1\]` must be finite. Received"):
        SPACE.vector(Model(1.0, others), "start")
    rule = r"`values` must have the parts .amplitude, .others\[0\], .others\[1\]. Received: "
    with pytest.raises(ValueError, match=rule + r"'.amplitude, .others\[0\]'"):
        SPACE.vector(Model(1.0, others[:1]))
    with pytest.raises(ValueError, match=rule + r'"\[\'amplitude\'\]"'):
        SPACE.vector({"amplitude": 1.0})
    with pytest.raises(ValueError, match="`u` must end in an axis of 3"):
        Space({"a": Parameter((3,))}).values(np.zeros([4, 2]))
