"""Posteriors whose draws come with the names of their parameters."""

from typing import Any

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.chains import Chains
from lfi.prior import bounds, parameter_names


class NamedPosterior:
    """What all posteriors of one observation can be turned into.

    Args:
        prior: Of their parameters, with their names if it has any.
        x_obs: What was observed.
        is_one: Whether it is one observation.
    """

    def __init__(self, prior: Any, x_obs: np.ndarray, is_one: bool) -> None:
        self.prior, self.x_obs, self.is_one = prior, x_obs, is_one

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draws of the parameters.

        Args:
            num_samples: Draws for each observation.
            seed: Seed.

        Returns:
            Shape [num_samples, num_parameters], or for several observations
            [num_samples, num, num_parameters].
        """
        raise NotImplementedError

    def log_prob(self, theta: TensorLike) -> np.ndarray:
        """Log density of parameters, for some posteriors up to a number.

        Args:
            theta: Shape [num_samples, num_parameters], or for several observations
                [num_samples, num, num_parameters].

        Returns:
            The shape of `theta` without its last axis.
        """
        raise NotImplementedError

    def chains(self, num_samples: int = 10_000, seed: int = 0, **options: Any) -> Chains:
        """Draws with names and bounds, which files, getdist and a corner plot take.

        Args:
            num_samples: Draws.
            seed: Seed.
            **options: Of `sample`.

        Returns:
            `Chains`.

        Raises:
            ValueError: If there are several observations, or a number is not positive.
        """
        checks.require(self.is_one, "x_obs", "be one observation for chains", self.x_obs.shape)
        draws = self.sample(num_samples, seed, **options)
        return Chains(
            draws, parameter_names(self.prior, draws.shape[1]), log_prob=self.log_prob(draws),
            bounds=np.stack(bounds(self.prior), axis=-1),
        )  # fmt: skip

    def to_getdist(self, num_samples: int = 10_000, seed: int = 0, **options: Any) -> Any:
        """Draws as getdist takes them.

        Args:
            num_samples: Draws.
            seed: Seed.
            **options: Of `sample`.

        Returns:
            `getdist.MCSamples`.

        Raises:
            ImportError: If getdist is not installed.
            ValueError: If there are several observations, or a number is not positive.

        References:
            Lewis 2019, arXiv:1910.13970.
        """
        return self.chains(num_samples, seed, **options).to_getdist()
