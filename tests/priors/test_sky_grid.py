"""The tangent plane against astropy's spherical geometry."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from priors.sky_grid import SkyGrid

CENTERS = [(150.0, 2.2), (0.01, 60.0), (359.9, -75.0)]


@pytest.mark.parametrize("center", CENTERS)
def test_pixels_are_steps_on_the_sky(center):
    grid = SkyGrid(center, (61, 81), 0.5)
    ra, dec = grid.sky_coordinates([30, 31, 30], [40, 40, 41])
    middle, north, west = SkyCoord(ra, dec, unit="deg")
    assert middle.separation(SkyCoord(*center, unit="deg")).arcmin < 1e-9
    # A tangent plane stretches by the square of half a pixel, 1e-8.
    assert middle.separation(north).arcmin == pytest.approx(0.5, rel=1e-7)
    assert middle.separation(west).arcmin == pytest.approx(0.5, rel=1e-7)
    assert middle.position_angle(north).wrap_at("180d").deg == pytest.approx(0.0, abs=1e-2)
    assert middle.position_angle(west).deg == pytest.approx(270.0, abs=1e-2)


@pytest.mark.parametrize("center", CENTERS)
def test_coordinates_round_trip(center):
    grid = SkyGrid(center, (40, 30), 3.0)
    row, column = np.mgrid[:40, :30].reshape(2, -1)
    ra, dec = grid.sky_coordinates(row, column)
    found = grid.pixel_coordinates(ra, dec)
    np.testing.assert_allclose(found, [row, column], atol=1e-8)  # 1e-15 of a turn, in pixels
    np.testing.assert_array_equal(grid.flat_index(ra, dec), np.arange(1200))


def test_positions_outside_have_no_pixel():
    grid = SkyGrid((150.0, 2.0), (10, 10), 1.0)
    ra, dec = grid.sky_coordinates([-1, 10, 5, 5], [5, 5, -1, 10])
    np.testing.assert_array_equal(grid.flat_index(ra, dec), -1)


@pytest.mark.parametrize("center", CENTERS)
def test_turn_follows_the_meridians(center):
    grid = SkyGrid(center, (101, 101), 1.0)
    ra, dec = grid.sky_coordinates([10, 50, 90, 20], [5, 95, 30, 50])
    here = SkyCoord(ra, dec, unit="deg")
    step = here.directional_offset_by(0.0 * u.deg, 1e-3 * u.deg)
    before, after = (grid.pixel_coordinates(p.ra.deg, p.dec.deg) for p in (here, step))
    drow, dcolumn = np.subtract(after, before)
    # A direction at angle phi + 90 degrees from the columns is turned by phi.
    expected = np.exp(2j * (np.arctan2(drow, dcolumn) - np.pi / 2))
    np.testing.assert_allclose(grid.turn(ra), expected, atol=1e-5)  # the finite step


def test_grid_holds_all_positions_with_its_frame():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(-0.4, 0.4, 500) % 360, rng.uniform(59.5, 60.3, 500)
    grid = SkyGrid.around(ra, dec, 0.7, padding_arcmin=5.0)
    row, column = grid.pixel_coordinates(ra, dec)
    ny, nx = grid.shape
    frame = 5.0 / 0.7
    assert min(row.min(), column.min()) > frame - 1
    assert row.max() < ny - frame and column.max() < nx - frame
    assert grid.center[0] % 360 > 359 or grid.center[0] < 1


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0.0, "`pixel_size_arcmin` must be positive. Received: 0"),
        (np.nan, "`pixel_size_arcmin` must be positive. Received: nan"),
        (-1.0, "`pixel_size_arcmin` must be positive"),
        (
            60.0,
            "leave at least 8 pixels across the field of 60 x 60 arcmin. Received: 60",
        ),
        (1e-3, r"leave at most 4096 pixels across the field.*Received: 0.001. Give at least"),
    ],
)
def test_pixels_that_do_not_suit_the_field_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        SkyGrid.around(np.array([10.0, 11.0]), np.array([-0.5, 0.5]), size)


def test_fields_that_are_not_flat_or_no_field_are_refused():
    with pytest.raises(ValueError, match="narrower than 20 degrees"):
        SkyGrid.around(np.array([10.0, 40.0]), np.array([0.0, 1.0]), 1.0)
    with pytest.raises(ValueError, match="cover a field of the sky"):
        SkyGrid.around(np.array([10.0, 10.0]), np.array([1.0, 1.0]), 1.0)
    with pytest.raises(ValueError, match="`shape` must be two positive integers"):
        SkyGrid((1.0, 2.0), (0, 5), 1.0)
