"""Straight lines of sight: kernels, places, windows, and spectra of planes of known power."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import quad
from scipy.ndimage import map_coordinates

import flowpm_ext as fpm
from flowpm_ext.cosmology import background, redshift
from flowpm_ext.lensing import LensPlanes, born
from flowpm_ext.lensing.alignment import alignment_weights
from flowpm_ext.lensing.sources import lensing_weights

COSMO = fpm.Planck15(Omega_k=0.01)
HUBBLE_RADIUS = 2997.92458  # Mpc/h
CHI = np.array([100.0, 300.0, 500.0, 700.0, 900.0])


def planes(density, side=200.0, thickness=200.0):
    chi = thickness * (np.arange(density.shape[0]) + 0.5)
    return LensPlanes(density, chi, thickness, side)


def distance(z):
    """f_K (Mpc/h), integrated here."""

    def rate(x):
        return 1 / np.sqrt(COSMO.Omega_m * (1 + x) ** 3 + 0.01 * (1 + x) ** 2 + COSMO.Omega_de)

    chi = quad(rate, 0, z, epsabs=1e-12)[0]
    return HUBBLE_RADIUS * np.sinh(0.1 * chi) / 0.1, HUBBLE_RADIUS * chi


def test_kernel_against_an_integral():
    nz = redshift.gaussian_nz(0.6, 0.1)
    a = background.a_of_chi(COSMO, CHI).numpy()

    def kernel(chi, scale):
        near = HUBBLE_RADIUS / 0.1 * np.sinh(0.1 * chi / HUBBLE_RADIUS)

        def integrand(z):
            far, far_chi = distance(z)
            between = HUBBLE_RADIUS / 0.1 * np.sinh(0.1 * max(far_chi - chi, 0) / HUBBLE_RADIUS)
            return float(nz(z)) * between / far

        reach = quad(integrand, 0.1, 1.2, points=[0.3, 0.45, 0.6], limit=200)[0]
        return 1.5 * COSMO.Omega_m / HUBBLE_RADIUS**2 * near / scale * reach

    expected = [kernel(chi, scale) for chi, scale in zip(CHI, a, strict=True)]
    # Eight nodes in each panel; the kernel has a kink at the plane.
    np.testing.assert_allclose(lensing_weights(COSMO, nz, tf.constant(CHI)), expected, rtol=1e-4)


def test_aligned_galaxies_are_those_of_the_slab():
    nz = redshift.gaussian_nz(0.3, 0.05)
    thickness = tf.constant(200.0, tf.float64)
    weights = alignment_weights(COSMO, [nz], tf.constant(CHI), thickness, 2.0)[:, 0]
    growth = background.growth_factor(COSMO, background.a_of_chi(COSMO, CHI))
    amplitude = -2.0 * 5e-14 * 2.775366e11 * COSMO.Omega_m / growth
    fraction = (weights / amplitude).numpy()
    edges = 1 / background.a_of_chi(COSMO, 200.0 * np.arange(1, 6)).numpy() - 1
    for i in range(1, 5):
        expected = quad(lambda z: float(nz(z)), edges[i - 1], edges[i], points=[0.3])[0]
        np.testing.assert_allclose(fraction[i], expected, rtol=1e-3, atol=1e-6)


def test_map_reads_planes_where_lines_of_sight_pass():
    rng = np.random.default_rng(0)
    density = rng.normal(size=[3, 2, 32, 32])
    cosmo = fpm.Planck15()
    nz = [redshift.delta_nz(0.2), redshift.delta_nz(0.15)]
    kappa = born(cosmo, planes(density), nz, 10.0, 12)
    assert kappa.shape == (2, 12, 12, 2)
    theta = np.deg2rad(((np.arange(12) + 0.5) / 12 - 0.5) * 10.0)
    expected = np.zeros([2, 12, 12, 2])
    for k, chi in enumerate((100.0, 300.0, 500.0)):
        where = np.stack(np.meshgrid(theta, theta, indexing="ij")) * chi / 200.0 * 32 + 16
        for b, row in enumerate(nz):
            weight = 200.0 * float(lensing_weights(cosmo, row, tf.constant([chi], tf.float64))[0])
            for i in range(2):
                expected[i, ..., b] += weight * map_coordinates(
                    density[k, i], where, order=1, mode="grid-wrap"
                )
    np.testing.assert_allclose(kappa, expected, atol=1e-12 * np.abs(expected).max())


def test_supersampling_is_the_mean_over_a_pixel():
    density = np.random.default_rng(1).normal(size=[2, 1, 32, 32])
    nz = [redshift.delta_nz(0.1)]
    fine = born(fpm.Planck15(), planes(density), nz, 10.0, 24).numpy()
    coarse = born(fpm.Planck15(), planes(density), nz, 10.0, 8, supersampling=3)
    np.testing.assert_allclose(coarse, fine.reshape(1, 8, 3, 8, 3, 1).mean((2, 4)), rtol=1e-10)


def test_spectrum_of_planes_of_known_power():
    """White planes: C_ell is the sum of w**2 P / f_K**2, under the windows of both readings."""
    cosmo, num, batch, n = fpm.Planck15(), 3, 64, 64
    density = np.random.default_rng(2).normal(size=[num, batch, n, n])
    side, nz = 200.0, [redshift.delta_nz(0.2)]
    degrees = np.rad2deg(40.0 / 500.0)  # 40 Mpc/h at the last plane
    kappa = born(cosmo, planes(density, side), nz, degrees, 64).numpy()[..., 0]
    # The variance of a pixel: reading between four pixels keeps (2/3)**2 of white noise.
    weight = 200.0 * lensing_weights(cosmo, nz[0], tf.constant([100.0, 300.0, 500.0], tf.float64))
    expected = (2 / 3) ** 2 * float(tf.reduce_sum(weight**2))
    # At the nearest plane 64 fields span 8 Mpc/h, 2.6 pixels: 64 * 6 independent numbers or so.
    np.testing.assert_allclose(kappa.var(), expected, rtol=0.15)


def test_gradient_by_planes_is_the_adjoint():
    density = np.random.default_rng(3).normal(size=[2, 1, 16, 16])
    upstream = np.random.default_rng(4).normal(size=[1, 8, 8, 1])
    nz = [redshift.delta_nz(0.1)]
    variable = tf.constant(density)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        kappa = born(fpm.Planck15(), planes(variable), nz, 10.0, 8)
        product = tf.reduce_sum(kappa * upstream)
    back = tape.gradient(product, variable)
    np.testing.assert_allclose(np.sum(back * density), product, rtol=1e-12)


def test_compiles_within_a_graph():
    density = np.random.default_rng(5).normal(size=[2, 1, 16, 16])
    nz = [redshift.smail_nz(2.0, 1.5, 0.03)]

    def maps(density):
        return born(fpm.Planck15(), planes(density), nz, 10.0, 8)

    compiled = tf.function(maps, jit_compile=True)(tf.constant(density))
    np.testing.assert_allclose(compiled, maps(tf.constant(density)), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        ({"nz": [redshift.delta_nz(1.0)]}, r"`nz\[0\]` must lie within the light cone", ValueError),
        ({"field_size_deg": 40.0}, "`field_size_deg` must span at most 1 boxes", ValueError),
        ({"field_size_deg": 0.0}, "`field_size_deg` must be positive", ValueError),
        ({"num_pixels": 0}, "`num_pixels` must be a positive integer", ValueError),
        ({"nz": []}, "`nz` must hold at least one", ValueError),
        ({"nz": [1.0]}, "`nz` must hold redshift distributions", TypeError),
    ],
)
def test_bad_input_to_born(change, words, error):
    arguments = {"nz": [redshift.delta_nz(0.15)], "field_size_deg": 5.0, "num_pixels": 8} | change
    with pytest.raises(error, match=words):
        born(fpm.Planck15(), planes(np.zeros([3, 1, 8, 8])), **arguments)


def test_amplitude_of_alignments_is_finite():
    nz = [redshift.gaussian_nz(0.1, 0.02)]
    with pytest.raises(ValueError, match="`ia_bias` must be finite"):
        born(fpm.Planck15(), planes(np.zeros([3, 1, 8, 8])), nz, 5.0, 8, ia_bias=np.nan)
