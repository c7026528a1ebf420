"""A weak-lensing survey whose cosmology is to be inferred: lognormal maps and shape noise."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike, known
from flowpm_ext.cosmology import Cosmology, Planck15
from flowpm_ext.cosmology.redshift import smail_nz
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.lensing import lognormal_maps
from flowpm_ext.stats import angular_power
from lfi.batching import in_batches
from lfi.prior import BoxPrior
from lfi.shape_noise import ShapeNoise, turned

NAMES = ("Omega_c", "sigma8")
NUM_ELL = 11  # bins of a spectrum, a factor of 1.5 wide for 128 pixels


def default_bins() -> tuple[RedshiftDistribution, ...]:
    """One bin: a Smail distribution of mean redshift 1 and 30 galaxies per square arcminute.

    Returns:
        The bin, in a tuple.

    References:
        Smail, Ellis & Fitchett 1994, arXiv:astro-ph/9402048.
    """
    z0 = math.gamma(3 / 1.5) / math.gamma(4 / 1.5)  # of mean 1 for z**2 exp(-(z / z0)**1.5)
    return (smail_nz(2.0, 1.5, z0, gals_per_arcmin2=30.0),)


@dataclasses.dataclass(frozen=True, eq=False)
class LensingTask:
    """Periodic lognormal convergence maps with shape noise; Omega_c and sigma8 are sought.

    The other parameters are those of Planck 2015. Parameters are uniform between bounds.

    Args:
        nz: n(z) of each bin, with its density of galaxies (1 / arcmin**2); one bin of mean
            redshift 1 and 30 galaxies by default.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        sigma_e: Dispersion of one component of the ellipticities.
        low: Lower bounds of Omega_c and sigma8.
        high: Upper bounds.

    Raises:
        ValueError: If a number is not positive, or bounds are not in order.

    References:
        Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503; Jeffrey, Alsing & Lanusse 2020,
        arXiv:2009.08459.
    """

    nz: Sequence[RedshiftDistribution] = dataclasses.field(default_factory=default_bins)
    field_size_deg: float = 5.0
    num_pixels: int = 128
    sigma_e: float = 0.26
    low: tuple[float, float] = (0.1, 0.5)
    high: tuple[float, float] = (0.5, 1.1)

    def __post_init__(self) -> None:
        checks.positive(self.field_size_deg, "field_size_deg")
        checks.positive_integers(num_pixels=self.num_pixels)
        checks.positive(self.low, "low")
        checks.require(len(self.nz) > 0, "nz", "hold a bin", self.nz)
        _ = self.prior, self.noise  # they check the rest

    @property
    def prior(self) -> BoxPrior:
        """Uniform between the bounds."""
        return BoxPrior(self.low, self.high, NAMES)

    @property
    def pixel_size_arcmin(self) -> float:
        """Side of a pixel (arcmin)."""
        return 60 * self.field_size_deg / self.num_pixels

    @property
    def noise(self) -> ShapeNoise:
        """What adds shape noise, for `Compressor(noise=...)`."""
        density = [float(known(one.gals_per_arcmin2)) for one in self.nz]
        return ShapeNoise(self.pixel_size_arcmin, density, self.sigma_e)

    @property
    def noise_std(self) -> np.ndarray:
        """Standard deviation of the noise of a pixel in each bin, [num_bins]."""
        return self.noise.std

    @property
    def flips(self) -> Callable[[TensorLike, int | tf.Tensor], tf.Tensor]:
        """What turns and mirrors maps at random, for `Compressor(augment=...)`."""
        return turned

    @property
    def ell_edges(self) -> np.ndarray:
        """Edges of the bins of spectra, which hold all modes of a map."""
        longest = 360 / self.field_size_deg
        # No mode lies on an edge: the first and last are beyond the outermost modes.
        return longest * np.geomspace(0.9, 1.01 * self.num_pixels / np.sqrt(2), NUM_ELL + 1)

    def cosmology(self, theta: TensorLike) -> Cosmology:
        """The cosmologies of parameters.

        Args:
            theta: Omega_c and sigma8, shape [num, 2].

        Returns:
            A batch, Planck 2015 but for the two.
        """
        values = tf.unstack(tf.constant(theta, tf.float64), axis=1)
        return Planck15(**dict(zip(NAMES, values, strict=True)))

    def draw(self, num: int, seed: int | tf.Tensor = 0) -> tuple[np.ndarray, np.ndarray]:
        """Parameters from the prior, and noisy maps for each.

        Args:
            num: How many.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Parameters [num, 2] and maps [num, num_pixels, num_pixels, num_bins], float32.

        Raises:
            ValueError: If `num` is not a positive integer.

        References:
            Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
        """
        theta = self.prior.sample(num, fold(seed, 0)).numpy()
        return theta, self.simulate(theta, fold(seed, 1))

    def simulate(self, theta: TensorLike, seed: int | tf.Tensor = 0) -> np.ndarray:
        """Noisy maps at given parameters.

        Args:
            theta: Omega_c and sigma8, shape [num, 2].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, num_pixels, num_pixels, num_bins], float32.

        Raises:
            ValueError: If parameters have another shape, are not finite or outside of the prior.

        References:
            Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
        """
        return self.with_noise(self.maps(theta, fold(seed, 0)), fold(seed, 1))

    def maps(
        self, theta: TensorLike, seed: int | tf.Tensor = 0, progress: bool = False
    ) -> np.ndarray:
        """Maps without noise at given parameters.

        Args:
            theta: Omega_c and sigma8, shape [num, 2].
            seed: An integer, or a stateless seed of shape [2].
            progress: Whether to show a progress bar.

        Returns:
            Convergence, shape [num, num_pixels, num_pixels, num_bins], float32.

        Raises:
            ValueError: If parameters have another shape, are not finite or outside of the prior.

        References:
            Xavier, Abdalla & Joachimi 2016, arXiv:1602.08503.
        """
        theta = self.checked_parameters(theta)

        def make(part: np.ndarray, number: int) -> tf.Tensor:
            cosmo, sides = self.cosmology(part), (self.field_size_deg, self.num_pixels)
            return lognormal_maps(cosmo, self.nz, *sides, seed=fold(seed, number))

        return in_batches(make, theta, "maps", progress)

    def with_noise(self, maps: TensorLike, seed: int | tf.Tensor = 0) -> np.ndarray:
        """Many maps with shape noise, a batch at a time.

        Args:
            maps: Shape [num, num_pixels, num_pixels, num_bins].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            The shape of `maps`, float32.

        References:
            van Waerbeke 2000, arXiv:astro-ph/9909160.
        """
        noise = self.noise
        return in_batches(lambda part, number: noise(part, fold(seed, number)), maps)

    def spectra(self, maps: TensorLike) -> np.ndarray:
        """Angular power spectra of maps, all pairs of bins one after the other.

        Args:
            maps: Shape [num, num_pixels, num_pixels, num_bins].

        Returns:
            C_ell (steradian), shape [num, num_cl * num_ell], in the dtype of the maps.

        Raises:
            ValueError: If maps have another shape or are not finite.

        References:
            Hivon et al. 2002, arXiv:astro-ph/0105302.
        """
        expected = (self.num_pixels, self.num_pixels, len(self.nz))
        rule = f"have shape [num, {', '.join(map(str, expected))}]"
        checks.require(tuple(np.shape(maps))[1:] == expected, "maps", rule, np.shape(maps))

        def measure(part: np.ndarray, number: int) -> tf.Tensor:
            return angular_power(part, self.pixel_size_arcmin, self.ell_edges).cl

        found = in_batches(measure, np.asarray(maps))
        return found.reshape(len(found), -1)

    def checked_parameters(self, theta: TensorLike) -> np.ndarray:
        """Parameters inside of the prior, after checks.

        Args:
            theta: Shape [num, 2].

        Returns:
            The same, float64.

        Raises:
            ValueError: If parameters have another shape, are not finite or outside of the prior.

        References:
            The uniform distribution.
        """
        theta = np.asarray(theta, np.float64)
        fits = theta.ndim == 2 and theta.shape[1] == len(NAMES) and len(theta) > 0
        checks.require(fits, "theta", "have shape [num, 2]", theta.shape)
        checks.finite(theta, "theta")
        outside = int(np.sum(~np.isfinite(self.prior.log_prob(theta))))
        received = f"{outside} of {len(theta)} outside"
        checks.require(outside == 0, "theta", "lie inside of the prior", received)
        return theta
