"""Wiener filter, its adjoint and exact samples against dense linear algebra."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from reference import gaussian_posterior

import priors
from priors import operators
from priors.convergence import NotConvergedWarning

SIDES = [(8, 8), (9, 7)]


def power_of(sides):
    """A falling spectrum that leaves the mean and the smallest scales without power."""
    l2, l1 = np.meshgrid(*(np.fft.fftfreq(n) for n in sides), indexing="ij")
    frequency = np.hypot(l1, l2)
    power = 1.0 / (0.1 + frequency) ** 2
    power[(frequency == 0) | (frequency > 0.6)] = 0.0
    return power


def survey(sides, dtype=np.complex128, num=None):
    """Shear with noise and holes, and the same as real rows of a matrix."""
    rng = np.random.default_rng(11)
    shape = sides if num is None else (num, *sides)
    data = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    noise_std = rng.uniform(0.5, 3.0, sides)
    mask = rng.uniform(size=sides) > 0.3
    op = operators.KaiserSquires(sides)
    likelihood = priors.GaussianLikelihood(op, data.astype(dtype), noise_std, mask)
    matrix = gaussian_posterior.shear_matrix(*sides)
    return likelihood, lambda d: gaussian_posterior.real_rows(matrix, d, noise_std, mask), data


def expected_posterior(sides, rows, data):
    matrix, values, noise_std = rows(data)
    prior = gaussian_posterior.covariance(power_of(sides))
    return gaussian_posterior.posterior(matrix, noise_std, values, prior)


@pytest.mark.parametrize("sides", SIDES, ids=str)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_mean_is_that_of_dense_algebra(sides, dtype):
    likelihood, rows, data = survey(sides, dtype)
    mean, _ = expected_posterior(sides, rows, data)
    single = dtype == np.complex64
    found = priors.wiener_filter(likelihood, power_of(sides), 1e-6 if single else 1e-12)
    assert found.dtype == likelihood.dtype
    # Errors are near the tolerance times the signal to noise, about ten.
    np.testing.assert_allclose(
        found, mean.reshape(sides), atol=(1e-5 if single else 1e-11) * np.abs(mean).max()
    )


@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_mean_in_a_graph(mode):
    likelihood, rows, data = survey((9, 7))
    function = tf.function(
        lambda model, power: priors.wiener_solve(model, power, 1e-10),
        jit_compile=mode == "xla",
        autograph=False,
    )
    result = function(likelihood, tf.constant(power_of((9, 7))))
    mean, _ = expected_posterior((9, 7), rows, data)
    np.testing.assert_allclose(result.mean, mean.reshape(9, 7), atol=1e-9)
    assert 0 < result.iterations < 64
    assert result.residual < 1e-10


def test_data_sets_are_solved_side_by_side():
    likelihood, rows, data = survey((8, 8), num=3)
    result = priors.wiener_solve(likelihood, power_of((8, 8)), 1e-12)
    assert result.residual.shape == (3,)
    for found, one in zip(result.mean, data, strict=True):
        mean, _ = expected_posterior((8, 8), rows, one)
        np.testing.assert_allclose(found, mean.reshape(8, 8), atol=1e-10)


def test_zero_data_give_a_zero_map_beside_others():
    likelihood, _, data = survey((8, 8), num=2)
    data[0] = 0.0
    result = priors.wiener_solve(
        priors.GaussianLikelihood(likelihood.op, data, likelihood.noise_std), power_of((8, 8))
    )
    np.testing.assert_array_equal(result.mean[0], 0.0)
    assert result.residual[0] == 0.0
    assert np.all(np.isfinite(result.mean))


def test_modes_without_power_stay_zero():
    likelihood, _, _ = survey((8, 8))
    power = power_of((8, 8))
    modes = np.fft.fft2(priors.wiener_filter(likelihood, power))
    # Zero in Fourier space; the transform back and forth rounds.
    assert np.abs(modes[power == 0]).max() < 1e-13 * np.abs(modes).max()


def test_even_noise_needs_one_step():
    op = operators.Convolution(np.outer([1, 2, 1], [1, 2, 1]) / 16, (8, 9))
    data = np.random.default_rng(0).normal(size=(8, 9))
    power = power_of((8, 9))
    likelihood = priors.GaussianLikelihood(op, data, 0.01)
    result = priors.wiener_solve(likelihood, power, 1e-8)
    assert result.iterations <= 2
    transfer = np.fft.fft2(op(np.pad([[1.0]], ((0, 7), (0, 8)))))
    expected = np.conj(transfer) * power / (np.abs(transfer) ** 2 * power + 0.01**2)
    np.testing.assert_allclose(
        result.mean, np.fft.ifft2(expected * np.fft.fft2(data)).real, atol=1e-6
    )


def test_pure_e_data_have_no_b_mode():
    sides = (9, 8)
    kappa = np.random.default_rng(2).normal(size=sides)
    op = operators.KaiserSquires(sides)
    gamma = op(kappa).numpy()
    e, b = (
        priors.wiener_filter(priors.GaussianLikelihood(op, turned, 0.3), power_of(sides), 1e-12)
        for turned in (gamma, -1j * gamma)
    )
    assert np.abs(b).max() < 1e-12
    assert np.corrcoef(np.ravel(e), np.ravel(kappa))[0, 1] > 0.7


def test_adjoint_gives_the_weighted_sum_of_the_mean():
    for sides in SIDES:
        likelihood, _, _ = survey(sides)
        power = power_of(sides)
        weights = np.random.default_rng(3).normal(size=(2, *sides))
        g = priors.wiener_adjoint(likelihood, power, weights, 1e-12)
        mean = priors.wiener_filter(likelihood, power, 1e-12)
        expected = np.sum(weights * mean, axis=(-2, -1))
        found = np.sum(np.conj(g) * likelihood.data, axis=(-2, -1)).real
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        np.testing.assert_array_equal(g.numpy()[:, ~likelihood.mask.numpy()], 0.0)


def test_samples_have_the_mean_and_covariance_of_dense_algebra():
    sides, num = (9, 7), 20000
    likelihood, rows, data = survey(sides)
    mean, covariance = expected_posterior(sides, rows, data)
    samples = priors.wiener_samples(likelihood, power_of(sides), num, seed=1, tolerance=1e-5)
    samples = samples.numpy().reshape(num, -1)
    std = np.sqrt(np.diag(covariance))
    # Errors of 63 means and 2016 covariances, in units of their own scatter: normal numbers.
    pulls = (samples.mean(axis=0) - mean) / std * np.sqrt(num)
    assert np.abs(pulls).max() < 4.5
    found = np.cov(samples.T)
    pulls = (found - covariance) * np.sqrt(num)
    pulls /= np.sqrt(std[:, None] ** 2 * std**2 + covariance**2)
    assert np.abs(pulls).max() < 5
    assert 0.85 < pulls[np.triu_indices(len(std))].std() < 1.15


def test_samples_of_real_data_and_where_nothing_is_seen():
    sides, num = (8, 8), 4000
    mask = np.zeros(sides, bool)
    mask[0, 0] = True
    op = operators.Mask(np.ones(sides))
    likelihood = priors.GaussianLikelihood(op, np.ones(sides), 1e6, mask)
    power = power_of(sides)
    samples = priors.wiener_samples(likelihood, power, num, seed=2).numpy()
    # No information: samples of the prior. 4000 x 64 correlated pixels fix a variance to 1 %.
    np.testing.assert_allclose(samples.var(), power.mean(), rtol=0.03)
    modes = np.abs(np.fft.fft2(samples, norm="ortho")) ** 2
    # Each mode's power is an exponential or chi-square mean of 4000.
    np.testing.assert_allclose(modes.mean(axis=0), power, atol=6 * np.sqrt(2 / num) * power.max())


def test_samples_are_set_by_their_seed():
    likelihood, _, _ = survey((8, 8), num=2)
    power = power_of((8, 8))
    draws = [priors.wiener_samples(likelihood, power, 3, seed).numpy() for seed in (5, 5, 6)]
    assert draws[0].shape == (3, 2, 8, 8)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).min() > 0


@pytest.mark.parametrize("jit", [False, True])
def test_gradient_with_respect_to_power_and_data(jit):
    likelihood, _, data = survey((8, 8))
    rng = np.random.default_rng(4)
    weights = tf.constant(rng.normal(size=(8, 8)))
    slope = rng.normal(size=(8, 8))
    power = power_of((8, 8))
    direction = power * (slope + np.roll(slope[::-1, ::-1], 1, axis=(0, 1)))

    def total(power, data):
        model = priors.GaussianLikelihood(
            likelihood.op, data, likelihood.noise_std, likelihood.mask
        )
        return tf.reduce_sum(weights * priors.wiener_solve(model, power, 1e-12, 200).mean)

    def gradients(power, data):
        with tf.GradientTape() as tape:
            tape.watch([power, data])
            value = total(power, data)
        return tape.gradient(value, [power, data])

    function = tf.function(gradients, jit_compile=jit, autograph=False)
    by_power, by_data = function(tf.constant(power), tf.constant(data))
    step = 1e-5
    difference = total(power + step * direction, data) - total(power - step * direction, data)
    np.testing.assert_allclose(np.sum(by_power * direction), difference / (2 * step), rtol=1e-6)
    expected = priors.wiener_adjoint(likelihood, power, weights, 1e-12)
    np.testing.assert_allclose(by_data, expected, atol=1e-9 * np.abs(expected).max())


def test_warning_tells_the_residual():
    likelihood, _, _ = survey((8, 8))
    power = power_of((8, 8))
    message = r"stopped after 2 iterations at a relative residual of \d\.\de-0\d"
    with pytest.warns(NotConvergedWarning, match=message):
        priors.wiener_filter(likelihood, power, max_iterations=2)
    with pytest.warns(NotConvergedWarning):
        priors.wiener_samples(likelihood, power, 2, seed=0, max_iterations=2)
    with pytest.warns(NotConvergedWarning):
        priors.wiener_adjoint(likelihood, power, np.eye(8), max_iterations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = priors.wiener_solve(likelihood, power, max_iterations=2)
    assert result.residual > 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, p: priors.wiener_filter(m, p[:4]), r"`power` must have shape \(8, 8\)"),
        (lambda m, p: priors.wiener_filter(m, p[0]), "`power` must have 2 axes"),
        (lambda m, p: priors.wiener_filter(m, -p), "`power` must be non-negative"),
        (lambda m, p: priors.wiener_filter(m, np.nan * p), "`power` must be non-negative"),
        (lambda m, p: priors.wiener_filter(m, np.fft.fftshift(p)[1:, 1:]), "`power` must have"),
        (lambda m, p: priors.wiener_filter(m, np.roll(p, 1)), "`power` must be the same for opp"),
        (lambda m, p: priors.wiener_filter(m, p, 0.0), "`tolerance` must be positive"),
        (lambda m, p: priors.wiener_filter(m, p, 1e-6, 0), "`max_iterations` must be positive"),
        (lambda m, p: priors.wiener_samples(m, p, 0, 1), "`num_samples` must be positive"),
        (lambda m, p: priors.wiener_adjoint(m, p, p[:3]), r"`weights` must end in axes \(8, 8\)"),
        (lambda m, p: priors.wiener_adjoint(m, p, p * np.inf), "`weights` must be finite"),
    ],
)
def test_messages(call, message):
    likelihood, _, _ = survey((8, 8))
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=message):
        call(likelihood, power_of((8, 8)))
