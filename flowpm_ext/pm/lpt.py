"""Initial conditions of particles by Lagrangian perturbation theory."""

from collections.abc import Sequence

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
    potential = _potential_of(field, mesh)
    psi = [kernels.gradient_field(mesh, potential, gradient_kernel)]
    if order == 2:
        source = _second_order_source(potential, field - mesh.mean(field), mesh)
        psi.append(kernels.gradient_field(mesh, _potential_of(source, mesh), gradient_kernel))
    return mesh.alone(_moved)(psi, growth, mesh)


def _moved(
    psi: Sequence[tf.Tensor], growth: Growth, mesh: AbstractMesh
) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions and momenta for minus the first displacement and, if there is one, the second."""
    first, *second = map(_vectors, psi)
    displacement, momentum = -growth.first * first, -growth.first_momentum * first
    for vectors in second:
        displacement += growth.second * vectors
        momentum += growth.second_momentum * vectors
    return mesh.lattice(first.dtype) + displacement, momentum


def _potential_of(field: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Modes of the potential whose Laplacian is a field."""
    return mesh.alone(_unlaplaced)(mesh.rfft3(field), mesh)


def _unlaplaced(modes: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    return scaled(modes, kernels.inverse_laplacian(mesh, modes.dtype.real_dtype))


def _second_order_source(
    potential: tf.Tensor, laplacian: tf.Tensor, mesh: AbstractMesh
) -> tf.Tensor:
    """Sum over i < j of phi,ii phi,jj - phi,ij**2, [batch, *mesh.local_shape]."""

    def curvature(i: int, j: int) -> tf.Tensor:
        return mesh.irfft3(mesh.alone(_curved)(potential, i, j, mesh))

    xx, yy, *mixed = (curvature(*axes) for axes in ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2)))
    return mesh.alone(_minors)(xx, yy, laplacian, *mixed)


def _curved(modes: tf.Tensor, i: int, j: int, mesh: AbstractMesh) -> tf.Tensor:
    """Modes of the second derivative along two axes."""
    k = mesh.wavenumbers() if i == j else fourier.odd(mesh.wavenumbers())
    along_i, along_j = (unfolded(k[axis], modes.dtype.real_dtype) for axis in (i, j))
    return scaled(modes, -along_i * along_j)


def _minors(xx: tf.Tensor, yy: tf.Tensor, laplacian: tf.Tensor, *mixed: tf.Tensor) -> tf.Tensor:
    """Sum of the principal minors of order 2 of a symmetric matrix that has this trace."""
    zz = laplacian - xx - yy
    return xx * yy + (xx + yy) * zz - sum(x**2 for x in mixed)


def _vectors(field: tf.Tensor) -> tf.Tensor:
    """A vector field [batch, *sides, 3] as one vector for each lattice point, [batch, n, 3]."""
    return tf.reshape(field, [tf.shape(field)[0], -1, 3])
