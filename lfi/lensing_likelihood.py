"""The posterior of a lensing survey from power spectra alone, by a Gaussian likelihood."""

import numpy as np
import tensorflow as tf
from scipy.interpolate import CubicSpline, RectBivariateSpline

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from flowpm_ext.core.types import TensorLike
from flowpm_ext.cosmology.angular_cl import angular_cl, noise_cl
from flowpm_ext.cosmology.probes import WeakLensing
from lfi.batching import in_batches
from lfi.survey import LensingTask
from lfi.task import Task

NUM_NODES = 17  # of theory along each parameter; splines between them are right to 1e-4
NUM_GRID = 200  # cells of the posterior along each parameter
NUM_KNOTS = 96  # multipoles of theory, as for the maps


class PowerLikelihood:
    """Gaussian likelihood of binned spectra, and its posterior on a grid.

    Maps are drawn with the C_ell of theory, so that theory averaged over the modes of each bin,
    plus the white spectrum of the noise, is the mean of spectra without bias. The covariance is
    that of simulations at the fiducial parameters, the same everywhere, and its inverse is
    corrected for their finite number.

    Args:
        task: The survey.
        fiducial: Omega_c and sigma8 of the covariance.
        num_simulations: Simulations for it.
        seed: Of these.

    Raises:
        ValueError: If `fiducial` is outside of the prior, or simulations are not more than data
            by three.

    References:
        Hartlap, Simon & Schneider 2007, arXiv:astro-ph/0608064; Carron 2013, arXiv:1204.4724, for
        the covariance that does not depend on parameters.
    """

    def __init__(
        self,
        task: LensingTask,
        fiducial: tuple[float, float] = (0.25, 0.8),
        num_simulations: int = 2000,
        seed: int | tf.Tensor = 0,
    ) -> None:
        self.task = task
        theta = np.tile(task.checked_parameters([fiducial]), [num_simulations, 1])
        self._splines = self._of_theory()
        rule = f"be more than {len(self._splines) + 2}, by the number of data"
        enough = num_simulations > len(self._splines) + 2
        checks.require(enough, "num_simulations", rule, num_simulations)
        spectra = task.spectra(task.simulate(theta, seed)).astype(np.float64)
        self.covariance = np.cov(spectra.T)
        hartlap = (num_simulations - len(self.covariance) - 2) / (num_simulations - 1)
        # In units of its diagonal: spectra are tiny, and covariances of them tinier.
        scale = np.sqrt(np.diag(self.covariance))
        root = np.linalg.cholesky(self.covariance / np.outer(scale, scale) / hartlap)
        self._whiten = np.linalg.inv(root).T / scale[:, None]

    def mean(self, theta: TensorLike) -> np.ndarray:
        """Expected spectra.

        Args:
            theta: Omega_c and sigma8, shape [num, 2].

        Returns:
            C_ell with noise (steradian), shape [num, num_cl * num_ell].

        Raises:
            ValueError: If parameters have another shape, are not finite or outside of the prior.

        References:
            Limber 1953, ApJ 117, 134.
        """
        theta = self.task.checked_parameters(theta)
        return np.stack([spline.ev(*theta.T) for spline in self._splines], axis=-1)

    def posterior(self, x_obs: TensorLike, num: int, seed: int | tf.Tensor = 0) -> np.ndarray:
        """Draws of the posterior under the prior of the survey, independent of each other.

        The posterior is evaluated in the middle of 200 by 200 cells, and flat inside of each.

        Args:
            x_obs: Spectra that were observed, shape [num_obs, num_cl * num_ell].
            num: Draws for each.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, num_obs, 2], float32.

        Raises:
            ValueError: If `num` is not a positive integer, or spectra have another shape or are
                not finite.

        References:
            Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
        """
        checks.positive_integers(num=num)
        x_obs = np.asarray(x_obs, np.float64)
        fits = x_obs.ndim == 2 and x_obs.shape[1] == len(self._splines)
        rule = f"have shape [num_obs, {len(self._splines)}]"
        checks.require(fits, "x_obs", rule, x_obs.shape)
        checks.finite(x_obs, "x_obs")
        rng = generator(fold(seed, 0))
        width = (self.task.prior.high - self.task.prior.low) / NUM_GRID
        middles = _grid(self.task, (np.arange(NUM_GRID) + 0.5) / NUM_GRID)
        mean = self.mean(middles) @ self._whiten
        draws = []
        for x in x_obs @ self._whiten:
            log_like = -0.5 * np.sum((x - mean) ** 2, axis=1)
            weight = np.exp(log_like - log_like.max())
            cell = rng.choice(len(middles), num, p=weight / weight.sum())
            draws.append(middles[cell] + width * rng.uniform(-0.5, 0.5, [num, 2]))
        return np.stack(draws, axis=1).astype(np.float32)

    def as_task(self) -> Task:
        """The spectra themselves as a problem with an exact posterior.

        Data are drawn from the likelihood: Gaussian, with its mean and its covariance.

        Returns:
            The task: Omega_c and sigma8, and num_cl * num_ell data.

        References:
            Lueckmann et al. 2021, arXiv:2101.04653, for such tasks.
        """
        root = np.linalg.inv(self._whiten)

        def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            mean = self.mean(theta)
            return mean + rng.normal(size=mean.shape) @ root

        def sampler(x_obs: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
            return self.posterior(x_obs[None], num, int(rng.integers(2**31)))[:, 0]

        return Task("lensing_spectra", self.task.prior, simulator, sampler)

    def _of_theory(self) -> list[RectBivariateSpline]:
        """Expected spectra between nodes, one spline for each datum."""
        task, part = self.task, np.linspace(0, 1, NUM_NODES)
        probes, edges = [WeakLensing(tuple(task.nz), sigma_e=task.sigma_e)], task.ell_edges
        knots = np.geomspace(edges[0], edges[-1], NUM_KNOTS)

        def spectra(theta: np.ndarray, number: int) -> tf.Tensor:
            return angular_cl(task.cosmology(theta), knots, probes)

        found = in_batches(spectra, _grid(task, part)) + noise_cl(knots, probes).numpy()
        data = _binned(found, knots, task).reshape(NUM_NODES, NUM_NODES, -1)
        axes = [low + (high - low) * part for low, high in zip(task.low, task.high, strict=True)]
        return [RectBivariateSpline(*axes, one, s=0) for one in np.moveaxis(data, -1, 0)]


def _grid(task: LensingTask, part: np.ndarray) -> np.ndarray:
    """Pairs of parameters at these parts of the way between the bounds, [num**2, 2]."""
    pairs = np.stack(np.meshgrid(part, part, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray(task.low) + (np.asarray(task.high) - np.asarray(task.low)) * pairs


def _binned(cl: np.ndarray, knots: np.ndarray, task: LensingTask) -> np.ndarray:
    """Mean of spectra [..., num_knots] over the modes of each bin of a map, [..., num_ell]."""
    line = np.fft.fftfreq(task.num_pixels, task.field_size_deg / task.num_pixels / 360)
    length, count = np.unique(np.hypot(line[:, None], line).round(6), return_counts=True)
    length, count = length[1:], count[1:]  # without the mean of the map
    modes = CubicSpline(np.log(knots), cl * knots, axis=-1)(np.log(length)) / length * count
    starts = np.searchsorted(length, task.ell_edges[:-1])
    return np.add.reduceat(modes, starts, axis=-1) / np.add.reduceat(count, starts)
