"""The most probable parameters, by L-BFGS."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.inference.chains import require_finite_start
from flowpm_ext.inference.lbfgs import minimize
from flowpm_ext.inference.space import Space

MEASURES = ("parameters", "vectors")


class Maximum(NamedTuple):
    """The most probable parameters, and what it took to find them."""

    values: Any  # structure of [*shape]
    vector: tf.Tensor  # [size], the same without bounds
    log_prob: float  # there, of what was maximised
    gradient: tf.Tensor  # [size], of it by the vector
    num_gradients: int
    # [num_gradients - 2], log densities of the search in order; of "tfp", the last alone.
    history: np.ndarray
    message: str  # why the search ended


def maximum(
    log_prob: Callable[[Any], tf.Tensor],
    space: Space,
    start: Any = None,
    *,
    measure: str = "parameters",
    num_evaluations: int = 1000,
    tolerance: float = 1e-6,
    method: str = "scipy",
    jit_compile: bool = True,
) -> Maximum:
    """Where a posterior is largest.

    The maximum depends on how parameters are written down. Where the density of parameters rises
    to a bound, its maximum is there and not found; that of the vectors is inside.

    Args:
        log_prob: Function of the structure with tensors [1, *shape] that gives log densities
            [1], up to a constant.
        space: Shapes and bounds of the parameters.
        start: Structure of tensors [*shape]; by default zero in coordinates without bounds.
        measure: "parameters", or "vectors" for the density of the coordinates without bounds, which
            `laplace` needs.
        num_evaluations: Gradients to spend at the most.
        tolerance: Largest component of the gradient, by the vector, that counts as zero.
        method: As for `minimize`.
        jit_compile: Whether XLA compiles the gradient.

    Returns:
        `Maximum`; look at its `message`.

    Raises:
        ValueError: If an option is unknown or not positive, the start does not fit, the
            posterior is not finite there, or `log_prob` gives another shape.

    References:
        Liu & Nocedal 1989, Math. Programming 45, 503.
    """
    checks.one_of(measure, "measure", MEASURES)
    u = tf.zeros([space.size], space.dtype) if start is None else space.vector(start, "start")
    checks.require(u.shape.rank == 1, "start", "be one point", f"points of shape {u.shape[:-1]}")
    density = space.log_prob(log_prob, with_slopes=measure == "vectors")

    @tf.function(jit_compile=jit_compile, autograph=False)
    def loss(u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(u)
            value = -tf.reduce_sum(density(u[None]))
        return value, tape.gradient(value, u, unconnected_gradients="zero")

    require_finite_start(-loss(u)[0], "Start where the density is above zero.")
    found = minimize(loss, u, num_evaluations, method, tolerance=tolerance)
    return Maximum(
        space.values(found.x), found.x, -found.value, -loss(found.x)[1],
        found.num_evaluations + 2, -found.history, found.message,
    )  # fmt: skip
