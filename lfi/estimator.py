"""What all estimators share: a prior, simulations in rounds, and an ensemble that learns."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import integer_seed
from flowpm_ext.core.types import TensorLike
from flowpm_ext.nn import seeded_layers
from lfi.cloning import cloned
from lfi.density import DENSITIES, ConditionalDensity, make_density
from lfi.diagnostics.misspecification import (
    least_usual,
    misspecification,
    warn_if_misspecified,
)
from lfi.ensemble import Ensemble
from lfi.prior import check_prior

MOST_USUAL = 10_000  # simulations that say what data are like: a second or so


class Round(NamedTuple):
    """Simulations that came together."""

    num: int
    proposal: str  # what their parameters were drawn from, "prior" or another name


class Estimator:
    """A prior, simulations in rounds, and an ensemble of densities learned from them.

    Args:
        prior: `BoxPrior`, or a TFP distribution of one vector of parameters.
        density: "autoregressive", "spline", "maf", "coupling" or "mdn", several of them, which
            then go round among the members, or a list of untrained densities.
        num_members: Densities in the ensemble, where they are made here; 3 by default, or as many
            as there are names.
        seed: Of their weights and of the split of simulations.
        **options: Of each density, such as `hidden`.

    Raises:
        ValueError: If the density is unknown, a number not positive, or the prior not one.
    """

    def __init__(
        self,
        prior: Any,
        density: str | Sequence[str | ConditionalDensity],
        num_members: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        density = [density] if isinstance(density, str) else list(density)
        is_made = [isinstance(kind, ConditionalDensity) for kind in density]
        rule = "be names, or untrained densities, and not both"
        checks.require(all(is_made) or not any(is_made), "density", rule, density)
        for kind in density:
            if not isinstance(kind, ConditionalDensity):
                checks.one_of(kind, "density", tuple(DENSITIES))
        num_members = max(3, len(density)) if num_members is None else num_members
        checks.positive_integers(num_members=num_members)
        enough = any(is_made) or num_members >= len(density)
        checks.require(enough, "num_members", f"be at least {len(density)}, for all names of "
                       "`density`", num_members)  # fmt: skip
        self.num_parameters = check_prior(prior)
        self.prior, self.density = prior, density
        self.num_members = len(density) if any(is_made) else num_members
        self.seed, self.options = seed, options
        self.theta: np.ndarray | None = None
        self.x: np.ndarray | None = None
        self.rounds: list[Round] = []
        self.ensemble: Ensemble | None = None

    def append_simulations(
        self, theta: TensorLike | tf.data.Dataset, x: TensorLike | None = None,
        proposal: str = "prior",
    ) -> "Estimator":  # fmt: skip
        """Add a round of simulations.

        Args:
            theta: Parameters, shape [num, num_parameters]; or a dataset of batches of parameters
                and data, which must end.
            x: Data of each, shape [num, ...].
            proposal: What parameters were drawn from: "prior", or any other name.

        Returns:
            The estimator. Simulations with NaN or infinity are left out, with a warning.

        Raises:
            ValueError: If shapes do not fit each other or earlier simulations, or parameters lie
                outside of the prior.
        """
        if isinstance(theta, tf.data.Dataset):
            theta, x = _collected(theta)
        theta, x = (np.asarray(part, np.float32) for part in (theta, x))
        self._check_simulations(theta, x)
        whole = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
        if not whole.all():
            count = int(np.sum(~whole))
            text = f"{count} of {len(x)} simulations have NaN or infinite data and are left out."
            text += self._about_failures(theta, whole)
            warnings.warn(text, UserWarning, stacklevel=2)
        # Of all: what failed was drawn from the proposal too.
        self._check_proposal(theta, proposal)
        self.rounds.append(Round(int(whole.sum()), proposal))
        for name, new in (("theta", theta[whole]), ("x", x[whole])):
            old = getattr(self, name)
            setattr(self, name, new if old is None else np.concatenate([old, new]))
        return self

    # Whether an embedding is of the data: else it is of parameters.
    embeds_data = False
    # Whether densities look at what a linear function of their context leaves.
    is_linear_first = False

    def fit(
        self,
        epochs: int = 300,
        batch_size: int = 100,
        validation_split: float = 0.1,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        verbose: int = 1,
        scores: TensorLike | None = None,
        **options: Any,
    ) -> "Estimator":
        """Train the ensemble on all simulations.

        Args:
            epochs: At the most.
            batch_size: Simulations in each update.
            validation_split: Part that is held out.
            callbacks: More of Keras.
            verbose: 1 for progress bars, 2 for a line per epoch, 0 for silence.
            scores: Slopes of the log density of each simulation and its random numbers in the
                parameters, d log p(x, z | theta) / d theta, [num, num_parameters], to train by.
            **options: Of `Ensemble.fit`, such as `score_weight`.

        Returns:
            The estimator.

        Raises:
            ValueError: If there are no simulations, too few, or data that never vary.
        """
        rule = "be given by `append_simulations` first"
        checks.require(self.theta is not None, "theta", rule, None)
        context, y = self._pairs()
        if isinstance(self.density[0], str):
            fix = "Compress maps first, or give untrained densities with an `embedding`."
            received = f"data of shape {_shown(self.x.shape)}"
            is_flat = self.x.ndim == 2 or (self.embeds_data and "embedding" in self.options)
            checks.require(is_flat, "x", "be vectors", received, fix)
        members = [self._member(context, y, number) for number in range(self.num_members)]
        ensemble = Ensemble(members).fit(
            context, y, epochs, batch_size, validation_split,
            callbacks=callbacks, seed=self.seed, verbose=verbose,
            score=None if scores is None else self._slopes(scores), **options,
        )  # fmt: skip
        return self.install(ensemble)

    def install(self, ensemble: Ensemble) -> "Estimator":
        """Speak by an ensemble that is trained already.

        Args:
            ensemble: Of densities as `fit` trains them.

        Returns:
            The estimator.
        """
        self.ensemble = ensemble
        return self

    def checked_observation(self, x_obs: TensorLike, check: bool = False) -> np.ndarray:
        """What was observed, refused where it cannot be.

        Args:
            x_obs: Shape [...] as the data of one simulation, or [num, ...].
            check: Whether to warn where it is not like the simulations, if these are vectors
                with parameters from the prior and enough of them.

        Returns:
            The same, float32.

        Raises:
            ValueError: If nothing was trained yet, or `x_obs` is not finite or has another shape.
        """
        checks.require(self.ensemble is not None, "estimator", "be trained by `fit` first", None)
        x_obs, one = np.asarray(x_obs, np.float32), self.x.shape[1:]
        fits = x_obs.size > 0 and (x_obs.shape == one or x_obs.shape[1:] == one)
        rule = f"have shape {_shown(one)} or {_shown(('num', *one))}"
        checks.require(fits, "x_obs", rule, x_obs.shape)
        checks.finite(x_obs, "x_obs")
        if check:
            usual = self._usual_data()
            if usual.ndim == 2 and len(usual) >= least_usual(usual.shape[1]):
                warn_if_misspecified(misspecification(usual, x_obs), stacklevel=4)
        return x_obs

    def _usual_data(self) -> np.ndarray:
        """Data of simulations from the prior, some where they are many, [num, ...]."""
        origin = np.repeat([one.proposal for one in self.rounds], [one.num for one in self.rounds])
        rows = np.flatnonzero(origin == "prior")
        return self.x[rows[:: max(1, len(rows) // MOST_USUAL)]]

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """What densities are given, and what they are densities of."""
        raise NotImplementedError

    def _slopes(self, scores: TensorLike) -> tuple[str, np.ndarray]:
        """What the density has slopes in, and these slopes, from scores of the simulator."""
        raise NotImplementedError

    def _bounds(self) -> dict[str, np.ndarray | None]:
        """Bounds of what densities are densities of."""
        return {}

    def _member(self, context: np.ndarray, y: np.ndarray, number: int) -> ConditionalDensity:
        """An untrained density; what was given is copied, or one training would change another."""
        kind = self.density[number % len(self.density)]
        options = self._bounds() | self.options
        num_context, embedding = context.shape[1], options.get("embedding")
        with seeded_layers(integer_seed(self.seed, number)):
            if not isinstance(kind, str):
                return cloned(kind, "density", context[:1])
            if embedding is not None:
                options["embedding"] = embedding = cloned(embedding, "embedding", context[:1])
                num_context = embedding(context[:1]).shape[-1]
            else:
                options.setdefault("linear", self.is_linear_first)
            return make_density(kind, y.shape[1], num_context, **options)

    def _check_proposal(self, theta: np.ndarray, proposal: str) -> None:
        """Refuse what must not be learned from, or warn of it."""

    def _about_failures(self, theta: np.ndarray, whole: np.ndarray) -> str:
        """What failed simulations do to what is learned, after a space, or nothing."""
        return ""

    def _checked_scores(self, scores: TensorLike) -> np.ndarray:
        scores = np.asarray(scores, np.float32)
        rule = f"have the shape of all parameters, {_shown(self.theta.shape)}"
        checks.require(scores.shape == self.theta.shape, "scores", rule, scores.shape)
        return scores

    def _check_simulations(self, theta: np.ndarray, x: np.ndarray) -> None:
        checks.require(theta.ndim == 2, "theta", "have shape [num, num_parameters]", theta.shape)
        num = self.num_parameters
        fits = theta.shape[1] == num
        checks.require(fits, "theta", f"have {num} parameters, as the prior has", theta.shape)
        rule = f"have shape [{len(theta)}, num_data]"
        checks.require(x.ndim >= 2 and len(x) == len(theta), "x", rule, x.shape)
        checks.finite(theta, "theta")
        outside = int(np.sum(~np.isfinite(self.prior.log_prob(theta))))
        received = f"{outside} of {len(theta)} outside"
        checks.require(outside == 0, "theta", "lie inside of the prior", received)
        if self.theta is not None:
            for name, new, old in (("theta", theta, self.theta), ("x", x, self.x)):
                rule = f"have shape {_shown(('num', *old.shape[1:]))}, as before"
                checks.require(new.shape[1:] == old.shape[1:], name, rule, new.shape)


def _collected(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """All batches of a dataset, put together."""
    checks.require(
        bool(dataset.cardinality() != tf.data.INFINITE_CARDINALITY), "theta",
        "be a dataset that ends", "an infinite one",
    )  # fmt: skip
    parts = list(dataset.as_numpy_iterator())
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _shown(shape: tuple) -> str:
    return f"[{', '.join(map(str, shape))}]"
