"""From galaxies to pixels: the mean shear of each pixel, its noise, and where there is none."""

import dataclasses

import numpy as np
from scipy.ndimage import binary_opening

from flowpm_ext.core import checks
from priors.catalogue import ShearCatalogue
from priors.sky_grid import SkyGrid


@dataclasses.dataclass(frozen=True)
class ShearMap:
    """Binned shear. All maps have shape [ny, nx] and the layout of `grid`.

    Attributes:
        grid: The pixels.
        shear: Weighted mean of the ellipticities, complex; 0 in empty pixels. Its mean over
            the field is kept.
        counts: Galaxies in each pixel, integers.
        mask: True where there are galaxies of positive weight.
        noise_std: Standard deviation of each component, sigma_e · sqrt(sum w**2) / sum w; 0 in
            empty pixels.
        rotation_variance: Variance of each component when every galaxy's ellipticity is turned
            by an angle of its own, sum w**2 |e|**2 / 2 / (sum w)**2; 0 in empty pixels.
        sigma_e: Dispersion of one component of the ellipticity, shear included.
    """

    grid: SkyGrid
    shear: np.ndarray
    counts: np.ndarray
    mask: np.ndarray
    noise_std: np.ndarray
    rotation_variance: np.ndarray
    sigma_e: float

    @property
    def footprint(self) -> np.ndarray:
        """The mask without single pixels that merely happen to hold no galaxy."""
        return ~binary_opening(~self.mask, np.ones((3, 3)), border_value=1)

    @property
    def galaxies_per_arcmin2(self) -> float:
        """Galaxies per square arcminute of observed sky."""
        area = np.count_nonzero(self.mask) * self.grid.pixel_size_arcmin**2
        return float(np.sum(self.counts) / area)


def survey_grid(
    catalogue: ShearCatalogue,
    pixel_size_arcmin: float,
    padding_arcmin: float = 10.0,
    multiple: int = 1,
) -> SkyGrid:
    """The pixels that hold all galaxies of positive weight.

    Args:
        catalogue: The galaxies.
        pixel_size_arcmin: Side of a pixel (arcmin).
        padding_arcmin: Width of the empty frame (arcmin), at least.
        multiple: What both sides shall divide by.

    Returns:
        The grid.

    Raises:
        ValueError: If the pixels do not suit the field: see `SkyGrid.around`.
    """
    used = catalogue.weight > 0
    return SkyGrid.around(
        catalogue.ra[used], catalogue.dec[used], pixel_size_arcmin, padding_arcmin, multiple
    )


def bin_shear(catalogue: ShearCatalogue, grid: SkyGrid) -> ShearMap:
    """Weighted mean shear of the galaxies in each pixel.

    Ellipticities are turned from the local North of each galaxy to the rows of the grid.
    The dispersion is taken about zero, sigma_e**2 = sum w**2 |e|**2 / (2 sum w**2), so that
    turning the galaxies at random leaves it as it is.

    Args:
        catalogue: The galaxies; those outside the grid are left out.
        grid: The pixels.

    Returns:
        The maps, as a `ShearMap`.

    Raises:
        ValueError: If no galaxy of positive weight falls on the grid.
    """
    index = grid.flat_index(catalogue.ra, catalogue.dec)
    used = (index >= 0) & (catalogue.weight > 0)
    fix = "Centre the grid on the catalogue."
    checks.require(np.any(used), "grid", "hold at least one galaxy", grid.center, fix)
    # Only ratios of weights matter; of the order of one, their squares stay finite.
    index, weight = index[used], catalogue.weight[used] / np.max(catalogue.weight[used])
    ellipticity = catalogue.ellipticity[used] * grid.turn(catalogue.ra[used])

    def total(values: np.ndarray | None) -> np.ndarray:
        size = grid.shape[0] * grid.shape[1]
        return np.bincount(index, values, minlength=size).reshape(grid.shape)

    weight_sum, counts = total(weight), total(None)
    inverse = np.divide(1.0, weight_sum, out=np.zeros(grid.shape), where=counts > 0)
    shear = (total(weight * ellipticity.real) + 1j * total(weight * ellipticity.imag)) * inverse
    square = weight**2 * np.abs(ellipticity) ** 2 / 2
    sigma_e = float(np.sqrt(np.sum(square) / np.sum(weight**2)))
    rule = "hold ellipticities other than zero"
    checks.require(sigma_e > 0, "catalogue", rule, "only zeros")
    noise_std = sigma_e * np.sqrt(total(weight**2)) * inverse
    variance = total(square) * inverse**2
    return ShearMap(grid, shear, counts, counts > 0, noise_std, variance, sigma_e)
