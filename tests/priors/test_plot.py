"""The figure shows the sky: East left, North up, colours shared by both modes."""

import numpy as np
import pytest

import priors
from priors.catalogue import Clusters, read_clusters
from priors.plot import map_figure
from priors.simulated_survey import simulate_survey
from priors.stacking import find_peaks


@pytest.fixture(scope="module")
def survey():
    return simulate_survey(3.0, seed=2, method="lognormal")


@pytest.fixture(scope="module")
def made(survey):
    return priors.mass_map(survey.catalogue, prior="ks", grid=survey.grid)


def panels(figure):
    return {axes.get_title().split(":")[0]: axes for axes in figure.axes if axes.get_title()}


def test_east_is_left_and_north_up(made):
    axes = panels(map_figure(made, "title"))["E mode"]
    left, right = sorted(axes.get_xlim())
    bottom, top = sorted(axes.get_ylim())
    assert axes.get_xlim()[0] == left and axes.get_ylim()[0] == bottom
    middle = (bottom + top) / 2
    ra, _ = axes.wcs.wcs_pix2world([left, right], [middle, middle], 0)
    _, dec = axes.wcs.wcs_pix2world([left, left], [bottom, top], 0)
    assert ra[0] > ra[1] and dec[1] > dec[0]


def test_panels_show_their_maps_in_shared_colours(made, survey):
    shown = panels(map_figure(made, "title", truth=survey.kappa))
    assert set(shown) == {"Truth, smoothed by 1 arcmin", "E mode", "B mode", "Uncertainty"}
    images = {name: axes.images[0] for name, axes in shown.items()}
    np.testing.assert_array_equal(images["E mode"].get_array(), made.kappa_e)
    np.testing.assert_array_equal(images["B mode"].get_array(), made.kappa_b)
    np.testing.assert_array_equal(images["Uncertainty"].get_array(), made.std)
    assert images["E mode"].get_clim() == images["B mode"].get_clim()
    low, high = images["E mode"].get_clim()
    assert low == -high < 0


def test_clusters_and_peaks_are_marked_where_they_are(made, survey):
    clusters, peaks = read_clusters(survey.clusters), find_peaks(made, 3)
    clusters.z[::2] = 0.25  # the others have names only
    axes = panels(map_figure(made, "title", clusters, peaks))["E mode"]
    rings, crosses = axes.collections
    row, column = made.grid.pixel_coordinates(clusters.ra, clusters.dec)
    np.testing.assert_allclose(rings.get_offsets(), np.c_[column, row])
    np.testing.assert_allclose(crosses.get_offsets(), np.c_[peaks.column, peaks.row])
    texts = [text.get_text() for text in axes.texts]
    assert texts[:2] == ["0.25", clusters.name[1]] and texts[-3:] == ["1", "2", "3"]


def test_labels_near_the_right_edge_stand_left_of_their_ring(made):
    row, column = np.nonzero(made.mask)
    ra, dec = made.grid.sky_coordinates(
        [row[0], row[0]], [column.min(), column.max() + 3.0 / made.grid.pixel_size_arcmin]
    )
    clusters = Clusters(np.array(["left", "right"]), ra, dec, np.full(2, np.nan))
    axes = panels(map_figure(made, "title", clusters))["E mode"]
    assert [text.get_ha() for text in axes.texts] == ["left", "right"]


def test_colour_bars_point_where_values_go_beyond_them(made):
    figure = map_figure(made, "title")
    for name, axes in panels(figure).items():
        image = axes.images[0]
        low, high = image.get_clim()
        values = np.asarray(image.get_array())[made.mask]
        beyond = (values.min() < low, values.max() > high)
        expected = ["neither", "min", "max", "both"][beyond[0] + 2 * beyond[1]]
        assert image.colorbar.extend == expected
        if name == "E mode":
            assert any(beyond)  # a quantile of its values bounds the colours
