"""Gravity on a mesh: the force on particles from their own density."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, static
from flowpm_ext.fields.arguments import mesh_of
from flowpm_ext.fields.spectrum import scaled
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.pm import kernels

Correction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

NUM_NODES = 256  # of the response; the smallest step resolves a 64th of the Nyquist frequency


@dataclasses.dataclass(frozen=True)
class Gravity(Structure):
    """Force of particles on themselves, in units that no cosmology enters.

    Attributes:
        mesh: Mesh of the force.
        refinement: Cells of this mesh along a cell of the particle positions.
        gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
    """

    mesh: AbstractMesh = static()  # noqa: RUF009 (a field)
    refinement: int = static(default=1)
    gradient_kernel: str = static(default="finite_difference")

    @classmethod
    def on(
        cls,
        mesh_shape: int | Sequence[int] | AbstractMesh,
        factor: int,
        gradient_kernel: str,
        window: str,
    ) -> Self:
        """The force on a mesh that this device holds, or on the devices of the mesh given.

        Args:
            mesh_shape: Cells of the particle positions: an integer for a cube, three, or a mesh.
            factor: Cells of the force mesh along one of these cells.
            gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
            window: How particles are spread and read, "cic" or "tsc".

        Returns:
            The force.

        Raises:
            ValueError: If the mesh or the factor is not of positive integers, or an option is
                unknown.

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        checks.positive_integers(force_mesh_factor=factor)
        checks.one_of(gradient_kernel, "gradient_kernel", kernels.GRADIENTS)
        mesh = mesh_of(mesh_shape, None).refined(int(factor), window)
        return cls(mesh, int(factor), gradient_kernel)

    def __call__(self, position: tf.Tensor, response: tf.Tensor | None = None) -> tf.Tensor:
        """Minus the gradient of the inverse Laplacian of the overdensity.

        To first order it is the displacement of the particles from a uniform lattice.

        Args:
            position: Positions (cells), shape [batch, num_particles, 3].
            response: Multiplier of the potential at `response_nodes`, shape [num_nodes]; 1 by
                default.

        Returns:
            Force (cells), shape [batch, num_particles, 3].

        References:
            Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5.
        """
        fine = position * float(self.refinement)
        slope = self._slope(self.mesh.paint(fine), position.shape[1], response)
        return self.mesh.read(slope, fine)

    def pulled(
        self, position: tf.Tensor, upstream: tf.Tensor, *response: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """The force, and the gradient of its product with other vectors.

        The force and its gradient paint one mesh together, which costs little more than one of
        them alone.

        Args:
            position: As for the force.
            upstream: Gradient by the force (1 / cells), shape [batch, num_particles, 3].
            *response: None, or one: as for the force.

        Returns:
            The force; the gradients by the positions and by each response, in their shapes.

        References:
            Li et al. 2022, arXiv:2211.09815.
        """
        mesh, fine = self.mesh, position * float(self.refinement)
        # The fourth channel is mass, which has no factor.
        weight = tf.concat([upstream, tf.ones_like(upstream[..., :1])], axis=-1)
        by_slope, mass = tf.split(mesh.spread(fine, weight), [3, 1], axis=-1)
        inputs = [mesh.folded(mass[..., 0]), *response]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            slope = self._slope(inputs[0], position.shape[1], *inputs[1:])
        by_density, *by_response = tape.gradient(slope, inputs, output_gradients=by_slope)
        together = tf.concat([slope, mesh.widened(by_density)[..., None]], axis=-1)
        # Two readings, not one for both: what several sums share XLA writes to memory, corner by
        # corner, and that takes longer than reading it again.
        slopes = mesh.slopes(together, fine, weight)
        return mesh.read(slope, fine), float(self.refinement) * slopes, by_response

    @property
    def response_nodes(self) -> np.ndarray:
        """Wavenumbers (radians per cell of the positions) where a response is given, from 0."""
        return np.linspace(0.0, math.sqrt(3.0) * np.pi * self.refinement, NUM_NODES)

    def response(
        self, correction: Correction | None, a: tf.Tensor | np.ndarray, dtype: tf.DType
    ) -> tf.Tensor | None:
        """Multipliers of the potential that a correction asks for.

        Args:
            correction: Function of wavenumbers [num_nodes] (radians per cell) and scale factors
                [num_forces] that gives multipliers [num_forces, num_nodes], or None.
            a: Scale factors of the forces, shape [num_forces].
            dtype: Of the particles.

        Returns:
            The multipliers, or None.

        Raises:
            ValueError: If the correction returns another shape, or what is not finite.
        """
        if correction is None:
            return None
        response = correction(tf.constant(self.response_nodes, dtype), tf.cast(a, dtype))
        response = tf.convert_to_tensor(response)
        shape = (a.shape[0], NUM_NODES)
        checks.require(
            response.shape.is_compatible_with(shape),
            "correction", f"return one row for each force, shape {shape}", response,
        )  # fmt: skip
        checks.finite(response, "correction")
        return response

    def _slope(
        self, density: tf.Tensor, num_particles: int, response: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The force everywhere, for a density in particles per cell.

        Three numbers for all cells that particles held here may reach.
        """
        potential = self.mesh.alone(_potential)(
            self.mesh.rfft3(density), self, num_particles, response
        )
        return kernels.gradient_field(self.mesh, potential, self.gradient_kernel, is_wide=True)

    def response_on_modes(self, response: tf.Tensor) -> tf.Tensor:
        """Multiplier of each mode: linear between the nodes."""
        k = tf.sqrt(kernels.squared_wavenumber(self.mesh, response.dtype))
        place = k * ((NUM_NODES - 1) / (math.sqrt(3.0) * np.pi))
        node = tf.minimum(tf.cast(place, tf.int32), NUM_NODES - 2)
        t = place - tf.cast(node, place.dtype)
        return (1 - t) * tf.gather(response, node) + t * tf.gather(response, node + 1)


def _potential(
    modes: tf.Tensor, force: Gravity, num_particles: int, response: tf.Tensor | None
) -> tf.Tensor:
    """Modes of the potential whose gradient is the force, from those of a density."""
    mesh = force.mesh
    # Density over its mean, and lengths in cells of the positions.
    scale = -math.prod(mesh.shape) / (num_particles * mesh.num_devices * force.refinement)
    factor = scale * kernels.inverse_laplacian(mesh, modes.dtype.real_dtype)
    return scaled(modes, factor if response is None else factor * force.response_on_modes(response))
