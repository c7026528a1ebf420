"""Binned shear against a loop over galaxies, and the sign of the ellipticity on the sky."""

import dataclasses

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from priors.catalogue import ShearCatalogue
from priors.operators import KaiserSquires
from priors.shear_map import bin_shear, survey_grid
from priors.sky_grid import SkyGrid


def random_catalogue(num_galaxies=400, center=(0.0, 60.0), seed=3):
    rng = np.random.default_rng(seed)
    dec = center[1] + rng.uniform(-0.3, 0.3, num_galaxies)
    ra = (center[0] + rng.uniform(-0.3, 0.3, num_galaxies) / np.cos(np.radians(dec))) % 360
    ellipticity = 0.3 * (rng.normal(size=num_galaxies) + 1j * rng.normal(size=num_galaxies))
    return ShearCatalogue(ra, dec, ellipticity, rng.uniform(0.0, 2.0, num_galaxies))


def test_maps_are_those_of_a_loop():
    catalogue = random_catalogue()
    grid = SkyGrid.around(catalogue.ra, catalogue.dec, 4.0)
    made = bin_shear(catalogue, grid)
    row, column = np.rint(grid.pixel_coordinates(catalogue.ra, catalogue.dec)).astype(int)
    turned = catalogue.ellipticity * grid.turn(catalogue.ra)
    squares = [(w * abs(e)) ** 2 / 2 for w, e in zip(catalogue.weight, turned, strict=True)]
    sigma_e = np.sqrt(sum(squares) / sum(catalogue.weight**2))
    assert made.sigma_e == pytest.approx(sigma_e, rel=1e-12)
    for y in range(grid.shape[0]):
        for x in range(grid.shape[1]):
            here = [i for i in range(catalogue.ra.size) if (row[i], column[i]) == (y, x)]
            assert made.counts[y, x] == len(here) and made.mask[y, x] == bool(here)
            w, e = catalogue.weight[here], turned[here]
            total = w.sum() if here else 1.0
            mean, noise = (w * e).sum() / total, sigma_e * np.sqrt((w**2).sum()) / total
            variance = sum(squares[i] for i in here) / total**2
            # Sums of a few numbers in another order.
            assert made.shear[y, x] == pytest.approx(mean, abs=1e-13)
            assert made.noise_std[y, x] == pytest.approx(noise, rel=1e-12)
            assert made.rotation_variance[y, x] == pytest.approx(variance, rel=1e-12)


def test_unit_weights_have_the_noise_of_a_mean():
    catalogue = random_catalogue()
    catalogue = dataclasses.replace(catalogue, weight=np.ones(400))
    made = bin_shear(catalogue, SkyGrid.around(catalogue.ra, catalogue.dec, 4.0))
    expected = made.sigma_e / np.sqrt(made.counts[made.mask])
    np.testing.assert_allclose(made.noise_std[made.mask], expected, rtol=1e-12)
    area = made.mask.sum() * 16.0
    assert made.galaxies_per_arcmin2 == pytest.approx(400 / area)


def test_galaxies_of_no_weight_are_no_galaxies():
    catalogue = random_catalogue()
    weight = np.where(np.arange(400) < 200, 0.0, 1.0)
    grid = SkyGrid.around(catalogue.ra, catalogue.dec, 4.0)
    made = bin_shear(dataclasses.replace(catalogue, weight=weight), grid)
    assert made.counts.sum() == 200


def test_galaxies_of_no_weight_do_not_set_the_grid():
    catalogue = random_catalogue()
    far = dataclasses.replace(
        catalogue,
        ra=np.append(catalogue.ra, 40.0),
        dec=np.append(catalogue.dec, 60.0),
        ellipticity=np.append(catalogue.ellipticity, 0.1),
        weight=np.append(catalogue.weight, 0.0),
    )
    assert survey_grid(far, 4.0) == survey_grid(catalogue, 4.0)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_the_weights_does_not_matter(scale):
    catalogue = random_catalogue()
    scaled = dataclasses.replace(catalogue, weight=scale * catalogue.weight)
    grid = survey_grid(catalogue, 4.0)
    one, two = bin_shear(catalogue, grid), bin_shear(scaled, grid)
    for name in ("shear", "noise_std", "rotation_variance", "sigma_e"):
        # Weights rounded twice; a mean that cancels is as exact as its terms.
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-13, atol=1e-14)


def test_footprint_keeps_pixels_that_happen_to_be_empty():
    catalogue = random_catalogue(60_000)
    grid = SkyGrid.around(catalogue.ra, catalogue.dec, 1.0)
    made = bin_shear(catalogue, grid)
    mask = made.mask.copy()
    y, x = np.array(grid.shape) // 2
    mask[y, x] = False
    mask[y + 5 : y + 9, x : x + 4] = False
    footprint = dataclasses.replace(made, mask=mask).footprint
    assert footprint[y, x] and not footprint[y + 6, x + 1] and not footprint[0, 0]


@pytest.mark.parametrize("center", [(150.0, 2.0), (0.0, 60.0), (30.0, -80.0)])
def test_tangential_shear_on_the_sky_is_e_mode_mass_at_its_centre(center):
    """Shapes from position angles on the sphere: parity, orientation and meridians."""
    catalogue = random_catalogue(20_000, center)
    galaxies = SkyCoord(catalogue.ra, catalogue.dec, unit="deg")
    mass = SkyCoord(center[0] + 0.1 / np.cos(np.radians(center[1])), center[1] + 0.12, unit="deg")
    angle = mass.separation(galaxies).arcmin
    # The position angle runs from North to East, phi from West to North.
    phi = galaxies.position_angle(mass).rad + np.pi / 2
    # Convergence exp(-r**2 / 2 s**2): mean inside r minus the value at r.
    u = angle**2 / (2 * 3.0**2)
    tangential = (1 - np.exp(-u)) / u - np.exp(-u)
    catalogue = dataclasses.replace(
        catalogue, ellipticity=-tangential * np.exp(2j * phi), weight=np.ones(20_000)
    )
    grid = SkyGrid.around(catalogue.ra, catalogue.dec, 1.0, padding_arcmin=20.0)
    modes = KaiserSquires(grid.shape).modes(bin_shear(catalogue, grid).shear)
    kappa, b = np.asarray(modes.e), np.asarray(modes.b)
    row, column = grid.pixel_coordinates(mass.ra.deg, mass.dec.deg)
    peak = np.unravel_index(np.argmax(kappa), kappa.shape)
    assert np.hypot(peak[0] - row, peak[1] - column) < 1.0
    # 17 galaxies sample the profile in a pixel, and the field ends where shear remains.
    assert 0.8 < kappa.max() < 1.1
    assert np.abs(b).max() < 0.15


def test_grid_elsewhere_and_round_galaxies_are_refused():
    catalogue = random_catalogue()
    with pytest.raises(ValueError, match="`grid` must hold at least one galaxy"):
        bin_shear(catalogue, SkyGrid((90.0, 0.0), (10, 10), 1.0))
    round_ones = dataclasses.replace(catalogue, ellipticity=np.zeros(400, complex))
    with pytest.raises(ValueError, match="hold ellipticities other than zero"):
        bin_shear(round_ones, SkyGrid.around(catalogue.ra, catalogue.dec, 4.0))
