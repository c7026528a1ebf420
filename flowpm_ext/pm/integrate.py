"""Running a plan, and its gradient three ways: backwards in time, by checkpoints, by autodiff."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled, zeros
from flowpm_ext.core.gradients import recomputed, with_own_gradient
from flowpm_ext.core.types import cast
from flowpm_ext.pm.forces import Gravity
from flowpm_ext.pm.steps import Plan
from flowpm_ext.pm.views import Views, with_row

GRADIENTS = ("adjoint", "checkpoint", "autodiff")


class Course(NamedTuple):
    """All numbers that a run depends on beside where it starts, time first.

    Attributes:
        drift: Drift before each force and after the last, [num_forces + 1, batch or 1, 1, 1].
        scale: Factor of the momentum at each force, [num_forces, batch or 1, 1, 1].
        kick: Factor of each force, [num_forces, batch or 1, 1, 1].
        response: None, or one: multiplier of the potential, [num_forces, num_nodes].
        seen_after: None, or one: drift to each view, [num_views, batch or 1, 1, 1].
        arguments: What else the views depend on, [num_views, ...] each.
    """

    drift: tf.Tensor
    scale: tf.Tensor
    kick: tf.Tensor
    response: tuple[tf.Tensor, ...] = ()
    seen_after: tuple[tf.Tensor, ...] = ()
    arguments: tuple[tf.Tensor, ...] = ()


class Particles(NamedTuple):
    """Positions and momenta (cells), [batch, num_particles, 3] each, or gradients by them."""

    x: tf.Tensor
    p: tf.Tensor


class Run(NamedTuple):
    """What is static about a run."""

    force: Gravity
    views: Views | None


Images = tuple[tf.Tensor, ...]  # None, or one: all views, [num_views, ...]


@compiled
def integrate(
    position: tf.Tensor,
    momentum: tf.Tensor,
    plan: Plan,
    force: Gravity,
    gradient: str = "adjoint",
    response: tf.Tensor | None = None,
    views: Views | None = None,
) -> tuple[tf.Tensor, ...]:
    """Positions and momenta at the end of a plan, and what was seen on the way.

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
        views: What to see of the positions between the forces, and when.

    Returns:
        Positions and momenta, in the shapes given; with `views`, a third tensor of what was
        seen, [num_views, *views.look.shape].

    Raises:
        ValueError: If `gradient` is unknown.

    References:
        Li et al. 2022, arXiv:2211.09815, for the adjoint of a particle-mesh simulation.
    """
    checks.one_of(gradient, "gradient", GRADIENTS)
    course = Course(*(along_time(x, position) for x in (plan.drift, plan.scale, plan.kick)))
    if response is not None:
        course = course._replace(response=(cast(response, position.dtype),))
    if views is not None:
        arguments = tuple(cast(x, position.dtype) for x in views.arguments)
        course = course._replace(
            seen_after=(along_time(views.drift, position),), arguments=arguments
        )
    course = tf.nest.map_structure(force.mesh.replicated, course)
    run = {"adjoint": _reversible, "checkpoint": _checkpointed, "autodiff": _taped}[gradient]
    end, images = run(Run(force, views), Particles(position, momentum), course)
    return *end, *images


def along_time(x: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Factors with time first, ready to multiply particles.

    Args:
        x: Any unit, shape [batch..., n].
        position: Particles or fields, for the dtype.

    Returns:
        In that dtype, shape [n, batch or 1, 1, 1].
    """
    x = cast(x, position.dtype)
    x = x[None] if x.shape.rank == 1 else x
    return tf.transpose(x)[:, :, None, None]


def _reversible(run: Run, start: Particles, course: Course) -> tuple[Particles, Images]:
    """The plan, with a gradient that keeps only its end and runs it back."""

    @with_own_gradient
    def whole(start: Particles, course: Course) -> tuple[tuple, Callable]:
        # Higher orders go through `recomputed`: no loop is ever differentiated from outside.
        end, images, _ = recomputed(functools.partial(_forward, run))(start, course)
        pull = recomputed(functools.partial(_backward, run))
        return (end, images), lambda upstream: pull(start, end, course, upstream)

    return whole(start, course)


def _checkpointed(run: Run, start: Particles, course: Course) -> tuple[Particles, Images]:
    """The plan, with a gradient that keeps the state at every force."""

    @with_own_gradient
    def whole(start: Particles, course: Course) -> tuple[tuple, Callable]:
        num_forces = course.kick.shape[0]
        history = [zeros([num_forces, *x.shape], x.dtype) for x in start]
        forward = recomputed(functools.partial(_forward, run))
        end, images, history = forward(start, course, history)
        pull = recomputed(functools.partial(_backward, run))
        return (end, images), lambda upstream: pull(start, end, course, upstream, history)

    return whole(start, course)


def _taped(run: Run, start: Particles, course: Course) -> tuple[Particles, Images]:
    """The plan, with the gradient that TensorFlow finds for it."""
    return recomputed(lambda start, course: _forward(run, start, course)[:2])(start, course)


