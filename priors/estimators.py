"""Linear maps from binned shear to convergence, each with its adjoint and its uncertainty.

What every estimator answers, linear or not, stands first.
"""

import abc
import types
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from flowpm_ext.core import checks, seeds
from priors import convergence, wiener
from priors.likelihood import GaussianLikelihood
from priors.operators import KaiserSquires
from priors.shear_map import ShearMap

# Draws behind an uncertainty map, where no samples are asked for. One pixel of so few has an
# error of 12 %, so their variance, which changes slowly over the sky, is smoothed: with
# 12 pixels to the square arcminute, as in the survey of the tests, the error is 2.5 %.
NUM_STD_SAMPLES = 32
STD_SMOOTHING_ARCMIN = 1.0
# Maps solved for at once: more would not be faster and would need more memory.
BATCH_SIZE = 8
# Relative residual at which a map is good to a few digits more than its noise, and the steps
# that are far more than surveys take.
TOLERANCE, MAX_ITERATIONS = 1e-6, 500


class Maps(NamedTuple):
    """What an estimator finds of a survey; maps have the shape [ny, nx] of its pixels."""

    kappa_e: np.ndarray
    kappa_b: np.ndarray  # of the shear turned by 45 degrees
    std: np.ndarray  # standard deviation of the error of kappa_e
    samples: np.ndarray  # [num_samples, ny, nx]
    iterations: int = 0  # of the solver; 0 where there is none
    residual: float = 0.0  # relative, of the solver; 0 where there is none
    converged: bool = True  # whether the solver reached its tolerance
    diagnostics: Mapping[str, float] = types.MappingProxyType({})  # of chains


