"""Bent rays: lenses with closed forms, small lenses as in the Born approximation, one potential."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import background, redshift
from flowpm_ext.lensing import LensPlanes, born, multiplane, shear
from flowpm_ext.lensing.sources import lensing_weights

COSMO = fpm.Planck15()
SIDE = 200.0  # Mpc/h
NZ = [redshift.delta_nz(0.15)]


def planes(density, thickness=200.0):
    chi = thickness * (np.arange(density.shape[0]) + 0.5)
    return LensPlanes(density, chi, thickness, SIDE)


def lens(profile, n=512):
    """One plane with a profile in the place (Mpc/h) from its middle, and nothing before."""
    x = (np.arange(n) - n // 2) * SIDE / n
    return profile(np.hypot(*np.meshgrid(x, x, indexing="ij")))[None, None]


def bend_of(maps, num_pixels, degrees):
    """Radial deflection, angle and distance in the lens plane of pixels."""
    theta = np.deg2rad(((np.arange(num_pixels) + 0.5) / num_pixels - 0.5) * degrees)
    y, x = np.meshgrid(theta, theta, indexing="ij")
    alpha = -maps.deflection.numpy()[0, :, :, 0]
    r = np.hypot(x, y)
    return (alpha[..., 0] * y + alpha[..., 1] * x) / r, r


def scale(chi=100.0):
    """Convergence of a unit overdensity in the first slab."""
    return 200.0 * float(lensing_weights(COSMO, NZ[0], tf.constant([chi], tf.float64))[0])


def test_compact_mass():
    """Beyond its own width, a compact lens bends like a point mass, with 1 / r."""
    degrees, width, surface = 20.0, 1.0, 1e-3  # width in Mpc/h, surface in (Mpc/h)**2
    density = lens(lambda r: surface * np.exp(-0.5 * (r / width) ** 2) / (2 * np.pi * width**2))
    density -= density.mean()
    density = np.concatenate([density, 0 * density, 0 * density])
    bend, r = bend_of(multiplane(COSMO, planes(density), NZ, degrees, 64), 64, degrees)
    # Angles at the lens, 100 Mpc/h away: half the surface over pi r, but for the mean sheet,
    # which a periodic plane takes away.
    mass = surface * scale() / 100.0**2
    expected = mass / np.pi / r - mass / (SIDE / 100.0) ** 2 * r
    is_between = (r * 100 > 4 * width) & (r * 100 < SIDE / 12)
    # Images of the periodic plane add terms of (r / side)**4.
    np.testing.assert_allclose(bend[is_between], expected[is_between], rtol=0.01)


def test_isothermal_sphere():
    degrees, core = 20.0, 2.0

    def profile(r):
        return 1e-4 / np.sqrt(r**2 + core**2)

    density = lens(profile)
    density -= density.mean()
    density = np.concatenate([density, 0 * density, 0 * density])
    bend, r = bend_of(multiplane(COSMO, planes(density), NZ, degrees, 64), 64, degrees)
    x = 100.0 * r
    within = 1e-4 * (np.sqrt(x**2 + core**2) - core)  # of the convergence, over r**2 / 2
    mean = lens(profile).mean()
    expected = scale() / 100.0 * (2 * within / x - mean * x)
    near = x < SIDE / 12
    # As above; the profile has wings that a square does not hold: a tenth at r = side / 12.
    np.testing.assert_allclose(bend[near], expected[near], rtol=0.03, atol=1e-3 * bend.max())


@pytest.fixture(scope="module")
def smooth():
    """Three planes of smooth, weak matter."""
    rng = np.random.default_rng(0)
    n = 512
    k = np.fft.fftfreq(n) * n
    k2 = k[:, None] ** 2 + k[: n // 2 + 1] ** 2
    modes = np.fft.rfft2(rng.normal(size=[3, 1, n, n])) * np.exp(-k2 / 12.0)
    density = np.fft.irfft2(modes, (n, n))
    return 0.1 * density / density.std()


def test_small_lenses_are_those_of_born(smooth):
    bins = [*NZ, redshift.gaussian_nz(0.12, 0.02)]
    maps = multiplane(COSMO, planes(1e-6 * smooth), bins, 10.0, 32)
    straight = born(COSMO, planes(1e-6 * smooth), bins, 10.0, 32)
    # What is left is of second order in the lenses: 1e-6 of kappa; float64 keeps 1e-10.
    np.testing.assert_allclose(maps.convergence, straight, atol=2e-5 * np.std(straight))
    assert np.abs(maps.rotation).max() < 1e-5 * np.std(straight)


def test_one_plane_has_no_rotation(smooth):
    density = np.concatenate([smooth[:1], 0 * smooth[:2]])
    maps = multiplane(COSMO, planes(density), NZ, 10.0, 32)
    assert np.abs(maps.rotation).max() < 1e-12


def test_matrix_is_the_derivative_of_the_deflection(smooth):
    """Central differences of the angles of sources, of fine rays through strong lenses."""
    n, degrees = 128, 4.0
    maps = multiplane(COSMO, planes(5 * smooth), NZ, degrees, n)
    step = np.deg2rad(degrees) / n
    deflection = maps.deflection.numpy()[0, :, :, 0]
    by_y = (deflection[2:, 1:-1] - deflection[:-2, 1:-1]) / (2 * step)
    by_x = (deflection[1:-1, 2:] - deflection[1:-1, :-2]) / (2 * step)
    inner = (0, slice(1, -1), slice(1, -1), 0)
    kappa, gamma = maps.convergence.numpy()[inner], maps.shear.numpy()[inner]
    size = np.abs(kappa).max()
    # Tides and deflections are both read linearly between pixels of the plane: differences of
    # one and values of the other differ by a hundredth for waves of a hundred pixels.
    np.testing.assert_allclose(kappa, -(by_y[..., 0] + by_x[..., 1]) / 2, atol=0.03 * size)
    np.testing.assert_allclose(gamma.real, (by_y[..., 0] - by_x[..., 1]) / 2, atol=0.03 * size)
    np.testing.assert_allclose(gamma.imag, -(by_y[..., 1] + by_x[..., 0]) / 2, atol=0.03 * size)


def test_shear_on_the_whole_plane_is_that_of_the_convergence(smooth):
    """A field as wide as the plane at the lens is periodic, and Kaiser-Squires is exact."""
    n, chi = 64, 100.0
    density = np.concatenate([1e-6 * smooth[:1], 0 * smooth[:2]])
    degrees = np.rad2deg(SIDE / chi)
    maps = multiplane(COSMO, planes(density), NZ, degrees, n, max_repeats=5.0)
    kappa = maps.convergence[..., 0]
    np.testing.assert_allclose(
        maps.shear[..., 0], shear(kappa), atol=2e-3 * np.abs(kappa).max()
    )  # rays pass between pixels


def test_gradient_by_the_planes(smooth):
    direction = np.random.default_rng(1).normal(size=smooth.shape)

    def statistic(density):
        return 1e3 * tf.reduce_sum(
            multiplane(COSMO, planes(density), NZ, 10.0, 16).convergence ** 2
        )

    density = tf.constant(smooth)
    with tf.GradientTape() as tape:
        tape.watch(density)
        loss = statistic(density)
    slope = tf.reduce_sum(tape.gradient(loss, density) * direction)
    h = 1e-6
    difference = (statistic(density + h * direction) - statistic(density - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_distances_do_not_follow_from_flatness():
    """In a curved universe a ray without lenses ends at its own angle."""
    cosmo = fpm.Planck15(Omega_k=0.2)
    maps = multiplane(cosmo, planes(np.zeros([3, 1, 8, 8])), NZ, 10.0, 8)
    assert np.abs(maps.deflection).max() < 1e-14
    assert np.abs(maps.convergence).max() < 1e-14
    assert float(background.transverse_comoving_distance(cosmo, 0.8)) > 0


# A bin in the first slab, one across two, and one in the third.
ALIGNED = [
    redshift.gaussian_nz(z, width) for z, width in ((0.03, 0.004), (0.12, 0.02), (0.17, 4e-3))
]


def test_alignments_on_small_lenses_are_those_of_born(smooth):
    density = 1e-6 * np.concatenate([smooth, smooth[::-1] + 0.2], axis=1)  # a batch, with a mean
    options = {"field_size_deg": 10.0, "num_pixels": 16, "supersampling": 2}
    maps, plain = (
        multiplane(COSMO, planes(density), ALIGNED, ia_bias=x, **options) for x in (1.5, None)
    )
    straight = born(COSMO, planes(density), ALIGNED, ia_bias=1.5, **options)
    # What is left is of second order in the lenses: 1e-6 of kappa; float64 keeps 1e-10.
    np.testing.assert_allclose(maps.convergence, straight, atol=2e-5 * np.std(straight))
    assert np.std(maps.convergence - plain.convergence) > 0.1 * np.std(straight)
    np.testing.assert_array_equal(maps.deflection, plain.deflection)
    # Alignments turn nothing; what is left is the rounding of a matrix near one.
    np.testing.assert_allclose(maps.rotation, plain.rotation, atol=1e-15)


def test_alignments_are_those_where_the_bent_ray_is(smooth):
    """Behind a sheet that only magnifies, a plane is seen at the place of the deflected ray."""
    sheet = np.full_like(smooth[:1], 300.0)
    behind = planes(np.concatenate([sheet, 0 * sheet, 0.1 * smooth[:1]]))
    maps, plain = (multiplane(COSMO, behind, ALIGNED, 5.0, 16, ia_bias=x) for x in (1.5, None))
    found = (maps.convergence - plain.convergence)[..., 2]
    # Places at 500 Mpc/h shrink by the convergence of the sheet for sources there.
    nz = redshift.delta_nz(float(1 / background.a_of_chi(COSMO, 500.0)) - 1)
    weight = lensing_weights(COSMO, nz, tf.constant([100.0], tf.float64))
    shrunk = 1 - 300.0 * 200.0 * float(weight[0])
    assert 0.5 < shrunk < 0.9
    expected, straight = (
        (
            born(COSMO, behind, ALIGNED, 5.0 * x, 16, ia_bias=1.5)
            - born(COSMO, behind, ALIGNED, 5.0 * x, 16)
        )[..., 2]
        for x in (shrunk, 1.0)
    )
    # Places agree to the digits of the distances, and differences of maps to 1e-10.
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.std(expected))
    assert np.std(found - straight) > 0.05 * np.std(expected)


def test_shear_of_alignments_is_that_of_their_convergence(smooth):
    """As for lensing, on a field as wide as the plane."""
    density = np.concatenate([1e-6 * smooth[:1], 0 * smooth[:2]])
    degrees = np.rad2deg(SIDE / 100.0)
    maps, plain = (
        multiplane(COSMO, planes(density), ALIGNED, degrees, 64, max_repeats=6.0, ia_bias=x)
        for x in (1.5, None)
    )
    kappa = (maps.convergence - plain.convergence)[..., 0]
    gamma = (maps.shear - plain.shear)[..., 0]
    assert np.std(kappa) > 1e-10
    # Rays pass between pixels.
    np.testing.assert_allclose(gamma, shear(kappa), atol=2e-3 * np.abs(kappa).max())


def test_compiled_gradients_through_alignments(smooth):
    rng = np.random.default_rng(2)
    upstream = rng.normal(size=[1, 16, 16, 3])
    inputs = (tf.constant(smooth), tf.constant(1.5, tf.float64))
    directions = (rng.normal(size=smooth.shape), 1.0)

    @tf.function(jit_compile=True)
    def statistic(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            maps = multiplane(COSMO, planes(inputs[0]), ALIGNED, 10.0, 16, ia_bias=inputs[1])
            seen = maps.convergence + tf.math.real(maps.shear) + 2 * tf.math.imag(maps.shear)
            loss = tf.reduce_sum(upstream * seen)
        return loss, tape.gradient(loss, inputs), maps

    _, slopes, maps = statistic(*inputs)
    plain = multiplane(COSMO, planes(smooth), ALIGNED, 10.0, 16, ia_bias=1.5)
    for found, expected in zip(maps, plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)  # float64, of matrices near one
    for i, h in enumerate((1e-6, 1e-3)):
        ends = (
            statistic(*(x + s * h * directions[j] * (i == j) for j, x in enumerate(inputs)))[0]
            for s in (1, -1)
        )
        difference = np.subtract(*ends) / (2 * h)
        # Steps of 1e-6 keep seven digits in float64; the amplitude is a factor of its term.
        np.testing.assert_allclose(np.sum(slopes[i] * directions[i]), difference, rtol=1e-5)


def test_alignments_in_the_type_of_the_planes(smooth):
    single, double = (
        multiplane(COSMO, planes(tf.cast(smooth, dtype)), ALIGNED, 10.0, 16, ia_bias=1.5)
        for dtype in (tf.float32, tf.float64)
    )
    assert single.convergence.dtype == tf.float32 and single.shear.dtype == tf.complex64
    for found, expected in zip(single, double, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)  # float32, of matrices near one


def test_alignments_need_galaxies_at_more_than_one_redshift(smooth):
    with pytest.raises(ValueError, match="`nz` must have a density, for alignments"):
        multiplane(COSMO, planes(smooth), NZ, 10.0, 8, ia_bias=1.0)
    with pytest.raises(ValueError, match="`ia_bias` must be finite"):
        multiplane(COSMO, planes(smooth), ALIGNED, 10.0, 8, ia_bias=np.nan)
