"""A learned likelihood as Cobaya takes it, beside likelihoods and priors of others.

In a file of Cobaya:

    likelihood:
      lfi.cobaya_likelihood.LearnedLikelihood:
        folder: trained      # of `python -m lfi train ... --method nle`
        observation: seen.h5
    params:
      Omega_c: {prior: {min: 0.1, max: 0.5}}
      sigma8: {prior: {min: 0.5, max: 1.1}}

Parameters have the names of the estimator's prior.
"""

import numpy as np
from cobaya.likelihood import Likelihood

from flowpm_ext.core import checks
from lfi.dataset import read_observation
from lfi.nle import NLE
from lfi.prior import parameter_names
from lfi.saving import load_estimator


class LearnedLikelihood(Likelihood):
    """Log likelihood of one observation, learned from simulations.

    Outside of the prior of the simulations, where nothing was learned, it is minus infinity.

    Args:
        info: Options: `folder` of a trained `NLE`, and the file of the `observation`, as
            `python -m lfi sample` takes them.

    Raises:
        ValueError: If the folder holds no `NLE`, or the observation does not fit.

    References:
        Torrado & Lewis 2021, arXiv:2005.05290.
    """

    folder: str | None = None
    observation: str | None = None

    def initialize(self) -> None:
        """Load what the options name."""
        checks.require(self.folder is not None, "folder", "be given", None)
        checks.require(self.observation is not None, "observation", "be given", None)
        estimator = load_estimator(self.folder)
        fix = "Train one with --method nle."
        checks.require(isinstance(estimator, NLE), "folder", "hold an NLE", self.folder, fix)
        x_obs = read_observation(self.observation).x
        self._x_obs = estimator.checked_observation(x_obs, check=True)[None]
        checks.require(self._x_obs.ndim == 2, "observation", "be one", x_obs.shape)
        self._estimator = estimator
        self._names = parameter_names(estimator.prior, estimator.num_parameters)

    def get_can_support_params(self) -> list[str]:
        """Names of the parameters.

        Returns:
            Those of the prior.
        """
        return self._names

    def logp(self, **parameters: float) -> float:
        """Log likelihood.

        Args:
            **parameters: By name.

        Returns:
            Its value.

        References:
            Papamakarios, Sterratt & Murray 2019, arXiv:1805.07226.
        """
        theta = np.array([[parameters[name] for name in self._names]], np.float32)
        if not np.isfinite(self._estimator.prior.log_prob(theta)[0]):
            return -np.inf
        return float(self._estimator.log_likelihood(theta, self._x_obs)[0])
