"""Neural likelihood estimation: from simulations to the likelihood, sampled under any prior."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.stats import ks_2samp

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike
from lfi.arguments import are_names_of, paired
from lfi.density import ConditionalDensity
from lfi.ensemble import Ensemble
from lfi.estimator import Estimator
from lfi.mcmc import APART_R_HAT, Draws, PosteriorSampler
from lfi.named import NamedPosterior
from lfi.prior import check_prior, parameter_names

NUM_PROBES = 1000  # draws of another prior that must lie in that of the simulations
FEW_POINTS = 50  # of a population
BY_CHANCE = 1e-3  # of failures that do not depend on parameters, for each of these


class ChainWarning(UserWarning):
    """Draws of a posterior that may not have its shape."""


class NLE(Estimator):
    """The likelihood of data as a density learned from pairs of parameters and data.

    Parameters may come from any proposal: the likelihood does not depend on how they were drawn.

    Args:
        prior: `BoxPrior`, or a TFP distribution of one vector of parameters.
        density: "maf", "spline", "autoregressive", "coupling" or "mdn", several of them, which
            then go round among the members, or a list of untrained densities of the data given
            the parameters.
        num_members: Densities in the ensemble, where they are made here; 3 by default, or as many
            as there are names.
        seed: Of their weights and of the split of simulations.
        **options: Of each density, such as `hidden`.

    Raises:
        ValueError: If the density is unknown, a number not positive, or the prior not one.

    References:
        Papamakarios, Sterratt & Murray 2019, arXiv:1805.07226; Alsing et al. 2019,
        arXiv:1903.00007.
    """

    def __init__(
        self,
        prior: Any,
        density: str | Sequence[str | ConditionalDensity] = ("maf", "spline"),
        num_members: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(prior, density, num_members, seed, **options)
        self._sampler: PosteriorSampler | None = None

    def install(self, ensemble: Ensemble) -> "NLE":
        """Speak by an ensemble that is trained already.

        Args:
            ensemble: Of densities as `fit` trains them.

        Returns:
            The estimator.
        """
        super().install(ensemble)
        # Of this ensemble: posteriors that were given out before another `fit` stay as they are.
        self._sampler = PosteriorSampler(
            lambda theta, x: ensemble.log_prob(x, theta), self.prior
        )  # fmt: skip
        return self

    def log_likelihood(self, theta: TensorLike, x: TensorLike) -> tf.Tensor:
        """Log density of data given parameters.

        Args:
            theta: Shape [batch, num_parameters].
            x: Shape [batch, num_data].

        Returns:
            Shape [batch].

        Raises:
            ValueError: If nothing was trained yet.

        References:
            Papamakarios, Sterratt & Murray 2019, arXiv:1805.07226.
        """
        checks.require(self.ensemble is not None, "estimator", "be trained by `fit` first", None)
        return self.ensemble.log_prob(x, theta)

    def posterior(
        self, x_obs: TensorLike, prior: Any = None, check: bool = True, **options: Any
    ) -> "SampledPosterior":
        """The posterior of one observation, or of several.

        Args:
            x_obs: Shape [num_data], or [num, num_data].
            prior: Another prior than that of the simulations, inside of which it must lie.
            check: Whether to compare `x_obs` with the simulations, and to warn if it is not like
                them; see `lfi.diagnostics.misspecification`.
            **options: Of `PosteriorSampler.sample`, such as `num_chains`.

        Returns:
            `SampledPosterior`.

        Raises:
            ValueError: If nothing was trained yet, `x_obs` is not finite or has another shape, or
                the prior has other parameters or reaches beyond that of the simulations.
        """
        x_obs = self.checked_observation(x_obs, check)
        sampler = self._sampler
        if prior is not None:
            num = check_prior(prior)
            rule = f"have {self.num_parameters} parameters"
            checks.require(num == self.num_parameters, "prior", rule, num)
            mine, theirs = getattr(self.prior, "names", None), parameter_names(prior, num)
            rule = f"name parameters as simulations did, {mine}"
            checks.require(mine is None or are_names_of(theirs, mine), "prior", rule, theirs)
            drawn = prior.sample(NUM_PROBES, seed=stateless_seed(0))
            beyond = int(np.sum(~np.isfinite(self.prior.log_prob(drawn))))
            received = f"{beyond} of {NUM_PROBES} draws beyond"
            rule = "lie inside of the prior of the simulations"
            checks.require(beyond == 0, "prior", rule, received)
            sampler = PosteriorSampler(sampler.log_likelihood, prior)
        return SampledPosterior(sampler, x_obs, options)

    def _about_failures(self, theta: np.ndarray, whole: np.ndarray) -> str:
        pairs = zip(theta[whole].T, theta[~whole].T, strict=True)
        if not whole.any() or all(ks_2samp(*pair).pvalue > BY_CHANCE for pair in pairs):
            return ""
        return (
            " They fail more often for some parameters than for others, and the posterior of "
            "NLE lacks the probability of not failing as a factor. That of NPE does not need it."
        )

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return self.theta, self.x

    def _slopes(self, scores: TensorLike) -> tuple[str, np.ndarray]:
        return "context", self._checked_scores(scores)


class SampledPosterior(NamedPosterior):
    """The posterior of parameters, sampled by Markov chains.

    Args:
        sampler: Of likelihood times prior.
        x_obs: What was observed, shape [num_data] or [num, num_data].
        options: Of `PosteriorSampler.sample`.
    """

    def __init__(
        self, sampler: PosteriorSampler, x_obs: np.ndarray, options: dict[str, Any] | None = None
    ) -> None:
        super().__init__(sampler.prior, x_obs, x_obs.ndim == 1)
        self.sampler, self.options = sampler, options or {}
        self.draws: Draws | None = None

    @property
    def r_hat(self) -> np.ndarray:
        """Agreement of the chains of the last `sample`, [num_parameters] or [num, ...]."""
        return self._of_chains("r_hat")

    @property
    def ess(self) -> np.ndarray:
        """Independent draws that those of the last `sample` are worth, as `r_hat`."""
        return self._of_chains("ess")

    def sample(self, num_samples: int, seed: int = 0, progress: bool = False) -> np.ndarray:
        """Draws of the parameters.

        Args:
            num_samples: Draws for each observation.
            seed: Seed.
            progress: Whether to show progress bars.

        Returns:
            Shape [num_samples, num_parameters], or for several observations
            [num_samples, num, num_parameters].

        Raises:
            ValueError: If `num_samples` is not a positive integer.

        References:
            Neal 2011, arXiv:1206.1901.
        """
        checks.positive_integers(num_samples=num_samples)
        x_obs = np.atleast_2d(self.x_obs)
        options = {"progress": progress} | self.options
        self.draws = self.sampler.sample(x_obs, num_samples, seed=seed, **options)
        _warn_of_chains(self.draws)
        return self.draws.samples[:, 0] if self.is_one else self.draws.samples

    def log_prob(self, theta: TensorLike) -> np.ndarray:
        """Log likelihood plus log prior: the posterior up to a number for each observation.

        Args:
            theta: Shape [num_samples, num_parameters], or for several observations
                [num_samples, num, num_parameters].

        Returns:
            The shape of `theta` without its last axis.

        References:
            Bayes' theorem.

        Raises:
            ValueError: If `theta` has another shape.
        """
        x_obs = np.atleast_2d(self.x_obs)
        theta, shape = paired(theta, x_obs, self.is_one)
        data = np.tile(x_obs, [len(theta) // len(x_obs), 1])
        return self.sampler.log_prob(theta, data).reshape(shape)

    def _of_chains(self, name: str) -> np.ndarray:
        checks.require(self.draws is not None, name, "be asked for after `sample`", None)
        value = getattr(self.draws, name)
        return value[0] if self.is_one else value


def _warn_of_chains(draws: Draws) -> None:
    """Say where draws are not to be trusted."""
    apart = np.flatnonzero(np.max(draws.r_hat, axis=1) > APART_R_HAT)
    if len(apart):
        text = (
            f"Chains of {len(apart)} of {len(draws.r_hat)} observations do not agree (R-hat up to "
            f"{draws.r_hat.max():.2f}). They stay in modes, whose weights are those of a "
            f"population of {draws.importance_ess[apart].min():.0f} points that count, or need "
            "more steps: see `thin`."
        )
        warnings.warn(text, ChainWarning, stacklevel=3)
    few = np.flatnonzero(draws.importance_ess < FEW_POINTS)
    if len(few):
        text = (
            f"The chains of {len(few)} of {len(draws.r_hat)} observations start from few points "
            f"that count ({draws.importance_ess.min():.0f}), and may miss a mode: see `num_points`."
        )
        warnings.warn(text, ChainWarning, stacklevel=3)
