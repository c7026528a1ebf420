"""The normal density that fits a posterior at its maximum, and the evidence it implies."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.inference.coordinates import Normal
from flowpm_ext.inference.krylov import Krylov, lanczos
from flowpm_ext.inference.maximum import Maximum, maximum
from flowpm_ext.inference.space import Space

METHODS = ("dense", "matrix_free")
ENDED = 1e-2  # rise of the log density that is still to come where a search has ended


class Laplace(NamedTuple):
    """A normal approximation of a posterior, over vectors without bounds."""

    maximum: Maximum  # of the density of vectors
    space: Space
    normal: Normal | None  # None where there is no matrix
    log_evidence: float  # logarithm of the integral of the posterior
    # Of the trace by random vectors, and what the search for the maximum has left to gain.
    log_evidence_error: float
    # Relative change of draws over the last quarter of the steps; 0 for a matrix.
    residual: float
    product: Callable[[tf.Tensor], tf.Tensor]  # of the precision with vectors [num, size]
    num_steps: int  # of Lanczos, in each draw

    def vectors(self, num_samples: int, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Draws without bounds, [num_samples, size]."""
        if self.normal is not None:
            return self.normal.sample(num_samples, seed)
        mean = self.maximum.vector
        noise = standard_normal([num_samples, mean.shape[0]], seed, mean.dtype)
        found = lanczos(self.product, noise, self.num_steps)
        return mean + cast(found.applied(_inverse_root), mean.dtype)

    def sample(self, num_samples: int, seed: int | tf.Tensor = 0) -> Any:
        """Draws in the structure of the parameters, [num_samples, *shape]."""
        return self.space.values(self.vectors(num_samples, seed))


def laplace(
    log_prob: Callable[[Any], tf.Tensor],
    space: Space,
    start: Any = None,
    *,
    method: str = "dense",
    num_evaluations: int = 1000,
    tolerance: float = 1e-6,
    num_steps: int = 40,
    num_probes: int = 16,
    seed: int | tf.Tensor = 0,
    jit_compile: bool = True,
) -> Laplace:
    """A normal density with the maximum and the curvature of a posterior.

    Args:
        log_prob: Function of the structure with tensors [num, *shape] that gives log densities
            [num], twice differentiable.
        space: Shapes and bounds of the parameters.
        start: Where the search for the maximum starts, as for `maximum`.
        method: "dense" for all second derivatives at once, up to some thousand parameters;
            "matrix_free" for their products with vectors alone. Then draws are those of Lanczos's
            method, exact to rounding where the precision has fewer eigenvalues than there are
            steps, and good where it is a number times one and something small.
        num_evaluations: Gradients to spend on the maximum.
        tolerance: Largest component of the gradient there that counts as zero.
        num_steps: Products with the precision in each draw, without a matrix.
        num_probes: Random vectors for its determinant, likewise.
        seed: Of those vectors: an integer, or a stateless seed of shape [2].
        jit_compile: Whether XLA compiles the derivatives.

    Returns:
        `Laplace`. Its `normal` starts the chains of `sample` well. A warning says where the search
        for the maximum has not ended, so that neither is of the posterior.

    Raises:
        ValueError: If an option is unknown or not positive, the posterior is not finite at the
            start, it does not curve down in all directions where the search ends, or `log_prob`
            gives another shape.

    References:
        MacKay 2003, Information Theory, Inference, and Learning Algorithms, chapter 27; Ubaru,
        Chen & Saad 2017, SIAM J. Matrix Anal. Appl. 38, 1075 (determinants by Lanczos).
    """
    checks.one_of(method, "method", METHODS)
    checks.positive_integers(num_steps=num_steps, num_probes=num_probes)
    top = maximum(
        log_prob, space, start, measure="vectors", num_evaluations=num_evaluations,
        tolerance=tolerance, jit_compile=jit_compile,
    )  # fmt: skip
    product = _precision(space.log_prob(log_prob), top.vector, jit_compile)
    size = space.size
    flat = top.log_prob + 0.5 * size * math.log(2 * math.pi)
    if method == "dense":
        normal = _normal(top.vector, product(tf.eye(size, dtype=space.dtype)))
        evidence = flat + float(normal.log_volume)
        rise = _rise(top, tf.linalg.matvec(normal.covariance, top.gradient))
        return Laplace(top, space, normal, evidence, rise, 0.0, product, 0)
    noise = standard_normal([num_probes, size], seed, space.dtype)
    found = lanczos(product, noise, num_steps)
    _check_curvature(np.min(found.values[found.weights > 0]))
    traces = -0.5 * found.traces(np.log)
    error = float(np.std(traces)) / math.sqrt(num_probes)
    error += _rise(top, _newton_step(product, top.gradient, num_steps))
    evidence = flat + float(np.mean(traces))
    return Laplace(top, space, None, evidence, error, _residual(found), product, num_steps)


