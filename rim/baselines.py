"""What a reconstruction must beat: linear filters and standard reconstruction."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.fields.spectrum import scaled
from flowpm_ext.pm import kernels
from rim.initial_conditions import InitialConditions

SMOOTHING = 10.0  # Mpc/h


def wiener_filter(problem: InitialConditions, y: TensorLike) -> tf.Tensor:
    """The best linear estimate, were gravity and bias linear.

    Args:
        problem: What was observed; masks and changing noise count by their mean.
        y: Observation, [batch, nx, ny, nz].

    Returns:
        Linear field at a = 1 in the shape of `y`.

    Raises:
        ValueError: If `y` does not fit the problem.

    References:
        Zaroubi et al. 1995, arXiv:astro-ph/9410080.
    """
    y = problem.overdensity(problem.check(y))
    return problem.mesh.irfft3(scaled(problem.mesh.rfft3(y), problem.wiener_gain(y.dtype)))


def standard_reconstruction(
    problem: InitialConditions, y: TensorLike, smoothing: float = SMOOTHING
) -> tf.Tensor:
    """Tracers moved back along the displacement that their own smoothed field implies.

    The cells of the observation are moved as if they were tracers, and a uniform lattice with
    them; the linear field is the difference. In redshift space tracers are also moved back by
    their velocity.

    Args:
        problem: What was observed.
        y: Observation, [batch, nx, ny, nz].
        smoothing: Standard deviation of the Gaussian that smooths (Mpc/h).

    Returns:
        Linear field at a = 1 in the shape of `y`, with its noise: nothing is filtered.

    Raises:
        ValueError: If `y` does not fit the problem, or the smoothing is not positive.

    References:
        Eisenstein et al. 2007, arXiv:astro-ph/0604362.
    """
    checks.positive(smoothing, "smoothing")
    y = problem.overdensity(problem.check(y))
    mesh, dtype = problem.mesh, y.dtype
    square = kernels.squared_wavenumber(mesh, dtype)
    kernel = tf.exp(-0.5 * square * (smoothing / problem.cell_size) ** 2)
    # The potential whose gradient is minus the displacement, at the time of the observation.
    kernel *= problem.growth * kernels.inverse_laplacian(mesh, dtype)
    kernel *= tf.math.reciprocal_no_nan(cast(problem.linear_response(), dtype))
    back = kernels.gradient_field(mesh, scaled(mesh.rfft3(y), kernel), "spectral")
    back = tf.reshape(back, [tf.shape(y)[0], -1, 3])
    lattice = mesh.lattice(dtype)
    seen = back
    if problem.redshift_space:
        seen += back * tf.constant([0.0, 0.0, problem.growth_rate], dtype)
    mass = tf.reshape(1 + y, [tf.shape(y)[0], -1])
    difference = mesh.paint(lattice + seen, mass) - mesh.paint(lattice + back)
    return difference / problem.linear_response(isotropic=True)
