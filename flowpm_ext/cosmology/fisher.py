"""Forecasts: Fisher matrices from exact derivatives, and what follows from them."""

import functools
from collections.abc import Callable

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating
from flowpm_ext.cosmology.constraints import (
    add_prior,
    figure_of_merit,
    fix,
    marginal_errors,
    marginalise,
    parameter_covariance,
)
from flowpm_ext.numerics.jacobian import jacobian
from flowpm_ext.numerics.whitening import Whitening

__all__ = [
    "add_prior",
    "figure_of_merit",
    "fisher_matrix",
    "fix",
    "from_log_likelihood",
    "jacobian",
    "marginal_errors",
    "marginalise",
    "parameter_covariance",
    "signal_to_noise",
]


def fisher_matrix(
    mean_fn: Callable[[tf.Tensor], tf.Tensor],
    theta: TensorLike,
    covariance: TensorLike,
    *,
    jit_compile: bool = False,
) -> tf.Tensor:
    """Fisher information of Gaussian data about the parameters of their mean.

    F_ij = d mean / d theta_i C**-1 d mean / d theta_j, with exact derivatives, for a
    covariance that does not depend on the parameters. To call it often, put it into a
    `tf.function(jit_compile=True)` of your own.

    Args:
        mean_fn: Function of theta [num_parameters] that returns the mean of the data, a
            vector [N] or spectra [num_cl, num_ell].
        theta: Parameters (any unit) at which to forecast, shape [num_parameters].
        covariance: Covariance of the data in their squared unit: a matrix [N, N] for the
            data flattened row by row, variances [N], or for spectra blocks
            [num_ell, num_cl, num_cl].
        jit_compile: Whether an eager call uses XLA, which takes longer to compile than to run
            a single time without, except for the heaviest means.

    Returns:
        Fisher matrix, shape [num_parameters, num_parameters].

    Raises:
        ValueError: If `theta` is not a finite vector, or `covariance` does not fit the mean or
            is not positive definite.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021, equation 15.
    """
    checks.finite(theta, "theta")
    slopes = jacobian(mean_fn, theta, jit_compile)
    slopes = tf.transpose(slopes, [slopes.shape.rank - 1, *range(slopes.shape.rank - 1)])
    white = Whitening.of(covariance, slopes.shape[1:], slopes.dtype)(slopes)  # [parameter, N]
    return tf.matmul(white, white, transpose_b=True)


def from_log_likelihood(
    log_likelihood_fn: Callable[[tf.Tensor], tf.Tensor],
    theta: TensorLike,
    *,
    jit_compile: bool = False,
) -> tf.Tensor:
    """Observed information: minus the Hessian of a log-likelihood.

    To call it often, put it into a `tf.function(jit_compile=True)` of your own.

    Args:
        log_likelihood_fn: Function of theta [num_parameters] that returns a scalar.
        theta: Parameters (any unit) at which to differentiate, shape [num_parameters].
        jit_compile: Whether an eager call uses XLA; see `fisher_matrix`.

    Returns:
        Symmetric matrix, shape [num_parameters, num_parameters]; the Fisher matrix where
        the data are the mean.

    Raises:
        ValueError: If `theta` is not a finite vector, or the result of `log_likelihood_fn`
            is not a scalar.

    References:
        Efron & Hinkley 1978, Biometrika 65, 457.
    """

    checks.rank(theta, "theta", 1)
    checks.finite(theta, "theta")
    theta = cast(theta, floating(theta))
    derive = functools.partial(_hessian, log_likelihood_fn)
    if tf.executing_eagerly():
        derive = tf.function(derive, jit_compile=jit_compile, autograph=False)
    hessian = derive(theta)
    return -0.5 * (hessian + tf.transpose(hessian))


def signal_to_noise(mean: TensorLike, covariance: TensorLike) -> tf.Tensor:
    """Significance at which the mean of Gaussian data differs from zero.

    Args:
        mean: Mean of the data, a vector [N] or spectra [num_cl, num_ell].
        covariance: Covariance of the data in their squared unit, in a form of
            `fisher_matrix`.

    Returns:
        sqrt(mean C**-1 mean), a scalar.

    Raises:
        ValueError: If `covariance` does not fit the mean or is not positive definite.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    checks.finite(mean, "mean")
    mean = cast(mean, floating(mean))
    return tf.norm(Whitening.of(covariance, mean.shape, mean.dtype)(mean), axis=-1)


def _hessian(function: Callable[[tf.Tensor], tf.Tensor], theta: tf.Tensor) -> tf.Tensor:
    """Second derivatives of a scalar, one row after the other in a loop that is compiled once."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(theta)
        with tf.GradientTape() as inner:
            inner.watch(theta)
            value = function(theta)
            checks.require(
                value.shape.rank == 0, "log_likelihood_fn", "return a scalar",
                f"shape {value.shape}",
            )  # fmt: skip
        slope = inner.gradient(value, theta, unconnected_gradients="zero")

    def row(direction: tf.Tensor) -> tf.Tensor:
        second = outer.gradient(slope, theta, direction, unconnected_gradients="zero")
        return tf.reshape(second, theta.shape)  # loops lose the static shape

    return tf.map_fn(row, tf.eye(theta.shape[0], dtype=theta.dtype))
