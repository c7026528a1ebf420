"""Probes: what each adds to the spectra, noise, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import Planck15, bias, probes, redshift
from flowpm_ext.cosmology.angular_cl import angular_cl, noise_cl, tracer_pairs

NEAR = redshift.gaussian_nz(0.6, 0.1, gals_per_arcmin2=2.0)
FAR = redshift.gaussian_nz(1.0, 0.1, gals_per_arcmin2=3.0)
PLANE = redshift.delta_nz(1.0)
ELL = np.geomspace(10.0, 2000.0, 6)
ARCMIN2 = (np.pi / 180 / 60) ** 2  # steradian
pytestmark = pytest.mark.usefixtures("without_compilation")


def cl(*probes_, **options):
    return angular_cl(Planck15(), ELL, list(probes_), **options).numpy()


def test_multiplicative_bias_multiplies_the_shear():
    plain = cl(probes.WeakLensing([NEAR, FAR]))
    one = cl(probes.WeakLensing([NEAR, FAR], multiplicative_bias=0.02))
    np.testing.assert_allclose(one, 1.02**2 * plain, rtol=1e-13)  # rounding
    each = cl(probes.WeakLensing([NEAR, FAR], multiplicative_bias=[0.02, -0.01]))
    factors = np.array([1.02**2, 1.02 * 0.99, 0.99**2])
    np.testing.assert_allclose(each, factors[:, None] * plain, rtol=1e-13)


def test_bias_multiplies_the_counts():
    plain = cl(probes.NumberCounts([NEAR, FAR], 1.0))
    each = cl(probes.NumberCounts([NEAR, FAR], [1.5, 2.0]))
    np.testing.assert_allclose(each, np.array([2.25, 3.0, 4.0])[:, None] * plain, rtol=1e-13)
    model = cl(probes.NumberCounts([NEAR, FAR], bias.constant_linear_bias(1.5)))
    np.testing.assert_allclose(model, 2.25 * plain, rtol=1e-13)
    function = cl(probes.NumberCounts([NEAR, FAR], lambda z, growth: 1.5 + 0 * z))
    np.testing.assert_allclose(function, model, rtol=1e-13)


def test_alignment_is_linear_in_its_amplitude():
    # Of tracers with and without alignments, crosses are linear and autos quadratic in it.
    none, one, two = (
        cl(probes.WeakLensing([FAR], ia_bias=amplitude), probes.WeakLensing([FAR]))
        for amplitude in (0.0, 1.0, 2.0)
    )
    np.testing.assert_allclose(two[1] - one[1], one[1] - none[1], rtol=1e-11)
    square = two[0] - 2 * one[0] + none[0]  # twice the spectrum of the alignments alone
    assert np.all(square > 0)
    np.testing.assert_allclose(none[0], none[2], rtol=1e-13)
    # Alignments oppose the lensing.
    assert np.all(one[1] < none[1])


def test_alignment_of_des_is_a_power_of_redshift():
    amplitude = 0.7 * (2.0 / 1.62) ** 1.3
    narrow = redshift.gaussian_nz(1.0, 1e-3)
    by_model = cl(probes.WeakLensing([narrow], ia_bias=bias.des_y1_ia_bias(0.7, 1.3)))
    by_number = cl(probes.WeakLensing([narrow], ia_bias=amplitude))
    # The bin is 0.001 wide, over which the amplitude changes by as much.
    np.testing.assert_allclose(by_model, by_number, rtol=2e-5)


def test_magnification_vanishes_where_the_counts_do_not_change():
    plain = cl(probes.NumberCounts([NEAR, FAR], 1.5))
    neutral = cl(probes.NumberCounts([NEAR, FAR], 1.5, magnification_bias=0.4))
    np.testing.assert_allclose(neutral, plain, rtol=1e-12)
    each = cl(probes.NumberCounts([NEAR, FAR], 1.5, magnification_bias=[0.4, 0.9]))
    np.testing.assert_allclose(each[0], plain[0], rtol=1e-12)
    assert np.all(each[1:] > plain[1:])


def test_distortions_fade_at_small_scales():
    ratio = cl(probes.NumberCounts([FAR], 1.5, has_rsd=True)) / cl(probes.NumberCounts([FAR], 1.5))
    assert 1.01 < ratio[0, 0] < 1.2
    assert abs(ratio[0, -1] - 1) < 1e-4
    assert np.all(np.diff(ratio[0]) < 0)


def test_a_source_plane_is_the_limit_of_narrow_bins():
    plane = cl(probes.WeakLensing([PLANE]))
    narrow = cl(probes.WeakLensing([redshift.gaussian_nz(1.0, 1e-3)]))
    # The second moment of the bin, 1e-6, times a second derivative of order one.
    np.testing.assert_allclose(narrow, plane, rtol=1e-5)


def test_the_microwave_background_is_a_far_source_plane():
    plane = cl(probes.WeakLensing([redshift.delta_nz(8.0)]))
    screen = cl(probes.CMBLensing(z_source=8.0))
    spin = (ELL + 2) * (ELL - 1) / (ELL * (ELL + 1))
    # Different panels along the line of sight, each good to about 1e-4.
    np.testing.assert_allclose(plane, spin * screen, rtol=3e-4)


def test_the_microwave_background_does_not_mind_the_galaxies_before_it():
    alone = cl(probes.CMBLensing())[0]
    for nz in (redshift.gaussian_nz(0.3, 0.05), FAR):
        # From where the galaxies end, panels grow: 3e-4 where they end early. The bar is 2e-3.
        np.testing.assert_allclose(
            cl(probes.CMBLensing(), probes.WeakLensing([nz]))[0], alone, rtol=5e-4
        )


def test_noise_is_white_and_only_in_the_autos():
    all_probes = [
        probes.WeakLensing([NEAR, FAR], sigma_e=[0.26, 0.3]),
        probes.NumberCounts([NEAR], 1.0),
        probes.CMBLensing(noise_power=1e-9),
    ]
    noise = noise_cl(ELL, all_probes).numpy()
    rows, columns = tracer_pairs(4)
    autos = [0.26**2 / 2 * ARCMIN2, 0.3**2 / 3 * ARCMIN2, ARCMIN2 / 2, 1e-9]
    expected = np.where(rows == columns, np.array(autos)[rows], 0.0)
    np.testing.assert_allclose(noise, np.tile(expected[:, None], len(ELL)), rtol=1e-12)
    assert noise_cl(tf.constant(ELL, tf.float32), all_probes).dtype == tf.float32


def test_spectra_come_in_the_order_of_pairs():
    rows, columns = tracer_pairs(3)
    np.testing.assert_array_equal(rows, [0, 0, 0, 1, 1, 2])
    np.testing.assert_array_equal(columns, [0, 1, 2, 1, 2, 2])
    counts, shear = probes.NumberCounts([NEAR, FAR], 1.5), probes.WeakLensing([FAR])
    forward, backward = cl(counts, shear), cl(shear, counts)
    # (g1, g2, s) against (s, g1, g2).
    np.testing.assert_allclose(forward[[2, 4, 5]], backward[[1, 2, 0]], rtol=1e-12)
    np.testing.assert_allclose(forward[[0, 1, 3]], backward[[3, 4, 5]], rtol=1e-12)


def test_spectra_are_covariances():
    all_probes = [
        probes.WeakLensing([NEAR, FAR], ia_bias=1.0),
        probes.NumberCounts([NEAR, FAR], 1.5, magnification_bias=0.9),
        probes.CMBLensing(),
    ]
    spectra = cl(*all_probes)
    matrix = np.zeros([len(ELL), 5, 5])
    rows, columns = tracer_pairs(5)
    matrix[:, rows, columns] = matrix[:, columns, rows] = spectra.T
    assert np.all(np.linalg.eigvalsh(matrix) > 0)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: probes.WeakLensing([]), ValueError, r"`redshift_bins` must be a list of .*\[\]"),
        (lambda: probes.WeakLensing(NEAR), ValueError, r"`redshift_bins` must be a list.*\[nz\]"),
        (lambda: probes.WeakLensing([0.5]), TypeError, "`redshift_bins` must hold redshift dist"),
        (lambda: probes.WeakLensing([PLANE], ia_bias=1.0), TypeError, "a density here.*A delta"),
        (lambda: probes.WeakLensing([NEAR], sigma_e=-0.1), ValueError, "`sigma_e` must be non-neg"),
        (lambda: probes.WeakLensing([NEAR], ia_bias=np.nan), ValueError, "`ia_bias` must be fin"),
        (
            lambda: probes.WeakLensing([NEAR], multiplicative_bias=np.inf),
            ValueError,
            "`multiplicative_bias` must be finite",
        ),
        (lambda: probes.NumberCounts([PLANE], 1.0), TypeError, "a density here.*A delta"),
        (lambda: probes.NumberCounts([NEAR], []), ValueError, "`bias` must be one, or one for"),
        (
            lambda: probes.NumberCounts([NEAR, FAR], [1.0, 2.0, 3.0]),
            ValueError,
            "`bias` must be one, or one for each of 2 bins. Received: 3",
        ),
        (lambda: probes.NumberCounts([NEAR], np.nan), ValueError, "`bias` must be finite"),
        (
            lambda: probes.NumberCounts([NEAR], 1.0, magnification_bias=np.nan),
            ValueError,
            "`magnification_bias` must be finite",
        ),
        (lambda: probes.CMBLensing(z_source=0.0), ValueError, "`z_source` must be positive"),
        (lambda: probes.CMBLensing(noise_power=-1.0), ValueError, "`noise_power` must be non-neg"),
        (
            lambda: noise_cl(ELL, [probes.WeakLensing([NEAR], sigma_e=[0.2, 0.3])]),
            ValueError,
            "`sigma_e` must be one number, or one for each of 1 tracers. Received: 2",
        ),
    ],
)
def test_bad_probes_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("z_source", [0.3, 1.0, 20.0])
def test_a_source_plane_leaves_the_other_spectra_alone(z_source):
    counts = probes.NumberCounts([FAR], 1.5)
    beside = cl(probes.CMBLensing(z_source), counts)[2]
    # Other panels for the same integral: both are good to 1e-6.
    np.testing.assert_allclose(beside, cl(counts)[0], rtol=3e-6)


def test_two_source_planes_are_one_and_one():
    near, far = probes.CMBLensing(1.0), probes.CMBLensing(1100.0)
    # Fewer of the panels lie before the near plane when there is a far one.
    np.testing.assert_allclose(cl(near, far)[0], cl(near)[0], rtol=3e-5)


def test_shear_of_a_far_plane_is_the_lensing_of_the_microwave_background():
    shear = cl(probes.WeakLensing([redshift.delta_nz(1100.0)]))[0]
    background = cl(probes.CMBLensing(1100.0))[0]
    spin = (ELL + 2) * (ELL - 1) / (ELL * (ELL + 1))  # the square of the ratio of the factors
    np.testing.assert_allclose(shear, spin * background, rtol=1e-10)  # the same nodes
