"""Ways of running that must agree: compiled, as a graph, by operation; one and many; precision."""

import numpy as np
import pytest
import tensorflow as tf
from reference import cosmologies

from flowpm_ext.cosmology import Cosmology, Planck15, background, power, probes, redshift
from flowpm_ext.cosmology.angular_cl import angular_cl

VALUES = cosmologies.draw(size=32, seed=4)
ELL = np.geomspace(10.0, 3000.0, 5)
BIN = redshift.gaussian_nz(1.0, 0.1)
PROBES = [probes.WeakLensing([BIN], ia_bias=1.0), probes.NumberCounts([BIN], 1.5)]


def single(values):
    return {name: tf.constant(value, tf.float32) for name, value in values.items()}


@pytest.fixture
def by_operation():
    """What would compile itself runs operation by operation in one test."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def compiled():
    """Spectra of 32 cosmologies in one program, which an eager call is."""
    return angular_cl(Cosmology(**VALUES), ELL, PROBES).numpy()


def test_many_cosmologies_are_a_loop_over_one(compiled):
    graph = tf.function(lambda cosmo: angular_cl(cosmo, ELL, PROBES), autograph=False)
    for i, expected in enumerate(compiled):
        alone = graph(Cosmology(**cosmologies.one(VALUES, i)).tensors())
        # A graph of single operations against a program: other orders of sums.
        np.testing.assert_allclose(alone, expected, rtol=1e-12)


def test_operations_one_by_one_give_the_same(compiled, by_operation):
    ours = angular_cl(Cosmology(**VALUES), ELL, PROBES)
    np.testing.assert_allclose(ours, compiled, rtol=1e-12)


def test_single_precision_of_spectra(compiled):
    ours = angular_cl(Cosmology(**single(VALUES)), ELL, PROBES)
    assert ours.dtype == tf.float32
    autos = compiled[:, [0, 2]]
    scale = np.stack([autos[:, 0], np.sqrt(autos[:, 0] * autos[:, 1]), autos[:, 1]], axis=1)
    # The project's bar, of sqrt(C_ii C_jj): shear and counts of one bin nearly cancel.
    np.testing.assert_allclose(ours / scale, compiled / scale, atol=1e-4)


def test_single_precision_of_derivatives(by_operation):
    def gradient(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            spectra = angular_cl(Cosmology(**values), ELL, PROBES[1:])
            total = tf.reduce_sum(tf.math.log(spectra))
        return np.stack([slope.numpy() for slope in tape.gradient(total, values).values()])

    values = {name: value[:6] for name, value in VALUES.items()}
    double = gradient({name: tf.constant(value) for name, value in values.items()})
    ours = gradient(single(values))
    # Of the largest for each parameter: sums of thousands of terms of both signs.
    scale = np.max(np.abs(double), axis=1, keepdims=True)
    np.testing.assert_allclose(ours / scale, double / scale, atol=2e-3)


K, A = np.geomspace(1e-3, 10.0, 20), np.linspace(0.2, 1.0, 5)


def everything(cosmo):
    """What the spectra are made of, and more: each function of a kind, or the one that calls it."""
    return {
        "f_K": background.transverse_comoving_distance(cosmo, A),
        "a": background.a_of_chi(cosmo, tf.constant([10.0, 1000.0, 4000.0], cosmo.dtype)),
        "f1": background.growth_rate(cosmo, A),
        "f2": background.growth_rate_second(cosmo, A),
        "nowiggle": power.linear_matter_power(cosmo, K, A, "eisenstein_hu_nowiggle"),
        "bbks": power.linear_matter_power(cosmo, K, A, "bbks"),
        "halofit": power.nonlinear_matter_power(cosmo, K, A),
    }


@pytest.fixture(scope="module")
def one_by_one():
    return everything(Cosmology(**VALUES).tensors())


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_and_programs_give_the_same(one_by_one, jit_compile):
    whole = tf.function(everything, jit_compile=jit_compile, autograph=False)
    for name, value in whole(Cosmology(**VALUES).tensors()).items():
        # Other orders of sums, in up to 2000 steps.
        np.testing.assert_allclose(value, one_by_one[name], rtol=1e-11, err_msg=name)


def test_single_precision_of_everything(one_by_one):
    for name, value in everything(Cosmology(**single(VALUES))).items():
        assert value.dtype == tf.float32
        # Rounding of 6e-8 in sums of hundreds of terms; powers of it in halofit.
        tolerance = 2e-4 if name == "halofit" else 5e-5
        np.testing.assert_allclose(value, one_by_one[name], rtol=tolerance, err_msg=name)


def test_one_cosmology_is_a_row_of_many(one_by_one):
    for i in (0, 13, 31):
        alone = everything(Cosmology(**cosmologies.one(VALUES, i)))
        for name, value in alone.items():
            np.testing.assert_allclose(value, one_by_one[name][i], rtol=1e-12, err_msg=name)


def test_some_parameters_may_be_many_and_others_one():
    h = np.array([0.6, 0.7, 0.8])
    together = everything(Planck15(h=h))
    for i in range(3):
        alone = everything(Planck15(h=h[i]))
        for name, value in alone.items():
            np.testing.assert_allclose(
                np.broadcast_to(together[name], (3, *value.shape))[i],
                value, rtol=1e-12, err_msg=name,
            )  # fmt: skip


def test_single_precision_of_infall_beside_the_microwave_background(by_operation):
    # At low ell the second distance of the infall lies beyond the horizon for distant nodes.
    tracers = [probes.NumberCounts([BIN], 1.5, has_rsd=True), probes.CMBLensing()]
    ell = np.array([2.0, 5.0, 10.0, 100.0])
    double = angular_cl(Planck15(), ell, tracers).numpy()
    ours = angular_cl(Planck15().replace(h=tf.constant(0.6774, tf.float32)), ell, tracers)
    np.testing.assert_allclose(ours, double, rtol=1e-4)  # the project's bar
