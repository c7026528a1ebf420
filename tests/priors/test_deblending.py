"""Deblending where the answer is known, and what a small network has learned of galaxies."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import nnls

from priors import GaussianLikelihood, LearnedScore, sample_posterior
from priors.blends import blend_operator, overlapping_pairs
from priors.deblending import (
    SourceScore,
    annealed_mode,
    flux_error,
    morphology_error,
    nonnegative_least_squares,
)
from priors.galaxies import galaxy_denoiser, galaxy_psf
from priors.operators import KaiserSquires

SCALE, SIDE = 2.0, 4
RANGE = {"sigma_min": 0.01, "sigma_max": 20.0, "scale": SCALE}


def white(x, sigma):
    """Denoiser of white Gaussian images."""
    return x * SCALE**2 / (SCALE**2 + sigma**2)


@pytest.fixture
def likelihood():
    """Two sources of 4 x 4 pixels in two bands of 6 x 6."""
    rng = np.random.default_rng(0)
    psf = np.stack([galaxy_psf(6, 2.0), galaxy_psf(6, 1.5)]).astype(np.float64)
    offset = np.array([[0.3, -0.2], [0.0, 1.0]])
    op = blend_operator(np.array([[1.0, 0.4], [0.3, 1.0]]), psf, offset, SIDE)
    data = op(np.maximum(rng.normal(size=op.shape), 0)) + 0.3 * rng.normal(size=op.data_shape)
    return GaussianLikelihood(op, data, 0.3)


def dense(likelihood):
    """Matrix of the operator over the noise, and the data over the noise."""
    units = np.eye(np.prod(likelihood.op.shape)).reshape(-1, *likelihood.op.shape)
    matrix = likelihood.op(units).numpy().reshape(len(units), -1).T
    return matrix / 0.3, likelihood.data.numpy().ravel() / 0.3


@pytest.mark.parametrize("sigmas", [[1.0], [5.0, 1.0, 0.5]])
def test_mode_of_a_gaussian_posterior_is_its_mean(likelihood, sigmas):
    score = SourceScore(white, **RANGE)
    found = annealed_mode(likelihood, score, sigmas, max_iterations=3000, tolerance=1e-8)
    sigma = sigmas[-1]
    matrix, data = dense(likelihood)
    precision = matrix.T @ matrix + np.eye(matrix.shape[1]) / (SCALE**2 + sigma**2)
    expected = np.linalg.solve(precision, matrix.T @ data).reshape(likelihood.op.shape)
    # A turn takes as little as 1e-4 of what is left in the slowest direction, so that changes of
    # 1e-8 of the image may leave 1e-4 of it. Measured: 2.5e-4 of images of about 2.
    np.testing.assert_allclose(found.images, expected, atol=5e-4)
    assert found.residual < 1e-8


def test_mode_says_when_it_has_not_arrived(likelihood):
    found = annealed_mode(
        likelihood, SourceScore(white, **RANGE), [0.1], max_iterations=3, tolerance=1e-9
    )
    assert found.iterations == 3
    assert found.residual > 1e-9


def test_nonnegative_least_squares_is_scipys(likelihood):
    found = nonnegative_least_squares(likelihood, tolerance=1e-9)
    expected, _ = nnls(*dense(likelihood))
    # The gradient is zero to 1e-9 of its size; the matrix has a condition number of about 30.
    np.testing.assert_allclose(found.images.ravel(), expected, atol=1e-5)
    assert found.images.min() >= 0
    assert found.residual < 1e-9
    assert nonnegative_least_squares(likelihood, max_iterations=2).residual > 1e-6


def test_nonnegative_least_squares_of_complex_data_is_scipys():
    op, rng = KaiserSquires((SIDE, SIDE)), np.random.default_rng(3)
    data = rng.normal(size=(SIDE, SIDE, 2)) @ [1, 1j]
    found = nonnegative_least_squares(GaussianLikelihood(op, data, 0.5), tolerance=1e-9)
    matrix = op(np.eye(SIDE**2).reshape(-1, SIDE, SIDE)).numpy().reshape(SIDE**2, -1).T
    real = np.concatenate([matrix.real, matrix.imag])
    expected, _ = nnls(real, np.concatenate([data.real.ravel(), data.imag.ravel()]))
    # Shear does not know the mean: what is seen of the images is the same.
    np.testing.assert_allclose(op(found.images).numpy().ravel(), matrix @ expected, atol=1e-7)


def test_score_of_sources_is_that_of_each():
    x = np.random.default_rng(1).normal(size=(3, 2, SIDE, SIDE))
    found = SourceScore(white, **RANGE)(x, 0.5)
    for source in range(2):
        expected = LearnedScore(white, **RANGE)(x[:, source], 0.5)
        np.testing.assert_allclose(found[:, source], expected, rtol=1e-12)


def test_posterior_of_sources_can_be_sampled(likelihood):
    found = sample_posterior(
        likelihood, SourceScore(white, **RANGE), 400, seed=1, num_chains=8, sigmas=[1.0, 0.1],
        num_leapfrog=8, progress=False,
    )  # fmt: skip
    matrix, data = dense(likelihood)
    precision = matrix.T @ matrix + np.eye(matrix.shape[1]) / (SCALE**2 + 0.01)
    covariance = np.linalg.inv(precision)
    expected, std = covariance @ matrix.T @ data, np.sqrt(np.diag(covariance))
    assert found.samples.shape == (400, *likelihood.op.shape)
    # 400 draws: means scatter by a twentieth of a standard deviation where all are independent.
    pull = (found.mean.ravel() - expected) / std
    assert np.sqrt(np.mean(pull**2)) < 0.2
    np.testing.assert_allclose(np.mean(found.std.ravel() / std), 1.0, atol=0.1)


def test_errors_of_flux_and_shape():
    rng = np.random.default_rng(2)
    truth = np.abs(rng.normal(size=(2, 8, 8)))
    point = np.ones((1, 1))
    found = truth * np.array([1.1, 0.7])[:, None, None]
    np.testing.assert_allclose(flux_error(found, truth), [0.1, 0.3], rtol=1e-12)
    np.testing.assert_allclose(morphology_error(found, truth, point), 0.0, atol=1e-12)
    # Two points of light in the place of one: each is off by half.
    one, two = np.zeros((8, 8)), np.zeros((8, 8))
    one[4, 4], two[4, 4], two[2, 2] = 3.0, 1.0, 1.0
    np.testing.assert_allclose(morphology_error(two, one, point), np.sqrt(0.5), rtol=1e-12)
    np.testing.assert_allclose(morphology_error(0 * one, one, point), 1.0, rtol=1e-12)
    wide = galaxy_psf(7, 4.0)
    assert morphology_error(two, one, wide) < morphology_error(two, one, point)


@pytest.fixture(scope="module")
def network():
    return galaxy_denoiser(16, 300, num_images=1000, filters=(8, 16))


def test_an_isolated_galaxy_is_denser_than_a_blend(network):
    score, pairs = LearnedScore(network), overlapping_pairs(40, 16, seed=3)
    noise = 0.2 * np.random.default_rng(3).normal(size=pairs[0].shape).astype(np.float32)
    isolated, blended = (score.log_prob(images + noise, 0.2, num_steps=12) for images in pairs)
    assert np.mean(isolated > blended) >= 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigmas": [0.1, 0.2]}, "`sigmas` must be one number or several that fall"),
        ({"sigmas": [100.0]}, "`sigmas` must lie in"),
        ({"steps_per_level": 0}, "`steps_per_level` must be a positive integer"),
        ({"tolerance": 0.0}, "`tolerance` must be positive"),
    ],
)
def test_messages_of_the_mode(likelihood, options, message):
    with pytest.raises(ValueError, match=message):
        annealed_mode(likelihood, SourceScore(white, **RANGE), **options)


def test_other_messages(likelihood):
    several = likelihood.replace(data=tf.stack([likelihood.data] * 2))
    for solve in (
        lambda: nonnegative_least_squares(several),
        lambda: annealed_mode(several, SourceScore(white, **RANGE)),
    ):
        with pytest.raises(ValueError, match="`likelihood` must hold one data set"):
            solve()
    with pytest.raises(ValueError, match="`max_iterations` must be a positive integer"):
        nonnegative_least_squares(likelihood, max_iterations=0)
    with pytest.raises(ValueError, match="`psf` must fit"):
        morphology_error(np.ones((4, 4)), np.ones((4, 4)), np.ones((5, 5)))
