"""Fields drawn by the toolbox of samplers, beside the Gaussian posterior of a linear model."""

import numpy as np
import tensorflow as tf

import rim
from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.inference import Parameter, Space, sample

N, CELL, NOISE = 16, 6.25, 0.7


def make_problem(n):
    return rim.InitialConditions(Planck15(), n, CELL * n, dynamics="linear", noise_std=NOISE)


def signal_of_modes(n):
    """Variance of each mode of a field in cells, [n, n, n]."""
    wave = 2 * np.pi * np.fft.fftfreq(n, CELL)
    k = np.sqrt(sum(part**2 for part in np.meshgrid(wave, wave, wave, indexing="ij")))
    signal = np.zeros_like(k)
    signal[k > 0] = power.linear_matter_power(Planck15(), k[k > 0]).numpy() / CELL**3
    return signal


def log_posterior(problem, y, u, amplitude):
    n = problem.mesh.shape[0]
    field = problem.to_unknown(u, "wiener")
    mean = tf.reduce_mean(u, axis=[1, 2, 3])  # no part of the model
    log_like = problem.log_likelihood(amplitude * field, tf.broadcast_to(y, tf.shape(u)))
    return log_like + problem.log_prior(field) - 0.5 * n**3 * mean**2


def test_mean_and_variance_of_the_field_are_exact():
    problem = make_problem(N)
    _, y = problem.simulate(3)
    space = Space({"field": Parameter((N, N, N))}, tf.float32)
    draws = sample(
        lambda values: log_posterior(problem, y, values["field"], 1.0), space, 150, "hmc",
        num_warmup=60, metric="unit", start={"field": np.zeros((N, N, N))}, progress=False,
    )  # fmt: skip
    u = draws.values["field"].reshape(-1, N, N, N)
    x = problem.to_unknown(tf.constant(u), "wiener").numpy()
    gain = signal_of_modes(N) / (signal_of_modes(N) + NOISE**2)
    mean = np.fft.ifftn(gain * np.fft.fftn(y[0])).real
    error = np.sqrt(np.mean((x.mean(axis=0) - mean) ** 2) / np.mean(mean**2))
    assert error < 0.05  # by chance .022
    np.testing.assert_allclose(np.mean(x.var(axis=0)), np.mean(gain) * NOISE**2, rtol=0.02)


def test_sigma8_beside_the_field_is_as_its_integral_says():
    n = 8
    problem = make_problem(n)
    fiducial = float(problem.cosmo.sigma8)
    _, y = problem.simulate(3)
    space = Space({"field": Parameter((n, n, n)), "sigma8": Parameter((), 0.4, 1.3)}, tf.float32)

    def log_prob(values):
        amplitude = values["sigma8"][:, None, None, None] / fiducial
        return log_posterior(problem, y, values["field"], amplitude)

    start = {"field": np.zeros((n, n, n)), "sigma8": 0.7}
    draws = sample(log_prob, space, 400, "mams", num_chains=8, num_warmup=200, start=start, thin=2,
                   progress=False)  # fmt: skip
    modes = np.abs(np.fft.fftn(y[0])) ** 2 / n**3
    grid = np.linspace(0.4, 1.3, 901)
    variance = (grid / fiducial)[:, None] ** 2 * signal_of_modes(n).ravel() + NOISE**2
    exact = -0.5 * np.sum(modes.ravel() / variance + np.log(variance), axis=1)
    exact = np.exp(exact - exact.max())
    exact /= exact.sum()
    mean = np.sum(grid * exact)
    std = np.sqrt(np.sum((grid - mean) ** 2 * exact))
    ess, sigma8 = float(draws.ess["sigma8"]), draws.values["sigma8"]
    assert ess > 100 and float(draws.r_hat["sigma8"]) < 1.1
    assert abs(sigma8.mean() - mean) < 4 * std / np.sqrt(ess)
    np.testing.assert_allclose(sigma8.std(), std, rtol=4 / np.sqrt(2 * ess))
