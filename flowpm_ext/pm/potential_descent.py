"""A step down the potential, which sharpens what a mesh and long time steps leave smooth."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import Structure, TensorLike, cast
from flowpm_ext.fields.arguments import per_field
from flowpm_ext.pm import kernels
from flowpm_ext.pm.forces import Gravity


@dataclasses.dataclass(frozen=True)
class Sharpening(Structure):
    """A step of `potential_gradient_descent` that changes with time.

    Attributes:
        alpha: Strength at a = 1 (dimensionless), a scalar.
        k_long: Below this wavenumber nothing is moved (h/Mpc); 0 for no such limit.
        k_short: Above this wavenumber nothing is moved (h/Mpc).
        exponent: Power of the scale factor that the strength grows with.

    References:
        Dai, Feng & Seljak 2018, arXiv:1804.00671.
    """

    alpha: TensorLike
    k_long: TensorLike
    k_short: TensorLike
    exponent: TensorLike = 0.0

    def __post_init__(self) -> None:
        for name in ("alpha", "k_long", "k_short", "exponent"):
            checks.rank(getattr(self, name), name, 0)
            checks.finite(getattr(self, name), name)
        checks.non_negative(self.k_long, "k_long")
        checks.positive(self.k_short, "k_short")

    def strength(self, a: tf.Tensor) -> tf.Tensor:
        """Strength at scale factors of any shape."""
        return cast(self.alpha, a.dtype) * a ** cast(self.exponent, a.dtype)

    def band(self, cell: TensorLike, dtype: tf.DType) -> tf.Tensor:
        """Both ends of the band (radians per cell), shape [2], for cells of a side (Mpc/h)."""
        return cast(cell, dtype) * tf.stack([cast(k, dtype) for k in (self.k_long, self.k_short)])


def potential_gradient_descent(
    position: TensorLike,
    mesh_shape: int | Sequence[int],
    alpha: TensorLike,
    k_long: TensorLike,
    k_short: TensorLike,
    force_mesh_factor: int = 1,
    *,
    gradient_kernel: str = "finite_difference",
    window: str = "cic",
) -> tf.Tensor:
    """Positions moved once down a band-passed potential, which sharpens haloes.

    The displacement is -alpha times the gradient of the potential whose Laplacian is the
    overdensity times exp(-k_long**2 / k**2) exp(-k**4 / k_short**4): with a positive alpha
    particles move towards the matter around them. Their centre of mass stays where it is.
    Differentiable with respect to the positions, alpha, k_long and k_short.

    Args:
        position: Positions (cells), shape [batch, num_particles, 3].
        mesh_shape: Cells that positions are counted in: an integer for a cube, or three.
        alpha: Strength, a number or one for each simulation, shape [batch].
        k_long: Below this wavenumber nothing is moved; 0 for no such limit. In radians per cell
            of `mesh_shape`: h/Mpc times the side of a cell in Mpc/h.
        k_short: Above this wavenumber nothing is moved, in radians per cell.
        force_mesh_factor: Cells of the force mesh along one of these cells.
        gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
        window: How particles are spread and read, "cic" or "tsc".

    Returns:
        Positions (cells), shape [batch, num_particles, 3].

    Raises:
        ValueError: If the positions are not finite or have another shape, a number is out of its
            range, or an option is unknown.
        TypeError: If the positions are not of float32 or float64.

    References:
        Dai, Feng & Seljak 2018, arXiv:1804.00671.
    """
    position = _checked_position(position)
    force = BandPassedGravity.on(mesh_shape, force_mesh_factor, gradient_kernel, window)
    alpha = per_field(alpha, "alpha", position)
    checks.rank(k_long, "k_long", 0)
    checks.rank(k_short, "k_short", 0)
    checks.non_negative(k_long, "k_long")
    checks.positive(k_short, "k_short")
    band = tf.stack([cast(k, position.dtype) for k in (k_long, k_short)])
    return _moved(position, alpha, band, force)


class BandPassedGravity(Gravity):
    """Gravity whose response is the two ends of a band, exact on every mode.

    Between the nodes of a tabulated response the cut at long waves, which is steep, would be
    wrong by per cents.
    """

    def response_on_modes(self, response: tf.Tensor) -> tf.Tensor:
        """Multiplier of each mode."""
        k_long, k_short = tf.unstack(response / self.refinement)
        square = kernels.squared_wavenumber(self.mesh, response.dtype)
        inverse = kernels.inverse_laplacian(self.mesh, response.dtype)  # -1 / k**2, and no pole
        return tf.exp(k_long**2 * inverse - (square / k_short**2) ** 2)


@compiled
def _moved(
    position: tf.Tensor, alpha: tf.Tensor, band: tf.Tensor, force: BandPassedGravity
) -> tf.Tensor:
    return position + alpha * force(position, band)


def _checked_position(position: TensorLike) -> tf.Tensor:
    position = tf.convert_to_tensor(position, name="position")
    is_real = position.dtype in (tf.float32, tf.float64)
    name = position.dtype.name
    checks.require(is_real, "position", "be float32 or float64", name, error=TypeError)
    checks.rank(position, "position", 3)
    checks.static_grid(position, "position", ndim=2)
    checks.require(position.shape[-1] == 3, "position", "have 3 coordinates", position)
    checks.finite(position, "position")
    return position
