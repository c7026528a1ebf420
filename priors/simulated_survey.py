"""A survey made on the spot: known convergence, seen through a mask and noisy galaxies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from flowpm_ext.core import checks, seeds
from flowpm_ext.cosmology import Cosmology, Planck18, redshift
from flowpm_ext.lensing import convergence_maps
from flowpm_ext.pm import Sharpening
from priors.catalogue import Source, read_nz
from priors.estimators import KaiserSquiresEstimator
from priors.mass_mapping import MassMap
from priors.operators import KaiserSquires
from priors.sky_grid import SkyGrid

# The simulated field is like HST/COSMOS: depth, shape noise and gaps of its catalogue.
CENTER = (150.1, 2.2)  # degrees
FOOTPRINT_ARCMIN, MAP_ARCMIN, POINTING_ARCMIN = 81.0, 104.4, 3.4
GALAXIES_PER_ARCMIN2, SIGMA_E = 72.0, 0.305
MISSING_FRACTION = 0.4  # of the pointings along the edge
STARS_PER_ARCMIN2, STAR_ARCMIN = 0.05, (0.25, 2.0)  # number, least and largest radius
# A box as wide as the field at its farthest galaxies has cells of some 1.3 Mpc/h, for which
# `fit_sharpening(Planck18(), 64, 80.0, force_mesh_factor=2)` finds this sharpening.
SIMULATION = {
    "mesh_shape": 128,
    "force_mesh_factor": 2,
    "sharpening": Sharpening(alpha=0.0032, k_long=0.278, k_short=7.81, exponent=-1.75),
}
METHODS = ("born", "lognormal")
NUM_CLUSTERS = 40
MULTIPLE = 4  # of the sides of the map, for networks with three scales
# Nearly the best that smoothing does for Kaiser-Squires at this depth.
KS_SMOOTHING_ARCMIN = 1.0
# The truth is finer than the map, so that mapping does not invert its own pixels.
REFINEMENT = 2


class SimulatedSurvey(NamedTuple):
    """A catalogue as a survey would give it, and what no survey knows."""

    catalogue: Table  # ra, dec, e1, e2
    clusters: Table  # id, ra, dec: the highest peaks of the true, smoothed convergence
    nz: Table  # z, n
    kappa: np.ndarray  # [ny, nx], true convergence averaged in the pixels of `grid`
    grid: SkyGrid


def simulate_survey(
    pixel_size_arcmin: float = 0.29,
    seed: int = 0,
    cosmo: Cosmology | None = None,
    nz: Source | Sequence | None = None,
    method: str = "born",
) -> SimulatedSurvey:
    """Simulated shear survey of 1.8 square degrees with a known convergence.

    The convergence is that of a particle-mesh simulation seen by the survey's galaxies, or
    lognormal with the Limber C_ell of their n(z); galaxies carry its reduced shear and shape
    noise; pointings missing along the edge and circles around bright stars are cut out.

    Args:
        pixel_size_arcmin: Side of the pixels that the survey will be mapped in (arcmin).
        seed: Seed of everything that is drawn.
        cosmo: Cosmology; Planck18 if None.
        nz: Redshift distribution of the galaxies: see `priors.catalogue.read_nz`. By default
            one of faint galaxies, of mean 1.4.
        method: "born" or "lognormal": see `convergence_maps`.

    Returns:
        The survey, as a `SimulatedSurvey`.

    Raises:
        ValueError: If the pixels do not suit the field, the distribution cannot be read, or the
            method is unknown.

    References:
        Schrabback et al. 2010, arXiv:0911.0053, for the survey that this one resembles.
    """
    checks.one_of(method, "method", METHODS)
    corners = np.array([-0.5, 0.5]) * FOOTPRINT_ARCMIN / 60.0
    padding = (MAP_ARCMIN - FOOTPRINT_ARCMIN) / 2 - 2 * pixel_size_arcmin
    grid = SkyGrid.around(
        CENTER[0] + corners, CENTER[1] + corners, pixel_size_arcmin, max(padding, 0.0), MULTIPLE
    )
    fine = SkyGrid(
        grid.center,
        (REFINEMENT * grid.shape[0], REFINEMENT * grid.shape[1]),
        grid.pixel_size_arcmin / REFINEMENT,
    )
    nz = _faint_galaxies() if nz is None else nz
    edges, counts = read_nz(nz)
    kappa = _convergence(redshift.histogram_nz(edges, counts), fine, cosmo, method, seed)
    random = np.random.default_rng(seed % 2**64)  # negative seeds are seeds too
    ra, dec = grid.sky_coordinates(*_observed_positions(grid, random))
    catalogue = _galaxies(ra, dec, kappa, fine, random)
    averaged = kappa.reshape(grid.shape[0], REFINEMENT, grid.shape[1], REFINEMENT).mean((1, 3))
    table = Table({"z": edges[:-1], "n": counts})
    return SimulatedSurvey(catalogue, _clusters(averaged, grid), table, averaged, grid)


def compare_with_truth(mass_map: MassMap, truth: np.ndarray) -> dict[str, float]:
    """How near a map comes to the truth, over observed pixels and up to the mean.

    Args:
        mass_map: The map.
        truth: True convergence, shape [ny, nx].

    Returns:
        Root mean square errors of the map, of an empty map and of the smoothed Kaiser-Squires
        map; correlation with the truth of both maps; and the fraction of pixels whose error
        is within one and two standard deviations.
    """
    mask = mass_map.mask
    inverted = KaiserSquiresEstimator(mass_map.shear_map, KS_SMOOTHING_ARCMIN)
    ks = inverted(mass_map.shear).kappa
    expected = truth[mask] - truth[mask].mean()

    def error(kappa: np.ndarray) -> np.ndarray:
        return kappa[mask] - kappa[mask].mean() - expected

    def rms(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean(values**2)))

    sigmas = np.abs(error(mass_map.kappa_e)) / mass_map.std[mask]
    return {
        "rms_error": rms(error(mass_map.kappa_e)),
        "rms_error_kaiser_squires_smoothed": rms(error(ks)),
        "rms_of_truth": rms(expected),
        "correlation": float(np.corrcoef(mass_map.kappa_e[mask], expected)[0, 1]),
        "correlation_kaiser_squires_smoothed": float(np.corrcoef(ks[mask], expected)[0, 1]),
        "fraction_within_1_std": float(np.mean(sigmas < 1)),
        "fraction_within_2_std": float(np.mean(sigmas < 2)),
    }


def _convergence(
    nz: redshift.RedshiftDistribution,
    grid: SkyGrid,
    cosmo: Cosmology | None,
    method: str,
    seed: int,
) -> np.ndarray:
    """Convergence on a grid, from the least square that holds it."""
    num_pixels = max(grid.shape)
    maps = convergence_maps(
        cosmo or Planck18(), [nz], num_pixels * grid.pixel_size_arcmin / 60, num_pixels, method,
        seed=seeds.fold(seed, 0), **SIMULATION if method == "born" else {},
    )  # fmt: skip
    return maps.numpy()[0, : grid.shape[0], : grid.shape[1], 0]


def _faint_galaxies() -> Table:
    """Distribution of faint galaxies: z**2 exp(-(z / 0.7)**1.2), of mean 1.4."""
    z = np.arange(0.0, 5.0, 0.05)
    middle = z + 0.025
    return Table({"z": z, "n": middle**2 * np.exp(-((middle / 0.7) ** 1.2))})


def _observed_positions(
    grid: SkyGrid, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of galaxies, outside missing pointings and the discs of stars."""
    num_galaxies = random.poisson(GALAXIES_PER_ARCMIN2 * FOOTPRINT_ARCMIN**2)
    x = random.uniform(0.0, FOOTPRINT_ARCMIN, [num_galaxies, 2])
    num_tiles = int(np.ceil(FOOTPRINT_ARCMIN / POINTING_ARCMIN))
    is_missing = random.uniform(size=[num_tiles, num_tiles]) < MISSING_FRACTION
    is_missing[1:-1, 1:-1] = False
    tile = (x / POINTING_ARCMIN).astype(int)
    x = x[~is_missing[tile[:, 0], tile[:, 1]]]
    num_stars = random.poisson(STARS_PER_ARCMIN2 * FOOTPRINT_ARCMIN**2)
    stars = random.uniform(0.0, FOOTPRINT_ARCMIN, [num_stars, 2])
    # Brighter stars are rarer: twice the radius, a quarter of the number.
    radius = np.minimum(STAR_ARCMIN[0] / np.sqrt(random.uniform(size=num_stars)), STAR_ARCMIN[1])
    hidden = np.zeros(len(x), bool)
    for inside in cKDTree(x).query_ball_point(stars, radius):
        hidden[inside] = True
    middle = (np.array(grid.shape) - 1) / 2
    row, column = ((x[~hidden] - FOOTPRINT_ARCMIN / 2) / grid.pixel_size_arcmin + middle).T
    return row, column


