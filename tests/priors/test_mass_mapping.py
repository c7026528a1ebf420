"""Mass maps of a small simulated survey: linearity, uncertainty, nulls, stacks and peaks."""

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import priors
from flowpm_ext.cosmology import Planck15, Planck18, redshift
from priors import estimators, simulated_survey, stacking
from priors.catalogue import Clusters, read_clusters, read_shear_catalogue
from priors.convergence import NotConvergedWarning
from priors.shear_map import bin_shear
from priors.simulated_survey import compare_with_truth, simulate_survey
from priors.theory_power import theory_power

PIXEL = 3.0  # arcmin: 36 pixels a side, so that a solution takes milliseconds


@pytest.fixture(scope="module")
def survey():
    return simulate_survey(PIXEL, seed=1, method="lognormal")


@pytest.fixture(scope="module")
def wiener(survey):
    return priors.mass_map(survey.catalogue, survey.nz, grid=survey.grid, num_samples=16)


@pytest.fixture(scope="module")
def ks(survey):
    return priors.mass_map(survey.catalogue, prior="ks", grid=survey.grid, smoothing_arcmin=4.0)


@pytest.mark.parametrize("name", ["wiener", "ks"])
def test_estimators_are_linear_with_their_adjoint(name, request):
    made = request.getfixturevalue(name)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, *made.mask.shape)) + 1j * rng.normal(size=(2, *made.mask.shape))
    weights = rng.normal(size=made.mask.shape)
    one, two = made.estimator(data).kappa
    both = made.estimator(np.stack([data[0] - 3 * data[1], data[0]])).kappa[0]
    # The solver's tolerance.
    np.testing.assert_allclose(both, one - 3 * two, atol=1e-5 * np.abs(both).max())
    g = made.estimator.adjoint(np.stack([weights] * estimators.BATCH_SIZE))[0]
    product = np.sum(np.conj(g) * data[0]).real
    assert np.sum(weights * one) == pytest.approx(product, rel=1e-4)


@pytest.mark.parametrize("name", ["wiener", "ks"])
def test_b_mode_is_the_e_mode_of_the_turned_shear(name, request, survey):
    made = request.getfixturevalue(name)
    turned = survey.catalogue.copy()
    turned["e1"], turned["e2"] = survey.catalogue["e2"], -survey.catalogue["e1"]
    options = {"prior": name, "grid": survey.grid, "smoothing_arcmin": 4.0}
    again = priors.mass_map(turned, survey.nz, **options)
    np.testing.assert_allclose(again.kappa_e, made.kappa_b, atol=1e-7)


def test_kaiser_squires_uncertainty_is_that_of_its_noise(ks):
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(800, 2, *ks.mask.shape)) * ks.noise_std
    scatter = ks.estimator(noise[:, 0] + 1j * noise[:, 1]).kappa.std(axis=0)
    # The standard deviation of 800 draws has an error of 2.5 %; the mean over pixels much less.
    np.testing.assert_allclose(scatter, ks.std, rtol=0.13)
    assert np.mean(scatter / ks.std) == pytest.approx(1.0, abs=0.01)


def test_wiener_uncertainty_is_that_of_the_posterior(wiener):
    """Against dense linear algebra: the precision matrix of the posterior, inverted."""
    shape, power = wiener.mask.shape, wiener.estimator.power
    size = wiener.mask.size
    modes = np.fft.fft2(np.eye(size).reshape(size, *shape), norm="ortho")
    prior = np.fft.ifft2(modes * power, norm="ortho").real.reshape(size, size)
    op = priors.operators.KaiserSquires(shape)
    design = np.asarray(op(np.eye(size).reshape(size, *shape))).reshape(size, size)
    observed = wiener.mask.ravel()
    real = np.concatenate([design.real[:, observed], design.imag[:, observed]], axis=1).T
    noise = np.tile(wiener.noise_std.ravel()[observed], 2) ** 2
    cross = real @ prior
    covariance = prior - cross.T @ np.linalg.solve(real @ cross.T + np.diag(noise), cross)
    exact = np.sqrt(np.diag(covariance)).reshape(shape)
    many = estimators.WienerEstimator(wiener.shear_map, power)
    _, std = many.uncertainty(wiener.kappa_e, 400, seed=3)
    # 400 draws have an error of 3.5 % in a pixel: four of these among a thousand pixels.
    np.testing.assert_allclose(std, exact, rtol=0.15)
    assert np.mean(std / exact) == pytest.approx(1.0, abs=0.01)


def test_a_map_that_is_not_solved_for_warns_and_says_so(survey):
    options = {"grid": survey.grid, "max_iterations": 2}
    with pytest.warns(NotConvergedWarning, match="Raise `max_iterations`"):
        made = priors.mass_map(survey.catalogue, survey.nz, **options)
    assert not made.converged and made.iterations == 2 and made.residual > 1e-6


