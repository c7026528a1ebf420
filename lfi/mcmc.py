"""Draws from posteriors of many observations side by side, by importance sampling and HMC.

Parameters live on the real line here. A population of points walks from the prior to each
posterior as the likelihood is turned on; its mean and covariance make every posterior about round,
and chains of Hamiltonian Monte Carlo that start at draws of it do the rest. So chains know all the
modes, in their proportions, from the start.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, stateless_seed
from flowpm_ext.inference import CompiledLogProb, Samples, effective_sample_size, r_hat, sample_hmc
from lfi.prior import unconstrained

LogLikelihood = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
KERNEL_FREEDOM = 5.0  # of Student's t around points of a population: wider than a normal's tails
# Widths of these kernels go round among the points, for modes narrower than the whole posterior.
KERNEL_WIDTHS = (1.0, 1.0, 1.0, 0.3, 0.1)
LEAST_EFFECTIVE = 0.05  # part of a population that must count when the likelihood is turned on
GOOD_R_HAT = 1.01  # Vehtari et al. 2021
THINNINGS = (2, 12)
MOST_ROUNDS = 20
CHUNK = 50_000  # likelihoods at a time


class Draws(NamedTuple):
    """Draws of the posteriors of several observations, and how their chains went."""

    samples: np.ndarray  # [num_samples, num_observations, num_parameters]
    r_hat: np.ndarray  # [num_observations, num_parameters]
    ess: np.ndarray  # [num_observations, num_parameters]
    acceptance: np.ndarray  # [num_observations]
    importance_ess: np.ndarray  # [num_observations], of the population that chains start from


class Population(NamedTuple):
    """Weighted points on the real line, [num_observations, num_points]."""

    points: np.ndarray  # [..., num_parameters]
    log_weight: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """Weights that sum to one for each observation."""
        weight = np.exp(self.log_weight - self.log_weight.max(axis=1, keepdims=True))
        return weight / weight.sum(axis=1, keepdims=True)

    @property
    def ess(self) -> np.ndarray:
        """Points that count, [num_observations]."""
        return 1 / np.sum(self.weight**2, axis=1)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Means [num_observations, D] and Cholesky factors of the covariances [..., D, D]."""
        weight = self.weight[..., None]
        mean = np.sum(weight * self.points, axis=1)
        rest = self.points - mean[:, None]
        covariance = np.einsum("nki,nkj->nij", weight * rest, rest)
        # A population of few points may be flat in some direction.
        size = np.trace(covariance, axis1=1, axis2=2)[:, None, None] / mean.shape[1]
        covariance += (1e-6 * size + 1e-12) * np.eye(mean.shape[1])
        return mean, np.linalg.cholesky(covariance)

    def resampled(self, num: int, rng: np.random.Generator) -> np.ndarray:
        """Points drawn in proportion to weight, evenly, [num_observations, num, D]."""
        comb = (np.arange(num) + rng.uniform(size=[len(self.points), 1])) / num
        ends = np.cumsum(self.weight, axis=1)
        chosen = [np.searchsorted(*pair) for pair in zip(ends, comb, strict=True)]
        chosen = np.minimum(np.stack(chosen), self.points.shape[1] - 1)
        return np.take_along_axis(self.points, chosen[..., None], axis=1)