def _galaxies(
    ra: np.ndarray, dec: np.ndarray, kappa: np.ndarray, grid: SkyGrid, random: np.random.Generator
) -> Table:
    """Galaxies with the reduced shear of their pixel and their own shape, North up."""
    shear = np.asarray(KaiserSquires(grid.shape)(kappa))
    index = grid.flat_index(ra, dec)
    reduced = (shear / (1 - kappa)).ravel()[index] / grid.turn(ra)
    shape = SIGMA_E * (random.normal(size=ra.size) + 1j * random.normal(size=ra.size))
    e = (reduced + shape).astype(np.complex64)
    return Table({"ra": ra, "dec": dec, "e1": e.real, "e2": e.imag})


def _clusters(kappa: np.ndarray, grid: SkyGrid) -> Table:
    """The highest peaks of the true convergence, seen with a resolution of an arcminute."""
    smooth = gaussian_filter(kappa, 1.0 / grid.pixel_size_arcmin, mode="wrap")
    reach = 2 * int(np.ceil(1.5 / grid.pixel_size_arcmin)) + 1
    row, column = np.nonzero(smooth == maximum_filter(smooth, reach, mode="wrap"))
    middle, half = (np.array(grid.shape) - 1) / 2, FOOTPRINT_ARCMIN / 2 / grid.pixel_size_arcmin
    inside = (np.abs(row - middle[0]) < half) & (np.abs(column - middle[1]) < half)
    row, column = row[inside], column[inside]
    order = np.argsort(-smooth[row, column])[:NUM_CLUSTERS]
    ra, dec = grid.sky_coordinates(row[order], column[order])
    return Table({"id": np.arange(1, order.size + 1), "ra": ra, "dec": dec})