def _forward(
    run: Run, start: Particles, course: Course, history: Sequence[tf.Tensor] = ()
) -> tuple[Particles, Images, Sequence[tf.Tensor]]:
    """The plan from its first drift to its last; history takes x and p before every force."""
    num_forces = course.kick.shape[0]
    kicked = run.force.mesh.alone(_kicked)

    def step(i: tf.Tensor, now: Particles, images: Images, history: list) -> tuple:
        now, images = _drift(run, i, now, course, images)
        history = [
            tf.tensor_scatter_nd_update(past, [[i]], x[None])
            for past, x in zip(history, now, strict=False)
        ]
        force = run.force(now.x, *(row[i] for row in course.response))
        now = Particles(now.x, kicked(now.p, force, course.scale[i], course.kick[i]))
        return i + 1, now, images, history

    images = run.views.nothing_yet(start.x.dtype) if run.views else ()
    _, now, images, history = tf.while_loop(
        lambda i, *_: i < num_forces, step, (0, start, images, list(history)),
        maximum_iterations=num_forces,
    )  # fmt: skip
    return *_drift(run, num_forces, now, course, images), history


def _drift(
    run: Run, i: int | tf.Tensor, now: Particles, course: Course, images: Images
) -> tuple[Particles, Images]:
    """The drift before force i, and what is seen on it."""
    if run.views:
        images = run.views.seen(i, *now, course.seen_after[0], course.arguments, images)
    return Particles(run.force.mesh.alone(_moved)(*now, course.drift[i]), now.p), images


def _kicked(p: tf.Tensor, force: tf.Tensor, scale: tf.Tensor, kick: tf.Tensor) -> tf.Tensor:
    return scale * p + kick * force


def _moved(x: tf.Tensor, p: tf.Tensor, drift: tf.Tensor) -> tf.Tensor:
    return x + drift * p


def _backward(
    run: Run,
    start: Particles,
    end: Particles,
    course: Course,
    upstream: tuple[Particles, Images],
    history: Sequence[tf.Tensor] = (),
) -> tuple[Particles, Course]:
    """Gradients with respect to the start and the course, running the plan from its end.

    The steps undo those of `_forward` one by one, and each costs one force and one
    vector-Jacobian product of it. States are those of the history, or undone as well.
    """
    num_forces, alone = course.kick.shape[0], run.force.mesh.alone
    d_end, d_images = upstream
    totals = tf.nest.map_structure(tf.zeros_like, course)

    def undo_drift(
        i: int | tf.Tensor, now: Particles, d_now: Particles, totals: Course
    ) -> tuple[Particles, Particles, Course]:
        now, d_now, by_drift = alone(_undrifted)(now, d_now, course.drift[i], totals.drift, i)
        totals = totals._replace(drift=by_drift)
        if run.views:
            after, arguments = course.seen_after[0], course.arguments
            found = (*d_now, totals.seen_after[0], totals.arguments)
            *d_now, d_after, d_arguments = run.views.pulled(
                i, *now, after, arguments, *d_images, found
            )
            d_now = Particles(*d_now)
            totals = totals._replace(seen_after=(d_after,), arguments=d_arguments)
        return now, d_now, totals

    def undo(i: tf.Tensor, now: Particles, d_now: Particles, totals: Course) -> tuple:
        x = history[0][i] if history else now.x
        rows = [row[i] for row in course.response]
        force, pull, d_rows = run.force.pulled(x, course.kick[i] * d_now.p, *rows)
        # A first step may forget the momentum: that is known, and needs not be undone.
        p, by_scale, by_kick = alone(_unkicked)(
            i, history[1][i] if history else None, start.p, now.p, force, d_now.p,
            course.scale[i], course.kick[i], totals.scale, totals.kick,
        )  # fmt: skip
        by_response = [
            with_row(total, i, row) for total, row in zip(totals.response, d_rows, strict=True)
        ]
        totals = totals._replace(scale=by_scale, kick=by_kick, response=tuple(by_response))
        d_now = Particles(*alone(_pulled)(*d_now, pull, course.scale[i]))
        return i - 1, *undo_drift(i, Particles(x, p), d_now, totals)

    _, _, d_start, totals = tf.while_loop(
        lambda i, *_: i >= 0, undo, (num_forces - 1, *undo_drift(num_forces, end, d_end, totals)),
        maximum_iterations=num_forces,
    )  # fmt: skip
    return d_start, totals


def _undrifted(
    now: Particles, d_now: Particles, drift: tf.Tensor, total: tf.Tensor, i: int | tf.Tensor
) -> tuple[Particles, Particles, tf.Tensor]:
    """Particles before a drift, the gradient by them, and the gradients by all drifts so far."""
    before = Particles(now.x - drift * now.p, now.p)
    d_before = Particles(d_now.x, d_now.p + drift * d_now.x)
    return before, d_before, with_row(total, i, d_now.x * now.p)


def _unkicked(
    i: tf.Tensor,
    kept: tf.Tensor | None,
    start: tf.Tensor,
    p: tf.Tensor,
    force: tf.Tensor,
    d_p: tf.Tensor,
    scale: tf.Tensor,
    kick: tf.Tensor,
    *totals: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Momenta before a kick, and the gradients by all scales and kicks so far."""
    before = (p - kick * force) / scale if kept is None else kept
    before = tf.where(tf.equal(i, 0), start, before)
    by_scale, by_kick = totals
    return before, with_row(by_scale, i, d_p * before), with_row(by_kick, i, d_p * force)


def _pulled(
    d_x: tf.Tensor, d_p: tf.Tensor, pull: tf.Tensor, scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients by particles before a kick."""
    return d_x + pull, scale * d_p
