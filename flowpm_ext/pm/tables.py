"""What a simulation needs to know of its cosmology, made before it."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast, static
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.fields.arguments import field_on_mesh
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.pm import steps
from flowpm_ext.pm.forces import Correction, Gravity
from flowpm_ext.pm.growth import Growth, growth_at
from flowpm_ext.pm.integrate import GRADIENTS
from flowpm_ext.pm.lpt import displaced
from flowpm_ext.pm.nbody import along, require_memory_for
from flowpm_ext.pm.state import ParticleState, require_batch, require_state


@dataclasses.dataclass(frozen=True)
class SimulationTables(Structure):
    """Growth and steps of a simulation: made in float64, used in the precision of the particles.

    An argument of a compiled step, which then holds nothing of the cosmology: no differential
    equation to compile, and no float64, which some devices do not have. Gradients go through the
    tables to the parameters where a tape is around both.

    Attributes:
        growth: Growth factors at the first stage, shape [batch..., 1].
        plan: Factors of every force and drift.
        a: Scale factors of the first and the last stage, shape [2].
        gradient: How the simulation is differentiated, as for `nbody`.
    """

    growth: Growth
    plan: steps.Plan
    a: tf.Tensor
    gradient: str = static(default="adjoint")

    @classmethod
    def of(
        cls,
        cosmo: Cosmology,
        stages: TensorLike,
        integrator: str = "fastpm",
        gradient: str = "adjoint",
        dtype: tf.DType = tf.float32,
    ) -> Self:
        """The tables of a cosmology.

        Args:
            cosmo: Cosmology, or a batch as long as that of the fields.
            stages: Scale factors, increasing, shape [num_steps + 1].
            integrator: As for `nbody`.
            gradient: As for `nbody`.
            dtype: Of the tables, float32 or float64; they are computed in that of the cosmology.

        Returns:
            The tables.

        Raises:
            ValueError: If the stages do not increase within (0, 1], or an option is unknown.
            TypeError: If `cosmo` is not a Cosmology.

        References:
            Feng et al. 2016, arXiv:1603.00476.
        """
        require_cosmology(cosmo)
        checks.one_of(gradient, "gradient", GRADIENTS)
        stages = steps.checked_stages(stages)
        plan = steps.plan(cosmo, stages, integrator)
        if gradient == "adjoint":
            steps.require_reversible(plan)
        ends = tf.stack([stages[0], stages[-1]])
        tables = cls(growth_at(cosmo, stages[0]), plan, ends, gradient)
        return tf.nest.map_structure(lambda x: cast(x, dtype), tables)

    @property
    def batch_size(self) -> int | None:
        """Number of cosmologies in a batch; None for a single one."""
        *batch, _ = self.growth.first.shape
        return batch[0] if batch else None

    def initial_state(
        self,
        field: tf.Tensor,
        order: int = 2,
        *,
        gradient_kernel: str = "spectral",
        mesh: AbstractMesh | None = None,
    ) -> ParticleState:
        """Particles at the first stage, as `lpt_init` gives them.

        Args:
            field: Overdensity extrapolated linearly to a = 1, shape [batch, nx, ny, nz].
            order: As for `lpt_init`.
            gradient_kernel: As for `lpt_init`.
            mesh: As for `lpt_init`.

        Returns:
            State of nx ny nz particles, in the dtype of the field.

        Raises:
            ValueError: If the field does not fit, or an option is unknown.
            TypeError: If the field is not of float32 or float64.

        References:
            Bouchet et al. 1995, arXiv:astro-ph/9406013.
        """
        field, mesh = field_on_mesh(field, "field", mesh)
        require_batch(self, field)
        return displaced(field, self.growth, self.a[0], order, gradient_kernel, mesh)

    def final_state(
        self,
        state: ParticleState,
        mesh_shape: int | Sequence[int] | AbstractMesh,
        force_mesh_factor: int = 1,
        *,
        gradient_kernel: str = "finite_difference",
        window: str = "cic",
        correction: Correction | None = None,
    ) -> ParticleState:
        """Particles at the last stage, as `nbody` gives them.

        Args:
            state: Particles at the first stage.
            mesh_shape: As for `nbody`.
            force_mesh_factor: As for `nbody`.
            gradient_kernel: As for `nbody`.
            window: As for `nbody`.
            correction: As for `nbody`.

        Returns:
            State at the last stage.

        Raises:
            ValueError: If the state is not finite, an option does not fit, or the machine has too
                little memory.
            TypeError: If `state` is no state.

        References:
            Feng et al. 2016, arXiv:1603.00476; Li et al. 2022, arXiv:2211.09815.
        """
        state = require_state(state)
        require_batch(self, state.position)
        force = Gravity.on(mesh_shape, force_mesh_factor, gradient_kernel, window)
        require_memory_for(state.position, force, self.gradient, self.plan.a)
        return along(self.plan, state, self.a[1], force, self.gradient, correction)[0]
