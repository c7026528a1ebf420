"""The likelihood against scipy's normal density, and its refusals."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from reference import gaussian_posterior

from priors import GaussianLikelihood, operators

SIDES = (5, 6)


@pytest.fixture
def survey():
    """Shear with noise that differs between pixels, a third of them not observed."""
    rng = np.random.default_rng(5)
    data = rng.normal(size=SIDES) + 1j * rng.normal(size=SIDES)
    noise_std = rng.uniform(0.2, 2.0, SIDES)
    return data, noise_std, rng.uniform(size=SIDES) > 0.3, rng.normal(size=(2, *SIDES))


def likelihood_of(survey, dtype=np.complex128, **changes):
    data, noise_std, mask, _ = survey
    arguments = {"data": data.astype(dtype), "noise_std": noise_std, "mask": mask} | changes
    return GaussianLikelihood(operators.KaiserSquires(SIDES), **arguments)


def test_log_prob_is_that_of_the_observed_components(survey):
    data, noise_std, mask, x = survey
    matrix = gaussian_posterior.shear_matrix(*SIDES)
    rows, values, std = gaussian_posterior.real_rows(matrix, data, noise_std, mask)
    expected = [scipy.stats.norm.logpdf(values, rows @ one.ravel(), std).sum() for one in x]
    # Both are sums of forty numbers of order ten in float64.
    np.testing.assert_allclose(likelihood_of(survey).log_prob(x), expected, rtol=1e-12)


def test_log_prob_of_real_data_with_one_noise_level(survey):
    data, _, _, x = survey
    op = operators.Convolution(np.ones((1, 1)), SIDES)
    found = GaussianLikelihood(op, data.real, 0.7).log_prob(x)
    expected = scipy.stats.norm.logpdf(data.real, x, 0.7).sum(axis=(-2, -1))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_gradient_is_that_of_log_prob(survey):
    likelihood, x = likelihood_of(survey), tf.constant(survey[-1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = likelihood.log_prob(x)
    np.testing.assert_allclose(likelihood.gradient(x), tape.gradient(value, x), atol=1e-11)
    step, v = 1e-4, np.random.default_rng(1).normal(size=x.shape)
    difference = likelihood.log_prob(x + step * v) - likelihood.log_prob(x - step * v)
    slope = tf.reduce_sum(likelihood.gradient(x) * v, axis=(-2, -1))
    # A quadratic has no truncation error: what is left is rounding over the step.
    np.testing.assert_allclose(slope, difference / (2 * step), rtol=1e-8)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_graph_and_dtype(survey, dtype, jit):
    likelihood = likelihood_of(survey, dtype)
    x = tf.constant(survey[-1], likelihood.dtype)
    function = tf.function(lambda model, x: model.log_prob(x), jit_compile=jit, autograph=False)
    found = function(likelihood, x)
    assert found.dtype == likelihood.dtype
    # Single precision: forty terms of order ten, each good to 1e-7.
    np.testing.assert_allclose(found, likelihood_of(survey).log_prob(survey[-1]), rtol=1e-5)
    assert likelihood.precision.dtype == likelihood.dtype


def test_unobserved_pixels_carry_nothing(survey):
    data, noise_std, mask, x = survey
    expected = likelihood_of(survey)
    bad = np.where(mask, data, np.nan)
    for changes in (
        {"data": bad},
        {"noise_std": np.where(mask, noise_std, 0.0)},
        {"noise_std": np.where(mask, noise_std, np.inf), "mask": None},
        {"noise_std": np.where(mask, noise_std, np.nan), "mask": mask.astype(float)},
        {"data": bad, "noise_std": np.where(mask, noise_std, np.inf), "mask": None},
    ):
        found = likelihood_of(survey, **changes)
        np.testing.assert_array_equal(found.log_prob(x), expected.log_prob(x))
        np.testing.assert_array_equal(found.gradient(x), expected.gradient(x))
        np.testing.assert_array_equal(found.residual(x).numpy()[:, ~mask], 0.0)
        np.testing.assert_array_equal(found.precision.numpy()[~mask], 0.0)
    np.testing.assert_allclose(expected.precision.numpy()[mask], noise_std[mask] ** -2, rtol=1e-14)


def test_batch_of_data_sets(survey):
    data, _, _, x = survey
    both = likelihood_of(survey, data=np.stack([data, 2 * data]))
    single = likelihood_of(survey, data=2 * data)
    np.testing.assert_allclose(both.log_prob(x[1])[1], single.log_prob(x[1]), rtol=1e-13)
    np.testing.assert_allclose(both.gradient(x)[1], single.gradient(x[1]), atol=1e-12)


def test_finite_gradients_with_respect_to_noise(survey):
    _, noise_std, mask, x = survey
    noise_std = tf.constant(np.where(mask, noise_std, 0.0))
    with tf.GradientTape() as tape:
        tape.watch(noise_std)
        value = tf.reduce_sum(likelihood_of(survey, noise_std=noise_std).log_prob(x))
    gradient = tape.gradient(value, noise_std).numpy()
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[~mask] == 0)


NAN = np.where(np.arange(30).reshape(SIDES) == 3, np.nan, 1.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": NAN + 0j, "mask": None}, ValueError, "`data` must be finite.*Set `mask`"),
        ({"data": np.ones(SIDES)}, TypeError, "`data` must be complex"),
        ({"data": np.ones((6, 5)) + 0j}, ValueError, r"`data` must end in axes \(5, 6\)"),
        ({"noise_std": 0.0}, ValueError, "`noise_std` must be positive"),
        ({"noise_std": -1.0}, ValueError, "`noise_std` must be positive"),
        ({"noise_std": NAN, "mask": None}, ValueError, "`noise_std` must be positive"),
        ({"noise_std": np.ones(5)}, ValueError, "`noise_std` must broadcast"),
        ({"noise_std": np.ones((3, *SIDES))}, ValueError, "`noise_std` must broadcast"),
        ({"mask": np.zeros(SIDES, bool)}, ValueError, "`mask` must hold at least one pixel"),
        ({"noise_std": np.inf}, ValueError, "`mask` must hold at least one pixel"),
        ({"mask": np.full(SIDES, 0.5)}, ValueError, "`mask` must hold booleans, or 0 and 1"),
        ({"mask": np.ones(4, bool)}, ValueError, "`mask` must broadcast"),
    ],
)
def test_messages(survey, changes, error, message):
    with pytest.raises(error, match=message):
        likelihood_of(survey, **changes)


def test_operator_is_required():
    with pytest.raises(TypeError, match="`op` must be a linear operator"):
        GaussianLikelihood(lambda x: x, np.ones(SIDES), 1.0)


def test_integer_data_are_refused():
    op = operators.Mask(np.ones(SIDES))
    with pytest.raises(TypeError, match="`data` must be real or complex floats"):
        GaussianLikelihood(op, np.ones(SIDES, int), 1.0)
