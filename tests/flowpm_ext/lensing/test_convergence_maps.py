"""Maps in one call: all methods, one program for all seeds, and what does not fit."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import angular_cl, background, probes, redshift
from flowpm_ext.lensing import FinePixelWarning, convergence_maps, lightcone
from flowpm_ext.lensing.maps import METHODS
from flowpm_ext.lensing.planes import Slab
from flowpm_ext.lensing.sources import kernel_peak, sources_of
from flowpm_ext.pm import Sharpening

# Tests simulate on few cells.
pytestmark = pytest.mark.filterwarnings("ignore:A pixel of:flowpm_ext.lensing.FinePixelWarning")

COSMO = fpm.Planck15()
NZ = [redshift.delta_nz(0.5), redshift.gaussian_nz(0.4, 0.05)]
SMALL = {"mesh_shape": 16, "stages": np.linspace(0.1, 1, 4), "plane_resolution": 2}


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_give_maps_of_all_bins(method):
    options = SMALL if method in ("born", "multiplane") else {}
    first, again, other = (
        convergence_maps(COSMO, NZ, 5.0, 16, method, 2, seed, **options) for seed in (0, 0, 1)
    )
    assert first.shape == (2, 16, 16, 2) and first.dtype == tf.float32
    np.testing.assert_array_equal(first, again)
    assert np.std(first - other) > 0.5 * np.std(first)
    assert np.all(np.isfinite(first)) and 1e-4 < np.std(first) < 0.1


def test_bins_are_seen_through_the_same_matter():
    kappa = convergence_maps(COSMO, NZ, 5.0, 16, seed=3, **SMALL).numpy()
    assert np.corrcoef(kappa[..., 0].ravel(), kappa[..., 1].ravel())[0, 1] > 0.8


def test_another_seed_or_cosmology_is_not_another_program(monkeypatch):
    traces, counts = [], []

    class Counted(Slab):
        """A slab that knows how often it was traced."""

        def __call__(self, *arguments):
            traces.append(1)
            return super().__call__(*arguments)

    monkeypatch.setattr(lightcone, "Slab", Counted)
    for seed, sigma8 in ((0, 0.7), (1, 0.8), (2, 0.9)):
        cosmo = fpm.Planck15(sigma8=tf.constant(sigma8, tf.float64))
        options = SMALL | {"box_size": 150.0, "num_planes": 10}
        convergence_maps(cosmo, NZ, 5.0, 16, seed=seed, **options)
        counts.append(len(traces))
    assert counts[2] == counts[1] == counts[0] > 0


def test_simulated_maps_have_about_the_power_of_theory():
    """Coarse: 32 cells lose a third at ell = 200, and ten fields scatter by a tenth."""
    nz = [redshift.delta_nz(0.5)]
    kappa = np.concatenate([
        convergence_maps(COSMO, nz, 8.0, 32, seed=seed, mesh_shape=32, force_mesh_factor=2)
        for seed in range(10)
    ])[..., 0]  # fmt: skip
    side = np.deg2rad(8.0)
    ell = 2 * np.pi / side * np.hypot(*np.meshgrid(*[np.fft.fftfreq(32) * 32] * 2))
    inside = (ell > 80) & (ell < 250)
    power = np.abs(np.fft.fft2(kappa)) ** 2 * side**2 / 32**4
    theory = angular_cl.angular_cl(COSMO, ell[inside], [probes.WeakLensing(nz)])[0]
    assert 0.6 < power[:, inside].mean() / np.mean(theory) < 1.2


def test_bent_rays_see_nearly_what_straight_ones_do():
    nz = [redshift.delta_nz(0.5)]
    born, bent = (
        convergence_maps(COSMO, nz, 5.0, 64, method, seed=1, mesh_shape=32, dtype=tf.float64)
        for method in ("born", "multiplane")
    )
    side = np.deg2rad(5.0)
    ell = 2 * np.pi / side * np.hypot(*np.meshgrid(*[np.fft.fftfreq(64) * 64] * 2))
    inside = (ell > 0) & (ell < 1000)
    first, second = (np.abs(np.fft.fft2(x[0, ..., 0]))[inside] ** 2 for x in (born, bent))
    assert abs(second.sum() / first.sum() - 1) < 0.01
    difference = np.std(bent - born) / np.std(born)
    # Deflections of ten arcseconds in pixels of five arcminutes, on planes with structure there.
    assert 1e-3 < difference < 0.2


def test_bent_rays_see_nearly_the_alignments_that_straight_ones_do():
    born, bent, plain = (
        convergence_maps(COSMO, NZ[1:], 5.0, 16, method, ia_bias=ia_bias, **SMALL)
        for method, ia_bias in (("born", 2.0), ("multiplane", 2.0), ("multiplane", None))
    )
    # As above, deflections are small beside a pixel; alignments of this amplitude are not.
    assert np.std(bent - born) < 0.1 * np.std(born - plain)
    assert np.std(born - plain) > 0.3 * np.std(plain)


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        ({"method": "full"}, "`method` must be one of", ValueError),
        ({"shift": 0.01}, '`shift` must be left out with method="born"', ValueError),
        ({"method": "gaussian", "mesh_shape": 8}, "`mesh_shape` must be left out", ValueError),
        ({"method": "gaussian", "integrator": "x"}, "`integrator` must be left out", ValueError),
        ({"box_size": 30.0}, "`field_size_deg` must span at most 1 boxes of 30", ValueError),
        ({"box_size": 150.0, "num_planes": 2}, r"`nz\[0\]` must lie within", ValueError),
        ({"cosmo": 1.0}, "`cosmo` must", TypeError),
    ],
)
def test_bad_input_to_convergence_maps(change, words, error):
    arguments = {"cosmo": COSMO, "nz": NZ, "num_pixels": 8} | change
    if "method" not in change:
        arguments |= SMALL
    with pytest.raises(error, match=words):
        convergence_maps(**arguments)


def test_cosmologies_decide_the_number_of_maps():
    batch = fpm.Planck15(sigma8=tf.constant([0.7, 0.9], tf.float64))
    assert convergence_maps(batch, NZ, 5.0, 8, "gaussian").shape[0] == 2
    with pytest.raises(ValueError, match="`batch_size` must be that of the cosmologies"):
        convergence_maps(batch, NZ, 5.0, 8, "born", batch_size=3, **SMALL)


def test_fine_pixels_are_told_and_a_sharpening_is_heard():
    few = SMALL | {"box_size": 150.0, "num_planes": 9, "batch_size": 8}
    with pytest.warns(FinePixelWarning, match=r"19 arcmin .* force \(9.4 Mpc/h\) .*`sharpening`"):
        blunt = convergence_maps(COSMO, NZ[:1], 5.0, 16, **few)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sharpening = Sharpening(alpha=0.1, k_long=0.01, k_short=0.5)
        sharp = convergence_maps(COSMO, NZ[:1], 5.0, 16, sharpening=sharpening, **few)
        convergence_maps(COSMO, NZ[:1], 5.0, 2, **few)
    # 1.08 and 1.06 with two seeds; single maps scatter by .06.
    assert np.var(sharp) > 1.02 * np.var(blunt)


def test_kernel_peaks_half_way_to_the_sources():
    one, two = sources_of(COSMO, [redshift.delta_nz(1.0), redshift.smail_nz(2.0, 1.5, 0.5)])
    half = float(background.radial_comoving_distance(COSMO, 0.5)) / 2
    assert kernel_peak(one) == pytest.approx(half, rel=0.01)  # of 200 steps
    assert 0.3 * half < kernel_peak(two) < half
