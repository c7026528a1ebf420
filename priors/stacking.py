"""What stands out of a mass map: its mean on known clusters, and its highest peaks."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter

from flowpm_ext.core import checks
from priors.catalogue import Clusters
from priors.mass_mapping import MassMap
from priors.sky_grid import SkyGrid

# Peaks closer than this to a higher one are its shoulders.
PEAK_SEPARATION_ARCMIN = 1.5
# Of discs around clusters: as wide as their lensing is seen at the depth of such surveys.
APERTURE_ARCMIN = 1.5


class ClusterStack(NamedTuple):
    """Mean convergence on the positions of clusters."""

    kappa_e: float
    kappa_b: float
    null_std: float  # of either mean; see `MassMap.scatter`
    num_clusters: int


class Apertures(NamedTuple):
    """Mean convergence around clusters; each array has shape [num_clusters]."""

    name: np.ndarray
    kappa: np.ndarray
    scatter: np.ndarray  # of the mean; see `MassMap.scatter`

    @property
    def signal_to_noise(self) -> np.ndarray:
        """Mean over its scatter, shape [num_clusters]."""
        return self.kappa / self.scatter


class Peaks(NamedTuple):
    """Local maxima of the E mode, highest first; each array has shape [num_peaks]."""

    row: np.ndarray  # pixels
    column: np.ndarray  # pixels
    ra: np.ndarray  # degrees
    dec: np.ndarray  # degrees
    kappa: np.ndarray
    null_std: np.ndarray  # of the pixel; see `MassMap.scatter`

    @property
    def signal_to_noise(self) -> np.ndarray:
        """Height over the scatter of the null, shape [num_peaks]."""
        return self.kappa / self.null_std


def on_grid(grid: SkyGrid, clusters: Clusters) -> Clusters:
    """The clusters that lie on a map.

    Args:
        grid: Pixels of the map.
        clusters: Positions, some of which may lie elsewhere.

    Returns:
        Those on the map, its padding included.

    Raises:
        ValueError: If there is none.
    """
    inside = grid.flat_index(clusters.ra, clusters.dec) >= 0
    first = f"{inside.size} positions, the first at ({clusters.ra[0]:.4g}, {clusters.dec[0]:.4g})"
    rule = "have a position on the map around ({:.4g}, {:.4g})".format(*grid.center)
    fix = "Positions are right ascension and declination in degrees."
    checks.require(np.any(inside), "clusters", rule, first, fix)
    return clusters[inside]


def stack(mass_map: MassMap, clusters: Clusters) -> ClusterStack:
    """Mean convergence, E and B, on the pixels of clusters, with its null scatter.

    Args:
        mass_map: The map.
        clusters: Positions, all of them on the map.

    Returns:
        The means (dimensionless), as a `ClusterStack`.

    Raises:
        ValueError: If a cluster lies outside the map.
    """
    index = mass_map.grid.flat_index(clusters.ra, clusters.dec)
    outside = clusters.name[index < 0]
    checks.require(outside.size == 0, "clusters", "lie on the map", list(outside[:5]))
    size = mass_map.kappa_e.size
    weights = np.bincount(index, minlength=size).reshape(mass_map.kappa_e.shape) / index.size
    null_std = mass_map.scatter(weights[np.newaxis])
    means = (float(np.sum(weights * kappa)) for kappa in (mass_map.kappa_e, mass_map.kappa_b))
    return ClusterStack(*means, float(null_std[0]), index.size)


def aperture_means(
    mass_map: MassMap, clusters: Clusters, radius_arcmin: float = APERTURE_ARCMIN
) -> Apertures:
    """Mean convergence in a disc around each cluster.

    Args:
        mass_map: The map.
        clusters: Positions, all of them on the map.
        radius_arcmin: Of the discs (arcmin).

    Returns:
        The means (dimensionless), as `Apertures`.

    Raises:
        ValueError: If the radius is not positive.
    """
    checks.positive(radius_arcmin, "radius_arcmin")
    row, column = mass_map.grid.pixel_coordinates(clusters.ra, clusters.dec)
    y, x = np.indices(mass_map.kappa_e.shape)
    away = np.hypot(y - row[:, None, None], x - column[:, None, None])
    # A disc smaller than a pixel is the pixel.
    reach = np.maximum(radius_arcmin / mass_map.grid.pixel_size_arcmin, away.min((1, 2)) + 1e-9)
    weights = (away <= reach[:, None, None]).astype(float)
    weights /= weights.sum((1, 2), keepdims=True)
    means = np.einsum("nyx,yx->n", weights, mass_map.kappa_e)
    return Apertures(clusters.name, means, mass_map.scatter(weights))


def find_peaks(mass_map: MassMap, num_peaks: int = 10) -> Peaks:
    """The highest local maxima of the E mode over observed sky.

    Args:
        mass_map: The map.
        num_peaks: How many at most.

    Returns:
        The peaks, as `Peaks`.

    Raises:
        ValueError: If `num_peaks` is not positive.
    """
    checks.positive(num_peaks, "num_peaks")
    reach = 2 * int(np.ceil(PEAK_SEPARATION_ARCMIN / mass_map.grid.pixel_size_arcmin)) + 1
    kappa = mass_map.kappa_e
    is_peak = (
        (kappa == maximum_filter(kappa, reach, mode="wrap"))
        & mass_map.shear_map.footprint
        & (kappa > 0)
    )
    row, column = np.nonzero(is_peak)
    order = np.argsort(-kappa[row, column])[:num_peaks]
    row, column = row[order], column[order]
    weights = np.zeros((row.size, *kappa.shape))
    weights[np.arange(row.size), row, column] = 1.0
    null_std = mass_map.scatter(weights)
    ra, dec = mass_map.grid.sky_coordinates(row, column)
    return Peaks(row, column, ra, dec, kappa[row, column], null_std)
