"""Conjugate gradients against a dense solution."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.numerics.linalg import conjugate_gradients


def system(dtype="float64", n=12):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(n, n))
    return tf.constant(np.eye(n) + root @ root.T, dtype), tf.constant(
        rng.normal(size=(3, n)), dtype
    )


def dot(a, b):
    return tf.reduce_sum(tf.math.real(tf.math.conj(a) * b), axis=-1, keepdims=True)


def solve(matrix, right, tolerance=1e-12, max_iterations=100, **options):
    return conjugate_gradients(
        lambda x: tf.linalg.matvec(matrix, x), right, dot, tolerance, max_iterations, **options
    )


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_solution_is_numpys(dtype, tolerance, mode):
    matrix, right = system(dtype)
    function = solve if mode == "eager" else tf.function(solve, jit_compile=mode == "xla")
    found = function(matrix, right, tolerance)
    expected = np.linalg.solve(system()[0], system()[1].numpy().T).T
    # The matrix has a condition number near 50.
    np.testing.assert_allclose(found.x, expected, atol=100 * tolerance)
    # Exact arithmetic would take 12 steps, one for each dimension.
    assert found.iterations <= 16
    assert np.all(found.residual.numpy() < 10 * tolerance)


def test_complex_system_and_preconditioner():
    matrix, right = system()
    rng = np.random.default_rng(1)
    turned = np.linalg.qr(rng.normal(size=(12, 12)) + 1j * rng.normal(size=(12, 12)))[0]
    matrix = turned @ matrix.numpy() @ turned.conj().T
    right = tf.cast(right, tf.complex128)
    inverse = np.linalg.inv(matrix)
    plain = solve(matrix, right)
    quick = solve(matrix, right, precondition=lambda x: tf.linalg.matvec(inverse, x))
    np.testing.assert_allclose(plain.x, right.numpy() @ inverse.T, atol=1e-11)
    np.testing.assert_allclose(quick.x, plain.x, atol=1e-11)
    assert quick.iterations <= 2 < plain.iterations


def test_stops_at_the_limit_and_tells_the_true_residual():
    matrix, right = system()
    found = solve(matrix, right, max_iterations=3)
    assert found.iterations == 3
    left = right.numpy() - found.x.numpy() @ matrix.numpy()
    expected = np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    np.testing.assert_allclose(found.residual[:, 0], expected, rtol=1e-10)
    assert np.all(expected > 1e-3)


def test_zero_right_hand_side_stays_zero_beside_others():
    matrix, right = system()
    right = right * [[0.0], [1.0], [1e-200]]
    found = solve(matrix, right)
    np.testing.assert_array_equal(found.x[0], 0.0)
    assert found.residual[0] == 0.0
    assert np.all(np.isfinite(found.x))


def test_gradient_is_that_of_the_inverse():
    matrix, right = system()
    with tf.GradientTape() as tape:
        tape.watch([matrix, right])
        value = tf.reduce_sum(solve(matrix, right, 1e-14).x)
    by_matrix, by_right = tape.gradient(value, [matrix, right])
    adjoint = np.linalg.solve(matrix, np.ones(12))
    np.testing.assert_allclose(by_right, np.tile(adjoint, (3, 1)), atol=1e-9)
    x = np.linalg.solve(matrix, right.numpy().T)
    expected = -np.outer(adjoint, x.sum(axis=1))
    # Only symmetric changes of the matrix have a meaning for conjugate gradients.
    np.testing.assert_allclose(
        by_matrix + tf.transpose(by_matrix), expected + expected.T, atol=1e-8
    )
