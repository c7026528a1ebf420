"""The exact posterior of a lognormal lensing survey: all pixels, by Hamiltonian Monte Carlo."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields.spectrum import scaled
from flowpm_ext.inference import CompiledLogProb, effective_sample_size, r_hat, sample_hmc
from flowpm_ext.numerics import fourier
from lfi.lensing_likelihood import PowerLikelihood
from lfi.lognormal_field import LognormalField
from lfi.prior import unconstrained
from lfi.survey import LensingTask


class FullFieldDraws(NamedTuple):
    """Draws of the parameters of several maps, and how their chains went."""

    samples: np.ndarray  # [num_samples, num_obs, 2]
    r_hat: np.ndarray  # [num_obs, 2]
    ess: np.ndarray  # [num_obs, 2]
    acceptance: np.ndarray  # [num_obs]


class FullFieldPosterior:
    """The posterior of parameters given noisy maps, with the whole field marginalised.

    The unknowns are the two parameters and the white noise that `LognormalField` makes maps of; the
    likelihood of a pixel is the normal noise of the survey. So this is all that maps can say, and
    what summaries are to be compared with. Chains move in units of the posterior of spectra, and
    of the noise of each mode over its signal.

    Args:
        task: The survey.
        field: Its maps, if there is one already.
        spectra: Its likelihood of spectra, likewise.
        num_leapfrog: Steps of the integrator in each step of a chain.

    References:
        Porqueres et al. 2022, arXiv:2108.04825; Zeghal et al. 2024, arXiv:2409.17975.
    """

    def __init__(
        self,
        task: LensingTask,
        field: LognormalField | None = None,
        spectra: PowerLikelihood | None = None,
        num_leapfrog: int = 12,
    ) -> None:
        self.task = task
        self.field = LognormalField(task) if field is None else field
        self.spectra = PowerLikelihood(task) if spectra is None else spectra
        self.bijector = unconstrained(task.prior)
        self.num_leapfrog = num_leapfrog
        self._target = CompiledLogProb(self._log_target)

    def sample(
        self,
        x_obs: TensorLike,
        num_samples: int,
        num_chains: int = 4,
        num_warmup: int = 300,
        thin: int = 2,
        seed: int | tf.Tensor = 0,
        progress: bool = True,
    ) -> FullFieldDraws:
        """Draws for each map.

        Args:
            x_obs: Noisy maps, shape [num_obs, num_pixels, num_pixels, num_bins].
            num_samples: Draws for each.
            num_chains: Chains for each.
            num_warmup: Steps in which chains tune their step size.
            thin: Steps of a chain for each draw.
            seed: An integer, or a stateless seed of shape [2].
            progress: Whether to show a progress bar.

        Returns:
            `FullFieldDraws`.

        Raises:
            ValueError: If a number is not a positive integer, or maps have another shape or are
                not finite.

        References:
            Neal 2011, arXiv:1206.1901.
        """
        checks.positive_integers(num_samples=num_samples, num_chains=num_chains)
        x_obs = np.asarray(x_obs, np.float32)
        spectra = self.task.spectra(x_obs)  # refuses other shapes
        checks.finite(x_obs, "x_obs")
        rough = self.spectra.posterior(spectra, 4000, fold(seed, 0))
        line = self.bijector.inverse(rough).numpy()
        mean = line.mean(axis=0)
        rest = np.moveaxis(line - mean, 0, 1)
        root = np.linalg.cholesky(np.einsum("nki,nkj->nij", rest, rest) / len(line))
        each = [np.repeat(part, num_chains, axis=0)
                for part in (x_obs, mean, root, self._units(rough.mean(axis=0)))]  # fmt: skip
        num, width = len(x_obs), x_obs[0].size
        start = generator(fold(seed, 1)).normal(size=[num * num_chains, 2 + width])
        num_each = -(-num_samples // num_chains)
        chains = sample_hmc(
            self._target, start.astype(np.float32), num_each, num_warmup, thin=thin,
            args=[tf.constant(part, tf.float32) for part in each], step_size=0.05,
            num_groups=num, num_leapfrog=self.num_leapfrog, seed=fold(seed, 2), progress=progress,
            keep=_parameters,
        )  # fmt: skip
        u = each[1] + np.einsum("nij,knj->kni", each[2], chains.samples)
        theta = self.bijector.forward(u.astype(np.float32)).numpy()
        theta = np.swapaxes(theta.reshape(num_each, num, num_chains, 2), 1, 2)
        flat = theta.reshape(-1, num, 2)[:num_samples]
        acceptance = chains.acceptance.reshape(num, num_chains).mean(axis=1)
        return FullFieldDraws(flat, r_hat(theta), effective_sample_size(theta), acceptance)

    def log_prob(self, theta: tf.Tensor, white: tf.Tensor, x_obs: tf.Tensor) -> tf.Tensor:
        """Log density of parameters, white noise and noisy maps together, up to a number.

        Args:
            theta: Omega_c and sigma8, inside of the prior, shape [batch, 2].
            white: Shape [batch, num_bins, num_pixels, num_pixels].
            x_obs: Shape [batch, num_pixels, num_pixels, num_bins].

        Returns:
            Shape [batch].

        References:
            Porqueres et al. 2022, arXiv:2108.04825.
        """
        residual = (x_obs - self.field.maps(theta, white)) / self.task.noise_std.astype(np.float32)
        return -0.5 * sum(tf.reduce_sum(part**2, axis=[1, 2, 3]) for part in (residual, white))

    def _units(self, theta: np.ndarray) -> np.ndarray:
        """Posterior deviation of each mode of white noise, roughly, [num_obs, num_bins, ...]."""
        factor = self.field.factor(tf.constant(theta, tf.float32)).numpy()
        own = np.cumsum(1 + np.arange(len(self.task.nz))) - 1  # diagonal entries of the rows
        std = self.task.noise_std / self.field.shift.numpy()
        return 1 / np.sqrt(1 + (factor[:, own] / std[:, None, None]) ** 2)

    def _log_target(
        self, w: tf.Tensor, x: tf.Tensor, mean: tf.Tensor, root: tf.Tensor, units: tf.Tensor
    ) -> tf.Tensor:
        u = mean + tf.linalg.matvec(root, w[:, :2])
        growth = self.bijector.forward_log_det_jacobian(u, event_ndims=1)
        n = self.task.num_pixels
        rest = tf.reshape(w[:, 2:], [-1, len(self.task.nz), n, n])
        white = fourier.irfft2(scaled(fourier.rfft2(rest), units), n)
        return self.log_prob(self.bijector.forward(u), white, x) + growth


def _parameters(w: tf.Tensor) -> tf.Tensor:
    """What is kept of a state: the field would be megabytes a draw."""
    return w[:, :2]
