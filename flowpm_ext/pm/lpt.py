"""Initial conditions of particles by Lagrangian perturbation theory."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled, unfolded
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.fields.arguments import field_on_mesh
from flowpm_ext.fields.spectrum import scaled
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier
from flowpm_ext.pm import kernels
from flowpm_ext.pm.calls import takes_cosmology
from flowpm_ext.pm.growth import Growth, growth_at
from flowpm_ext.pm.state import ParticleState, require_batch


@takes_cosmology("lpt_init(cosmo, field, a=0.1, order=2)")
def lpt_init(
    cosmo: Cosmology,
    field: tf.Tensor,
    a: TensorLike,
    order: int = 2,
    *,
    gradient_kernel: str = "spectral",
    mesh: AbstractMesh | None = None,
) -> ParticleState:
    """Particles displaced from a lattice by Lagrangian perturbation theory.

    x = q + D1 psi1 + D2 psi2 with psi1 = -grad phi1, laplacian phi1 = delta, psi2 = grad phi2,
    laplacian phi2 = sum over i < j of (phi1,ii phi1,jj - phi1,ij**2). One particle starts at
    every lattice point, in the order of the cells. Both growth factors are exact for the
    cosmology; differentiable with respect to the field, the cosmology and a.

    Args:
        cosmo: Cosmology, or a batch as long as that of the field.
        field: Overdensity extrapolated linearly to a = 1, shape [batch, nx, ny, nz].
        a: Scale factor of the result, scalar.
        order: 1 (Zel'dovich approximation) or 2.
        gradient_kernel: Derivative of the potential, "spectral" or "finite_difference".
        mesh: Mesh of the field; by default one that this device holds.

    Returns:
        State of nx ny nz particles, in the dtype of the field.

    Raises:
        ValueError: If the field is not finite or has not four axes, `a` is not in (0, 1], or an
            option is unknown.
        TypeError: If `cosmo` is not a Cosmology, or the field not of float32 or float64.

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    field, mesh = field_on_mesh(field, "field", mesh)
    checks.rank(a, "a", 0)
    require_batch(cosmo, field)
    checks.in_range(a, "a", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
    return displaced(field, growth_at(cosmo, a), a, order, gradient_kernel, mesh)


def displaced(
    field: tf.Tensor,
    growth: Growth,
    a: TensorLike,
    order: int,
    gradient_kernel: str,
    mesh: AbstractMesh,
) -> ParticleState:
    """Particles displaced from a lattice, with growth factors that are known.

    Args:
        field: Overdensity extrapolated linearly to a = 1, shape [batch, nx, ny, nz].
        growth: Growth factors at one scale factor, shape [batch..., 1].
        a: This scale factor, scalar.
        order: As for `lpt_init`.
        gradient_kernel: As for `lpt_init`.
        mesh: Mesh of the field.

    Returns:
        State of nx ny nz particles, in the dtype of the field.

    Raises:
        ValueError: If an option is unknown.

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    checks.require(order in (1, 2), "order", "be 1 or 2", order)
    checks.one_of(gradient_kernel, "gradient_kernel", kernels.GRADIENTS)
    position, momentum = _displaced(field, growth, mesh, order, gradient_kernel)
    return ParticleState(position, momentum, cast(a, field.dtype))


@compiled
def _displaced(
    field: tf.Tensor, growth: Growth, mesh: AbstractMesh, order: int, gradient_kernel: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions and momenta [batch, n, 3] for growth factors [..., 1]."""
    growth = tf.nest.map_structure(lambda x: cast(x, field.dtype)[..., None], growth)
    growth = tf.nest.map_structure(mesh.replicated, growth)
    potential = _inverse_laplacian(field, mesh)
    psi = -_vectors(kernels.gradient_field(mesh, potential, gradient_kernel))
    displacement, momentum = growth.first * psi, growth.first_momentum * psi
    if order == 2:
        potential = _inverse_laplacian(_second_order_source(potential, mesh), mesh)
        psi = _vectors(kernels.gradient_field(mesh, potential, gradient_kernel))
        displacement += growth.second * psi
        momentum += growth.second_momentum * psi
    return mesh.lattice(field.dtype) + displacement, momentum


def _inverse_laplacian(field: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Modes of the potential whose Laplacian is a field."""
    modes = mesh.rfft3(field)
    return scaled(modes, kernels.inverse_laplacian(mesh, field.dtype))


def _second_order_source(potential: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Sum over i < j of phi,ii phi,jj - phi,ij**2, [batch, *mesh.local_shape]."""
    real = potential.dtype.real_dtype
    squared = [unfolded(-(k**2), real) for k in mesh.wavenumbers()]
    k = [unfolded(k, real) for k in fourier.odd(mesh.wavenumbers())]
    xx, yy, zz = (_multiplied(potential, factor, mesh) for factor in squared)
    mixed = sum(_multiplied(potential, k[i] * k[j], mesh) ** 2 for i, j in ((0, 1), (0, 2), (1, 2)))
    return xx * yy + (xx + yy) * zz - mixed


def _multiplied(modes: tf.Tensor, factor: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    return mesh.irfft3(scaled(modes, factor))


def _vectors(field: tf.Tensor) -> tf.Tensor:
    """A vector field [batch, *sides, 3] as one vector for each lattice point, [batch, n, 3]."""
    return tf.reshape(field, [tf.shape(field)[0], -1, 3])
