"""Integrators: how far to drift and how hard to kick, for any expansion history.

Every scheme is a list of forces. Before force i the particles drift, and at it the momentum is
scaled and kicked,

    x <- x + drift[i] p,      p <- scale[i] p + kick[i] F(x),

with one more drift after the last. Neighbouring drifts (or kicks) of two steps are merged, so
that each step costs one force; F is the force of `Gravity`, which grows like D1 in linear theory.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import folded
from flowpm_ext.core.types import Structure, TensorLike, known
from flowpm_ext.cosmology import expansion
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.numerics import quadrature
from flowpm_ext.pm.growth import growth_at

INTEGRATORS = ("fastpm", "leapfrog", "bullfrog")

Stages = tf.Tensor | np.ndarray


@dataclasses.dataclass(frozen=True)
class Plan(Structure):
    """Factors of every force and drift of a simulation.

    Attributes:
        drift: Drift before each force and after the last, shape [batch..., num_forces + 1].
        scale: Factor of the momentum at each force, shape [batch..., num_forces].
        kick: Factor of the force, shape [batch..., num_forces].
        a: Scale factor of the positions at each force, shape [num_forces].
    """

    drift: tf.Tensor
    scale: tf.Tensor
    kick: tf.Tensor
    a: tf.Tensor


def checked_stages(stages: TensorLike, a: TensorLike | None = None) -> Stages:
    """Stages as a tensor if they are one, else as an array, after checks of what is known.

    Args:
        stages: What was received, shape [num_steps + 1].
        a: Scale factor at which they must start; None for any.

    Returns:
        The stages, float64.

    Raises:
        ValueError: If they do not increase within (0, 1], are fewer than two, or start elsewhere.
    """
    checks.rank(stages, "stages", 1)
    checks.in_range(stages, "stages", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
    checks.increasing(stages, "stages")
    stages = tf.cast(stages, tf.float64) if tf.is_tensor(stages) else np.asarray(stages, float)
    checks.require(
        stages.shape[0] is not None and stages.shape[0] >= 2,
        "stages", "hold at least two scale factors", stages,
    )  # fmt: skip
    first, start = known(stages[0]), None if a is None else known(a)
    if first is not None and start is not None:
        # 1e-6 lets a scale factor that was rounded to float32 pass.
        checks.require(
            bool(np.isclose(first, start, rtol=1e-6, atol=0)),
            "stages", f"start at the scale factor of the state, {float(start):g}", stages,
        )  # fmt: skip
    return stages


@folded
def plan(cosmo: Cosmology, stages: TensorLike, integrator: str = "fastpm") -> Plan:
    """Factors of a simulation that steps from one stage to the next.

    "fastpm" (kick, drift, kick) has the steps in which linear growth is exact; "leapfrog" (the
    same order) those in which constant forces and momenta are; "bullfrog" (drift, kick, drift)
    those in which growth to second order in perturbation theory is, momenta exactly and
    positions to third order in the step.

    Args:
        cosmo: Cosmology, or a batch.
        stages: Scale factors, increasing, shape [num_steps + 1].
        integrator: "fastpm", "leapfrog" or "bullfrog".

    Returns:
        The plan, in the dtype of the cosmology.

    Raises:
        ValueError: If `integrator` is unknown.

    References:
        Feng et al. 2016, arXiv:1603.00476; Quinn et al. 1997, arXiv:astro-ph/9710043; Rampf,
        List & Hahn 2025, arXiv:2409.19049.
    """
    checks.one_of(integrator, "integrator", INTEGRATORS)
    if tf.is_tensor(stages):
        stages = tf.cast(stages, cosmo.dtype)
    else:
        stages = np.asarray(stages, cosmo.dtype.as_numpy_dtype)
    make = {"fastpm": _fastpm, "leapfrog": _leapfrog, "bullfrog": _bullfrog}[integrator]
    return make(cosmo, stages)


def require_reversible(made: Plan) -> None:
    """Refuse steps that forget the momentum they began with, which cannot be run backwards.

    A step of BullFrog that is as long as all the time before it does. The first force needs not
    be undone: where a run began is known.

    Args:
        made: The plan.

    Raises:
        ValueError: If a factor of the momentum is below a tenth after the first force.
    """
    scale = known(made.scale)
    least = 1.0 if scale is None else float(np.min(np.abs(scale[..., 1:]), initial=1.0))
    checks.require(
        least >= 0.1, "stages", 'be shorter steps for gradient="adjoint"',
        f"a step that keeps {least:.1g} of the momentum",
        'Or take gradient="checkpoint".',
    )  # fmt: skip


@folded
def on_the_way(
    cosmo: Cosmology, stages: TensorLike, made: Plan, integrator: str, a: TensorLike
) -> tuple[tf.Tensor, tf.Tensor]:
    """When, and how far from the last force, particles are at scale factors between the stages.

    Between forces they drift in a straight line, each integrator by its own clock. Where the
    cosmologies of a batch disagree about the forces that a scale factor lies between, their mean
    decides, and the line is continued.

    Args:
        cosmo: Cosmology, or a batch.
        stages: Those of the plan, shape [num_steps + 1].
        made: The plan.
        integrator: That of the plan.
        a: Scale factors, increasing, shape [num] or [batch, num].

    Returns:
        The number of them before each force, before the last drift, and of all, int32
        [num_forces + 2]; and how far to drift to each, shape [batch..., num].
    """
    stages, a = (tf.cast(x, cosmo.dtype) for x in (stages, a))
    if integrator == "leapfrog":
        edges, times = (_time_since(cosmo.columns(), stages[0], x) for x in (stages, a))
    else:
        edges, times = growth_at(cosmo, stages).first, growth_at(cosmo, a).first
    if integrator == "bullfrog":
        middle = (edges[..., 1:] + edges[..., :-1]) / 2
        edges = tf.concat([edges[..., :1], middle, edges[..., -1:]], axis=-1)
    # Drift number `first` is the first one of some length: that between the first two edges.
    first = 0 if integrator == "bullfrog" else 1
    widths = _steps(edges)

    def mean(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.reshape(x, [-1, x.shape[-1]]), axis=0)

    interval = _number_below(mean(times), mean(edges)[1:-1])
    fraction = times - tf.gather(edges, interval, axis=-1)
    fraction /= tf.gather(widths, interval, axis=-1)
    drift = fraction * tf.gather(made.drift, interval + first, axis=-1)
    numbers = tf.range(made.kick.shape[-1] + 2)
    return _number_below(numbers, interval + first), drift


def _fastpm(cosmo: Cosmology, stages: Stages) -> Plan:
    """Kick and drift by differences of the growth of momenta and of displacements."""
    growth = growth_at(cosmo, stages, _halfway(stages))
    num = stages.shape[0]
    at, half = growth.first[..., :num], growth.first_momentum[..., num:]
    edges = tf.concat(
        [growth.first_momentum[..., :1], half, growth.first_momentum[..., num - 1 : num]], axis=-1
    )
    return _kick_drift_kick(stages, _steps(edges) / at, _steps(at) / half)


def _leapfrog(cosmo: Cosmology, stages: Stages) -> Plan:
    """Kick and drift by integrals of da / (a**2 E) and da / (a**3 E)."""
    edges = tf.concat([stages[:1], _halfway(stages), stages[-1:]], axis=0)
    p = cosmo.columns()
    kick = 1.5 * p.Omega_m * _integral(p, edges, power=1)
    return _kick_drift_kick(stages, kick, _integral(p, stages, power=2))


def _bullfrog(cosmo: Cosmology, stages: Stages) -> Plan:
    """Drift half a step in D1, kick so that the momentum of second order comes out, drift.

    To second order x = q + D1 psi1 + y psi2 has the force D1 psi1 + (y - D1**2) psi2, and the
    momentum over that of psi1 is psi1 + s psi2 with s = dD2 / dD1. In a step it becomes
    alpha times what it was plus (1 - alpha) times the force over D1.
    """
    growth = growth_at(cosmo, stages)
    time, speed = growth.first, growth.first_momentum
    slope = growth.second_momentum / speed
    step = _steps(time)
    middle = time[..., :-1] + step / 2
    place = growth.second[..., :-1] + step / 2 * slope[..., :-1]
    target = place / middle - middle
    alpha = (slope[..., 1:] - target) / (slope[..., :-1] - target)
    before = step / 2 / speed[..., :-1]
    after = step / 2 / speed[..., 1:]
    zero = tf.zeros_like(before[..., :1])
    drift = tf.concat([before, zero], axis=-1) + tf.concat([zero, after], axis=-1)
    return Plan(
        drift=drift,
        scale=alpha * speed[..., 1:] / speed[..., :-1],
        kick=(1 - alpha) * speed[..., 1:] / middle,
        a=_halfway(stages),
    )


def _kick_drift_kick(stages: Stages, kick: tf.Tensor, drift: tf.Tensor) -> Plan:
    """Plan with a force at every stage."""
    zero = tf.zeros_like(drift[..., :1])
    return Plan(
        drift=tf.concat([zero, drift, zero], axis=-1),
        scale=tf.ones_like(kick),
        kick=kick,
        a=stages,
    )


def _integral(p: Cosmology, edges: tf.Tensor, power: int) -> tf.Tensor:
    """Integral of d ln a / (a**power E) between neighbouring edges [n + 1]: [..., n]."""
    log_a, weights = quadrature.panel_nodes(tf.math.log(edges), num_nodes=12)
    a = tf.reshape(tf.exp(log_a), [-1])
    values = 1 / (a**power * tf.sqrt(expansion.squared_rate(p, a)))
    shape = tf.concat([tf.shape(values)[:-1], tf.shape(weights)], axis=0)
    return tf.reduce_sum(tf.reshape(values, shape) * weights, axis=-1)


def _time_since(p: Cosmology, start: tf.Tensor, a: tf.Tensor) -> tf.Tensor:
    """Integral of d ln a / (a**2 E) from one scale factor to others of [n] or [..., n]."""
    nodes, weights = (tf.constant(x, a.dtype) for x in quadrature.gauss_legendre(32))
    width = tf.math.log(a / start)
    between = start * tf.exp(width[..., None] * nodes)
    rate = between**2 * tf.sqrt(expansion.squared_rate(expansion.deeper(p), between))
    return width * tf.linalg.matvec(1 / rate, weights)


def _number_below(x: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """How many of the others [m] each x [n] is above, int32 [n]."""
    return tf.reduce_sum(tf.cast(others < x[:, None], tf.int32), axis=-1)


def _halfway(stages: Stages) -> Stages:
    """Scale factors between the stages, the geometric mean of the neighbours."""
    return (stages[:-1] * stages[1:]) ** 0.5


def _steps(x: tf.Tensor) -> tf.Tensor:
    return x[..., 1:] - x[..., :-1]
