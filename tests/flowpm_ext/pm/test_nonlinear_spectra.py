"""Nonlinear spectra: against halofit, and of few steps against many of the same field."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import paint
from flowpm_ext.pm import lpt_init, nbody
from flowpm_ext.stats import power_spectrum

COSMO = fpm.Planck15()
BOX = 256.0
EDGES = np.arange(0.05, 0.31, 0.05)
# A coarser lattice is 64^3 in the same box; the bars are those of 128^3.
SIZES = [64, pytest.param(128, marks=pytest.mark.slow)]


def linear(n, seed, **options):
    k = np.geomspace(1e-3, 20.0, 400)
    table = (k, power.linear_matter_power(COSMO, k).numpy())
    return linear_field(n, BOX, table, seed=seed, is_fixed=True, **options)


def spectrum(field, num_steps, integrator="fastpm"):
    """Mean k and power in bins of 0.05 h/Mpc at a = 1, force mesh twice as fine."""
    n = field.shape[1]
    stages = np.linspace(0.1, 1.0, num_steps + 1)
    start = lpt_init(COSMO, field, 0.1)
    state = nbody(COSMO, start, stages, n, integrator, force_mesh_factor=2)
    weight = 8 * tf.ones_like(state.position[..., 0])
    fine = tf.zeros([1, 2 * n, 2 * n, 2 * n])
    density = paint(fine, 2 * state.position, weight) - 1
    k, power, _ = power_spectrum(density, BOX, EDGES, window="cic")
    return np.asarray(k), np.asarray(power)[0]


@functools.cache
def many_steps(n):
    return spectrum(linear(n, seed=1), 100)


@pytest.mark.parametrize("n", SIZES)
def test_ten_steps_against_a_hundred(n):
    _, ten = spectrum(linear(n, seed=1), 10)
    np.testing.assert_allclose(ten / many_steps(n)[1], 1.0, atol=0.02)


@pytest.mark.parametrize("n", SIZES)
def test_six_steps_of_bullfrog_against_a_hundred(n):
    _, six = spectrum(linear(n, seed=1), 6, "bullfrog")
    k, hundred = many_steps(n)
    np.testing.assert_allclose((six / hundred)[k < 0.2], 1.0, atol=0.01)


@pytest.mark.parametrize("n", SIZES)
def test_spectrum_against_halofit(n):
    # Four pairs of opposite phase and fixed amplitude, which take most of the scatter away.
    # halofit itself is good to about 5 % here.
    spectra = [
        spectrum(linear(n, seed, is_paired=is_paired), 10)
        for seed in range(4)
        for is_paired in (False, True)
    ]
    k = spectra[0][0]
    measured = np.mean([power for _, power in spectra], axis=0)
    theory = power.nonlinear_matter_power(COSMO, k).numpy()
    np.testing.assert_allclose(measured / theory, 1.0, atol=0.07)
