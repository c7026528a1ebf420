"""Multipoles: a loop over modes, plane waves, and a field with a known angular dependence."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from reference import spectra as naive

from flowpm_ext.stats import power_multipoles, power_spectrum

SIDES, BOX, CELL = (8, 6, 4), (20.0, 15.0, 10.0), 2.5
EDGES = 2 * np.pi / 20.0 * np.array([1.0, 1.9, 3.0, 4.0])


def noise(seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(2, *SIDES)).astype(dtype)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("window", [None, "tsc"])
def test_multipoles_are_those_of_a_loop_over_modes(axis, window):
    x, degrees = noise(), (0, 2, 4, 6)
    ours = power_multipoles(x, BOX, EDGES, degrees, axis, window=window)
    assert ours.power.shape == (2, 4, 3)
    for i in range(2):
        for j, degree in enumerate(degrees):
            k, power, count = naive.binned(x[i], x[i], CELL, EDGES, degree, axis, window)
            # Rounding; terms of both signs cancel.
            scale = np.abs(power).max()
            np.testing.assert_allclose(ours.power[i, j], power, rtol=1e-11, atol=1e-12 * scale)
        np.testing.assert_allclose(ours.k, k, rtol=1e-13)
        np.testing.assert_array_equal(ours.num_modes, count)


def test_monopole_is_the_power_spectrum_and_alone_loses_shot_noise():
    plain = power_multipoles(noise(), BOX, EDGES, (2, 0))
    less = power_multipoles(noise(), BOX, EDGES, (2, 0), shot_noise=1.5)
    np.testing.assert_allclose(plain.power[:, 1], power_spectrum(noise(), BOX, EDGES).power)
    np.testing.assert_array_equal(less.power[:, 0], plain.power[:, 0])
    np.testing.assert_allclose(plain.power[:, 1] - less.power[:, 1], 1.5, rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_plane_waves_along_and_across_the_line_of_sight(axis):
    n = 6
    x = np.cos(2 * np.pi * np.arange(n) / n)
    for direction in range(3):
        field = np.broadcast_to(x.reshape(np.roll([n, 1, 1], direction)), (n, n, n))[None]
        power = power_multipoles(field, 15.0, line_of_sight=axis).power[0, :, 0]
        # L_l(1) = 1, and L_l(0) = 1, -1/2, 3/8.
        expected = [1, 5, 9] if direction == axis else [1, -5 / 2, 9 * 3 / 8]
        np.testing.assert_allclose(power / power[0], expected, rtol=1e-12)


def test_kaiser_multipoles():
    # Modes of modulus 1 + beta mu**2 and any phase: no scatter but that of directions.
    n, beta = 24, 0.5
    fundamental = 2 * np.pi / (n * CELL)
    k = 2 * np.pi / CELL * np.stack(np.meshgrid(*3 * [np.fft.fftfreq(n)], indexing="ij"))
    length = np.sqrt(np.sum(k**2, axis=0))
    mu = k[2] / np.maximum(length, 1e-30)
    white = np.fft.fftn(np.random.default_rng(0).normal(size=3 * [n]))
    modulus = 1 + beta * mu**2
    field = np.fft.ifftn(white / np.abs(white) * modulus).real[None] * n**3
    edges = fundamental * (np.arange(9) + 1.5)
    _, power, count = power_multipoles(field, n * CELL, edges)
    power = power[0].numpy() / (n * CELL) ** 3
    factors = (1 + 2 / 3 * beta + beta**2 / 5, 4 / 3 * beta + 4 / 7 * beta**2, 8 / 35 * beta**2)
    for ours, degree, factor in zip(power, (0, 2, 4), factors, strict=True):
        weight = (2 * degree + 1) * naive.legendre(degree, mu) * modulus**2
        bins = [
            np.mean(weight[(length >= low) & (length < high)])
            for low, high in itertools.pairwise(edges)
        ]
        np.testing.assert_allclose(ours, bins, rtol=1e-11)  # rounding; terms cancel
        # Directions on a lattice are not all directions, which the mean of L_4 over the 4000
        # modes of all bins shows to 2e-3; nine times as much in P_4.
        np.testing.assert_allclose(np.average(ours, weights=count), factor, atol=0.03)


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-4), (np.float64, 1e-11)])
def test_eager_and_compiled_calls_agree(dtype, rtol):
    x = noise(dtype=dtype)
    eager = power_multipoles(x, BOX)
    assert eager.power.dtype == dtype
    run = tf.function(lambda x: power_multipoles(x, BOX), jit_compile=True, autograph=False)
    for ours, theirs in zip(run(x), eager, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol)  # rounding; terms cancel


def test_gradient_is_that_of_finite_differences():
    x = tf.constant(noise()[:1])
    upstream = tf.constant(np.random.default_rng(1).normal(size=(1, 3, 3)))

    def loss(x):
        return tf.reduce_sum(upstream * power_multipoles(x, BOX, EDGES).power)

    loss = tf.function(loss, jit_compile=True, autograph=False)
    (theory,), (numeric,) = tf.test.compute_gradient(loss, [x], delta=1e-3)
    # Quadratic in the field: central differences are exact up to rounding.
    np.testing.assert_allclose(theory, numeric, atol=1e-9 * np.abs(numeric).max())


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(multipoles=(0, 1)), "`multipoles` must be even integers"),
        (dict(multipoles=(-2,)), "`multipoles` must be even integers"),
        (dict(multipoles=()), "`multipoles` must be even integers"),
        (dict(line_of_sight=3), "`line_of_sight` must be an axis"),
        (dict(shot_noise=-1.0), "`shot_noise` must be non-negative"),
        (dict(k_edges=[0.0, 0.1]), "`k_edges` must have modes"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        power_multipoles(noise(), BOX, **change)
