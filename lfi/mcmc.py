"""Draws from posteriors of many observations side by side, by importance sampling and HMC.

Parameters live on the real line here. A population of points walks from the prior to each
posterior as the likelihood is turned on; its mean and covariance make every posterior about round,
and chains of Hamiltonian Monte Carlo that start at draws of it do the rest. So chains know all the
modes, and a share of chains starts in each as its weight says. Chains seldom cross from mode to
mode: R-hat tells that they do not agree, and the effective size of the population how well weights
are known.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from flowpm_ext.inference import CompiledLogProb, Samples, effective_sample_size, r_hat, sample_hmc
from lfi.population import Population, around, next_strengths
from lfi.prior import bounds, inside, unconstrained

LogLikelihood = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
GOOD_R_HAT = 1.01  # Vehtari et al. 2021
THINNINGS = (1, 10)
TRAJECTORY = np.pi / 2  # a quarter of a turn around a posterior that is about round
APART_R_HAT = 1.1  # of chains in modes of their own
QUICK = 0.5  # independent draws over draws, in chains that explore their mode
MOST_ROUNDS = 20
CHUNK = 50_000  # likelihoods at a time


class Draws(NamedTuple):
    """Draws of the posteriors of several observations, and how their chains went."""

    samples: np.ndarray  # [num_samples, num_observations, num_parameters]
    r_hat: np.ndarray  # [num_observations, num_parameters]
    ess: np.ndarray  # [num_observations, num_parameters]
    acceptance: np.ndarray  # [num_observations]
    importance_ess: np.ndarray  # [num_observations], of the population that chains start from


class PosteriorSampler:
    """A likelihood and a prior, from which posteriors of any observations are drawn.

    A second call for as many observations and chains does not compile again.

    Args:
        log_likelihood: Function of parameters [batch, num_parameters] and data
            [batch, num_data] that gives log densities [batch].
        prior: `BoxPrior` or a TFP distribution.
        num_leapfrog: Gradients in each step of a chain, at the most.
        jit_compile: Whether XLA compiles a step of the chains; off for likelihoods that it cannot.

    References:
        Cappé et al. 2004, J. Comput. Graph. Stat. 13, 907; Del Moral, Doucet & Jasra 2006,
        J. R. Stat. Soc. B 68, 411; Neal 2011, arXiv:1206.1901.
    """

    def __init__(
        self,
        log_likelihood: LogLikelihood,
        prior: Any,
        num_leapfrog: int = 10,
        jit_compile: bool = True,
    ) -> None:
        self.prior, self.bijector = prior, unconstrained(prior)
        self.log_likelihood = log_likelihood
        self._likelihood = tf.function(log_likelihood, autograph=False, reduce_retracing=True)
        self.num_leapfrog = num_leapfrog
        self._target = CompiledLogProb(self._log_target, jit_compile)

    def sample(
        self,
        x_obs: np.ndarray,
        num_samples: int,
        num_chains: int | None = None,
        num_warmup: int = 50,
        num_points: int | None = None,
        thin: int | None = None,
        seed: int | tf.Tensor = 0,
        progress: bool = True,
    ) -> Draws:
        """Draws from the posterior of each observation.

        Args:
            x_obs: Shape [num_observations, num_data].
            num_samples: Draws for each.
            num_chains: Chains for each; by default one for 50 draws, from 20 to 100.
            num_warmup: Steps in which the chains tune their step size.
            num_points: Points of the population for each; by default 10,000 in all, and no fewer
                than 1,000.
            thin: Steps of a chain for each draw; by default 1, and 10 where chains do not agree
                then and each is slow to forget, as in long bent valleys.
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
        num_chains = num_chains or int(np.clip(num_samples // 50, 20, 100))
        num_points = num_points or max(1000, 10_000 // len(x_obs))
        checks.positive_integers(
            num_samples=num_samples, num_chains=num_chains, num_points=num_points
        )
        rng = generator(fold(seed, 0))
        population = self.population(x_obs, num_points, rng, fold(seed, 1), progress)
        mean, root = population.moments()
        start = population.resampled(num_chains, rng) - mean[:, None]
        start = np.linalg.solve(root[:, None], start[..., None])[..., 0]
        per_chain = [tf.constant(np.repeat(part, num_chains, 0), tf.float32)
                     for part in (x_obs, mean, root)]  # fmt: skip
        # R-hat says nothing of chains that are shorter.
        num_each = max(25, -(-num_samples // num_chains))
        start = np.reshape(start, [-1, mean.shape[1]]).astype(np.float32)
        for number, steps in enumerate(THINNINGS if thin is None else (thin,)):
            chains = sample_hmc(
                self._target, start, num_each, num_warmup, args=per_chain,
                num_leapfrog=self.num_leapfrog, trajectory=TRAJECTORY, step_size=0.5,
                num_groups=len(x_obs), thin=steps, seed=fold(seed, 2 + number), progress=progress,
            )  # fmt: skip
            draws = self._draws(chains, per_chain, num_samples, population.ess, rng)
            if not _is_worth_more(draws.r_hat, chains.samples):
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
        theta = inside(self.prior.sample(num_points, seed=seed), *bounds(self.prior))
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
                strength = next_strengths(log_like, log_prior - log_proposal, strength)
                if number >= MOST_ROUNDS - 2:
                    # Chains go on from there, and `importance_ess` tells of it.
                    strength = np.ones_like(strength)
                log_weight = strength[:, None] * log_like + log_prior - log_proposal
                population = Population(points, log_weight)
                bar.update()
                if ended:
                    break
                points, log_proposal = around(population, num_points, rng)
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
        return self.log_likelihood(self.bijector.forward(u), x) + self._prior_on_line(u)

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
        every = theta.reshape(-1, *theta.shape[2:])
        flat = every[rng.permutation(len(every))[:num_samples]]
        # The mean of some of the draws scatters about that of all, and that about the truth.
        left_out = 1 - len(flat) / len(every)
        ess = 1 / (left_out / len(flat) + 1 / effective_sample_size(theta))
        acceptance = chains.acceptance.reshape(len(importance_ess), -1).mean(axis=1)
        return Draws(flat, r_hat(theta), ess, acceptance, importance_ess)


def _is_worth_more(r_hat: np.ndarray, samples: np.ndarray) -> bool:
    """Whether longer chains would agree better.

    They would not where all that disagree are far apart, and each has explored its own mode.

    Args:
        r_hat: Shape [num_observations, num_parameters].
        samples: Shape [num_each, num_observations * num_chains, num_parameters].
    """
    num_each = len(samples)
    by_observation = samples.reshape(num_each, len(r_hat), -1)
    num_chains = samples.shape[1] // len(r_hat)
    # Chains of few independent draws differ by chance: five standard deviations.
    chance = 5 * np.sqrt(1 / (2 * num_chains * 2)) / (num_each / 2)
    is_bad = r_hat.max(axis=1) > max(GOOD_R_HAT, 1 + chance)
    if not is_bad.any() or r_hat.max(axis=1)[is_bad].min() < APART_R_HAT:
        return bool(is_bad.any())
    alone = by_observation[:, None, is_bad]
    return effective_sample_size(alone).mean() < QUICK * num_each
