"""Painting and reading against a naive mesh, as adjoints, by symmetry, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf
from reference import painting as naive

from flowpm_ext.mesh import paint, readout

SIDES = {2: (5, 4), 3: (4, 3, 6)}
windows = pytest.mark.parametrize("window", ["cic", "tsc"])
axes = pytest.mark.parametrize("num_axes", [2, 3])


def case(num_axes, seed=0, batch=2, num_particles=7):
    """A mesh, positions far outside the box too, weights and an upstream for them."""
    rng = np.random.default_rng(seed)
    sides = SIDES[num_axes]
    mesh = rng.normal(size=(batch, *sides))
    cells = rng.integers(-9, 15, (batch, num_particles, num_axes))
    # Inside a cell, so that differences do not step over the bends of the windows.
    position = cells + rng.uniform(0.05, 0.45, cells.shape)
    weight, upstream = rng.normal(size=(2, batch, num_particles))
    return sides, *(tf.constant(x) for x in (mesh, position, weight, upstream))


@windows
@axes
def test_painting_is_that_of_a_naive_mesh(num_axes, window):
    sides, mesh, position, weight, _ = case(num_axes)
    ours = paint(mesh, position, weight, window)
    for i in range(2):
        expected = naive.paint(sides, position[i].numpy(), weight[i].numpy(), window)
        np.testing.assert_allclose(ours[i] - mesh[i], expected, atol=1e-14)  # rounding


@windows
@axes
def test_mass_is_conserved(num_axes, window):
    _, mesh, position, weight, _ = case(num_axes)
    added = paint(tf.zeros_like(mesh), position, weight, window)
    np.testing.assert_allclose(tf.reduce_sum(added), tf.reduce_sum(weight), atol=1e-13)
    ones = paint(tf.zeros_like(mesh), position, window=window)
    np.testing.assert_allclose(tf.reduce_sum(ones), 14.0, rtol=1e-14)


@windows
@axes
def test_reading_is_the_adjoint_of_painting(num_axes, window):
    _, mesh, position, weight, _ = case(num_axes)
    painted = paint(tf.zeros_like(mesh), position, weight, window)
    read = readout(mesh, position, window)
    # The project's bar for adjoints in float64.
    np.testing.assert_allclose(
        tf.reduce_sum(painted * mesh), tf.reduce_sum(weight * read), rtol=1e-12
    )


@windows
def test_a_constant_reads_as_itself_and_a_slope_inside_the_box_too(window):
    x = tf.constant([[[1.3, 2.2], [3.6, 1.9], [2.5, 2.0]]], tf.float64)
    mesh = tf.constant(np.add.outer(2.0 * np.arange(7), 3.0 * np.arange(6))[None] + 0.5)
    # Both windows have their first moment at the particle.
    expected = 0.5 + 2 * x[..., 0] + 3 * x[..., 1]
    np.testing.assert_allclose(readout(mesh, x, window), expected, rtol=1e-14)
    ones = readout(tf.ones_like(mesh), 100 * x, window)
    np.testing.assert_allclose(ones, tf.ones([1, 3], tf.float64), rtol=1e-13)


@windows
def test_translation_by_whole_cells_translates_the_mesh(window):
    _, mesh, position, weight, _ = case(3)
    moved = paint(mesh, position + tf.constant([1.0, -2.0, 7.0], tf.float64), weight, window)
    still = paint(tf.roll(mesh, [-1, 2, -7], [1, 2, 3]), position, weight, window)
    np.testing.assert_allclose(moved, tf.roll(still, [1, -2, 7], [1, 2, 3]), atol=1e-13)


@windows
@axes
def test_gradients_are_finite_differences(num_axes, window):
    _, mesh, position, weight, upstream = case(num_axes, batch=1, num_particles=3)

    def painted(mesh, position, weight):
        return tf.reduce_sum(paint(mesh, position, weight, window) ** 3)

    def read(mesh, position):
        return tf.reduce_sum(upstream * readout(mesh, position, window) ** 3)

    for function, arguments in ((painted, [mesh, position, weight]), (read, [mesh, position])):
        theory, numeric = tf.test.compute_gradient(function, arguments, delta=1e-4)
        for ours, differences in zip(theory, numeric, strict=True):
            scale = np.max(np.abs(differences))
            # Central differences of cubes: third derivatives of order ten times delta squared.
            np.testing.assert_allclose(ours, differences, atol=1e-6 * scale)


@windows
def test_vectors_read_and_differentiate_as_their_components(window):
    _, mesh, position, _, upstream = case(3)
    vectors = tf.stack([mesh, mesh**2, 1 - mesh], axis=-1)
    np.testing.assert_allclose(
        readout(vectors, position, window)[..., 1], readout(mesh**2, position, window), atol=1e-14
    )

    def at_once(vectors, position):
        return tf.reduce_sum(upstream[..., None] * readout(vectors, position, window) ** 2)

    def one_by_one(vectors, position):
        values = [readout(vectors[..., i], position, window) for i in range(3)]
        return tf.reduce_sum(upstream[..., None] * tf.stack(values, axis=-1) ** 2)

    gradients = []
    for function in (at_once, one_by_one):
        with tf.GradientTape() as tape:
            tape.watch([vectors, position])
            value = function(vectors, position)
        gradients.append(tape.gradient(value, [vectors, position]))
    for ours, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-13)


@windows
def test_compiled_in_single_precision(window):
    _, mesh, position, weight, _ = case(3)
    single = [tf.cast(x, tf.float32) for x in (mesh, position, weight)]
    compiled = tf.function(lambda *x: paint(*x, window), jit_compile=True)(*single)
    assert compiled.dtype == tf.float32
    # Remainders of positions up to 15 carry an error of 1e-6.
    np.testing.assert_allclose(compiled, paint(mesh, position, weight, window), atol=2e-5)


def test_bad_input_is_refused():
    _, mesh, position, _, _ = case(3)
    with pytest.raises(ValueError, match=r"`window` must be one of 'cic', 'tsc'"):
        paint(mesh, position, window="ngp")
    with pytest.raises(ValueError, match=r"`position` must have 3 axes"):
        readout(mesh, position[0])
    with pytest.raises(ValueError, match=r"`position` must have 2 or 3 coordinates"):
        readout(mesh, position[..., :1])
    with pytest.raises(ValueError, match=r"`mesh` must have 3 or 4 axes"):
        readout(mesh[0, 0], position[..., :2])
    with pytest.raises(ValueError, match=r"`mesh` must have sides of known size"):
        tf.function(readout, input_signature=[
            tf.TensorSpec([None, None, 3, 6], tf.float64), tf.TensorSpec(position.shape, tf.float64)
        ])(mesh, position)  # fmt: skip