def _precision(
    density: Callable[[tf.Tensor], tf.Tensor], u: tf.Tensor, jit_compile: bool
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Function of vectors [num, size]: minus the second derivatives at u times each of them."""

    @tf.function(jit_compile=jit_compile, autograph=False)
    def product(v: tf.Tensor) -> tf.Tensor:
        x = tf.broadcast_to(u, v.shape)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = density(x)
            slope = inner.gradient(value, x, unconnected_gradients="zero")
        # Rows do not know each other, so that one product holds for all.
        return -outer.gradient(slope, x, v, unconnected_gradients="zero")

    return product


def _normal(mean: tf.Tensor, precision: tf.Tensor) -> Normal:
    """The density with this mean and precision."""
    matrix = np.asarray(precision, np.float64)
    matrix = 0.5 * (matrix + matrix.T)
    checks.finite(matrix, "second derivatives of log_prob")
    # In units of the width of each parameter alone: they may differ by many orders.
    _check_curvature(np.min(np.diag(matrix)))
    unit = 1 / np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix * unit * unit[:, None])
    _check_curvature(values[0])
    correlation = (vectors / values) @ vectors.T
    root = unit[:, None] * np.linalg.cholesky(correlation)
    return Normal(mean, cast(root, mean.dtype))


def _check_curvature(least: float) -> None:
    """Refuse a maximum that is none."""
    checks.require(
        least > 0, "log_prob", "curve down in every direction where the search ends",
        f"least curvature {least:.3g}", "Look at `maximum`, and start nearer to the maximum.",
    )  # fmt: skip


def _newton_step(product: Callable, slope: tf.Tensor, num_steps: int) -> np.ndarray:
    """The inverse of the precision times a slope, by Lanczos."""
    if not np.any(slope):  # it spans nothing
        return np.zeros(slope.shape)
    return lanczos(product, slope[None], num_steps).applied(np.reciprocal)[0]


def _rise(top: Maximum, step: TensorLike) -> float:
    """By how much the log density would rise along Newton's step; a warning where that is much."""
    rise = 0.5 * float(np.sum(np.asarray(top.gradient, np.float64) * np.asarray(step)))
    if not rise < ENDED:
        warnings.warn(
            f"The search for the maximum has not ended: the log density is still to rise by about "
            f"{rise:.2g} ({top.message}). Raise `num_evaluations`, or start nearer.",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip
    return rise


def _inverse_root(values: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(values)


def _residual(found: Krylov) -> float:
    """Change of draws by the last quarter of the steps, over the draws."""
    num = found.values.shape[1]
    last = found.applied(_inverse_root)
    fewer = max(1, 3 * num // 4)
    inner = np.einsum("nij,nj,nkj->nik", found.vectors, found.values, found.vectors)
    values, vectors = np.linalg.eigh(inner[:, :fewer, :fewer])
    before = Krylov(found.basis[:fewer], found.length, values, vectors).applied(_inverse_root)
    return float(np.linalg.norm(last - before) / np.linalg.norm(last))
