"""From a shear catalogue to maps of the mass in front of it, in one call."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from astropy.wcs import WCS

from flowpm_ext.core import checks, units
from flowpm_ext.cosmology import Cosmology, Planck18, angular_cl, probes, redshift
from flowpm_ext.fields.gaussian import power_map
from priors import estimators
from priors.catalogue import ShearCatalogue, Source, read_nz, read_shear_catalogue
from priors.shear_map import ShearMap, bin_shear, survey_grid
from priors.sky_grid import SkyGrid

PRIORS = ("wiener", "ks")
# The theory is smooth: this many multipoles hold it to 1e-3 between the tabulated ones.
NUM_ELL = 128


@dataclasses.dataclass(frozen=True)
class MassMap:
    """Convergence maps of a shear catalogue. Maps have the layout of `grid`, [ny, nx].

    Rows run North and columns West: shown with the first row at the bottom, North is up and
    East left. The mean convergence, which leaves no shear, is zero.

    Attributes:
        kappa_e: Convergence (dimensionless).
        kappa_b: The same of the shear turned by 45 degrees, where lensing leaves nothing; the
            edges of the survey mix a little of the E mode into it.
        std: Standard deviation of the error of `kappa_e`.
        samples: Draws from the posterior of the convergence, [num_samples, ny, nx].
        shear_map: The binned shear.
        estimator: The linear map from shear to convergence.
        iterations: Steps of the solver.
        residual: Relative residual that the solver reached.
        converged: Whether that is the residual it was to reach.
    """

    kappa_e: np.ndarray
    kappa_b: np.ndarray
    std: np.ndarray
    samples: np.ndarray
    shear_map: ShearMap
    estimator: estimators.AbstractEstimator
    iterations: int
    residual: float
    converged: bool

    @property
    def grid(self) -> SkyGrid:
        """The pixels."""
        return self.shear_map.grid

    @property
    def wcs(self) -> WCS:
        """World Coordinate System of the pixels."""
        return self.grid.wcs

    @property
    def shear(self) -> np.ndarray:
        """Weighted mean shear, complex [ny, nx]; 0 in empty pixels."""
        return self.shear_map.shear

    @property
    def counts(self) -> np.ndarray:
        """Galaxies in each pixel, [ny, nx]."""
        return self.shear_map.counts

    @property
    def mask(self) -> np.ndarray:
        """True in observed pixels, [ny, nx]."""
        return self.shear_map.mask

    @property
    def noise_std(self) -> np.ndarray:
        """Noise of each component of the shear, [ny, nx]; 0 in empty pixels."""
        return self.shear_map.noise_std


def mass_map(
    catalogue: Source | ShearCatalogue,
    nz: Source | Sequence | redshift.RedshiftDistribution | None = None,
    pixel_size_arcmin: float = 0.29,
    prior: str = "wiener",
    num_samples: int = 0,
    seed: int = 0,
    *,
    cosmo: Cosmology | None = None,
    columns: Mapping[str, str] | None = None,
    flip_e2: bool = False,
    padding_arcmin: float = 10.0,
    smoothing_arcmin: float = 1.0,
    grid: SkyGrid | None = None,
    max_iterations: int = estimators.MAX_ITERATIONS,
    verbose: int = 0,
) -> MassMap:
    """Maps of the convergence, its B mode and its uncertainty, from a shear catalogue.

    The shear is averaged in pixels of the tangent plane, its mean kept. With `prior="wiener"`
    the maps are the posterior mean under a Gaussian prior with the theory power spectrum of the
    catalogue's n(z), given the noise of each pixel; with "ks" the shear is inverted as it is
    and smoothed. The transforms are periodic; the padding keeps opposite edges apart.

    Args:
        catalogue: Path of a FITS, HDF5 or ECSV file, an astropy table, or a `ShearCatalogue`.
        nz: Redshift distribution for the theory: see `priors.catalogue.read_nz`; or one of
            `flowpm_ext.cosmology.redshift`. Not needed by "ks".
        pixel_size_arcmin: Side of a pixel (arcmin), or an astropy quantity.
        prior: "wiener" or "ks".
        num_samples: Draws from the posterior to return. The uncertainty is that of these
            draws, or of 32 that are not kept where it is 0.
        seed: Seed of the draws.
        cosmo: Cosmology of the theory; Planck18 if None.
        columns: Names of the columns: see `priors.catalogue.read_shear_catalogue`.
        flip_e2: Turn the sign of e2, for a catalogue measured with East to the right.
        padding_arcmin: Width of the empty frame around the galaxies (arcmin), or a quantity.
        smoothing_arcmin: Standard deviation of the Gaussian that "ks" smooths with (arcmin), or a
            quantity.
        grid: Pixels to use in place of those that the catalogue asks for.
        max_iterations: Steps after which the solver of "wiener" stops in any case; it warns
            where the map is not solved for by then.
        verbose: 1 to show a progress bar on a terminal while drawing.

    Returns:
        The maps, as a `MassMap`.

    Raises:
        ValueError: If the input cannot be read or holds bad values, an option is unknown,
            or the pixels do not suit the field.
        TypeError: If an argument is of another kind than these.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
        Schrabback et al. 2010, arXiv:0911.0053, for the catalogue of the tests.
    """
    checks.one_of(prior, "prior", PRIORS)
    checks.non_negative(num_samples, "num_samples")
    if not isinstance(catalogue, ShearCatalogue):
        catalogue = read_shear_catalogue(catalogue, columns, flip_e2)
    padding_arcmin = units.to_value(padding_arcmin, "arcmin", "padding_arcmin")
    smoothing_arcmin = units.to_value(smoothing_arcmin, "arcmin", "smoothing_arcmin")
    if grid is None:
        pixel_size_arcmin = units.to_value(pixel_size_arcmin, "arcmin", "pixel_size_arcmin")
        grid = survey_grid(catalogue, pixel_size_arcmin, padding_arcmin)
    shear_map = bin_shear(catalogue, grid)
    if prior == "ks":
        estimator = estimators.KaiserSquiresEstimator(shear_map, smoothing_arcmin)
    else:
        fix = "It is the redshift distribution of the galaxies."
        checks.require(nz is not None, "nz", "be given for the prior 'wiener'", None, fix)
        power = theory_power(nz, grid, cosmo)
        estimator = estimators.WienerEstimator(shear_map, power, max_iterations)
    both = estimator(np.stack([shear_map.shear, -1j * shear_map.shear]))
    samples, std = estimator.uncertainty(both.kappa[0], num_samples, seed, verbose)
    return MassMap(*both.kappa, std, samples, shear_map, estimator, *both[1:])


def theory_power(
    nz: Source | Sequence | redshift.RedshiftDistribution,
    grid: SkyGrid,
    cosmo: Cosmology | None = None,
) -> np.ndarray:
    """Power of the convergence in each Fourier mode of a map, from the Limber C_ell.

    Args:
        nz: Redshift distribution of the galaxies: see `priors.catalogue.read_nz`; or one of
            `flowpm_ext.cosmology.redshift`.
        grid: The pixels.
        cosmo: Cosmology; Planck18 if None.

    Returns:
        C_ell over the area of a pixel, in FFT layout, shape [ny, nx]; 0 at ell = 0.

    Raises:
        ValueError: If the distribution cannot be read or holds bad values.
        TypeError: If `cosmo` is no cosmology, or `nz` of another kind than these.
    """
    cosmo = Planck18() if cosmo is None else cosmo
    rule, fix = "be a cosmology", "Pass `flowpm_ext.Planck18()`, for example."
    checks.require(isinstance(cosmo, Cosmology), "cosmo", rule, cosmo, fix, TypeError)
    if not isinstance(nz, redshift.RedshiftDistribution):
        nz = redshift.histogram_nz(*read_nz(nz))
    probe = probes.WeakLensing([nz])
    lowest = 2 * np.pi / (max(grid.shape) * grid.pixel_size)
    highest = np.sqrt(2) * np.pi / grid.pixel_size  # the corner of the Fourier plane
    ell = np.geomspace(0.99 * lowest, 1.01 * highest, NUM_ELL)
    cl = angular_cl.angular_cl(cosmo, ell, [probe])[0]
    return np.asarray(power_map((ell, cl), grid.shape, grid.pixel_size))
