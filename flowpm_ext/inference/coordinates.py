"""Coordinates in which a density is about round: a centre, and a root of its covariance."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import TensorLike, cast

METRICS = ("diagonal", "dense", "unit")


class Normal(NamedTuple):
    """A normal density, and the coordinates in which it has mean zero and unit covariance."""

    mean: tf.Tensor  # [size]
    root: tf.Tensor  # [size] standard deviations, or lower triangular [size, size]

    def stretched(self, z: tf.Tensor) -> tf.Tensor:
        """Points from their coordinates, [..., size]."""
        if self.root.shape.rank == 1:
            return self.mean + self.root * z
        return self.mean + tf.linalg.matmul(z, self.root, transpose_b=True)

    def shrunk(self, x: tf.Tensor) -> tf.Tensor:
        """Coordinates of points, [..., size], the inverse of `stretched`."""
        if self.root.shape.rank == 1:
            return (x - self.mean) / self.root
        rows = tf.reshape(x - self.mean, [-1, self.root.shape[0]])
        solved = tf.linalg.triangular_solve(self.root, tf.transpose(rows))
        return tf.reshape(tf.transpose(solved), x.shape)

    @property
    def log_volume(self) -> tf.Tensor:
        """Logarithm of the volume of a unit of all coordinates."""
        is_matrix = self.root.shape.rank == 2
        diagonal = tf.linalg.diag_part(self.root) if is_matrix else self.root
        return tf.reduce_sum(tf.math.log(tf.abs(diagonal)))

    @property
    def covariance(self) -> tf.Tensor:
        """Covariance, [size, size]."""
        if self.root.shape.rank == 1:
            return tf.linalg.diag(self.root**2)
        return tf.matmul(self.root, self.root, transpose_b=True)

    @property
    def std(self) -> tf.Tensor:
        """Standard deviations, [size]."""
        is_matrix = self.root.shape.rank == 2
        return tf.norm(self.root, axis=1) if is_matrix else tf.abs(self.root)

    def sample(self, num_samples: int, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Draws, [num_samples, size]."""
        shape = [num_samples, self.mean.shape[0]]
        return self.stretched(standard_normal(shape, seed, self.mean.dtype))

    def log_prob(self, x: tf.Tensor) -> tf.Tensor:
        """Log density of points [..., size], normalised, [...]."""
        z = self.shrunk(x)
        square = tf.reduce_sum(z**2, axis=-1) + x.shape[-1] * math.log(2 * math.pi)
        return -0.5 * square - self.log_volume


def unit_normal(size: int, dtype: tf.DType) -> Normal:
    """The density of mean zero and unit variances.

    Args:
        size: Length of a point.
        dtype: float32 or float64.

    Returns:
        `Normal`.
    """
    return Normal(tf.zeros([size], dtype), tf.ones([size], dtype))


def checked_normal(normal: Normal, size: int, dtype: tf.DType, name: str = "start") -> Normal:
    """A normal density that was received, in the type that is worked in.

    Args:
        normal: The density.
        size: Parameters that there are.
        dtype: float32 or float64.
        name: Of the argument, for the message.

    Returns:
        `Normal`.

    Raises:
        ValueError: If it is of another number of parameters, or not finite.
    """
    mean, root = (cast(part, dtype) for part in normal)
    fits = mean.shape == [size] and tuple(root.shape) in ((size,), (size, size))
    given = f"mean and root of shapes {tuple(mean.shape)} and {tuple(root.shape)}"
    checks.require(fits, name, f"be a normal density of {size} parameters", given)
    for part in (mean, root):
        checks.finite(part, name)
    return Normal(mean, root)


def learned(draws: TensorLike, metric: str = "diagonal") -> Normal:
    """The normal density with the moments of draws.

    Correlations of few draws are taken for smaller than they are: as if as many draws as there
    are parameters had been added, of the same variances and without correlations.

    Args:
        draws: Points, shape [..., size], more than one.
        metric: "diagonal" for variances alone, "dense" for the covariance.

    Returns:
        `Normal`, of the type of the draws.

    Raises:
        ValueError: If the draws are not finite, or do not vary.

    References:
        Carpenter et al. 2017, J. Stat. Softw. 76, 1 (shrinkage in warm-up).
    """
    checks.one_of(metric, "metric", METRICS[:2])
    array = np.asarray(draws)
    flat = array.reshape(-1, array.shape[-1]).astype(np.float64)
    checks.finite(flat, "draws")
    mean, std = flat.mean(axis=0), flat.std(axis=0)
    checks.require(bool(np.all(std > 0)), "draws", "vary in every parameter", std)
    root = std
    if metric == "dense":
        num, size = flat.shape
        z = (flat - mean) / std
        share = num / (num + size)
        correlation = share * (z.T @ z) / num + (1 - share) * np.eye(size)
        root = std[:, None] * np.linalg.cholesky(correlation)
    return Normal(*(cast(part, array.dtype) for part in (mean, root)))


def in_coordinates(log_prob: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """A density as a function of coordinates.

    Volumes do not change from place to place, and are left out.

    Args:
        log_prob: Function of points [num_chains, size].

    Returns:
        Function of coordinates [num_chains, size] and of the two fields of `Normal`.
    """

    def of_coordinates(z: tf.Tensor, mean: tf.Tensor, root: tf.Tensor) -> tf.Tensor:
        return log_prob(Normal(mean, root).stretched(z))

    return of_coordinates
