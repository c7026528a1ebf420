"""Particles under their own gravity, from one scale factor to another."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.memory import require_memory
from flowpm_ext.core.types import TensorLike, cast, is_fixed, known
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.pm import steps
from flowpm_ext.pm.calls import takes_cosmology
from flowpm_ext.pm.forces import Correction, Gravity
from flowpm_ext.pm.integrate import GRADIENTS, integrate
from flowpm_ext.pm.state import ParticleState, require_batch, require_state
from flowpm_ext.pm.views import Sight, Views

# Numbers held at once, at the least: particles, forces and where they are read; the mesh, its
# modes and the gradient of the potential. Differentiating takes some three times more.
NUMBERS_PER_PARTICLE, NUMBERS_PER_CELL = 20, 8


@takes_cosmology("nbody(cosmo, state, stages, mesh_shape)")
def nbody(
    cosmo: Cosmology,
    state: ParticleState,
    stages: TensorLike,
    mesh_shape: int | Sequence[int] | AbstractMesh,
    integrator: str = "fastpm",
    gradient: str = "adjoint",
    force_mesh_factor: int = 1,
    *,
    gradient_kernel: str = "finite_difference",
    window: str = "cic",
    correction: Correction | None = None,
    snapshots: TensorLike | None = None,
) -> ParticleState | list[ParticleState]:
    """The state of the particles at the last stage, or at chosen scale factors.

    Differentiable in reverse mode with respect to the state, the cosmology and the weights of
    the correction.

    Args:
        cosmo: Cosmology, or a batch as long as that of the state.
        state: Particles at the first stage.
        stages: Scale factors, increasing from that of the state, shape [num_steps + 1].
        mesh_shape: Cells that positions are counted in: an integer for a cube, or three; or a
            mesh of them, on whose devices the particles are.
        integrator: "fastpm", "leapfrog" or "bullfrog"; `steps.plan` tells them apart.
        gradient: "adjoint" runs backwards in time, in memory that does not grow with the number
            of steps; "checkpoint" keeps the state at every step and repeats the forces, so that
            no rounding is run backwards; "autodiff" keeps everything, on one device.
        force_mesh_factor: Cells of the force mesh along one of these cells.
        gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
        window: How particles are spread and read, "cic" or "tsc".
        correction: Function of wavenumbers [num_nodes] (radians per cell) and scale factors
            [num_forces] that gives multipliers of the potential [num_forces, num_nodes].
        snapshots: Scale factors, increasing, at which the state is wanted; those that are no
            stages become stages, and nothing is run after the last. Each costs one more force.

    Returns:
        State at the last stage; with `snapshots`, a list of the states there.

    Raises:
        ValueError: If the stages do not increase from the scale factor of the state, a snapshot
            lies outside of them, the state is not finite, an option does not fit, or the machine
            has too little memory.
        TypeError: If the call does not begin with a Cosmology and a state.

    References:
        Feng et al. 2016, arXiv:1603.00476; Li et al. 2022, arXiv:2211.09815.
    """
    state = require_state(state)
    require_batch(cosmo, state.position)
    stages = steps.checked_stages(stages, state.a)
    force = Gravity.on(mesh_shape, force_mesh_factor, gradient_kernel, window)
    require_memory_for(state.position, force, gradient, stages)
    options = (force, integrator, gradient, correction)
    if snapshots is None:
        return run(cosmo, state, stages, *options)[0]
    states = []
    for part in _parts(stages, snapshots):
        state, _ = run(cosmo, state, part, *options)
        states.append(state)
    return states


def run(
    cosmo: Cosmology,
    state: ParticleState,
    stages: steps.Stages,
    force: Gravity,
    integrator: str,
    gradient: str,
    correction: Correction | None,
    sight: Sight | None = None,
) -> tuple[ParticleState, tf.Tensor | None]:
    """The state at the last of checked stages, and what was seen on the way.

    Args:
        cosmo: Cosmology, or a batch as long as that of the state.
        state: Particles at the first stage.
        stages: Scale factors, shape [num_steps + 1].
        force: The force.
        integrator: As for `nbody`.
        gradient: As for `nbody`.
        correction: As for `nbody`.
        sight: What to see of the positions, and when.

    Returns:
        The state, and all views, [num_views, *sight.look.shape].

    Raises:
        ValueError: If an option does not fit.

    References:
        Feng et al. 2016, arXiv:1603.00476.
    """
    checks.one_of(gradient, "gradient", GRADIENTS)
    checks.require(
        gradient != "autodiff" or force.mesh.num_devices == 1,
        "gradient", 'be "adjoint" or "checkpoint" on several devices', gradient,
    )  # fmt: skip
    checks.one_of(integrator, "integrator", steps.INTEGRATORS)
    plan = steps.plan(cosmo, stages, integrator)
    if gradient == "adjoint":
        steps.require_reversible(plan)
    views = None
    if sight is not None:
        start, drift = steps.on_the_way(cosmo, stages, plan, integrator, sight.a)
        has_fixed_drift = is_fixed((cosmo, stages, sight.a))
        views = Views(
            tf.convert_to_tensor(start), drift, sight.look, sight.arguments, has_fixed_drift
        )
    return along(plan, state, stages[-1], force, gradient, correction, views)


def along(
    plan: steps.Plan,
    state: ParticleState,
    a: TensorLike,
    force: Gravity,
    gradient: str,
    correction: Correction | None,
    views: Views | None = None,
) -> tuple[ParticleState, tf.Tensor | None]:
    """The state at the end of a plan, and what was seen on the way.

    Args:
        plan: Factors of drifts and kicks.
        state: Particles where it begins.
        a: Scale factor where it ends, scalar.
        force: The force.
        gradient: As for `nbody`.
        correction: As for `nbody`.
        views: What to see of the positions, and when.

    Returns:
        The state, and all views, [num_views, *views.look.shape].

    Raises:
        ValueError: If an option does not fit.

    References:
        Feng et al. 2016, arXiv:1603.00476.
    """
    response = force.response(correction, plan.a, state.position.dtype)
    (*end,) = integrate(state.position, state.momentum, plan, force, gradient, response, views)
    images = end.pop() if views else None
    return ParticleState(*end, cast(a, state.position.dtype)), images


def _parts(stages: steps.Stages, snapshots: TensorLike) -> list[np.ndarray]:
    """Stages from each snapshot to the next."""
    checks.rank(snapshots, "snapshots", 1)
    checks.increasing(snapshots, "snapshots")
    all_stages, wanted = known(stages), known(snapshots)
    checks.require(
        all_stages is not None and wanted is not None and wanted.size > 0,
        "snapshots", "be numbers known when the graph is built, like the stages", snapshots,
    )  # fmt: skip
    low, high = all_stages[0], all_stages[-1] * (1 + 1e-6)
    is_inside = bool(np.all((wanted > low) & (wanted <= high)))
    checks.require(is_inside, "snapshots", f"lie in ({low:g}, {high:g}]", wanted)
    # A stage that is a snapshot but for rounding gives way to it.
    is_apart = np.all(np.abs(all_stages[:, None] / wanted - 1) > 1e-6, axis=1)
    merged = np.sort(np.concatenate([all_stages[is_apart], wanted]))
    ends = np.searchsorted(merged, wanted)
    starts = np.concatenate([[0], ends[:-1]])
    return [merged[i : j + 1] for i, j in zip(starts, ends, strict=True)]


def require_memory_for(
    position: tf.Tensor, force: Gravity, gradient: str, stages: steps.Stages
) -> None:
    """Refuse a simulation that cannot fit, where its size is known.

    Args:
        position: Positions, shape [batch, num_particles, 3].
        force: The force.
        gradient: As for `nbody`.
        stages: Scale factors, shape [num_steps + 1].

    Raises:
        ValueError: If the machine has too little memory.
    """
    batch, num_particles, _ = position.shape
    if batch is None:
        return
    num_steps = stages.shape[0] or 0
    cells = math.prod(force.mesh.local_shape)
    # What a gradient keeps; "autodiff" keeps more, which only a tape decides.
    kept = 6 * num_steps if gradient == "checkpoint" else 0
    numbers = batch * ((NUMBERS_PER_PARTICLE + kept) * num_particles + NUMBERS_PER_CELL * cells)
    require_memory(
        numbers * position.dtype.size,
        f"A simulation of {batch} x {num_particles} particles on {cells} cells",
        "Take a smaller batch or mesh, or a smaller `force_mesh_factor`.",
    )