class AbstractEstimator(abc.ABC):
    """From the shear of a survey to its convergence."""

    @abc.abstractmethod
    def maps(self, num_samples: int, seed: int, verbose: int = 0) -> Maps:
        """Convergence, its B mode and its uncertainty, with draws where they are asked for."""

    @abc.abstractmethod
    def scatter(self, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """What sums of weights [num_sums, ny, nx] times the map scatter by, [num_sums].

        It is that of surveys whose galaxies are turned at random, unless the estimator says
        otherwise; `samples` are those of `maps`.
        """


class Estimate(NamedTuple):
    """Convergence maps and how they were come by."""

    kappa: np.ndarray  # [..., ny, nx]
    iterations: int  # of the solver; 0 where there is none
    residual: float  # relative, of the solver; 0 where there is none
    converged: bool  # whether the solver reached its tolerance


class LinearEstimator(AbstractEstimator):
    """A linear map from shear to convergence: kappa = F(shear).

    Args:
        shear_map: The binned shear.
    """

    def __init__(self, shear_map: ShearMap) -> None:
        self._map = shear_map

    @abc.abstractmethod
    def __call__(self, shear: np.ndarray) -> Estimate:
        """Convergence, real [..., ny, nx], of complex shear [..., ny, nx]."""

    @abc.abstractmethod
    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        """The g, complex [..., ny, nx], with sum(weights · F(d)) = Re sum(conj(g) · d)."""

    @abc.abstractmethod
    def uncertainty(
        self, kappa: np.ndarray, num_samples: int, seed: int, verbose: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws from the posterior, [num_samples, ny, nx], and the error's std, [ny, nx]."""

    def maps(self, num_samples: int, seed: int, verbose: int = 0) -> Maps:
        both = self(np.stack([self._map.shear, -1j * self._map.shear]))
        samples, std = self.uncertainty(both.kappa[0], num_samples, seed, verbose)
        return Maps(*both.kappa, std, samples, *both[1:])

    def scatter(self, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return self.null_std(self._map, weights)

    def null_std(self, shear_map: ShearMap, weights: np.ndarray) -> np.ndarray:
        """Scatter of sum(weights · F(d)) when every galaxy is turned at random.

        The sum is linear in the ellipticities e_g, s = Re sum_g conj(c_g) e_g, so its variance
        under random rotations is exactly sum_g |c_g|**2 |e_g|**2 / 2; the galaxies of a pixel
        share one g, and their part is `shear_map.rotation_variance`.

        Args:
            shear_map: The binned shear.
            weights: Weights of the pixels, shape [num_sums, ny, nx].

        Returns:
            Standard deviations, shape [num_sums].
        """
        scatter = []
        for start in range(0, len(weights), BATCH_SIZE):
            batch = weights[start : start + BATCH_SIZE]
            # Filled up with copies: another number of maps would compile the solver anew.
            missing = BATCH_SIZE - len(batch)
            g = self.adjoint(np.pad(batch, [(0, missing), (0, 0), (0, 0)], mode="edge"))
            variance = np.sum(np.abs(g) ** 2 * shear_map.rotation_variance, axis=(-2, -1))
            scatter.extend(np.sqrt(variance[: len(batch)]))
        return np.asarray(scatter)


class KaiserSquiresEstimator(LinearEstimator):
    """The inverse of lensing without noise, smoothed; empty pixels count as no shear.

    Its error is the noise alone: what the mask and the smoothing take away is not in it.

    Args:
        shear_map: The binned shear.
        smoothing_arcmin: Standard deviation of the Gaussian (arcmin); 0 for none.

    Raises:
        ValueError: If `smoothing_arcmin` is negative.
    """

    def __init__(self, shear_map: ShearMap, smoothing_arcmin: float) -> None:
        checks.non_negative(smoothing_arcmin, "smoothing_arcmin")
        super().__init__(shear_map)
        self._op = KaiserSquires(shear_map.grid.shape)
        self._sigma = smoothing_arcmin / shear_map.grid.pixel_size_arcmin

    def __call__(self, shear: np.ndarray) -> Estimate:
        return Estimate(self._smoothed(self._op.adjoint(shear * self._map.mask)), 0, 0.0, True)

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        return np.asarray(self._op(self._smoothed(weights))) * self._map.mask

    def uncertainty(
        self, kappa: np.ndarray, num_samples: int, seed: int, verbose: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        fix = "Choose the prior 'wiener' for samples."
        checks.require(num_samples == 0, "num_samples", "be 0 for the prior 'ks'", num_samples, fix)
        # The two kernels that a unit of gamma1 or gamma2 in one pixel leaves in the map: each
        # pixel's noise spreads as their squares.
        delta = np.zeros(kappa.shape)
        delta[0, 0] = 1.0
        kernels = self._smoothed(self._op.adjoint(np.stack([delta, 1j * delta])))
        spread = np.fft.rfft2(np.sum(kernels**2, axis=0)) * np.fft.rfft2(self._map.noise_std**2)
        variance = np.fft.irfft2(spread, kappa.shape)
        return np.zeros((0, *kappa.shape)), np.sqrt(np.maximum(variance, 0.0))

    def _smoothed(self, kappa: object) -> np.ndarray:
        """Maps [..., ny, nx] after the Gaussian, which is its own adjoint."""
        return gaussian_filter(np.asarray(kappa), self._sigma, mode="wrap", axes=(-2, -1))


class WienerEstimator(LinearEstimator):
    """Posterior mean under a Gaussian prior.

    Args:
        shear_map: The binned shear.
        power: Prior variance of each Fourier mode, FFT layout, [ny, nx].
        max_iterations: Steps after which the solver stops in any case.

    Raises:
        ValueError: If `max_iterations` is not positive.
    """

    def __init__(
        self, shear_map: ShearMap, power: np.ndarray, max_iterations: int = MAX_ITERATIONS
    ) -> None:
        checks.positive(max_iterations, "max_iterations")
        super().__init__(shear_map)
        self._limits = (TOLERANCE, int(max_iterations))
        self.power = power

    def __call__(self, shear: np.ndarray) -> Estimate:
        found = wiener.wiener_solve(self._likelihood(shear), self.power, *self._limits)
        convergence.warned(found, *self._limits)
        converged = convergence.has_converged(found, *self._limits)
        residual = float(np.max(found.residual))
        return Estimate(np.asarray(found.mean), int(found.iterations), residual, converged)

    def adjoint(self, weights: np.ndarray) -> np.ndarray:
        likelihood = self._likelihood(self._map.shear)
        return np.asarray(wiener.wiener_adjoint(likelihood, self.power, weights, *self._limits))

    def uncertainty(
        self, kappa: np.ndarray, num_samples: int, seed: int, verbose: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        likelihood = self._likelihood(self._map.shear)
        kept, square = [np.zeros((0, *kappa.shape))], np.zeros(kappa.shape)
        num_draws = num_samples or NUM_STD_SAMPLES
        starts = range(0, num_draws, BATCH_SIZE)
        # Shown on a terminal only, and only when asked for.
        for start in tqdm(starts, "posterior draws", disable=None if verbose else True):
            draws = np.asarray(
                wiener.wiener_samples(
                    likelihood, self.power, min(BATCH_SIZE, num_draws - start),
                    seeds.fold(seed, start), *self._limits,
                )
            )  # fmt: skip
            # About the mean, which is known: no degree of freedom is lost.
            square += np.sum((draws - kappa) ** 2, axis=0)
            if num_samples:
                kept.append(draws)
        sigma = STD_SMOOTHING_ARCMIN / self._map.grid.pixel_size_arcmin
        variance = gaussian_filter(square / num_draws, sigma, mode="wrap")
        return np.concatenate(kept), np.sqrt(variance)

    def _likelihood(self, shear: np.ndarray) -> GaussianLikelihood:
        op = KaiserSquires(self._map.grid.shape)
        return GaussianLikelihood(op, shear, self._map.noise_std, self._map.mask)
