"""Running a plan, and its gradient three ways: backwards in time, by checkpoints, by autodiff."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled, zeros
from flowpm_ext.pm.forces import Gravity
from flowpm_ext.pm.steps import Plan

GRADIENTS = ("adjoint", "checkpoint", "autodiff")

Pair = tuple[tf.Tensor, tf.Tensor]
Factors = tuple[tf.Tensor, ...]  # drift, scale, kick and, where there is one, response


@compiled
def integrate(
    position: tf.Tensor,
    momentum: tf.Tensor,
    plan: Plan,
    force: Gravity,
    gradient: str = "adjoint",
    response: tf.Tensor | None = None,
) -> Pair:
    """Positions and momenta at the end of a plan.

    The loop over steps is one operation of the graph, so that the time to compile does not grow
    with the number of steps. "adjoint" runs the steps backwards while it differentiates, and
    keeps nothing but the end; "checkpoint" keeps the state at every step, and "autodiff" all that
    every step has made.

    Args:
        position: Positions (cells), shape [batch, num_particles, 3].
        momentum: Momenta (cells), shape [batch, num_particles, 3].
        plan: Factors of drifts and kicks, for one cosmology or for a batch of the same length.
        force: The force.
        gradient: "adjoint", "checkpoint" or "autodiff".
        response: Multiplier of the potential at each force, shape [num_forces, num_nodes].

    Returns:
        Positions and momenta, in the shapes given.

    Raises:
        ValueError: If `gradient` is unknown.

    References:
        Li et al. 2022, arXiv:2211.09815, for the adjoint of a particle-mesh simulation.
    """
    checks.one_of(gradient, "gradient", GRADIENTS)
    factors = tuple(_along_time(x, position) for x in (plan.drift, plan.scale, plan.kick))
    if response is not None:
        factors += (tf.cast(response, position.dtype),)
    run = {"adjoint": _reversible, "checkpoint": _checkpointed, "autodiff": _taped}[gradient]
    return run(force, position, momentum, factors)


def _along_time(x: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Factors [batch..., n] as [n, batch or 1, 1, 1], in the dtype of the particles."""
    x = tf.cast(x, position.dtype)
    x = x[None] if x.shape.rank == 1 else x
    return tf.transpose(x)[:, :, None, None]


def _reversible(force: Gravity, x: tf.Tensor, p: tf.Tensor, factors: Factors) -> Pair:
    """The plan, with a gradient that keeps only its end and runs it back."""

    @tf.custom_gradient
    def run(x: tf.Tensor, p: tf.Tensor, *factors: tf.Tensor) -> tuple[Pair, Callable]:
        end, _ = _forward(force, x, p, factors)
        return end, lambda *upstream: _backward(force, end, upstream, factors)

    return run(x, p, *factors)


def _checkpointed(force: Gravity, x: tf.Tensor, p: tf.Tensor, factors: Factors) -> Pair:
    """The plan, with a gradient that keeps the state at every force."""

    @tf.custom_gradient
    def run(x: tf.Tensor, p: tf.Tensor, *factors: tf.Tensor) -> tuple[Pair, Callable]:
        num_forces = factors[1].shape[0]
        history = [zeros([num_forces, *x.shape], x.dtype) for _ in range(2)]
        end, history = _forward(force, x, p, factors, history)
        return end, lambda *upstream: _backward(force, end, upstream, factors, history)

    return run(x, p, *factors)


def _taped(force: Gravity, x: tf.Tensor, p: tf.Tensor, factors: Factors) -> Pair:
    """The plan, with the gradient that TensorFlow finds for it.

    The gradient repeats the plan: what the tape keeps cannot leave a compiled program.
    """

    @tf.custom_gradient
    def run(*inputs: tf.Tensor) -> tuple[Pair, Callable]:
        def end_of(inputs: tuple[tf.Tensor, ...]) -> Pair:
            return _forward(force, *inputs[:2], inputs[2:])[0]

        def gradient(*upstream: tf.Tensor) -> Factors:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                end = end_of(inputs)
            return tape.gradient(end, inputs, output_gradients=upstream)

        return end_of(inputs), gradient

    return run(x, p, *factors)


def _forward(
    force: Gravity, x: tf.Tensor, p: tf.Tensor, factors: Factors, history: Sequence[tf.Tensor] = ()
) -> tuple[Pair, Sequence[tf.Tensor]]:
    """The plan from its first drift to its last; history takes x and p before every force."""
    drift, *others = factors
    num_forces = others[0].shape[0]

    def step(i: tf.Tensor, x: tf.Tensor, p: tf.Tensor, *history: tf.Tensor) -> tuple:
        x = x + drift[i] * p
        history = [
            tf.tensor_scatter_nd_update(past, [[i]], now[None])
            for past, now in zip(history, (x, p), strict=False)
        ]
        scale, kick, *row = (factor[i] for factor in others)
        return i + 1, x, scale * p + kick * force(x, *row), *history

    _, x, p, *history = tf.while_loop(
        lambda i, *_: i < num_forces, step, (0, x, p, *history), maximum_iterations=num_forces
    )
    return (x + drift[num_forces] * p, p), history


def _backward(
    force: Gravity, end: Pair, upstream: Pair, factors: Factors, history: Sequence[tf.Tensor] = ()
) -> Factors:
    """Gradients with respect to the start and the factors, running the plan from its end.

    The steps undo those of `_forward` one by one, and each costs one force and one
    vector-Jacobian product of it. States are those of the history, or undone as well.
    """
    drift, *others = factors
    num_forces = others[0].shape[0]
    (x, p), (dx, dp) = end, upstream
    d_factors = [_put(tf.zeros_like(drift), num_forces, dx * p)]
    d_factors += [tf.zeros_like(factor) for factor in others]
    x, dp = x - drift[num_forces] * p, dp + drift[num_forces] * dx

    def undo(i: tf.Tensor, *state: Any) -> tuple[Any, ...]:
        x, p, dx, dp, (d_drift, d_scale, d_kick, *d_response) = state
        x = history[0][i] if history else x
        scale, kick, *row = (factor[i] for factor in others)
        with tf.GradientTape() as tape:
            tape.watch([x, *row])
            f = force(x, *row)
        pull, *d_row = tape.gradient(f, [x, *row], output_gradients=kick * dp)
        before = history[1][i] if history else (p - kick * f) / scale
        d_scale, d_kick = _put(d_scale, i, dp * before), _put(d_kick, i, dp * f)
        d_response = [_put(d, i, new) for d, new in zip(d_response, d_row, strict=True)]
        dx = dx + pull
        d_drift = _put(d_drift, i, dx * before)
        dp = scale * dp + drift[i] * dx
        return i - 1, x - drift[i] * before, before, dx, dp, [d_drift, d_scale, d_kick, *d_response]

    _, _, _, dx, dp, d_factors = tf.while_loop(
        lambda i, *_: i >= 0,
        undo,
        (num_forces - 1, x, p, dx, dp, d_factors),
        maximum_iterations=num_forces,
    )
    return dx, dp, *d_factors


def _put(total: tf.Tensor, i: tf.Tensor, terms: tf.Tensor) -> tf.Tensor:
    """Totals with row i set to the sum of terms, over the axes along which it has one entry."""
    axes = [axis for axis, side in enumerate(total.shape[1:]) if side == 1]
    row = tf.reduce_sum(terms, axis=axes, keepdims=True)
    return tf.tensor_scatter_nd_update(total, [[i]], row[None])
