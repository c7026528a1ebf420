"""From a shear catalogue to maps of the mass in front of it, in one call."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.wcs import WCS

from flowpm_ext.core import checks, units
from flowpm_ext.cosmology import Cosmology, redshift
from priors import estimators
from priors.catalogue import ShearCatalogue, Source, read_shear_catalogue
from priors.map_prior import MapPrior, load_pretrained
from priors.posterior_estimators import LearnedEstimator, SparseEstimator
from priors.shear_map import ShearMap, bin_shear, survey_grid
from priors.sky_grid import SkyGrid
from priors.theory_power import theory_power

PRIORS = ("wiener", "ks", "sparse", "learned")
# What only some of them take.
TAKEN_BY = {
    "weights": ("learned",), "num_nulls": ("learned", "sparse"), "sampling": ("learned",),
    "reduced_shear": ("learned",),
}  # fmt: skip
PIXEL_SIZE_ARCMIN = 0.29


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
        estimator: What made the maps.
        iterations: Steps of the solver.
        residual: Relative residual that the solver reached.
        converged: Whether that is the residual it was to reach.
        diagnostics: Of chains, where there were any: R-hat, number of independent draws and more.
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
    diagnostics: Mapping[str, float] = dataclasses.field(default_factory=dict)

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

    def scatter(self, weights: np.ndarray) -> np.ndarray:
        """Standard deviation of weighted sums of the map, as its estimator tells it.

        Args:
            weights: Weights of the pixels, shape [num_sums, ny, nx].

        Returns:
            Of sums over maps of a survey whose galaxies are turned at random; or, for the prior
            "learned" without nulls, over draws of the posterior. Shape [num_sums].
        """
        return self.estimator.scatter(weights, self.samples)

    @property
    def noise_std(self) -> np.ndarray:
        """Noise of each component of the shear, [ny, nx]; 0 in empty pixels."""
        return self.shear_map.noise_std


def mass_map(
    catalogue: Source | ShearCatalogue,
    nz: Source | Sequence | redshift.RedshiftDistribution | None = None,
    pixel_size_arcmin: float | None = None,
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
    weights: MapPrior | None = None,
    num_nulls: int = 0,
    sampling: Mapping[str, Any] | None = None,
    reduced_shear: bool = False,
    verbose: int = 0,
) -> MassMap:
    """Maps of the convergence, its B mode and its uncertainty, from a shear catalogue.

    The shear is averaged in pixels of the tangent plane, its mean kept. With `prior="wiener"`
    the maps are the posterior mean under a Gaussian prior with the theory power spectrum of the
    catalogue's n(z), given the noise of each pixel; with "learned" that under a prior that knows
    more of simulated maps than their spectrum, by Hamiltonian chains; with "sparse" the most
    probable map of few wavelets; with "ks" the shear is inverted as it is and smoothed. The
    transforms are periodic; the padding keeps opposite edges apart.

    Args:
        catalogue: Path of a FITS, HDF5 or ECSV file, an astropy table, or a `ShearCatalogue`.
        nz: Redshift distribution for the theory: see `priors.catalogue.read_nz`; or one of
            `flowpm_ext.cosmology.redshift`. Not needed by "ks" and "sparse"; "learned" without
            it takes that of the maps it was trained on.
        pixel_size_arcmin: Side of a pixel (arcmin), or an astropy quantity; by default 0.29, for
            "learned" that of the maps it was trained on.
        prior: "wiener", "learned", "sparse" or "ks".
        num_samples: Draws from the posterior to return. The uncertainty is that of these
            draws, or of others that are not kept where it is 0: 32, for "learned" 100.
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
        weights: The prior of "learned": see `priors.train_prior`; by default the one that comes
            with the package.
        num_nulls: For "learned" and "sparse", surveys whose galaxies are turned at random, that
            peaks and stacks are compared with. "learned" without any compares with its draws.
        sampling: For "learned", options of `sample_posterior`; the runs of both modes and of nulls
            each have a `checkpoint` with a name of their own.
        reduced_shear: For "learned", whether galaxies show gamma / (1 - kappa), as they do, and
            not gamma, which makes peaks too high: see `ReducedShearLikelihood`. Chains serve it,
            so the `method` of `sampling` may be "guided", "hmc" or "langevin".
        verbose: 1 to show a progress bar on a terminal while drawing.

    Returns:
        The maps, as a `MassMap`.

    Raises:
        ValueError: If the input cannot be read or holds bad values, an option is unknown or not
            one of the prior, or the pixels do not suit the field.
        TypeError: If an argument is of another kind than these.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
        Schrabback et al. 2010, arXiv:0911.0053, for the catalogue of the tests.
    """
    checks.one_of(prior, "prior", PRIORS)
    checks.non_negative(num_samples, "num_samples")
    _check_taken(prior, weights=weights, num_nulls=num_nulls, sampling=sampling,
                 reduced_shear=reduced_shear)  # fmt: skip
    if not isinstance(catalogue, ShearCatalogue):
        catalogue = read_shear_catalogue(catalogue, columns, flip_e2)
    padding_arcmin = units.to_value(padding_arcmin, "arcmin", "padding_arcmin")
    smoothing_arcmin = units.to_value(smoothing_arcmin, "arcmin", "smoothing_arcmin")
    if prior == "learned" and weights is None:
        weights = load_pretrained()
    if grid is None:
        grid = chosen_grid(catalogue, prior, pixel_size_arcmin, padding_arcmin, weights)
    shear_map = bin_shear(catalogue, grid)
    if prior == "ks":
        estimator = estimators.KaiserSquiresEstimator(shear_map, smoothing_arcmin)
    elif prior == "sparse":
        estimator = SparseEstimator(shear_map, num_nulls, seed, verbose)
    elif prior == "learned":
        score = weights.score(grid, nz, cosmo)
        options = dict(sampling or {})
        estimator = LearnedEstimator(
            shear_map, score, num_nulls, seed, verbose, reduced_shear, **options
        )
    else:
        fix = "It is the redshift distribution of the galaxies."
        checks.require(nz is not None, "nz", "be given for the prior 'wiener'", None, fix)
        power = theory_power(nz, grid, cosmo)
        estimator = estimators.WienerEstimator(shear_map, power, max_iterations)
    found = estimator.maps(num_samples, seed, verbose)._asdict()
    return MassMap(shear_map=shear_map, estimator=estimator, **found)


def _check_taken(prior: str, **options: Any) -> None:
    """Refuse options that the prior has no use for."""
    for name, value in options.items():
        is_taken = not value or prior in TAKEN_BY[name]
        received = value if isinstance(value, int) else type(value).__name__
        checks.require(is_taken, name, f"be left out for the prior {prior!r}", received)


def chosen_grid(
    catalogue: ShearCatalogue,
    prior: str = "wiener",
    pixel_size_arcmin: float | None = None,
    padding_arcmin: float = 10.0,
    weights: MapPrior | None = None,
) -> SkyGrid:
    """The pixels that a catalogue is mapped in.

    Args:
        catalogue: The galaxies.
        prior: As for `mass_map`.
        pixel_size_arcmin: As for `mass_map`.
        padding_arcmin: As for `mass_map`.
        weights: As for `mass_map`.

    Returns:
        The grid.

    Raises:
        ValueError: If the pixels do not suit the field.
    """
    size, multiple = PIXEL_SIZE_ARCMIN, 1
    if prior == "learned":
        weights = weights or load_pretrained()
        size, multiple = weights.pixel_size_arcmin, weights.multiple
    if pixel_size_arcmin is not None:
        size = units.to_value(pixel_size_arcmin, "arcmin", "pixel_size_arcmin")
    return survey_grid(catalogue, size, padding_arcmin, multiple)
