"""The annealed maximum a posteriori, where the answer is known and where it was measured."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
import rim
from flowpm_ext.cosmology.power import linear_matter_power
from flowpm_ext.stats import cross_correlation, transfer_function

COSMO = fpm.Planck15()
BINS = np.array([0.04, 0.06, 0.08, 0.12, 0.17, 0.23, 0.26, 0.34])  # every other one is used


def r_and_t(x, truth, box):
    r = cross_correlation(x, truth, box, BINS).correlation.numpy()
    t = transfer_function(x, truth, box, BINS).transfer.numpy()
    return r[:, ::2].mean(0), t[:, ::2].mean(0)


def quietly(problem, y, *args, **options):
    return rim.map_estimate(problem, y, *args, progress=False, **options)


@pytest.fixture(scope="module")
def matter():
    """Matter with unit noise, in cells of 6.25 Mpc/h."""
    problem = rim.InitialConditions(COSMO, 32, 200.0)
    return problem, *problem.simulate(1, 4)


@pytest.fixture(scope="module")
def estimate(matter):
    problem, _, y = matter
    return quietly(problem, y)


@pytest.mark.parametrize("method", ["scipy", "tfp"])
def test_linear_model_gives_the_wiener_filter(method):
    problem = rim.InitialConditions(COSMO, 16, 100.0, "linear", bias=(0.5, 0.0), noise_power=500.0)
    _, y = problem.simulate(0, 2)
    y = tf.cast(y, tf.float64)
    found = quietly(problem, y, (0.0,), (60,), coordinates="white", method=method)
    k = 2 * np.pi * np.fft.fftfreq(16, 6.25)
    k = np.sqrt(sum(q**2 for q in np.meshgrid(k, k, k, indexing="ij")))
    power = np.zeros_like(k)
    power[k > 0] = linear_matter_power(COSMO, k[k > 0]).numpy()
    gain = 1.5 * power / (1.5**2 * power + 500.0)
    wiener = np.fft.ifftn(gain * np.fft.fftn(y.numpy(), axes=(1, 2, 3)), axes=(1, 2, 3)).real
    np.testing.assert_allclose(found.x, wiener, atol=2e-3 * wiener.std())
    at_once = quietly(problem, y, (0.0,), (3,))  # a sphere in Wiener coordinates
    # The spectrum is kept as a table, exact to about 1e-5.
    np.testing.assert_allclose(at_once.x, wiener, atol=5e-5 * wiener.std())


def test_matter_is_reconstructed_as_well_as_measured(matter, estimate):
    _, x, y = matter
    r, t = r_and_t(estimate.x, x, 200.0)
    assert estimate.num_gradients == 24 and estimate.history.shape == (4, 24, 2)
    # Published bars for this protocol: .980 .965 .860 .620.
    assert np.all(r >= [0.980, 0.960, 0.850, 0.620])
    assert np.all((t > [0.88, 0.82, 0.65, 0.5]) & (t < [1.05, 1.0, 0.85, 0.75]))
    data, _ = r_and_t(y, x, 200.0)
    assert np.all(r - data > [0, 0.1, 0.3, 0.35])
    assert np.all(estimate.history[:, -1, 1] < estimate.history[:, -12, 1])


def test_noise_and_zero_lead_to_the_same_field(matter):
    problem, x, y = matter
    start = problem.simulate(99, 4)[0]
    ends = [quietly(problem, y, num_evaluations=(15, 15, 40), start=s).x for s in (None, start)]
    for a, b, tolerance in zip(
        *(r_and_t(end, x, 200.0) for end in ends), (0.005, 0.02), strict=True
    ):
        np.testing.assert_allclose(a[:3], b[:3], atol=tolerance)


def test_without_annealing_it_is_worse(matter, estimate):
    problem, x, y = matter
    start = problem.simulate(99, 4)[0]
    stuck = quietly(problem, y, (0.0,), (24,), start=start)
    r, _ = r_and_t(stuck.x, x, 200.0)
    best, _ = r_and_t(estimate.x, x, 200.0)
    assert r[3] < best[3] - 0.05 and r[0] < best[0] - 0.005


def test_generic_problem_and_context():
    """Two numbers from their sums with known noise, which differs between the examples."""

    def log_likelihood(x, y):
        data, std = y
        return -0.5 * tf.reduce_sum(((tf.cumsum(x, 1) - data) / std) ** 2, 1)

    problem = rim.InverseProblem(log_likelihood, lambda x: -0.5 * tf.reduce_sum(x**2, 1))
    data = np.array([[1.0, 3.0], [0.0, -2.0]])
    std = np.array([[1.0, 0.1], [2.0, 0.5]])
    found = quietly(
        problem, (tf.constant(data), tf.constant(std)), (0.0,), (30,), start=np.zeros((2, 2))
    )
    sums = np.tril(np.ones((2, 2)))
    for got, d, s in zip(found.x, data, std, strict=True):
        scaled = sums / s[:, None]
        exact = np.linalg.solve(np.eye(2) + scaled.T @ scaled, scaled.T @ (d / s))
        np.testing.assert_allclose(got, exact, rtol=1e-6)
    likelihood, prior = problem.gradients(found.x, (tf.constant(data), tf.constant(std)))
    np.testing.assert_allclose(likelihood + prior, 0, atol=1e-5)


def test_scales_are_told(matter):
    problem, _, y = matter
    seen = []
    quietly(problem, y[:1], (1.0, 0.0), (2, 2), on_scale=lambda i, s, x: seen.append((i, s)))
    assert seen == [(0, 1.0), (0, 0.0)]


def test_refusals(matter):
    problem, _, y = matter
    plain = rim.InverseProblem(lambda x, y: x, lambda x: x)
    with pytest.raises(ValueError, match="`scales` must decrease"):
        quietly(problem, y, (0.0, 1.0))
    with pytest.raises(ValueError, match=r"`scales` must be \(0,\) here.*takes no `scale`"):
        quietly(plain, y)
    with pytest.raises(ValueError, match="`num_evaluations` must be 3 positive integers"):
        quietly(problem, y, num_evaluations=(5, 5))
    with pytest.raises(ValueError, match="`y` must have the mesh"):
        quietly(problem, y[:, :16])
    with pytest.raises(ValueError, match="`coordinates` must be"):
        quietly(problem, y, coordinates="fourier")
    with pytest.raises(TypeError, match="`log_prior` must be a function"):
        rim.InverseProblem(lambda x, y: x, 3)
