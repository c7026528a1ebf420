"""Mass maps that are not linear in the shear: against the Wiener filter, and nulls."""

import numpy as np
import pytest

import priors
from flowpm_ext.core.seeds import generator
from priors import posterior_estimators, sample_plot, stacking
from priors.catalogue import read_clusters
from priors.estimators import KaiserSquiresEstimator
from priors.map_prior import MapPrior, train_prior
from priors.posterior_estimators import AbstractNulledEstimator, LearnedEstimator
from priors.simulated_survey import simulate_survey
from priors.theory_power import theory_power
from priors.training_maps import TrainingMaps

PIXEL = 3.0  # arcmin: 36 pixels a side
QUICK = {"num_chains": 8, "num_warmup": 8, "num_leapfrog": 8}


@pytest.fixture(scope="module")
def survey():
    return simulate_survey(PIXEL, seed=1, method="lognormal")


@pytest.fixture(scope="module")
def wiener(survey):
    return priors.mass_map(survey.catalogue, survey.nz, grid=survey.grid, num_samples=200)


@pytest.fixture(scope="module")
def gaussian(survey, wiener):
    """A sampled map whose prior is Gaussian."""
    power = theory_power(survey.nz, survey.grid).astype(np.float32)
    return LearnedEstimator(wiener.shear_map, priors.GaussianScore(power), **QUICK)


class Inverted(AbstractNulledEstimator):
    """Kaiser-Squires, as if it were not known to be linear."""

    def __init__(self, shear_map, num_nulls):
        super().__init__(shear_map, num_nulls, seed=3, verbose=0)
        self._linear = KaiserSquiresEstimator(shear_map, 4.0)
        self.num_made = 0

    def _null_map(self, shear, number):
        self.num_made += 1
        return self._linear(shear).kappa

    def maps(self, num_samples, seed, verbose=0):
        raise NotImplementedError


def test_nulls_scatter_as_galaxies_turned_at_random_do(wiener):
    weights = np.zeros((2, *wiener.mask.shape))
    weights[0, 18, 18] = 1
    weights[1, 10:20, 10:20] = 0.01
    exact = KaiserSquiresEstimator(wiener.shear_map, 4.0).null_std(wiener.shear_map, weights)
    estimator = Inverted(wiener.shear_map, 200)
    found = estimator.scatter(weights, np.zeros((0, 1, 1)))
    # The standard deviation of 200 numbers is known to 5 %.
    np.testing.assert_allclose(found, exact, rtol=0.15)
    np.testing.assert_array_equal(estimator.scatter(weights, np.zeros((0, 1, 1))), found)
    assert estimator.num_made == 200  # peaks, stacks and discs look at the same ones
    with pytest.raises(ValueError, match=r"`num_nulls` must be 0 or several\. Received: 1"):
        Inverted(wiener.shear_map, 1)


def test_sampled_map_of_a_gaussian_prior_is_the_wiener_filters(wiener, gaussian):
    made = gaussian.maps(80, seed=2)
    # 80 draws leave a ninth of a standard deviation.
    for found, expected in ((made.kappa_e, wiener.kappa_e), (made.kappa_b, wiener.kappa_b)):
        shift = (found - expected) / wiener.std
        assert np.sqrt(np.mean(shift**2)) < 0.2
    assert np.mean(made.std / wiener.std) == pytest.approx(1, abs=0.05)
    assert made.samples.shape == (80, *wiener.mask.shape)
    assert made.diagnostics["r_hat, median"] < 1.1
    weights = np.eye(wiener.mask.size)[[700]].reshape(1, *wiener.mask.shape)
    of_draws = gaussian.scatter(weights, made.samples)
    assert of_draws[0] == pytest.approx(made.std.ravel()[700], rel=1e-5)


def test_few_draws_behind_a_null_do_not_widen_the_scatter(wiener):
    """Draws of a known scatter around a map that is linear in the shear."""
    exact = Inverted(wiener.shear_map, 0)._linear
    noise = 3 * exact(wiener.shear_map.shear).kappa.std()

    class Drawn(Inverted):
        def _null_map(self, shear, number):
            halves = generator(number).normal(size=(2, *shear.shape)) * noise / np.sqrt(8)
            return super()._null_map(shear, number) + halves

    weights = np.zeros((40, *wiener.mask.shape))
    weights[np.arange(40), 10, np.arange(40) % 20 + 8] = 1
    expected = exact.null_std(wiener.shear_map, weights)
    found = Drawn(wiener.shear_map, 200).scatter(weights, np.zeros((10_000, 1, 1)))
    # Each is known to some 10 %, their mean to a few; the draws of a half would double it.
    assert np.mean(found / expected) == pytest.approx(1, abs=0.08)
    few = Drawn(wiener.shear_map, 200).scatter(weights, np.zeros((8, 1, 1)))
    assert np.mean(few**2 - found**2) == pytest.approx(noise**2 / 8, rel=0.1)


