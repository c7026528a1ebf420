"""Maxima and normal approximations of densities whose integrals are known."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import betaln

from flowpm_ext.inference import Parameter, Space, laplace, maximum
from flowpm_ext.inference.krylov import lanczos

SIZE = 20
RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(SIZE, SIZE))
PRECISION = FACTOR @ FACTOR.T / SIZE + np.diag(np.geomspace(1, 30, SIZE))
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = RNG.normal(size=SIZE)
SPACE = Space({"x": Parameter((4, 5))})
EVIDENCE = -3 + 0.5 * SIZE * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1]


def gaussian(values):
    offset = tf.reshape(values["x"], [-1, SIZE]) - MEAN
    return -0.5 * tf.einsum("ci,ij,cj->c", offset, PRECISION, offset) - 3


def beta(values):  # Beta(3, 5), not normalised
    return 2 * tf.math.log(values["p"]) + 4 * tf.math.log(1 - values["p"])


SHARE = Space({"p": Parameter((), 0.0, 1.0)})


def test_maximum_of_parameters_and_of_vectors():
    found = maximum(beta, SHARE)
    # The slope there is below 1e-6; that of the curve is about one.
    np.testing.assert_allclose(found.values["p"], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(found.log_prob, 2 * np.log(1 / 3) + 4 * np.log(2 / 3))
    of_vectors = maximum(beta, SHARE, {"p": 0.9}, measure="vectors")
    np.testing.assert_allclose(of_vectors.values["p"], 3 / 8, atol=1e-6)
    assert found.history.max() == found.log_prob and found.num_gradients < 30
    assert found.num_gradients == 2 + len(found.history)  # at the start and at the end
    assert np.abs(found.gradient).max() < 1e-6


def test_normal_densities_are_found_exactly():
    found = laplace(gaussian, SPACE)
    np.testing.assert_allclose(np.ravel(found.maximum.values["x"]), MEAN, atol=1e-6)
    np.testing.assert_allclose(found.normal.covariance, COVARIANCE, atol=1e-12)
    # The maximum is off by 1e-6 at the most, and its square counts.
    np.testing.assert_allclose(found.log_evidence, EVIDENCE, atol=1e-9)
    assert found.sample(3)["x"].shape == (3, 4, 5)


def test_without_a_matrix_the_same():
    found = laplace(gaussian, SPACE, method="matrix_free", num_steps=SIZE, num_probes=300)
    assert found.normal is None and found.residual < 1e-3
    assert 0 < found.log_evidence_error < 0.2
    assert abs(found.log_evidence - EVIDENCE) < 4 * found.log_evidence_error
    draws = found.vectors(4000, seed=1).numpy()
    error = np.sqrt(2 / 4000)  # of a variance
    scale = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose(np.cov(draws.T) / scale / scale[:, None],
                               COVARIANCE / scale / scale[:, None], atol=5 * error)  # fmt: skip
    short = laplace(gaussian, SPACE, method="matrix_free", num_steps=4)
    assert short.residual > 1e-3  # and it says so


def test_evidence_of_a_density_that_is_about_normal():
    # Beta(300, 500) on the real line is normal up to 1 / 300.
    def log_prob(values):
        return 299 * tf.math.log(values["p"]) + 499 * tf.math.log(1 - values["p"])

    found = laplace(log_prob, SHARE)
    np.testing.assert_allclose(found.log_evidence, betaln(300, 500), atol=1e-3)
    mean, std = 3 / 8, np.sqrt(300 * 500 / 800**2 / 801)
    draws = found.sample(20000, seed=2)["p"].numpy()
    np.testing.assert_allclose(draws.mean(), mean, atol=5 * std / np.sqrt(20000) + 1e-4)
    np.testing.assert_allclose(draws.std(), std, rtol=0.03)


@pytest.mark.parametrize("method", ["dense", "matrix_free"])
def test_a_search_that_has_not_ended_says_so(method):
    options = {"method": method, "num_steps": SIZE, "num_evaluations": 2}
    with pytest.warns(RuntimeWarning, match="The search for the maximum has not ended"):
        found = laplace(gaussian, SPACE, **options)
    # What Newton's step would gain is all that is missing where the density is normal.
    u = found.maximum.vector.numpy() - MEAN
    missing = 0.5 * u @ PRECISION @ u
    assert missing > 1e-2
    traces = laplace(gaussian, SPACE, method=method, num_steps=SIZE).log_evidence_error
    np.testing.assert_allclose(found.log_evidence_error - traces, missing, rtol=1e-6)
    if method == "dense":
        np.testing.assert_allclose(EVIDENCE - found.log_evidence, missing, rtol=1e-6)


def test_lanczos_knows_functions_of_a_matrix():
    vectors = tf.constant(RNG.normal(size=(3, SIZE)))
    found = lanczos(lambda v: tf.matmul(v, tf.constant(PRECISION)), vectors, SIZE)
    values, axes = np.linalg.eigh(PRECISION)
    root = (axes * np.sqrt(values)) @ axes.T
    np.testing.assert_allclose(found.applied(np.sqrt), vectors @ root, atol=1e-10)
    # A multiple of one is known after a single step, and stays known.
    found = lanczos(lambda v: 4 * v, vectors, 5)
    np.testing.assert_allclose(found.applied(np.sqrt), 2 * vectors, rtol=1e-12)
    np.testing.assert_allclose(found.traces(np.log), SIZE * np.log(4), rtol=1e-12)


def test_many_scales():
    scales = np.geomspace(1e-6, 1e6, 5)
    space = Space([Parameter((5,))])

    def log_prob(values):
        return -0.5 * tf.reduce_sum((values[0] / scales) ** 2, axis=-1)

    # L-BFGS takes a scale of a million for flat, and stays where it is: the curvature is known.
    with pytest.warns(RuntimeWarning, match="still to rise by about 0.24"):
        found = laplace(log_prob, space, [scales * 0.5], tolerance=1e-12)
    np.testing.assert_allclose(found.normal.std, scales, rtol=1e-9)


def test_refusals():
    saddle = Space([Parameter((2,))])

    def log_prob(values):
        return values[0][:, 0] ** 2 - values[0][:, 1] ** 2

    for method in ("dense", "matrix_free"):
        with pytest.raises(ValueError, match="`log_prob` must curve down in every direction"):
            laplace(log_prob, saddle, [np.zeros(2)], method=method)
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite.*Start where"):
        maximum(lambda values: np.nan * values["p"], SHARE)
    with pytest.raises(ValueError, match="`start` must be one point"):
        maximum(beta, SHARE, {"p": np.array([0.2, 0.3])})
    with pytest.raises(ValueError, match="`method` must be"):
        laplace(beta, SHARE, method="sparse")