def test_samples_scatter_about_the_mean(wiener):
    assert wiener.samples.shape == (16, *wiener.mask.shape)
    z = (wiener.samples.mean(axis=0) - wiener.kappa_e) / (wiener.std / 4.0)
    # A thousand pixels, correlated: their mean square has an error of about 0.1.
    assert np.mean(z**2) == pytest.approx(1.0, abs=0.35)


def test_null_scatter_is_that_of_turned_galaxies(survey, wiener):
    catalogue = read_shear_catalogue(survey.catalogue)
    clusters = read_clusters(survey.clusters)
    stack = stacking.stack(wiener, clusters)
    rng = np.random.default_rng(8)
    index = survey.grid.flat_index(clusters.ra, clusters.dec)
    means = []
    for _ in range(20):
        angle = np.exp(2j * np.pi * rng.uniform(size=catalogue.ra.size))
        null = dataclasses.replace(catalogue, ellipticity=catalogue.ellipticity * angle)
        shear = bin_shear(null, survey.grid).shear
        both = wiener.estimator(np.stack([shear, -1j * shear])).kappa
        means.extend(both.reshape(2, -1)[:, index].mean(axis=1))
    # 40 draws know their scatter to 11 %: three of these.
    assert np.std(means) == pytest.approx(stack.null_std, rel=0.34)
    assert stack.kappa_e > 8 * stack.null_std


def test_stack_is_the_mean_of_the_pixels(survey, wiener):
    clusters = read_clusters(survey.clusters)
    row, column = np.rint(survey.grid.pixel_coordinates(clusters.ra, clusters.dec)).astype(int)
    stack = stacking.stack(wiener, clusters)
    assert stack.num_clusters == clusters.ra.size
    assert stack.kappa_e == pytest.approx(np.mean(wiener.kappa_e[row, column]))
    assert stack.kappa_b == pytest.approx(np.mean(wiener.kappa_b[row, column]))


