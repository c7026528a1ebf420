"""Problems whose posterior is known, to judge inference by.

Five are tasks of the benchmark sbibm, with a sampler of the exact posterior in place of its
files; the sixth is linear and Gaussian in any number of dimensions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.stats import truncnorm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from flowpm_ext.core.types import TensorLike
from lfi.prior import BoxPrior

VARIANCE = 0.1  # of prior and data of the linear tasks
POOL = 50_000  # proposals of a rejection sampler at a time


class Task(NamedTuple):
    """A prior, a simulator, and draws of the exact posterior."""

    name: str
    prior: Any  # BoxPrior or a TFP distribution
    simulator: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    sampler: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]

    def draw(self, num: int, seed: int | tf.Tensor = 0) -> tuple[np.ndarray, np.ndarray]:
        """Parameters from the prior, and data for each.

        Args:
            num: How many.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Parameters [num, num_parameters] and data [num, num_data], float32.

        Raises:
            ValueError: If `num` is not a positive integer.

        References:
            Lueckmann et al. 2021, arXiv:2101.04653.
        """
        checks.positive_integers(num=num)
        theta = self.prior.sample(num, seed=fold(seed, 0)).numpy()
        return theta, self.simulate(theta, fold(seed, 1))

    def simulate(self, theta: TensorLike, seed: int | tf.Tensor = 0) -> np.ndarray:
        """Data at given parameters.

        Args:
            theta: Shape [num, num_parameters].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, num_data], float32.

        References:
            Lueckmann et al. 2021, arXiv:2101.04653.
        """
        return self.simulator(np.asarray(theta, np.float64), generator(seed)).astype(np.float32)

    def posterior(self, x_obs: TensorLike, num: int, seed: int | tf.Tensor = 0) -> np.ndarray:
        """Draws of the exact posterior, independent of each other.

        Args:
            x_obs: What was observed, shape [num_data].
            num: Draws.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, num_parameters], float32.

        Raises:
            ValueError: If `num` is not a positive integer or `x_obs` is not finite.

        References:
            Lueckmann et al. 2021, arXiv:2101.04653.
        """
        checks.positive_integers(num=num)
        checks.finite(x_obs, "x_obs")
        draws = self.sampler(np.asarray(x_obs, np.float64), num, generator(seed))
        return draws.astype(np.float32)


def two_moons() -> Task:
    """Two crescents: two modes, each thin and bent.

    Returns:
        The task: two parameters, two data.
    """

    def noise(num: int, rng: np.random.Generator) -> np.ndarray:
        angle = rng.uniform(-np.pi / 2, np.pi / 2, num)
        radius = rng.normal(0.1, 0.01, num)
        return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)

    def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        across, along = theta.sum(axis=1), theta[:, 1] - theta[:, 0]
        return noise(len(theta), rng) + np.stack([-np.abs(across), along], axis=1) / np.sqrt(2)

    def proposal(x_obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # Each crescent is the noise moved and turned, where the box does not cut it.
        rest = x_obs - noise(POOL, rng)
        rest = rest[rest[:, 0] <= 0]
        sign = rng.choice([-1, 1], len(rest))
        across, along = sign * rest[:, 0], rest[:, 1]
        return np.stack([across - along, across + along], axis=1) / np.sqrt(2)

    prior = BoxPrior([-1, -1], [1, 1])
    return Task("two_moons", prior, simulator, _inside(prior, proposal))


def slcp() -> Task:
    """Simple likelihood, complex posterior: four points of a Gaussian whose shape is sought.

    Returns:
        The task: five parameters, eight data, and four modes from two free signs.
    """

    def covariance(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s1, s2, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
        return s1**2 + 1e-6, rho * s1 * s2, s2**2 + 1e-6

    def noise(theta: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        first, cross, second = (part[:, None] for part in covariance(theta))
        white = rng.normal(size=(2, len(theta), num))
        rest = np.sqrt(second - cross**2 / first)
        return np.stack(
            [np.sqrt(first) * white[0], cross / np.sqrt(first) * white[0] + rest * white[1]],
            axis=-1,
        )

    def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return (theta[:, None, :2] + noise(theta, 4, rng)).reshape(len(theta), 8)

    def proposal(x_obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # The mean can be integrated by hand. What is left of the likelihood depends on the
        # shape alone and has a known maximum, so that its draws can be had by rejection.
        points = x_obs.reshape(4, 2)
        scatter = np.cov(points.T, bias=True) * 4
        theta = rng.uniform(-3, 3, (POOL, 5))
        best = scatter[[0, 0, 1], [0, 1, 1]] / 3
        log_like = _wishart(*covariance(theta), scatter) - _wishart(*best, scatter)
        theta = theta[np.log(rng.uniform(size=POOL)) < log_like]
        theta[:, :2] = points.mean(axis=0) + noise(theta, 1, rng)[:, 0] / 2
        return theta

    prior = BoxPrior([-3] * 5, [3] * 5)
    return Task("slcp", prior, simulator, _inside(prior, proposal))


def gaussian_linear() -> Task:
    """Ten parameters with a normal prior, each seen with normal noise.

    Returns:
        The task: ten parameters, ten data.
    """
    prior = tfp.distributions.MultivariateNormalDiag(
        tf.zeros(10), tf.fill([10], np.float32(np.sqrt(VARIANCE)))
    )

    def sampler(x_obs: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        return x_obs / 2 + np.sqrt(VARIANCE / 2) * rng.normal(size=(num, 10))

    return Task("gaussian_linear", prior, _noisy, sampler)


def gaussian_linear_uniform() -> Task:
    """Ten parameters in a box, each seen with normal noise.

    Returns:
        The task: ten parameters, ten data.
    """

    def sampler(x_obs: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        columns = [_truncated(x, np.sqrt(VARIANCE), 1.0, num, rng) for x in x_obs]
        return np.stack(columns, axis=1)

    return Task("gaussian_linear_uniform", BoxPrior([-1] * 10, [1] * 10), _noisy, sampler)


def gaussian_mixture() -> Task:
    """A point in the plane, seen with noise that is wide or narrow.

    Returns:
        The task: two parameters, two data.
    """

    def noise(num: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice([1.0, 0.1], (num, 1)) * rng.normal(size=(num, 2))

    def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return theta + noise(len(theta), rng)

    def proposal(x_obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return x_obs + noise(POOL, rng)

    prior = BoxPrior([-10, -10], [10, 10])
    return Task("gaussian_mixture", prior, simulator, _inside(prior, proposal))


def linear_gaussian(num_parameters: int = 3, num_data: int = 5, seed: int = 0) -> Task:
    """Data that are a linear function of normal parameters, with correlated normal noise.

    Args:
        num_parameters: Parameters, of prior mean 0 and variance 1.
        num_data: Data.
        seed: Of the function and the noise.

    Returns:
        The task.

    Raises:
        ValueError: If a number is not a positive integer.
    """
    checks.positive_integers(num_parameters=num_parameters, num_data=num_data)
    rng = np.random.default_rng(seed)
    response = rng.normal(size=(num_data, num_parameters))
    root = 0.5 * np.eye(num_data) + 0.2 * np.tril(rng.normal(size=(num_data, num_data)), -1)
    precision = np.linalg.inv(root @ root.T)
    covariance = np.linalg.inv(response.T @ precision @ response + np.eye(num_parameters))

    def simulator(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return theta @ response.T + rng.normal(size=(len(theta), num_data)) @ root.T

    def sampler(x_obs: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        return rng.multivariate_normal(covariance @ response.T @ precision @ x_obs, covariance, num)

    prior = tfp.distributions.MultivariateNormalDiag(tf.zeros(num_parameters))
    return Task("linear_gaussian", prior, simulator, sampler)


TASKS = {
    make.__name__: make
    for make in (
        two_moons,
        slcp,
        gaussian_linear,
        gaussian_linear_uniform,
        gaussian_mixture,
        linear_gaussian,
    )
}


def _noisy(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return theta + np.sqrt(VARIANCE) * rng.normal(size=theta.shape)


def _inside(prior: BoxPrior, proposal: Callable) -> Callable:
    """A sampler of what `proposal(x_obs, rng)` gives inside of the box."""

    def sampler(x_obs: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        found = np.zeros([0, prior.num_parameters])
        while len(found) < num:
            theta = proposal(x_obs, rng)
            is_kept = np.all((theta > prior.low) & (theta < prior.high), axis=1)
            found = np.concatenate([found, theta[is_kept]])
        return found[:num]

    return sampler


def _truncated(
    mean: float, std: float, bound: float, num: int, rng: np.random.Generator
) -> np.ndarray:
    """Normal numbers between -bound and bound."""
    ends = (-bound - mean) / std, (bound - mean) / std
    return truncnorm.rvs(*ends, mean, std, size=num, random_state=rng)


def _wishart(first: Any, cross: Any, second: Any, scatter: np.ndarray) -> Any:
    """Log likelihood of covariances in the plane for the scatter of four points, up to a number."""
    determinant = first * second - cross**2
    trace = second * scatter[0, 0] - 2 * cross * scatter[0, 1] + first * scatter[1, 1]
    return -1.5 * np.log(determinant) - 0.5 * trace / determinant