@pytest.fixture(scope="module")
def prior(survey):
    maps = np.stack([np.roll(survey.kappa, shift, (0, 1)) for shift in range(4)])
    maps = (maps - maps.mean((1, 2), keepdims=True)).astype(np.float32)
    return train_prior(TrainingMaps(maps, PIXEL, {}), filters=(4,), num_steps=2, batch_size=2)


def test_mass_map_with_a_learned_prior(survey, prior, monkeypatch):
    monkeypatch.setattr(posterior_estimators, "NUM_SAMPLES", 8)
    options = {"prior": "learned", "weights": prior, "sampling": QUICK | {"steps_per_level": 2}}
    made = priors.mass_map(survey.catalogue, survey.nz, num_samples=8, **options)
    assert made.grid.pixel_size_arcmin == PIXEL and made.samples.shape == (8, *made.grid.shape)
    assert set(made.diagnostics) >= {"r_hat, median", "calls of the score"}
    assert np.isfinite(made.kappa_e).all() and made.kappa_e[made.mask].std() > 1e-3
    clusters = stacking.on_grid(made.grid, read_clusters(survey.clusters))
    found = stacking.stack(made, clusters)
    assert found.kappa_e > found.null_std > 0
    apertures = stacking.aperture_means(made, clusters, radius_arcmin=5.0)
    assert apertures.kappa.shape == apertures.scatter.shape == (len(clusters.name),)
    assert apertures.kappa.mean() > 0
    figure = sample_plot.samples_figure(made)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0] == "Mean of the draws" and titles[2:] == [f"Draw {i}" for i in range(1, 5)]
    names = clusters.name[:3].astype(str)
    titles = [axes.get_title() for axes in sample_plot.clusters_figure(made, clusters, names).axes]
    assert [title for title in titles if title] == list(names)


def test_each_run_has_a_checkpoint_of_its_own(wiener, gaussian, tmp_path):
    options = QUICK | {"method": "hmc", "checkpoint": tmp_path / "chains.h5", "num_nulls": 2}
    estimator = LearnedEstimator(wiener.shear_map, gaussian._score, **options)
    maps, nulls = estimator.maps(32, seed=1), estimator.nulls
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"chains_e", "chains_b", "chains_null_000", "chains_null_001"}
    again = LearnedEstimator(wiener.shear_map, gaussian._score, **options)
    np.testing.assert_array_equal(again.maps(32, seed=1).samples, maps.samples)
    np.testing.assert_array_equal(again.nulls, nulls)


def test_one_draw_is_refused_before_the_work(gaussian, monkeypatch):
    monkeypatch.setattr(posterior_estimators, "sample_posterior", None)
    with pytest.raises(ValueError, match=r"`num_samples` must be 0 or several\. Received: 1"):
        gaussian.maps(1, seed=0)


def test_learned_prior_of_other_pixels_is_refused(survey, prior):
    with pytest.raises(ValueError, match=r"`pixel_size_arcmin` must be that of the maps.*3 arcmin"):
        priors.mass_map(survey.catalogue, prior="learned", weights=prior, pixel_size_arcmin=1.0)


def test_aperture_smaller_than_a_pixel_is_the_pixel(survey, wiener):
    clusters = stacking.on_grid(wiener.grid, read_clusters(survey.clusters))[:3]
    pixels = wiener.grid.flat_index(clusters.ra, clusters.dec)
    found = stacking.aperture_means(wiener, clusters, 0.01)
    np.testing.assert_allclose(found.kappa, wiener.kappa_e.ravel()[pixels], rtol=1e-6)
    with pytest.raises(ValueError, match="`radius_arcmin` must be positive"):
        stacking.aperture_means(wiener, clusters, 0.0)


def test_names_of_priors_are_public():
    assert priors.MapPrior is MapPrior and priors.train_prior is train_prior
