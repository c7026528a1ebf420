"""Neural posterior estimation: from simulations to the posterior of any observation."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.stats import kstest

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import stateless_seed
from flowpm_ext.core.types import TensorLike
from lfi.arguments import paired
from lfi.density import ConditionalDensity
from lfi.ensemble import Ensemble
from lfi.estimator import Estimator
from lfi.named import NamedPosterior
from lfi.prior import bounds, inside

# Chance at which draws of the prior are called none: small, since it is asked for each parameter.
FOREIGN = 1e-6


class NPE(Estimator):
    """The posterior of parameters as a density learned from pairs of parameters and data.

    Simulations must be drawn from the prior: the density learns the posterior under whatever
    their parameters were drawn from.

    Args:
        prior: `BoxPrior`, or a TFP distribution of one vector of parameters.
        density: "autoregressive" (splines for one parameter after another, which suits several
            modes along the axes), "spline" (coupling steps of them), "maf", "coupling" or "mdn",
            several of them, which then go round among the members, or a list of
            untrained densities of the parameters given the data.
        num_members: Densities in the ensemble, where they are made here; 3 by default, or as many
            as there are names.
        seed: Of their weights and of the split of simulations.
        **options: Of each density, such as `hidden`.

    Raises:
        ValueError: If the density is unknown, a number not positive, or the prior not one.

    References:
        Papamakarios & Murray 2016, arXiv:1605.06376; Greenberg, Nonnenmacher & Macke 2019,
        arXiv:1905.07488; Durkan et al. 2019, arXiv:1906.04032, for the density.
    """

    def __init__(
        self,
        prior: Any,
        density: str | Sequence[str | ConditionalDensity] = "autoregressive",
        num_members: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(prior, density, num_members, seed, **options)

    embeds_data = True
    is_linear_first = True

    def posterior(self, x_obs: TensorLike, check: bool = True) -> "Posterior":
        """The posterior of one observation, or of several.

        Args:
            x_obs: Shape [num_data], or [num, num_data].
            check: Whether to compare `x_obs` with the simulations, and to warn if it is not like
                them; see `lfi.diagnostics.misspecification`.

        Returns:
            `Posterior`.

        Raises:
            ValueError: If nothing was trained yet, or `x_obs` is not finite or has another shape.
        """
        x_obs = self.checked_observation(x_obs, check)
        return Posterior(self.ensemble, self.prior, x_obs, x_obs.shape == self.x.shape[1:])

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x, inside(self.theta, *bounds(self.prior))

    def _slopes(self, scores: TensorLike) -> tuple[str, np.ndarray]:
        """Scores of the posterior: the evidence does not depend on parameters, the prior does."""
        theta = tf.constant(self.theta)
        with tf.GradientTape() as tape:
            tape.watch(theta)
            log_prior = self.prior.log_prob(theta)
        slope = tape.gradient(log_prior, theta, unconnected_gradients="zero")
        return "y", self._checked_scores(scores) + slope.numpy()

    def _bounds(self) -> dict[str, np.ndarray | None]:
        return dict(zip(("low", "high"), bounds(self.prior), strict=True))

    def _check_proposal(self, theta: np.ndarray, proposal: str) -> None:
        fix = "Use NLE, whose likelihood does not depend on how parameters were drawn."
        checks.require(proposal == "prior", "proposal", "be the prior", proposal, fix)
        drawn = np.asarray(self.prior.sample(max(1000, len(theta)), seed=stateless_seed(1)))
        for number, (new, expected) in enumerate(zip(theta.T, drawn.T, strict=True)):
            if len(theta) > 20 and kstest(new, expected).pvalue < FOREIGN:
                text = (
                    f"Parameter {number} does not look drawn from the prior. NPE learns the "
                    "posterior under what parameters were drawn from; use NLE for proposals."
                )
                warnings.warn(text, UserWarning, stacklevel=3)


class Posterior(NamedPosterior):
    """The posterior of parameters, given what was observed.

    Args:
        ensemble: Densities of parameters given data.
        prior: Of the parameters.
        x_obs: What was observed, shape [...] or [num, ...].
        is_one: Whether it is one observation.
    """

    def __init__(self, ensemble: Ensemble, prior: Any, x_obs: np.ndarray, is_one: bool) -> None:
        super().__init__(prior, x_obs, is_one)
        self.ensemble = ensemble
        self._context = x_obs[None] if is_one else x_obs

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draws of the parameters.

        Args:
            num_samples: Draws for each observation.
            seed: Seed.

        Returns:
            Shape [num_samples, num_parameters], or for several observations
            [num_samples, num, num_parameters].

        Raises:
            ValueError: If `num_samples` is not a positive integer.

        References:
            Papamakarios & Murray 2016, arXiv:1605.06376.
        """
        checks.positive_integers(num_samples=num_samples)
        draws = self.ensemble.sample(num_samples, self._context, seed).numpy()
        return draws[:, 0] if self.is_one else draws

    def log_prob(self, theta: TensorLike) -> np.ndarray:
        """Log density of parameters.

        Args:
            theta: Shape [num_samples, num_parameters], or for several observations
                [num_samples, num, num_parameters].

        Returns:
            The shape of `theta` without its last axis.

        Raises:
            ValueError: If `theta` has another shape.

        References:
            Papamakarios & Murray 2016, arXiv:1605.06376.
        """
        theta, shape = paired(theta, self._context, self.is_one)
        return self.ensemble.log_prob_of_each(theta, self._context).numpy().reshape(shape)
