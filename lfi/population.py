"""Weighted points that follow posteriors as the likelihood is turned on."""

from typing import NamedTuple

import numpy as np

KERNEL_FREEDOM = 5.0  # of Student's t around points of a population: wider than a normal's tails
# Widths of these kernels go round among the points, for modes narrower than the whole posterior.
KERNEL_WIDTHS = (1.0, 1.0, 1.0, 0.3, 0.1)
LEAST_EFFECTIVE = 0.05  # part of a population that must count when the likelihood is turned on


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
        """Points drawn in proportion to weight, evenly in space, [num_observations, num, D].

        They are taken with a comb from the points in their order along the longest axis of each
        posterior: so modes get their shares to within a point or so, and not as by chance.
        """
        mean, root = self.moments()
        longest = np.linalg.svd(root)[0][..., 0]
        order = np.argsort(np.einsum("nki,ni->nk", self.points - mean[:, None], longest), axis=1)
        ends = np.cumsum(np.take_along_axis(self.weight, order, axis=1), axis=1)
        comb = (np.arange(num) + rng.uniform(size=[len(self.points), 1])) / num
        chosen = [np.searchsorted(*pair) for pair in zip(ends, comb, strict=True)]
        chosen = np.minimum(np.stack(chosen), self.points.shape[1] - 1)
        chosen = np.take_along_axis(order, chosen, axis=1)
        return np.take_along_axis(self.points, chosen[..., None], axis=1)


def next_strengths(log_like: np.ndarray, log_ratio: np.ndarray, now: np.ndarray) -> np.ndarray:
    """How much of each likelihood leaves enough points that count, at least as much as now.

    Args:
        log_like: Log likelihoods of points, [num_observations, num_points].
        log_ratio: Log of prior over what the points were drawn from, the same shape.
        now: Part of the log likelihood that is on, [num_observations].

    Returns:
        Parts from 0 to 1, [num_observations].

    References:
        Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411.
    """

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


def around(
    population: Population, num_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """New points near those that count, and the log density that they were drawn from.

    Args:
        population: Where points count.
        num_points: How many for each observation.
        rng: Their generator.

    Returns:
        Points [num_observations, num_points, D], and log densities [num_observations, num_points]
        up to a number for each observation.

    References:
        Cappé et al. 2004, J. Comput. Graph. Stat. 13, 907; Silverman 1986, Density Estimation.
    """
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
