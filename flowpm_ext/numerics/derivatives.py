"""Exact derivatives of functions of a few parameters."""

from collections.abc import Callable

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating


def jacobian(
    function: Callable[[tf.Tensor], tf.Tensor], theta: TensorLike, *, is_vectorized: bool = True
) -> tf.Tensor:
    """Exact derivatives of a function in all its parameters, by forward-mode autodiff.

    Called eagerly, everything becomes one XLA program, which evaluates the function once and
    carries the derivatives along. It is compiled anew in every call: to evaluate many
    Jacobians, wrap the call in a `tf.function(jit_compile=True)` of your own.

    Args:
        function: Function of theta [num_parameters] that returns a tensor of any shape.
        theta: Parameters (any unit) at which to differentiate, shape [num_parameters].
        is_vectorized: Carry all derivatives at once. False carries one after the other, for
            a function that fills the memory.

    Returns:
        Derivatives, shape [*value.shape, num_parameters].

    Raises:
        ValueError: If `theta` is not a finite vector.

    References:
        Griewank & Walther 2008, Evaluating Derivatives, chapter 3.
    """
    theta = _vector(theta)
    directions = tf.eye(theta.shape[0], dtype=theta.dtype)

    def derivative(theta: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
        with tf.autodiff.ForwardAccumulator(theta, direction) as accumulator:
            value = tf.convert_to_tensor(function(theta))
        return accumulator.jvp(value, unconnected_gradients="zero")

    if is_vectorized:
        columns = _whole(lambda at: tf.vectorized_map(lambda d: derivative(at, d), directions))
        stacked = columns(theta)
    else:
        column = _whole(derivative)
        stacked = tf.stack([column(theta, direction) for direction in tf.unstack(directions)])
    return tf.transpose(stacked, [*range(1, stacked.shape.rank), 0])


def _whole(function: Callable) -> Callable:
    """The function as one XLA program, unless a graph is being built already."""
    if not tf.executing_eagerly():
        return function
    return tf.function(function, jit_compile=True, autograph=False)


def _vector(theta: TensorLike) -> tf.Tensor:
    checks.finite(theta, "theta")
    theta = cast(theta, floating(theta))
    checks.require(
        theta.shape.rank == 1 and theta.shape[0], "theta", "be a vector of known length",
        f"shape {theta.shape}",
    )  # fmt: skip
    return theta
