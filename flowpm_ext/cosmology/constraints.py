"""What a Fisher matrix says about the parameters."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating, known


def parameter_covariance(fisher: TensorLike) -> tf.Tensor:
    """Covariance of the parameters, the inverse of the Fisher matrix.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].

    Returns:
        Covariance, same shape.

    Raises:
        ValueError: If `fisher` is not a finite square matrix or is singular.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021 (the Cramer-Rao bound).
    """
    fisher = _square(fisher)
    # In units of the error of each parameter alone: parameters may differ by many orders.
    scale = tf.math.rsqrt(tf.linalg.diag_part(fisher))
    scales = scale[:, None] * scale
    correlation = fisher * scales
    _check_regular(correlation, fisher)
    identity = tf.eye(fisher.shape[0], dtype=fisher.dtype)
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(correlation), identity) * scales


def marginal_errors(fisher: TensorLike) -> tf.Tensor:
    """Error of each parameter with all others free.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].

    Returns:
        Standard deviations (the unit of each parameter), shape [num_parameters].

    Raises:
        ValueError: If `fisher` is not a finite square matrix or is singular.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    return tf.sqrt(tf.linalg.diag_part(parameter_covariance(fisher)))


def marginalise(fisher: TensorLike, indices: Sequence[int]) -> tf.Tensor:
    """Fisher matrix of some parameters, with all others free.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].
        indices: The parameters to keep, shape [n].

    Returns:
        Fisher matrix of those, in this order, shape [n, n].

    Raises:
        ValueError: If `fisher` is not a finite square matrix or is singular, or `indices`
            repeat or do not exist.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    return parameter_covariance(_chosen(parameter_covariance(fisher), indices))


def fix(fisher: TensorLike, indices: Sequence[int]) -> tf.Tensor:
    """Fisher matrix with some parameters known exactly.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].
        indices: The parameters to fix, shape [n].

    Returns:
        Fisher matrix of the others, in their order, shape [num_parameters - n,
        num_parameters - n].

    Raises:
        ValueError: If `fisher` is not a finite square matrix, or `indices` repeat, do not
            exist or leave no parameter.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    fisher = _square(fisher)
    fixed = _positions(indices, fisher.shape[0])
    return _chosen(fisher, np.setdiff1d(np.arange(fisher.shape[0]), fixed))


def add_prior(fisher: TensorLike, sigma: TensorLike) -> tf.Tensor:
    """Fisher matrix with independent Gaussian priors added.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].
        sigma: Standard deviation of the prior of each parameter (its unit), shape
            [num_parameters]; infinite for none.

    Returns:
        Fisher matrix, same shape.

    Raises:
        ValueError: If `fisher` is not a finite square matrix, or `sigma` is not one positive
            number for each parameter.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    fisher = _square(fisher)
    sigma = cast(sigma, fisher.dtype)
    value = known(sigma)
    checks.require(
        sigma.shape == fisher.shape[:1] and (value is None or bool(np.all(value > 0))), "sigma",
        f"be {fisher.shape[0]} positive numbers", sigma, "Write infinity for no prior.",
    )  # fmt: skip
    return fisher + tf.linalg.diag(1 / sigma**2)


def figure_of_merit(fisher: TensorLike, indices: Sequence[int]) -> tf.Tensor:
    """Inverse area of the error ellipse of two parameters, all others free.

    1 / sqrt(det C) with C the covariance of the two, as the Dark Energy Task Force uses for
    (w0, wa); the area itself is pi times 2.3 (6.17) times larger for 68 % (95 %) of the
    probability. Other conventions divide by such factors.

    Args:
        fisher: Fisher matrix, shape [num_parameters, num_parameters].
        indices: The two parameters.

    Returns:
        Figure of merit (inverse of both units), a scalar.

    Raises:
        ValueError: If `fisher` is not a finite square matrix or is singular, or `indices`
            are not two different parameters.

    References:
        Albrecht et al. 2006, arXiv:astro-ph/0609591; Wang 2008, arXiv:0803.4295.
    """
    checks.require(len(tuple(indices)) == 2, "indices", "be two parameters", indices)
    covariance = _chosen(parameter_covariance(fisher), indices)
    return tf.math.rsqrt(tf.linalg.det(covariance))


def _square(fisher: TensorLike) -> tf.Tensor:
    checks.finite(fisher, "fisher")
    fisher = cast(fisher, floating(fisher))
    sides = fisher.shape
    checks.require(
        sides.rank == 2 and sides[0] == sides[1], "fisher", "be a square matrix", f"shape {sides}"
    )
    return fisher


def _check_regular(correlation: tf.Tensor, fisher: tf.Tensor) -> None:
    """Refuse a matrix whose inverse would be rounding errors, where it is known."""
    value = known(correlation)
    if value is None:
        return
    finite = bool(np.all(np.isfinite(value)))
    smallest = np.linalg.eigvalsh(value)[0] if finite else 0.0
    checks.require(
        smallest > 10 * len(value) * np.finfo(value.dtype).eps, "fisher", "be positive definite",
        fisher, "Some parameters are not constrained: see `add_prior` and `fix`.",
    )  # fmt: skip


def _positions(indices: Sequence[int], num_parameters: int) -> np.ndarray:
    """Indices of parameters, checked."""
    positions = np.asarray(indices)
    valid = (
        positions.ndim == 1
        and (positions.size == 0 or np.issubdtype(positions.dtype, np.integer))
        and np.unique(positions).size == positions.size
        and bool(np.all((positions >= 0) & (positions < num_parameters)))
    )
    rule = f"be different integers from 0 to {num_parameters - 1}"
    checks.require(valid, "indices", rule, indices)
    return positions.astype(np.int32)


def _chosen(matrix: tf.Tensor, indices: Sequence[int]) -> tf.Tensor:
    """Rows and columns of a matrix."""
    chosen = _positions(indices, matrix.shape[0])
    checks.require(chosen.size > 0, "indices", "leave at least one parameter", indices)
    return tf.gather(tf.gather(matrix, chosen, axis=0), chosen, axis=1)
