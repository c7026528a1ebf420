"""Minima of functions of many numbers, counted in evaluations of the gradient."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, floating

ValueAndGradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
Callback = Callable[[int, float], None]

METHODS = ("scipy", "tfp")


class Minimum(NamedTuple):
    """Where a search has come to."""

    x: tf.Tensor  # of the shape of the start: the best point seen
    value: float  # of the function there
    num_evaluations: int  # of the function and its gradient, together
    history: np.ndarray  # [num_evaluations] values in order; of "tfp", the last alone
    message: str  # why the search ended


class _Spent(Exception):
    """The budget of evaluations is used up."""


def minimize(
    value_and_gradient: ValueAndGradient,
    start: TensorLike,
    num_evaluations: int,
    method: str = "scipy",
    *,
    memory: int = 10,
    tolerance: float = 0.0,
    first_step: float | None = None,
    callback: Callback | None = None,
) -> Minimum:
    """The least value that L-BFGS finds with a budget of gradients.

    Args:
        value_and_gradient: Function of a tensor like `start` that gives a scalar and its
            gradient; best a compiled `tf.function`.
        start: Where to start, any shape.
        num_evaluations: Gradients to spend at the most. "tfp" ends a line search that it has
            begun, and may spend a few more; it reports them all.
        method: "scipy" searches in float64 on the host, whatever the type of `start`; "tfp" in
            one graph, in that type, and spends about two gradients on each step where "scipy"
            spends one.
        memory: Pairs of steps and changes of the gradient to keep.
        tolerance: Largest component of a gradient that counts as zero.
        first_step: Multiple of the gradient to step down first, for "scipy": 1 where the function
            is about half the squared distance from its minimum. By default a step of length 1.
        callback: Called with the number of evaluations so far and the last value; for "tfp" at
            the end only.

    Returns:
        `Minimum`.

    Raises:
        ValueError: If `start` is not finite, an option is unknown or not positive, or the
            function has no finite value at the start.

    References:
        Liu & Nocedal 1989, Math. Programming 45, 503; Byrd et al. 1995, SIAM J. Sci. Comput. 16,
        1190; Hager & Zhang 2006, ACM Trans. Math. Softw. 32, 113 (line search of "tfp").
    """
    start = tf.convert_to_tensor(start)
    start = tf.cast(start, floating(start))
    checks.finite(start, "start")
    checks.one_of(method, "method", METHODS)
    checks.positive_integers(num_evaluations=num_evaluations, memory=memory)
    checks.non_negative(tolerance, "tolerance")
    if method == "tfp":
        checks.require(first_step is None, "first_step", "be None for `tfp`", first_step)
        return _in_graph(value_and_gradient, start, num_evaluations, memory, tolerance, callback)
    if first_step is not None:
        checks.positive(first_step, "first_step")
    return _on_host(
        value_and_gradient, start, num_evaluations, memory, tolerance, first_step, callback
    )


def _on_host(
    value_and_gradient: ValueAndGradient,
    start: tf.Tensor,
    num_evaluations: int,
    memory: int,
    tolerance: float,
    first_step: float | None,
    callback: Callback | None,
) -> Minimum:
    """L-BFGS-B of SciPy without bounds, stopped at the budget exactly."""
    history, best = [], (np.inf, start)

    def evaluate(x: tf.Tensor) -> tuple[float, np.ndarray]:
        nonlocal best
        if len(history) == num_evaluations:
            raise _Spent
        value, gradient = value_and_gradient(x)
        value = float(value)
        checks.require(
            bool(history) or np.isfinite(value),
            "value_and_gradient", "be finite at the start", value,
        )  # fmt: skip
        history.append(value)
        if value < best[0]:
            best = (value, x)
        if callback is not None:
            callback(len(history), value)
        return value, np.asarray(gradient, np.float64).ravel()

    first = evaluate(start)
    origin, unit = np.asarray(start, np.float64).ravel(), 1.0
    if first_step is not None:
        # SciPy steps by one first: that is made to be the step asked for.
        unit = first_step * float(np.linalg.norm(first[1])) or 1.0

    def in_units(offset: np.ndarray) -> tuple[float, np.ndarray]:
        if not offset.any():
            return first[0], unit * first[1]
        x = tf.constant(origin + unit * offset, start.dtype)
        value, gradient = evaluate(tf.reshape(x, start.shape))
        return value, unit * gradient

    # Nothing but the budget and the gradient decides when to stop.
    options = {
        "maxcor": memory, "ftol": 0.0, "gtol": unit * tolerance,
        "maxfun": 10 * num_evaluations, "maxiter": 10 * num_evaluations,
    }  # fmt: skip
    try:
        found = optimize.minimize(
            in_units, np.zeros_like(origin), jac=True, method="L-BFGS-B", options=options
        )
        message = str(found.message)
    except _Spent:
        message = f"spent {num_evaluations} evaluations"
    return Minimum(best[1], best[0], len(history), np.array(history), message)


def _in_graph(
    value_and_gradient: ValueAndGradient,
    start: tf.Tensor,
    num_evaluations: int,
    memory: int,
    tolerance: float,
    callback: Callback | None,
) -> Minimum:
    """L-BFGS of TensorFlow Probability, one iteration after another until the budget is spent."""
    import tensorflow_probability as tfp

    def of_flat(flat: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        value, gradient = value_and_gradient(tf.reshape(flat, start.shape))
        return tf.cast(value, start.dtype), tf.reshape(gradient, [-1])

    def iterate(limit: int | tf.Tensor, before: tuple | None = None) -> tuple:
        # Its relative tolerance is of no use: it never holds where values are negative.
        return tfp.optimizer.lbfgs_minimize(
            of_flat, None if before else tf.reshape(start, [-1]), before, memory,
            tolerance=tolerance, max_iterations=limit, max_line_search_iterations=10,
        )  # fmt: skip

    @tf.function(autograph=False)
    def search() -> tuple:
        def goes_on(state: tuple) -> tf.Tensor:
            is_over = state.converged | state.failed
            return ~is_over & (state.num_objective_evaluations < num_evaluations)

        return tf.while_loop(
            goes_on, lambda state: (iterate(state.num_iterations + 1, state),), (iterate(0),)
        )[0]

    end = search()
    value, count = float(end.objective_value), int(end.num_objective_evaluations)
    checks.require(np.isfinite(value), "value_and_gradient", "stay finite", value)
    if callback is not None:
        callback(count, value)
    message = "gradient is zero" if bool(end.converged) else f"spent {count} evaluations"
    message = "line search failed" if bool(end.failed) else message
    x = tf.reshape(end.position, start.shape)
    return Minimum(x, value, count, np.array([value]), message)
