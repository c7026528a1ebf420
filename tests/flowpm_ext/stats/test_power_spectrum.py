"""Power spectra against a loop over modes, plane waves, Parseval, white noise and gradients."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from reference import spectra as naive

from flowpm_ext.mesh import LocalMesh
from flowpm_ext.stats import cross_power_spectrum, power_spectrum
from flowpm_ext.stats.bins import mode_bins

CELL = 2.5
SIDES = {"cube": (8, 8, 8), "slab": (8, 6, 12), "odd": (7, 9, 5), "mixed": (6, 9, 4)}
shapes = pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)


def box_of(sides):
    return tuple(CELL * n for n in sides)


def noise(sides, batch=2, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(batch, *sides)).astype(dtype)


def edges_of(sides, num=4):
    """Edges on multiples of the fundamental frequency, where modes lie."""
    return 2 * np.pi / (CELL * max(sides)) * np.arange(1, num + 1)


def wave(sides, whole, amplitude=0.3):
    """A plane wave with this many periods along each axis."""
    grid = np.meshgrid(*(np.arange(n) / n for n in sides), indexing="ij")
    phase = 2 * np.pi * sum(m * x for m, x in zip(whole, grid, strict=True)) + 0.4
    return amplitude * np.cos(phase)[None]


@shapes
@pytest.mark.parametrize("window", [None, "cic", "tsc"])
def test_power_is_that_of_a_loop_over_modes(sides, window):
    field, edges = noise(sides), edges_of(sides)
    ours = power_spectrum(field, box_of(sides), edges, window=window)
    for i in range(2):
        k, power, count = naive.binned(field[i], field[i], CELL, edges, window=window)
        # Rounding of the sums, and of a root and a sine in each mode.
        np.testing.assert_allclose(ours.k, k, rtol=1e-13)
        np.testing.assert_allclose(ours.power[i], power, rtol=1e-12)
        np.testing.assert_array_equal(ours.num_modes, count)


@shapes
def test_cross_power_is_that_of_a_loop_and_keeps_its_sign(sides):
    a, edges = noise(sides), edges_of(sides)
    b = noise(sides, seed=1) - 0.7 * a
    ours = cross_power_spectrum(a, b, box_of(sides), edges, window="cic").power
    for i in range(2):
        _, power, _ = naive.binned(a[i], b[i], CELL, edges, window="cic")
        np.testing.assert_allclose(ours[i], power, rtol=1e-12, atol=1e-12 * np.abs(power).max())
    minus = cross_power_spectrum(a, -a, box_of(sides), edges).power
    np.testing.assert_allclose(minus, -power_spectrum(a, box_of(sides), edges).power, rtol=1e-14)


def test_default_bins_are_centred_on_multiples_of_the_fundamental_frequency():
    for sides, num in (((8, 8, 8), 3), ((9, 9, 9), 4), ((4, 6, 8), 3), ((3, 1, 1), 1)):
        fundamental = 2 * np.pi / (CELL * max(sides))
        default = power_spectrum(noise(sides), box_of(sides))
        edges = fundamental * (np.arange(num + 1) + 0.5)
        given = power_spectrum(noise(sides), box_of(sides), edges)
        for ours, theirs in zip(default, given, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def test_a_mode_on_an_edge_is_in_the_bin_that_begins_there():
    # Rounded both ways, to float64 and to float32, as edges made by users are.
    fundamental = 2 * np.pi / (8 * CELL)
    for factor in (1 - 1e-7, 1 - 1e-12, 1.0, 1 + 1e-12, 1 + 1e-7):
        edges = factor * fundamental * np.array([1.0, 1.2, 2.0])
        found = power_spectrum(noise((8, 8, 8)), 8 * CELL, edges)
        np.testing.assert_array_equal(found.num_modes, [6, 12 + 8])


def test_the_mean_is_in_no_bin():
    edges = 2 * np.pi / (8 * CELL) * np.array([0.0, 1.1])
    field = noise((8, 8, 8))
    still, moved = (power_spectrum(field + c, 8 * CELL, edges) for c in (0.0, 5.0))
    np.testing.assert_array_equal(still.num_modes, [6])
    np.testing.assert_allclose(moved.power, still.power, rtol=1e-11)  # rounding of 5 + field


@pytest.mark.parametrize("whole", [(1, 0, 0), (0, -2, 1), (2, 1, 3)], ids=str)
def test_plane_wave_is_in_one_bin(whole):
    sides, amplitude = (8, 8, 8), 0.3
    edges = 2 * np.pi / (8 * CELL) * (np.arange(5) + 0.5)
    k, power, count = power_spectrum(wave(sides, whole, amplitude), 8 * CELL, edges)
    length = 2 * np.pi / (8 * CELL) * np.linalg.norm(whole)
    here = np.searchsorted(edges, length) - 1
    # Two modes, k and -k, of amplitude 1/2 each.
    expected = np.zeros(4)
    expected[here] = (8 * CELL) ** 3 * 2 * (amplitude / 2) ** 2 / count.numpy()[here]
    np.testing.assert_allclose(power[0], expected, rtol=1e-13, atol=1e-25)
    assert edges[here] <= k[here] < edges[here + 1]


@shapes
def test_all_power_is_the_variance(sides):
    field = noise(sides, batch=3)
    found = power_spectrum(field, box_of(sides), [0.0, 0.9, 2 * np.pi / CELL])
    assert sum(found.num_modes.numpy()) == np.prod(sides) - 1
    total = np.sum(found.power * found.num_modes.numpy(), axis=1) / np.prod(box_of(sides))
    np.testing.assert_allclose(total, np.var(field, axis=(1, 2, 3)), rtol=1e-13)


def test_white_noise_has_flat_power_with_the_scatter_of_its_modes():
    batch, n = 200, 12
    field = noise((n, n, n), batch)
    _, power, count = power_spectrum(field, n * CELL)
    count, power = count.numpy(), power.numpy() / CELL**3  # expected: 1
    # Five standard deviations of the mean, and of a chi-square with 200 degrees of freedom. The
    # bins end below Nyquist, where every mode has a distinct conjugate.
    np.testing.assert_array_less(np.abs(power.mean(0) - 1), 5 * np.sqrt(2 / count / batch))
    chi2 = np.sum((power - 1) ** 2, axis=0) / (2 / count)
    # A power of few modes is skewed: its square varies more, by 1 + 6 / count (kurtosis 12 / nu).
    spread = np.sqrt(batch * (2 + 24 / count))
    np.testing.assert_array_less(np.abs(chi2 - batch), 5 * spread)


def test_shot_noise_is_subtracted():
    field = noise((8, 8, 8))
    with_noise, without = (power_spectrum(field, 20.0, shot_noise=s).power for s in (0.0, 3.5))
    np.testing.assert_allclose(with_noise - without, 3.5, rtol=1e-12)


def test_batch_is_a_loop():
    field = noise((8, 6, 4), batch=3)
    together = power_spectrum(field, box_of((8, 6, 4))).power
    for i in range(3):
        alone = power_spectrum(field[i : i + 1], box_of((8, 6, 4))).power[0]
        np.testing.assert_allclose(together[i], alone, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eager_graph_and_compiled_calls_agree(dtype):
    field = tf.constant(noise((8, 6, 4), dtype=dtype))
    box = box_of((8, 6, 4))

    def call(field):
        return power_spectrum(field, box, window="tsc", shot_noise=0.1)

    eager = call(field)
    assert eager.power.dtype == eager.k.dtype == field.dtype
    graph = functools.partial(tf.function, autograph=False)
    signature = [tf.TensorSpec([None, 8, 6, 4], field.dtype)]
    for run in (graph(call), graph(call, signature), graph(call, jit_compile=True)):
        for ours, theirs in zip(run(field), eager, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=100 * np.finfo(dtype).eps)


def test_float32_keeps_its_digits():
    # Partial sums: the bins hold up to 12000 modes.
    field = noise((64, 64, 64), batch=1, dtype=np.float32)
    single = power_spectrum(field, 64 * CELL).power
    double = power_spectrum(field.astype(np.float64), 64 * CELL).power
    np.testing.assert_allclose(single, double, rtol=2e-6)


def test_gradient_is_that_of_finite_differences():
    x, y = (tf.constant(noise((4, 5, 4), seed=s)) for s in (0, 1))
    box = box_of((4, 5, 4))

    def loss(x, y):
        own = power_spectrum(x, box, window="cic", shot_noise=0.3).power
        both = cross_power_spectrum(x, y, box).power
        return tf.reduce_sum(own * both) / box[0] ** 6

    loss = tf.function(loss, jit_compile=True, autograph=False)
    theory, numeric = tf.test.compute_gradient(loss, [x, y], delta=1e-4)
    for ours, theirs in zip(theory, numeric, strict=True):
        # A polynomial of degree 4: the differences err by the square of the step.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())


def test_bins_are_made_once_for_equal_meshes():
    edges = (0.5, 1.0, 2.0)
    assert mode_bins(LocalMesh(8), edges) is mode_bins(LocalMesh((8, 8, 8)), edges)


BAD = {
    "infinite": (dict(overdensity=np.full((1, 8, 8, 8), np.inf)), "`overdensity` must be finite"),
    "rank": (dict(overdensity=np.zeros((8, 8, 8))), "`overdensity` must have 4 axes"),
    "falling": (dict(k_edges=[0.5, 0.4]), "`k_edges` must increase"),
    "below zero": (dict(k_edges=[-0.5, 0.4]), "`k_edges` must be non-negative"),
    "one edge": (dict(k_edges=[0.5]), "`k_edges` must hold at least two"),
    "edges of rank 2": (dict(k_edges=[[0.5, 0.6]]), "`k_edges` must have 1 axes"),
    "empty bin": (dict(k_edges=[0.3, 0.5, 0.51, 0.6]), "`k_edges` must have modes in every bin"),
    "beyond": (dict(k_edges=[1.0, 9.0, 10.0]), "none in 1 of 2 bins, first in bin 1"),
    "box": (dict(box_size=-1.0), "`box_size` must be positive"),
    "cells": (dict(box_size=(20.0, 20.0, 25.0)), "`box_size` must divide into cubic cells"),
    "window": (dict(window="ngp"), "`window` must be one of"),
    "shot noise": (dict(shot_noise=-1.0), "`shot_noise` must be non-negative"),
    "two shot noises": (dict(shot_noise=[1.0, 2.0]), "`shot_noise` must have 0 axes"),
    "mesh": (dict(mesh=LocalMesh(6)), "`overdensity` must have the sides of the mesh"),
    "tiny": (dict(overdensity=np.zeros((1, 2, 2, 2))), "`k_edges` must be given"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD)
def test_bad_input_is_refused(change, message):
    given = dict(overdensity=noise((8, 8, 8)), box_size=20.0) | change
    with pytest.raises(ValueError, match=message):
        power_spectrum(**given)


def test_other_refusals():
    field = noise((8, 8, 8))
    with pytest.raises(ValueError, match="`b` must have the shape of `a`"):
        cross_power_spectrum(field, field[:1], 20.0)
    with pytest.raises(ValueError, match="`b` must be finite"):
        cross_power_spectrum(field, np.full_like(field, np.nan), 20.0)
    with pytest.raises(TypeError, match="`overdensity` must be of type float32 or float64"):
        power_spectrum(field + 1j, 20.0)
    traced = tf.function(lambda edges: power_spectrum(field, 20.0, edges), autograph=False)
    with pytest.raises(ValueError, match="`k_edges` must be known when the graph is built"):
        traced(tf.constant([0.3, 0.6]))
