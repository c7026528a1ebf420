"""Interpolation against scipy, and gradients without jumps."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import interpolate as reference

from flowpm_ext.numerics.interpolate import cubic_spline, hermite, hermite_table, spline_slopes
from flowpm_ext.numerics.monotone import monotone_cubic

RNG = np.random.default_rng(2)
KNOTS = np.array([0.0, 0.3, 0.5, 1.2, 1.9, 2.0])
VALUES = RNG.normal(size=[2, 6])
NEW = np.linspace(0.0, 2.0, 41)
GRID = np.arange(6.0)


def call_modes(function):
    """The function as it is, in a graph, and as one XLA program."""
    return [function, tf.function(function), tf.function(function, jit_compile=True)]


@pytest.mark.parametrize("order", [1, 2])
def test_hermite_reproduces_polynomials(order):
    """Degree three from values and slopes, degree five with second derivatives."""
    degree = 2 * order + 1
    polynomial = np.polynomial.Polynomial(RNG.normal(size=degree + 1))
    tables = [tf.constant(polynomial.deriv(n)(GRID) if n else polynomial(GRID)) for n in (0, 1, 2)]
    position = np.linspace(-0.4, 5.6, 31)  # beyond both ends too
    for call in call_modes(hermite):
        found = call(tf.constant(position), *tables[: order + 1])
        np.testing.assert_allclose(found, polynomial(position), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_hermite_converges_at_its_order(order):
    def error(num_cells):
        x, h = np.linspace(0, 3, num_cells + 1), 3 / num_cells
        tables = [np.sin(x), h * np.cos(x), -(h**2) * np.sin(x)][: order + 1]
        at = np.linspace(0, 3, 1000)
        found = hermite(tf.constant(at / h), *map(tf.constant, tables))
        return np.max(np.abs(found - np.sin(at)))

    assert np.log2(error(8) / error(16)) == pytest.approx(2 * order + 2, abs=0.2)


def test_hermite_takes_batches_of_tables_and_of_positions():
    values, slopes = tf.constant(VALUES), tf.constant(RNG.normal(size=[2, 6]))
    position = tf.constant(RNG.uniform(0, 5, [2, 7]))
    shared = hermite(position[0], values, slopes)
    own = hermite(position, values, slopes)
    for row in range(2):
        expected = hermite(position[row], values[row], slopes[row])
        np.testing.assert_allclose(own[row], expected, rtol=1e-13)
        expected = hermite(position[0], values[row], slopes[row])
        np.testing.assert_allclose(shared[row], expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_cubic_spline_matches_scipy(dtype):
    spline = reference.CubicSpline(KNOTS, VALUES, axis=-1, bc_type="natural")
    tight = 1e-5 if dtype == tf.float32 else 1e-12  # rounding, times slopes of about ten
    values = tf.constant(VALUES, dtype)
    for call in call_modes(lambda x, y: cubic_spline(x, KNOTS, y)):
        found = call(tf.constant(NEW, dtype), values)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, spline(NEW), atol=tight)
    np.testing.assert_allclose(spline_slopes(KNOTS, values), spline(KNOTS, 1), atol=10 * tight)


def test_cubic_spline_continues_linearly():
    spline = reference.CubicSpline(KNOTS, VALUES, axis=-1, bc_type="natural")
    found = cubic_spline(tf.constant([-1.0, 4.0], tf.float64), KNOTS, tf.constant(VALUES))
    ends = KNOTS[[0, -1]]
    np.testing.assert_allclose(found, spline(ends) + spline(ends, 1) * [-1.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize("table", ["bumpy", "steps", "rising"])
def test_monotone_cubic_matches_scipy(table):
    y = {
        "bumpy": VALUES[0],
        "steps": np.array([0.0, 0.0, 1.0, 1.0, 0.0, 2.0]),
        "rising": np.sort(VALUES[0]),
    }[table]
    expected = reference.PchipInterpolator(KNOTS, y)(NEW)
    for call in call_modes(monotone_cubic):
        found = call(tf.constant(NEW), tf.constant(KNOTS), tf.constant(y))
        np.testing.assert_allclose(found, expected, atol=1e-14)
    assert np.min(found) >= np.min(y) - 1e-15
    if table == "rising":
        assert np.all(np.diff(found) >= 0)


def test_hermite_table_matches_scipy_and_skips_empty_intervals():
    slopes = RNG.normal(size=6)
    expected = reference.CubicHermiteSpline(KNOTS, VALUES[0], slopes)(NEW)
    tables = [np.concatenate([t, t[-1:]]) for t in (KNOTS, VALUES[0], slopes)]
    found = hermite_table(tf.constant(NEW), *map(tf.constant, tables))
    np.testing.assert_allclose(found, expected, atol=1e-14)


INTERPOLANTS = {
    "hermite": lambda x, y: hermite(x, y, tf.constant(VALUES[1])),
    "spline": lambda x, y: cubic_spline(x, GRID, y),
    "monotone": lambda x, y: monotone_cubic(x, tf.constant(GRID), y),
}
every = pytest.mark.parametrize("interpolant", INTERPOLANTS.values(), ids=INTERPOLANTS.keys())


@every
def test_slope_is_continuous_at_the_knots(interpolant):
    knots = GRID[1:-1]
    x = tf.constant(np.stack([knots - 1e-9, knots + 1e-9]).ravel())
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = interpolant(x, tf.constant(VALUES[0]))
    left, right = np.split(tape.gradient(value, x), 2)
    # Second derivatives of about ten, times the step of 2e-9.
    np.testing.assert_allclose(left, right, atol=1e-7)


@every
def test_gradients_match_finite_differences(interpolant):
    x, y = tf.constant(RNG.uniform(0.1, 4.9, 9)), tf.constant(VALUES[0])
    moves = [tf.constant(RNG.normal(size=v.shape)) for v in (x, y)]
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = tf.reduce_sum(tf.sin(interpolant(x, y)))
    slopes = [tf.convert_to_tensor(g) for g in tape.gradient(value, [x, y])]
    slope = sum(float(tf.reduce_sum(g * move)) for g, move in zip(slopes, moves, strict=True))
    step = 1e-6
    ends = [tf.sin(interpolant(x + s * moves[0], y + s * moves[1])) for s in (step, -step)]
    finite = float(tf.reduce_sum(ends[0] - ends[1])) / (2 * step)
    # Truncation step**2 = 1e-12, rounding 1e-15 / step.
    assert slope == pytest.approx(finite, rel=1e-7)
    with tf.autodiff.ForwardAccumulator([x, y], moves) as accumulator:
        value = tf.reduce_sum(tf.sin(interpolant(x, y)))
    assert float(accumulator.jvp(value)) == pytest.approx(slope, rel=1e-12)
