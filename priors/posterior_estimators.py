"""Maps of the convergence that are not linear in the shear: sampled, or sparse."""

import abc
import functools
import pathlib
from typing import Any

import numpy as np
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from priors.classical import sparse_map
from priors.estimators import AbstractEstimator, Maps
from priors.likelihood import GaussianLikelihood
from priors.operators import KaiserSquires
from priors.posterior import ImageSamples, sample_posterior
from priors.reduced_shear import ReducedShearLikelihood
from priors.score import AbstractScore
from priors.shear_map import ShearMap

NUM_SAMPLES = 100  # where none are asked for: an uncertainty to 7 %
METHOD = {"method": "guided", "num_warmup": 8, "num_leapfrog": 12, "thin": 2}
NUM_OF_NULL, CHAINS_OF_NULL = 16, 4  # draws behind the mean of a survey without a signal
NUM_NULLS = 32  # of sparse maps, for their error
ONE = "One has no scatter."


class AbstractNulledEstimator(AbstractEstimator):
    """An estimator whose scatter without a signal is that of surveys turned at random.

    Args:
        shear_map: The binned shear.
        num_nulls: Surveys turned at random.
        seed: Of the nulls.
        verbose: 1 to show progress bars.

    Raises:
        ValueError: If `num_nulls` is negative, or one.
    """

    def __init__(self, shear_map: ShearMap, num_nulls: int, seed: int, verbose: int) -> None:
        checks.non_negative(num_nulls, "num_nulls")
        checks.require(num_nulls != 1, "num_nulls", "be 0 or several", num_nulls, ONE)
        self._map, self._num_nulls = shear_map, int(num_nulls)
        self._seed, self._verbose = seed, verbose

    @abc.abstractmethod
    def _null_map(self, shear: np.ndarray, number: int) -> np.ndarray:
        """The map [ny, nx] of a survey without a signal, or several that share nothing but it."""

    @functools.cached_property
    def nulls(self) -> np.ndarray:
        """Maps of the survey with every galaxy turned at random, [num_nulls, num_parts, ny, nx].

        The shear of a pixel, a mean over many galaxies, is then normal, with the variance of
        `shear_map.rotation_variance`. They are made once for all sums.
        """
        found, shape = [], self._map.grid.shape
        numbers = range(self._num_nulls)
        for number in tqdm(numbers, "nulls", disable=None if self._verbose else True):
            noise = generator(fold(self._seed, number)).normal(size=(2, *shape))
            shear = np.sqrt(self._map.rotation_variance) * (noise[0] + 1j * noise[1])
            found.append(np.reshape(self._null_map(shear, number), (-1, *shape)))
        return np.stack(found) if found else np.zeros((0, 1, *shape))

    def scatter(self, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Standard deviation of weighted sums over the nulls, or without any over the draws.

        Means of a few draws scatter more than means of many. What two halves of the draws of a
        null have in common is the scatter of the exact mean; what they have not is that of their
        draws, of which the map has more.
        """
        if not self._num_nulls:
            checks.require(len(samples) > 1, "samples", "be several", len(samples), ONE)
            return np.einsum("syx,nyx->sn", weights, samples).std(axis=1, ddof=1)
        sums = np.einsum("syx,npyx->spn", weights, self.nulls)
        first, last = sums[:, 0], sums[:, -1]
        own = (first - last).var(axis=1, ddof=1) / 2
        common = (first.var(axis=1, ddof=1) + last.var(axis=1, ddof=1)) / 2 - own
        share = NUM_OF_NULL / 2 / (len(samples) or NUM_SAMPLES)
        return np.sqrt(np.maximum(common, 0) + own * share)

    def _likelihood(self, shear: np.ndarray, is_reduced: bool = False) -> GaussianLikelihood:
        kind = ReducedShearLikelihood if is_reduced else GaussianLikelihood
        op = KaiserSquires(self._map.grid.shape)
        shear, noise_std = shear.astype(np.complex64), self._map.noise_std.astype(np.float32)
        return kind(op, shear, noise_std, self._map.mask)


class LearnedEstimator(AbstractNulledEstimator):
    """Posterior mean by draws, under a prior known by its score.

    Args:
        shear_map: The binned shear.
        score: The prior, for maps of these pixels.
        num_nulls: Surveys turned at random behind the scatter of peaks and stacks, each of which
            costs a sixth of the map; 0 for the scatter of the draws themselves.
        seed: Of the nulls.
        verbose: 1 to show progress bars.
        reduced_shear: Whether data are the shear over one minus the convergence.
        **options: Of `sample_posterior`. Each run has a `checkpoint` of its own, of the name with
            `_e` or `_b` for a mode behind it, or `_null_000` for a survey.
    """

    def __init__(
        self,
        shear_map: ShearMap,
        score: AbstractScore,
        num_nulls: int = 0,
        seed: int = 0,
        verbose: int = 0,
        reduced_shear: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(shear_map, num_nulls, seed, verbose)
        self._is_reduced = reduced_shear
        self._score, self._options = score, METHOD | options
        self._draws = np.zeros((0, *shear_map.grid.shape))

    def maps(self, num_samples: int, seed: int, verbose: int = 0) -> Maps:
        checks.require(num_samples != 1, "num_samples", "be 0 or several", num_samples, ONE)
        num = num_samples or NUM_SAMPLES
        both = {"e": self._map.shear, "b": -1j * self._map.shear}
        found, turned = (
            self._drawn(name, shear, num, fold(seed, number), progress=bool(verbose))
            for number, (name, shear) in enumerate(both.items())
        )
        self._draws = found.samples
        diagnostics = {
            "r_hat, median": np.median(found.r_hat), "r_hat, 99 %": np.quantile(found.r_hat, 0.99),
            "ess, median": np.median(found.ess), "acceptance": np.mean(found.acceptance),
            "noise left on the prior": found.sigma, "calls of the score": found.num_scores,
        }  # fmt: skip
        return Maps(
            found.mean, turned.mean, found.std, found.samples[:num_samples],
            diagnostics={name: float(value) for name, value in diagnostics.items()},
        )  # fmt: skip

    def scatter(self, weights: np.ndarray, samples: np.ndarray) -> np.ndarray:
        # A map that returns no draws was made of some all the same.
        is_without = not (self._num_nulls or len(samples))
        return super().scatter(weights, self._draws if is_without else samples)

    def _null_map(self, shear: np.ndarray, number: int) -> np.ndarray:
        num_chains = self._options.get("num_chains", CHAINS_OF_NULL)
        found = self._drawn(
            f"null_{number:03d}", shear, num_chains * -(-NUM_OF_NULL // num_chains),
            fold(self._seed, -1 - number), progress=False, num_chains=num_chains,
        ).samples  # fmt: skip
        chains = found.reshape(-1, num_chains, *found.shape[1:])
        return np.stack([chains[:, part::2].mean((0, 1)) for part in range(min(num_chains, 2))])

    def _drawn(
        self, name: str, shear: np.ndarray, num_samples: int, seed: Any, **defaults: Any
    ) -> ImageSamples:
        """Draws of one survey, whose checkpoint is not that of another."""
        options = defaults | self._options
        if options.get("checkpoint") is not None:
            path = pathlib.Path(options["checkpoint"])
            options["checkpoint"] = path.with_name(f"{path.stem}_{name}{path.suffix}")
        return sample_posterior(
            self._likelihood(shear, self._is_reduced), self._score, num_samples, seed, **options
        )  # fmt: skip


class SparseEstimator(AbstractNulledEstimator):
    """The most probable map of few wavelets.

    Its error is what surveys without a signal leave: what the prior takes away is not in it.

    Args:
        shear_map: The binned shear.
        num_nulls: Surveys turned at random; 0 for 32.
        seed: Of the nulls.
        verbose: 1 to show progress bars.
    """

    def __init__(
        self, shear_map: ShearMap, num_nulls: int = 0, seed: int = 0, verbose: int = 0
    ) -> None:
        super().__init__(shear_map, num_nulls or NUM_NULLS, seed, verbose)

    def maps(self, num_samples: int, seed: int, verbose: int = 0) -> Maps:
        fix = "Choose the prior 'wiener' or 'learned' for samples."
        rule = "be 0 for the prior 'sparse'"
        checks.require(num_samples == 0, "num_samples", rule, num_samples, fix)
        both = (self._map.shear, -1j * self._map.shear)
        found, turned = (sparse_map(self._likelihood(shear)) for shear in both)
        return Maps(
            found.map.numpy(), turned.map.numpy(), self.nulls[:, 0].std(axis=0),
            np.zeros((0, *self._map.grid.shape)),
            int(found.iterations), float(found.residual), bool(found.converged),
        )  # fmt: skip

    def _null_map(self, shear: np.ndarray, number: int) -> np.ndarray:
        return sparse_map(self._likelihood(shear)).map.numpy()