def test_peaks_are_the_highest_pixels_around(wiener):
    peaks = stacking.find_peaks(wiener, 5)
    assert np.all(np.diff(peaks.kappa) <= 0) and np.all(peaks.null_std > 0)
    for y, x, kappa in zip(peaks.row, peaks.column, peaks.kappa, strict=True):
        around = wiener.kappa_e[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        assert kappa == around.max() == wiener.kappa_e[y, x]
    assert peaks.kappa[0] == wiener.kappa_e[wiener.shear_map.footprint].max()
    row, column = wiener.grid.pixel_coordinates(peaks.ra, peaks.dec)
    np.testing.assert_allclose([row, column], [peaks.row, peaks.column], atol=1e-6)


def test_wiener_beats_kaiser_squires_and_nothing(survey, wiener):
    score = compare_with_truth(wiener, survey.kappa)
    assert score["rms_error"] < score["rms_error_kaiser_squires_smoothed"]
    assert score["rms_error"] < 0.8 * score["rms_of_truth"]
    assert score["correlation"] > 0.7
    # Skewed truth under a Gaussian prior: more than 68 % of pixels within one deviation.
    assert 0.6 < score["fraction_within_1_std"] < 0.85
    assert 0.9 < score["fraction_within_2_std"] < 1.0


def test_truth_has_the_power_of_the_theory(survey):
    power = theory_power(survey.nz, survey.grid)
    # One skewed map, averaged in its pixels: within a third.
    assert np.var(survey.kappa) == pytest.approx(np.mean(power), rel=0.35)
    assert abs(np.mean(survey.kappa)) < 0.01
    assert survey.kappa.min() > -0.06


def test_survey_through_a_simulation(monkeypatch):
    """Its mass is that of the method, its n(z) the one asked for."""
    small = {"mesh_shape": 32, "stages": np.linspace(0.1, 1, 5)}
    monkeypatch.setattr(simulated_survey, "SIMULATION", simulated_survey.SIMULATION | small)
    z, n = np.array([0.5, 0.6, 0.7]), np.array([1.0, 2.0, 1.0])
    made = simulate_survey(PIXEL, seed=1, nz=(z, n))
    np.testing.assert_allclose(made.nz["z"], z)
    np.testing.assert_allclose(made.nz["n"], n)
    power = theory_power(made.nz, made.grid)
    # Coarse: 32 cells lose most of what a pixel of 3 arcmin sees; one map scatters.
    assert 0.1 < np.var(made.kappa) / np.mean(power) < 1.5
    with pytest.raises(ValueError, match="`method` must be one of"):
        simulate_survey(PIXEL, method="gaussian")


def test_negative_seeds_are_seeds_too():
    first, second = (
        simulate_survey(PIXEL, seed, method="lognormal").catalogue["e1"] for seed in (-1, -2)
    )
    assert len(first) != len(second) or np.any(first != second)


def test_prior_follows_the_cosmology(survey):
    one, two = (theory_power(survey.nz, survey.grid, c()) for c in (Planck15, Planck18))
    assert one[0, 0] == two[0, 0] == 0.0
    assert 1e-4 < np.max(np.abs(one / np.where(two > 0, two, 1) - 1)[two > 0]) < 0.1


def test_nz_may_be_a_pair_or_a_distribution(survey):
    z, counts = (np.asarray(survey.nz[name]) for name in ("z", "n"))
    made = redshift.histogram_nz(np.append(z, 2 * z[-1] - z[-2]), counts)
    expected = theory_power(survey.nz, survey.grid)
    for nz in ((z, counts), [z, counts], np.stack([z, counts]), made):
        # A distribution made by hand keeps its empty ends, which the integral has nodes in.
        np.testing.assert_allclose(theory_power(nz, survey.grid), expected, rtol=1e-4)
    with pytest.raises(TypeError, match=r"`cosmo` must be a cosmology. Received: 'planck18'"):
        theory_power(survey.nz, survey.grid, "planck18")


def test_pixel_size_may_carry_a_unit(survey):
    options = {"prior": "ks", "padding_arcmin": 0.0}
    one = priors.mass_map(survey.catalogue, pixel_size_arcmin=3.0, **options)
    two = priors.mass_map(survey.catalogue, pixel_size_arcmin=0.05 * u.deg, **options)
    assert one.grid.pixel_size_arcmin == pytest.approx(two.grid.pixel_size_arcmin)
    options = {"prior": "ks", "pixel_size_arcmin": 3.0}
    one = priors.mass_map(survey.catalogue, smoothing_arcmin=3.0, padding_arcmin=6.0, **options)
    angles = {"smoothing_arcmin": 0.05 * u.deg, "padding_arcmin": 360 * u.arcsec}
    two = priors.mass_map(survey.catalogue, **angles, **options)
    assert one.grid.shape == two.grid.shape
    np.testing.assert_allclose(one.kappa_e, two.kappa_e, rtol=1e-9)  # one rounding of the unit
    assert one.wcs.wcs.cdelt[0] < 0 < one.wcs.wcs.cdelt[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": "flat"}, "`prior` must be one of 'wiener', 'ks', 'sparse', 'learned'"),
        ({"prior": "sparse", "num_samples": 4}, "`num_samples` must be 0 for the prior 'sparse'"),
        ({"prior": "sparse", "num_nulls": 1}, "`num_nulls` must be 0 or several"),
        ({"num_nulls": 4}, "`num_nulls` must be left out for the prior 'wiener'. Received: 4"),
        ({"prior": "ks", "num_nulls": 4}, "`num_nulls` must be left out for the prior 'ks'"),
        ({"reduced_shear": True}, "`reduced_shear` must be left out for the prior 'wiener'"),
        ({"sampling": {"thin": 2}}, "`sampling` must be left out for the prior 'wiener'"),
        ({"prior": "sparse", "weights": (1,)}, "`weights` must be left out for the prior 'sparse'"),
        ({"nz": None}, "`nz` must be given for the prior 'wiener'"),
        ({"max_iterations": 0}, "`max_iterations` must be positive"),
        ({"num_samples": -1}, "`num_samples` must be non-negative"),
        ({"prior": "ks", "num_samples": 4}, "`num_samples` must be 0 for the prior 'ks'"),
        ({"prior": "ks", "smoothing_arcmin": -1.0}, "`smoothing_arcmin` must be non-negative"),
        ({"smoothing_arcmin": 1 * u.kg}, "`smoothing_arcmin` must have a unit that converts"),
        ({"pixel_size_arcmin": 1 * u.kg}, "`pixel_size_arcmin` must have a unit that converts"),
        ({"padding_arcmin": -1.0}, "`padding_arcmin` must be non-negative"),
    ],
)
def test_bad_options_are_refused(survey, options, message):
    options = {"nz": survey.nz, "pixel_size_arcmin": 3.0} | options
    with pytest.raises(ValueError, match=message):
        priors.mass_map(survey.catalogue, **options)


def test_clusters_elsewhere_are_left_out_or_refused(survey, wiener):
    table = Table({"id": ["a", "b"], "ra": [150.1, 20.0], "dec": [2.2, 2.2]})
    kept = stacking.on_grid(survey.grid, read_clusters(table))
    assert list(kept.name) == ["a"]
    elsewhere = Clusters(np.array(["b"]), np.array([20.0]), np.array([2.2]), np.array([0.1]))
    with pytest.raises(ValueError, match="`clusters` must have a position on the map around"):
        stacking.on_grid(survey.grid, elsewhere)
    with pytest.raises(ValueError, match="`clusters` must lie on the map"):
        stacking.stack(wiener, elsewhere)
    with pytest.raises(ValueError, match="`num_peaks` must be positive"):
        stacking.find_peaks(wiener, 0)