class PosteriorSampler:
    """A likelihood and a prior, from which posteriors of any observations are drawn.

    A second call for as many observations and chains does not compile again.

    Args:
        log_likelihood: Function of parameters [batch, num_parameters] and data
            [batch, num_data] that gives log densities [batch].
        prior: `BoxPrior` or a TFP distribution.
        num_leapfrog: Steps of the integrator in each step of a chain.
        jit_compile: Whether XLA compiles a step of the chains.

    References:
        Cappé et al. 2004, J. Comput. Graph. Stat. 13, 907; Del Moral, Doucet & Jasra 2006,
        J. R. Stat. Soc. B 68, 411; Neal 2011, arXiv:1206.1901.
    """

    def __init__(
        self,
        log_likelihood: LogLikelihood,
        prior: Any,
        num_leapfrog: int = 3,
        jit_compile: bool = False,
    ) -> None:
        self.prior, self.bijector = prior, unconstrained(prior)
        self._likelihood = tf.function(log_likelihood, autograph=False, reduce_retracing=True)
        self._target = CompiledLogProb(self._log_target, num_leapfrog, jit_compile)

    def sample(
        self,
        x_obs: np.ndarray,
        num_samples: int,
        num_chains: int | None = None,
        num_warmup: int = 100,
        num_points: int | None = None,
        thin: int | None = None,
        seed: int | tf.Tensor = 0,
        progress: bool = True,
    ) -> Draws:
        """Draws from the posterior of each observation.

        Args:
            x_obs: Shape [num_observations, num_data].
            num_samples: Draws for each.
            num_chains: Chains for each; by default one for 50 draws, from 8 to 100.
            num_warmup: Steps in which the chains tune their step size.
            num_points: Points of the population for each; by default 10,000 in all, and no fewer
                than 1,000.
            thin: Steps of a chain for each draw; by default 2, and 12 where chains do not agree
                then, as in long bent valleys.
            seed: An integer, or a stateless seed of shape [2].
            progress: Whether to show progress bars.

        Returns:
            `Draws`.

        Raises:
            ValueError: If a number is not a positive integer, or the likelihood of an observation
                is nowhere finite.

        References:
            Neal 2011, arXiv:1206.1901.
        """
        num_chains = num_chains or int(np.clip(num_samples // 50, 8, 100))
        num_points = num_points or max(1000, 10_000 // len(x_obs))
        checks.positive_integers(
            num_samples=num_samples, num_chains=num_chains, num_points=num_points
        )
        rng = np.random.default_rng(stateless_seed(fold(seed, 0)).numpy().view(np.uint32))
        population = self.population(x_obs, num_points, rng, fold(seed, 1), progress)
        mean, root = population.moments()
        start = population.resampled(num_chains, rng) - mean[:, None]
        start = np.linalg.solve(root[:, None], start[..., None])[..., 0]
        per_chain = [tf.constant(np.repeat(part, num_chains, 0), tf.float32)
                     for part in (x_obs, mean, root)]  # fmt: skip
        num_each = max(4, -(-num_samples // num_chains))
        start = np.reshape(start, [-1, mean.shape[1]]).astype(np.float32)
        for number, steps in enumerate(THINNINGS if thin is None else (thin,)):
            chains = sample_hmc(
                self._target, start, num_each, num_warmup, args=per_chain, step_size=0.3,
                num_groups=len(x_obs), thin=steps, seed=fold(seed, 2 + number), progress=progress,
            )  # fmt: skip
            draws = self._draws(chains, per_chain, num_samples, population.ess, rng)
            if np.all(draws.r_hat < GOOD_R_HAT):
                break
            start = chains.samples[-1]
        return draws

    def population(
        self,
        x_obs: np.ndarray,
        num_points: int,
        rng: np.random.Generator,
        seed: tf.Tensor,
        progress: bool = True,
    ) -> Population:
        """Points that walk from the prior to each posterior.

        Each round turns on so much of the likelihood that a twentieth of the points still counts,
        and draws new ones around those that do; it ends with a round at the full likelihood.

        Args:
            x_obs: Shape [num_observations, num_data].
            num_points: Points for each.
            rng: Generator of the points.
            seed: Of the draws from the prior.
            progress: Whether to show a progress bar.

        Returns:
            `Population`, weighted for the posterior.

        Raises:
            ValueError: If the likelihood of an observation is nowhere finite.
        """
        theta = self.prior.sample(num_points, seed=seed)
        points = np.tile(self.bijector.inverse(theta).numpy()[None], [len(x_obs), 1, 1])
        log_proposal = self._log_prior(points)
        strength = np.zeros(len(x_obs))
        with tqdm(unit="round", desc="importance", disable=not progress) as bar:
            for number in range(MOST_ROUNDS):
                log_like, log_prior = self._log_likelihood(points, x_obs), self._log_prior(points)
                is_known = np.isfinite(log_like).any(axis=1)
                rule = "have a finite likelihood somewhere in the prior"
                checks.require(bool(is_known.all()), "x_obs", rule, x_obs[~is_known])
                ended = bool(np.all(strength == 1))
                strength = _strengths(log_like, log_prior - log_proposal, strength)
                if number >= MOST_ROUNDS - 2:
                    # Chains go on from there, and `importance_ess` tells of it.
                    strength = np.ones_like(strength)
                log_weight = strength[:, None] * log_like + log_prior - log_proposal
                population = Population(points, log_weight)
                bar.update()
                if ended:
                    break
                points, log_proposal = _around(population, num_points, rng)
        return population

    def log_prob(self, theta: np.ndarray, x_obs: np.ndarray) -> np.ndarray:
        """Log posterior up to a number.

        Args:
            theta: Shape [num, num_parameters].
            x_obs: Shape [num, num_data].

        Returns:
            Shape [num].

        References:
            Bayes' theorem.
        """
        theta, x_obs = (tf.constant(part, tf.float32) for part in (theta, x_obs))
        return (self._likelihood(theta, x_obs) + self.prior.log_prob(theta)).numpy()

    def _log_prior(self, points: np.ndarray) -> np.ndarray:
        """Log prior on the real line, [num_observations, num_points]."""
        u = tf.reshape(tf.constant(points, tf.float32), [-1, points.shape[-1]])
        return np.reshape(self._prior_on_line(u), points.shape[:2]).astype(np.float64)

    def _prior_on_line(self, u: tf.Tensor) -> tf.Tensor:
        theta = self.bijector.forward(u)
        growth = self.bijector.forward_log_det_jacobian(u, event_ndims=1)
        return self.prior.log_prob(theta) + growth

    def _log_likelihood(self, points: np.ndarray, x_obs: np.ndarray) -> np.ndarray:
        flat = points.reshape(-1, points.shape[-1]).astype(np.float32)
        data = np.repeat(x_obs, points.shape[1], axis=0).astype(np.float32)
        found = []
        for first in range(0, len(flat), CHUNK):
            part = slice(first, first + CHUNK)
            found.append(self._likelihood(self.bijector.forward(flat[part]), data[part]))
        value = np.reshape(tf.concat(found, 0), points.shape[:2]).astype(np.float64)
        return np.where(np.isnan(value), -np.inf, value)

    def _log_target(self, w: tf.Tensor, x: tf.Tensor, mean: tf.Tensor, root: tf.Tensor):
        u = mean + tf.linalg.matvec(root, w)
        return self._likelihood(self.bijector.forward(u), x) + self._prior_on_line(u)

    def _draws(
        self, chains: Samples, per_chain: list[tf.Tensor], num_samples: int,
        importance_ess: np.ndarray, rng: np.random.Generator,
    ) -> Draws:  # fmt: skip
        """Draws in random order, and what their chains say, in parameters."""
        _, mean, root = (part.numpy() for part in per_chain)
        u = mean + np.einsum("nij,knj->kni", root, chains.samples)
        theta = self.bijector.forward(u.reshape(-1, u.shape[-1])).numpy()
        shape = (len(u), len(importance_ess), -1, u.shape[-1])
        theta = np.swapaxes(theta.reshape(shape), 1, 2)  # [num_each, num_chains, num_obs, D]
        flat = theta.reshape(-1, *theta.shape[2:])
        flat = flat[rng.permutation(len(flat))[:num_samples]]
        acceptance = chains.acceptance.reshape(len(importance_ess), -1).mean(axis=1)
        return Draws(flat, r_hat(theta), effective_sample_size(theta), acceptance, importance_ess)


def _strengths(log_like: np.ndarray, log_ratio: np.ndarray, now: np.ndarray) -> np.ndarray:
    """How much of each likelihood leaves enough points that count, at least as much as now."""

    def counts(strength: np.ndarray) -> np.ndarray:
        safe = np.where(np.isfinite(log_like), log_like, -1e30)
        ess = Population(safe, strength[:, None] * safe + log_ratio).ess
        return ess >= LEAST_EFFECTIVE * log_like.shape[1]

    low, high = now, np.ones_like(now)
    done = counts(high)
    for _ in range(30):
        middle = (low + high) / 2
        is_fine = counts(middle)
        low, high = np.where(is_fine, middle, low), np.where(is_fine, high, middle)
    # Where even the present strength leaves too few, a small step keeps the walk going.
    return np.where(done, 1.0, np.minimum(1.0, np.maximum(low, 1.1 * now + 1e-6)))


def _around(
    population: Population, num_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """New points near those that count, and the log density that they were drawn from."""
    num_obs, _, num_dims = population.points.shape
    num_centres = min(500, max(50, num_points // 10))
    centres = population.resampled(num_centres, rng)
    # The width that suits a normal density (Silverman 1986).
    width = (4 / (num_centres * (num_dims + 2))) ** (1 / (num_dims + 4))
    root = width * population.moments()[1]
    widths = np.resize(KERNEL_WIDTHS, num_centres)
    chosen = np.arange(num_points) % num_centres
    spread = np.sqrt(KERNEL_FREEDOM / rng.chisquare(KERNEL_FREEDOM, [num_obs, num_points, 1]))
    spread *= widths[chosen, None]
    step = rng.normal(size=[num_obs, num_points, num_dims]) * spread
    points = centres[:, chosen] + np.einsum("nij,nkj->nki", root, step)
    return points, _kernel_density(points, centres, root, widths)


def _kernel_density(
    points: np.ndarray, centres: np.ndarray, root: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """Log density of Student's t around centres, up to a number for each observation."""
    white = [np.linalg.solve(root[:, None], part[..., None])[..., 0] for part in (points, centres)]
    power = -(KERNEL_FREEDOM + points.shape[-1]) / 2
    found = []
    for a, b in zip(*white, strict=True):
        square = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1) - 2 * a @ b.T
        each = power * np.log1p(np.maximum(square, 0) / widths**2 / KERNEL_FREEDOM)
        each -= points.shape[-1] * np.log(widths)
        most = each.max(axis=1)
        found.append(most + np.log(np.mean(np.exp(each - most[:, None]), axis=1)))
    return np.stack(found)
