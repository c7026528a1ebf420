"""Which cosmologies to simulate: points of a box of parameters, numbered."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy.stats import qmc

from flowpm_ext.core import checks
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology

SAMPLINGS = ("sobol", "random")
PARAMETERS = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "Omega_k", "w0", "wa")


@dataclasses.dataclass(frozen=True)
class Design:
    """Cosmologies drawn uniformly from a box of parameters; the same numbers for the same seed.

    More of them begin with the same ones, so that a set of maps can grow.

    Args:
        cosmo: Cosmology whose parameters those of the prior replace, of plain numbers.
        prior: Lowest and highest value by the names of parameters of `Cosmology`; empty for maps
            of one cosmology.
        sampling: "sobol" (scrambled, even in all parameters at once) or "random".
        seed: Seed of the draw.

    Raises:
        ValueError: If a parameter is unknown, its range is empty, or `sampling` is unknown.
        TypeError: If `cosmo` is no Cosmology.

    References:
        Sobol 1967, USSR Comput. Math. Math. Phys. 7, 86; Owen 1998, for the scrambling.
    """

    cosmo: Cosmology
    prior: Mapping[str, tuple[float, float]]
    sampling: str = "sobol"
    seed: int = 0

    def __post_init__(self) -> None:
        require_cosmology(self.cosmo)
        checks.one_of(self.sampling, "sampling", SAMPLINGS)
        for name, limits in self.prior.items():
            checks.one_of(name, "prior", PARAMETERS)
            is_range = np.shape(limits) == (2,) and np.all(np.isfinite(limits))
            checks.require(
                is_range and limits[0] < limits[1], f"prior[{name!r}]", "be (low, high)", limits
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that change."""
        return tuple(self.prior)

    def theta(self, num: int) -> np.ndarray:
        """The first points.

        Args:
            num: Number of points.

        Returns:
            Parameters, float64 [num, num_parameters].
        """
        if not self.prior:
            return np.zeros([num, 0])
        low, high = np.array(list(self.prior.values()), np.float64).T
        if self.sampling == "sobol":
            engine = qmc.Sobol(len(self.prior), rng=np.random.default_rng(self.seed % 2**64))
            unit = engine.random(2 ** int(np.ceil(np.log2(max(num, 2)))))[:num]
        else:
            unit = np.random.default_rng(self.seed % 2**64).uniform(size=[num, low.size])
        return low + (high - low) * unit

    def cosmologies(self, theta: np.ndarray) -> Cosmology:
        """The cosmologies of points [num, num_parameters], as a batch of tensors.

        A single cosmology with nothing to change is returned as it is.
        """
        if not self.prior:
            return self.cosmo
        columns = {name: tf.constant(theta[:, i]) for i, name in enumerate(self.prior)}
        if "sigma8" in columns:
            columns["A_s"] = None
        return self.cosmo.replace(**columns)

    def to_dict(self) -> dict:
        """Everything that decides the points, as JSON holds it."""
        fixed = {name: getattr(self.cosmo, name) for name in (*PARAMETERS, "A_s")}
        fixed = {name: float(x) for name, x in fixed.items() if x is not None}
        prior = {name: [float(x) for x in limits] for name, limits in self.prior.items()}
        return {"cosmo": fixed, "prior": prior, "sampling": self.sampling, "seed": self.seed}
