"""Fisher matrices against closed forms, finite differences and the Hessian of the likelihood."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import fisher
from flowpm_ext.cosmology.likelihood import gaussian_log_likelihood

RNG = np.random.default_rng(11)
NUM_CL, NUM_ELL, NUM_PARAMETERS = 2, 3, 4
SIZE = NUM_CL * NUM_ELL
DESIGN = RNG.normal(size=[NUM_CL, NUM_ELL, NUM_PARAMETERS])
THETA = np.array([0.3, 0.7, -1.0, 0.1])
BLOCKS = RNG.normal(size=[NUM_ELL, NUM_CL, 5])
BLOCKS = BLOCKS @ np.swapaxes(BLOCKS, 1, 2)
DENSE = np.cov(RNG.normal(size=[SIZE, 40]))
COVARIANCES = {"matrix": DENSE, "variances": np.diag(DENSE).copy(), "blocks": BLOCKS}
forms = pytest.mark.parametrize("covariance", COVARIANCES.values(), ids=COVARIANCES.keys())
INFORMATION = DESIGN.reshape(SIZE, -1).T @ np.linalg.inv(DENSE) @ DESIGN.reshape(SIZE, -1)


def mean_fn(theta):
    """A nonlinear mean [num_cl, num_ell] that also joins and cuts tensors."""
    linear = tf.linalg.matvec(tf.constant(DESIGN, theta.dtype), theta)
    return tf.concat([tf.exp(linear[:1]), tf.sin(linear[1:]) * linear[:1]], axis=0)


def finite_differences(function, theta, step=1e-4):
    """Derivatives [*value, num_parameters] of fourth order."""
    columns = []
    for unit in np.eye(theta.size):
        f = [np.asarray(function(tf.constant(theta + k * step * unit))) for k in (-2, -1, 1, 2)]
        columns.append((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_jacobian_matches_finite_differences(jit_compile):
    found = fisher.jacobian(mean_fn, THETA, jit_compile)
    # Truncation step**4 = 1e-16, rounding 1e-16 / step = 1e-12.
    np.testing.assert_allclose(found, finite_differences(mean_fn, THETA), atol=1e-10)


def test_jacobian_inside_a_graph_and_of_constants():
    whole = tf.function(lambda theta: fisher.jacobian(mean_fn, theta), jit_compile=True)
    np.testing.assert_allclose(whole(THETA), fisher.jacobian(mean_fn, THETA), rtol=1e-13)
    nothing = fisher.jacobian(lambda theta: tf.ones([3, 2], theta.dtype), THETA)
    np.testing.assert_array_equal(nothing, np.zeros([3, 2, NUM_PARAMETERS]))
    single = fisher.jacobian(mean_fn, THETA.astype(np.float32))
    assert single.dtype == tf.float32


def test_jacobian_evaluates_the_function_once():
    """Seven derivatives of a heavy function compile to one evaluation and seven tangents."""
    matrix = tf.constant(RNG.normal(size=[60, 60]) / 8)

    def heavy(theta):
        state = tf.reshape(theta, [7, 1]) * tf.ones([7, 60], tf.float64)
        for _ in range(5):
            state = tf.tanh(tf.matmul(state, matrix))
        return state

    theta = tf.constant(np.linspace(0.1, 0.7, 7))
    whole = tf.function(lambda theta: fisher.jacobian(heavy, theta), jit_compile=True)
    compiled = whole.experimental_get_compiler_ir(theta)(stage="optimized_hlo")
    # The transcendental function belongs to the evaluation alone: its tangent is 1 - tanh**2.
    assert 5 <= compiled.count(" tanh(") <= 10


@forms
def test_fisher_matrix_of_a_linear_mean_is_exact(covariance):
    def linear(theta):
        return tf.linalg.matvec(tf.constant(DESIGN), theta)

    if covariance.ndim == 3:
        inverse = np.linalg.inv(covariance)
        expected = np.einsum("clp,lcd,dlq->pq", DESIGN, inverse, DESIGN)
    else:
        dense = covariance if covariance.ndim == 2 else np.diag(covariance)
        flat = DESIGN.reshape(SIZE, -1)
        expected = flat.T @ np.linalg.solve(dense, flat)
    np.testing.assert_allclose(fisher.fisher_matrix(linear, THETA, covariance), expected, 1e-11)


@forms
@pytest.mark.parametrize("jit_compile", [True, False])
def test_hessian_of_the_likelihood_is_the_fisher_matrix_where_data_are_the_mean(
    covariance, jit_compile
):
    data = mean_fn(tf.constant(THETA))
    expected = fisher.fisher_matrix(mean_fn, THETA, covariance, jit_compile=jit_compile)

    def log_likelihood(theta):
        return gaussian_log_likelihood(data, mean_fn(theta), covariance)

    found = fisher.from_log_likelihood(log_likelihood, THETA, jit_compile=jit_compile).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(found, found.T)
    assert np.all(np.linalg.eigvalsh(found) > 0)


def test_hessian_matches_finite_differences_of_the_gradient():
    def log_density(theta):
        return tf.reduce_sum(tf.exp(theta[:2] * theta[2:])) - tf.reduce_prod(theta)

    def gradient(theta):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            value = log_density(theta)
        return tape.gradient(value, theta)

    found = fisher.from_log_likelihood(log_density, THETA)
    np.testing.assert_allclose(found, -finite_differences(gradient, THETA), atol=1e-10)


def test_marginal_errors_and_constraints_match_numpy():
    covariance = np.linalg.inv(INFORMATION)
    np.testing.assert_allclose(fisher.parameter_covariance(INFORMATION), covariance, rtol=1e-11)
    np.testing.assert_allclose(
        fisher.marginal_errors(INFORMATION), np.sqrt(np.diag(covariance)), rtol=1e-11
    )
    kept = np.linalg.inv(covariance[np.ix_([2, 0], [2, 0])])
    np.testing.assert_allclose(fisher.marginalise(INFORMATION, [2, 0]), kept, rtol=1e-10)
    fixed = INFORMATION[np.ix_([0, 2], [0, 2])]
    np.testing.assert_array_equal(fisher.fix(INFORMATION, [3, 1]), fixed)
    merit = 1 / np.sqrt(np.linalg.det(covariance[np.ix_([2, 3], [2, 3])]))
    assert float(fisher.figure_of_merit(INFORMATION, (2, 3))) == pytest.approx(merit, rel=1e-10)


def test_units_of_very_different_size_lose_no_digits():
    units = np.array([1e-9, 1.0, 1e9, 1e3])
    scaled = INFORMATION / np.outer(units, units)
    expected = np.linalg.inv(INFORMATION) * np.outer(units, units)
    np.testing.assert_allclose(fisher.parameter_covariance(scaled), expected, rtol=1e-10)


def test_priors_constrain_what_the_data_do_not():
    degenerate = np.diag([4.0, 0.0])
    with_prior = fisher.add_prior(degenerate, [np.inf, 0.5])
    np.testing.assert_allclose(fisher.marginal_errors(with_prior), [0.5, 0.5], rtol=1e-15)


def test_signal_to_noise_of_independent_data():
    assert float(fisher.signal_to_noise([3.0, 8.0], [1.0, 4.0])) == pytest.approx(5.0)


BAD = {
    "`theta` must be finite": lambda: fisher.fisher_matrix(mean_fn, [np.nan, 0.0], DENSE),
    "`theta` must have 1 axes": lambda: fisher.jacobian(mean_fn, 1.0),
    "`covariance` must fit the data": lambda: fisher.fisher_matrix(mean_fn, THETA, np.eye(2)),
    "`covariance` must be positive definite": lambda: fisher.signal_to_noise(
        [1.0, 1.0], np.ones([2, 2]) - 2 * np.eye(2)
    ),
    "`log_likelihood_fn` must return a scalar": lambda: fisher.from_log_likelihood(tf.exp, THETA),
    "`fisher` must be a square matrix": lambda: fisher.marginal_errors(np.ones([2, 3])),
    "`fisher` must be finite": lambda: fisher.add_prior(np.full([2, 2], np.nan), [1.0, 1.0]),
    "`fisher` must be positive definite. Received: [[1., 1.]": lambda: fisher.marginal_errors(
        np.ones([2, 2])
    ),
    "`fisher` must be positive definite. Received: [[4., 0.]": lambda: fisher.marginal_errors(
        np.diag([4.0, 0.0])
    ),
    "`sigma` must be 4 positive numbers": lambda: fisher.add_prior(INFORMATION, [1.0, 2.0]),
    "`indices` must be two parameters": lambda: fisher.figure_of_merit(INFORMATION, [1]),
    "`indices` must be different integers from 0 to 3. Received: [1, 1]": lambda: (
        fisher.figure_of_merit(INFORMATION, [1, 1])
    ),
    "`indices` must be different integers": lambda: fisher.marginalise(INFORMATION, [4]),
    "`indices` must leave at least one": lambda: fisher.fix(INFORMATION, range(4)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused(message):
    with pytest.raises(ValueError) as refusal:
        BAD[message]()
    assert str(refusal.value).startswith(message)
