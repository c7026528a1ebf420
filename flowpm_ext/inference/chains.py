"""The one loop of all samplers: a step for all chains, tuned first, repeated then."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, floating
from flowpm_ext.inference.diagnostics import effective_sample_size, r_hat


class Samples(NamedTuple):
    """Draws of several chains, and how they went."""

    samples: np.ndarray  # [num_samples, num_chains, ...], the unit of the start
    log_prob: np.ndarray  # [num_samples, num_chains]
    acceptance: np.ndarray  # [num_chains], mean probability that a step was accepted
    step_size: np.ndarray  # [num_groups], as they were tuned, in units of 1 / sqrt(mass)
    num_gradients: int  # of each chain, warm-up included
    last: np.ndarray | None = None  # [num_chains, ...], where the chains are at the end
    # Of each draw in the mean, without those that a chain spent waiting for the others.
    gradients_per_draw: float = np.nan
    num_divergent: int = 0  # steps after warm-up that the integrator could not follow
    energy_error: float = np.nan  # its variance over the number of parameters, without a test

    @property
    def r_hat(self) -> np.ndarray:
        """Agreement of the chains, [...]; see `flowpm_ext.inference.r_hat`."""
        return r_hat(self.samples)

    @property
    def ess(self) -> np.ndarray:
        """Number of independent draws, [...]; see `flowpm_ext.inference.effective_sample_size`."""
        return effective_sample_size(self.samples)


class Moved(NamedTuple):
    """What one step did."""

    statistic: tf.Tensor  # [num_chains], what the step size is tuned by
    num_gradients: int  # of each chain, as run side by side
    num_needed: float | None = None  # of a chain in the mean, had it run alone
    num_divergent: int = 0  # chains that the integrator lost


class Tuning(Protocol):
    """How the logarithms of step sizes follow what steps did."""

    @property
    def log_step(self) -> np.ndarray:
        """To use next in warm-up, [num_groups]."""

    @property
    def mean(self) -> np.ndarray | float:
        """To use after it, [num_groups]."""

    def after(self, statistic: np.ndarray) -> "Tuning":
        """The state after steps with these mean statistics, [num_groups]."""


class StepSize(NamedTuple):
    """Dual averaging of the logarithm of the step size (Nesterov 2009)."""

    centre: np.ndarray  # [num_groups]
    log_step: np.ndarray  # [num_groups]
    target: float = 0.8
    longest: float = np.inf
    mean: np.ndarray | float = 0.0
    error: np.ndarray | float = 0.0
    count: int = 0

    @classmethod
    def of(cls, first: np.ndarray, target: float, longest: float = np.inf) -> "StepSize":
        """Before the first step.

        Args:
            first: First step sizes, shape [num_groups].
            target: Probability of acceptance to tune for.
            longest: Bound of the step sizes.

        Returns:
            The state.
        """
        return cls(np.log(10 * first), np.log(first), target, longest)

    def after(self, statistic: np.ndarray) -> "StepSize":
        """The state after steps with these mean probabilities of acceptance, [num_groups]."""
        count = self.count + 1
        rate = 1 / (count + 10)
        error = (1 - rate) * self.error + rate * (self.target - statistic)
        log_step = np.minimum(self.centre - np.sqrt(count) / 0.05 * error, np.log(self.longest))
        weight = count**-0.75
        mean = weight * log_step + (1 - weight) * self.mean
        return self._replace(log_step=log_step, mean=mean, error=error, count=count)


Step = Callable[[Any, np.ndarray, int], tuple[Any, Moved]]


def repeated(
    step: Step,
    chain: Any,
    tuning: Tuning,
    num_samples: int,
    num_warmup: int,
    *,
    num_groups: int = 1,
    thin: int = 1,
    keep: Callable[[tf.Tensor], tf.Tensor] | None = None,
    name: str = "chains",
    progress: bool = True,
) -> Samples:
    """Chains after many steps: warm-up that tunes the step size, and draws with what it found.

    Args:
        step: Function of the state of all chains, the logarithms of step sizes [num_groups] and
            the number of the step, that gives the next state and `Moved`.
        chain: State at the start, of which `x` [num_chains, ...] and `log_prob` are kept.
        tuning: State of the tuning at the start.
        num_samples: Draws of each chain to keep.
        num_warmup: Steps before them.
        num_groups: Groups of equally many chains that share a step size.
        thin: Steps for each draw that is kept.
        keep: What is kept of `x`; all by default.
        name: Shown beside the progress bar.
        progress: Whether to show it.

    Returns:
        `Samples`, whose acceptance is the mean of the statistic, and which count one gradient
        for the start.
    """
    num_chains, num_gradients, needed, divergent = chain.x.shape[0], 1, 0.0, 0
    kept, total = [], np.zeros(num_chains)
    num_steps = num_warmup + thin * num_samples
    with tqdm(total=num_steps, unit="step", desc=name, disable=not progress) as bar:
        for number in range(num_steps):
            is_warm = number >= num_warmup
            log_step = tuning.mean if is_warm and num_warmup else tuning.log_step
            chain, moved = step(chain, log_step, number)
            num_gradients += moved.num_gradients
            statistic = np.asarray(moved.statistic)
            if not is_warm:
                tuning = tuning.after(statistic.reshape(num_groups, -1).mean(axis=1))
            else:
                total += statistic
                alone = moved.num_needed
                needed += moved.num_gradients if alone is None else alone
                divergent += moved.num_divergent
                if (number - num_warmup) % thin == thin - 1:
                    x = chain.x if keep is None else keep(chain.x)
                    kept.append((x.numpy(), chain.log_prob.numpy()))
            bar.update()
    samples, log_probs = (np.stack(part) for part in zip(*kept, strict=True))
    log_step = tuning.mean if num_warmup else tuning.log_step
    return Samples(
        samples, log_probs, total / (thin * num_samples), np.exp(log_step), num_gradients,
        chain.x.numpy(), needed / num_samples, divergent,
    )  # fmt: skip


def checked_start(start: TensorLike, num_samples: int, num_warmup: int, thin: int) -> tf.Tensor:
    """Where chains start, as a tensor, after the checks that all samplers share.

    Args:
        start: Where chains start (any unit), shape [num_chains, ...].
        num_samples: Draws of each chain to keep.
        num_warmup: Steps before them.
        thin: Steps for each draw.

    Returns:
        A floating tensor of the same shape.

    Raises:
        ValueError: If a number is not positive, or the start is not finite.
    """
    start = tf.convert_to_tensor(start)
    start = tf.cast(start, floating(start))
    checks.require(start.shape.rank >= 1, "start", "have one row for each chain", start)
    checks.finite(start, "start")
    checks.positive_integers(num_samples=num_samples, thin=thin)
    checks.require(num_warmup >= 0, "num_warmup", "be zero or more", num_warmup)
    return start


def require_finite_start(
    log_prob: tf.Tensor, fix: str = "Start every chain where the density is above zero."
) -> None:
    """Refuse chains that start where the posterior is no number.

    Args:
        log_prob: Log densities where the chains start, shape [num_chains].
        fix: What to do about it.

    Raises:
        ValueError: If one of them is not finite.
    """
    checks.finite(log_prob, "log_prob(start)", fix)


def require_one_each(log_prob: tf.Tensor, shape: tf.TensorShape) -> None:
    """Refuse log densities that are not one number for each chain.

    Args:
        log_prob: What a density gave.
        shape: Axes of chains.

    Raises:
        ValueError: If its shape is another.
    """
    num = " x ".join(str(side) for side in shape) or "1"
    checks.require(
        log_prob.shape.is_compatible_with(shape),
        "log_prob", f"give one number for each of {num} chains", log_prob,
        "Sum over the axes of the parameters, not over the first one.",
    )  # fmt: skip
