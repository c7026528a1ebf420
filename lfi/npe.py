"""Neural posterior estimation: from simulations to the posterior of any observation."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.density import ConditionalDensity
from lfi.ensemble import DENSITIES, Ensemble, make_density


class NPE:
    """The posterior of parameters as a density learned from pairs of parameters and data.

    Args:
        prior: `BoxPrior`, or an object with `sample` and `log_prob`, whose draws the simulations
            were made for.
        density: "spline", "maf", "coupling" or "mdn", or a list of untrained densities of the
            parameters given the data.
        num_members: Densities in the ensemble, where they are made here.
        seed: Of their weights and of the split of simulations.
        **options: Of each density, such as `hidden`.

    Raises:
        ValueError: If the density is unknown or a number not positive.

    References:
        Papamakarios & Murray 2016, arXiv:1605.06376; Greenberg, Nonnenmacher & Macke 2019,
        arXiv:1905.07488.
    """

    def __init__(
        self,
        prior: Any,
        density: str | Sequence[ConditionalDensity] = "spline",
        num_members: int = 3,
        seed: int = 0,
        **options: Any,
    ) -> None:
        checks.positive_integers(num_members=num_members)
        if isinstance(density, str):
            checks.one_of(density, "density", tuple(DENSITIES))
        self.prior, self.density, self.num_members = prior, density, num_members
        self.seed, self.options = seed, options
        self.theta: np.ndarray | None = None
        self.x: np.ndarray | None = None
        self.ensemble: Ensemble | None = None

    def append_simulations(self, theta: TensorLike, x: TensorLike) -> "NPE":
        """Add simulations, whose parameters were drawn from the prior.

        Args:
            theta: Parameters, shape [num, num_parameters].
            x: Data of each, shape [num, num_data].

        Returns:
            The estimator. Simulations with NaN or infinity are left out, with a warning.

        Raises:
            ValueError: If shapes do not fit each other or earlier simulations, or parameters lie
                outside of the prior.
        """
        theta, x = (np.asarray(part, np.float32) for part in (theta, x))
        checks.require(theta.ndim == 2, "theta", "have shape [num, num_parameters]", theta.shape)
        rule = f"have shape [{len(theta)}, num_data]"
        checks.require(x.ndim == 2 and len(x) == len(theta), "x", rule, x.shape)
        checks.finite(theta, "theta")
        outside = int(np.sum(~np.isfinite(self.prior.log_prob(theta))))
        received = f"{outside} of {len(theta)} outside"
        checks.require(outside == 0, "theta", "lie inside of the prior", received)
        if self.theta is not None:
            for name, new, old in (("theta", theta, self.theta), ("x", x, self.x)):
                rule = f"have {old.shape[1]} components, as before"
                checks.require(new.shape[1] == old.shape[1], name, rule, new.shape)
        whole = np.isfinite(x).all(axis=1)
        if not whole.all():
            count = int(np.sum(~whole))
            text = f"{count} of {len(x)} simulations have NaN or infinite data and are left out."
            warnings.warn(text, UserWarning, stacklevel=2)
        theta, x = theta[whole], x[whole]
        self.theta = theta if self.theta is None else np.concatenate([self.theta, theta])
        self.x = x if self.x is None else np.concatenate([self.x, x])
        return self

    def fit(
        self,
        epochs: int = 300,
        batch_size: int = 100,
        validation_split: float = 0.1,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int = 1,
        **options: Any,
    ) -> "NPE":
        """Train the ensemble on all simulations.

        Args:
            epochs: At the most.
            batch_size: Simulations in each update.
            validation_split: Part that is held out.
            callbacks: More of Keras.
            verbose: 1 for progress bars, 2 for a line per epoch, 0 for silence.
            **options: Of `Ensemble.fit`.

        Returns:
            The estimator.

        Raises:
            ValueError: If there are no simulations, too few, or data that never vary.
        """
        rule = "be given by `append_simulations` first"
        checks.require(self.theta is not None, "theta", rule, None)
        num_dims, num_data = self.theta.shape[1], self.x.shape[1]
        members = self.density
        if isinstance(members, str):
            low, high = getattr(self.prior, "low", None), getattr(self.prior, "high", None)
            members = []
            for number in range(self.num_members):
                keras.utils.set_random_seed(self.seed + number)
                members.append(
                    make_density(
                        self.density, num_dims, num_data, low=low, high=high, **self.options
                    )
                )
        self.ensemble = Ensemble(members).fit(
            self.x, self.theta, epochs, batch_size, validation_split,
            callbacks=callbacks, seed=self.seed, verbose=verbose, **options,
        )  # fmt: skip
        return self

    def posterior(self, x_obs: TensorLike) -> "Posterior":
        """The posterior of one observation, or of several.

        Args:
            x_obs: Shape [num_data], or [num, num_data].

        Returns:
            `Posterior`.

        Raises:
            ValueError: If nothing was trained yet, or `x_obs` is not finite or has another shape.
        """
        checks.require(self.ensemble is not None, "estimator", "be trained by `fit` first", None)
        x_obs = np.asarray(x_obs, np.float32)
        num_data = self.x.shape[1]
        fits = x_obs.ndim in (1, 2) and x_obs.shape[-1] == num_data
        checks.require(fits, "x_obs", f"have shape [{num_data}] or [num, {num_data}]", x_obs.shape)
        checks.finite(x_obs, "x_obs")
        return Posterior(self.ensemble, x_obs)


class Posterior:
    """The posterior of parameters, given what was observed.

    Args:
        ensemble: Densities of parameters given data.
        x_obs: What was observed, shape [num_data] or [num, num_data].
    """

    def __init__(self, ensemble: Ensemble, x_obs: np.ndarray) -> None:
        self.ensemble, self.x_obs = ensemble, x_obs

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
        context = np.atleast_2d(self.x_obs)
        draws = self.ensemble.sample(num_samples, context, seed).numpy()
        return draws[:, 0] if self.x_obs.ndim == 1 else draws

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
        theta = np.asarray(theta, np.float32)
        context = np.atleast_2d(self.x_obs)
        rank = 2 if self.x_obs.ndim == 1 else 3
        fits = theta.ndim == rank and (rank == 2 or theta.shape[1] == len(context))
        checks.require(fits, "theta", f"have {rank} axes, the draws first", theta.shape)
        repeated = np.tile(context, [len(theta), 1])
        flat = tf.reshape(theta, [-1, theta.shape[-1]])
        return np.reshape(self.ensemble.log_prob(flat, repeated), theta.shape[:-1])
