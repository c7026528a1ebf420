"""Positions as a survey sees them: distances from redshifts, which velocities shift."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import folded
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.cosmology.expansion import Esqr
from flowpm_ext.cosmology.parameters import Cosmology


def redshift_space_position(
    cosmo: Cosmology,
    position: TensorLike,
    momentum: TensorLike,
    a: TensorLike,
    line_of_sight: int | Sequence[float] | TensorLike = 2,
) -> tf.Tensor:
    """Positions shifted along the line of sight by the peculiar velocity over a H.

    For a distant observer: the line of sight is the same for all particles. With momentum
    p = a**2 dx/dt / H0 the shift is its part along the line of sight over a**2 E(a), in cells.
    Differentiable with respect to all arguments but an axis.

    Args:
        cosmo: Cosmology, or one for each field of the batch.
        position: Comoving positions (cells), shape [batch, num_particles, 3].
        momentum: a**2 dx/dt / H0 (cells), shape [batch, num_particles, 3].
        a: Scale factor of both, scalar.
        line_of_sight: An axis, 0, 1 or 2; or a direction of any length, shape [3].

    Returns:
        Positions in redshift space (cells), not wrapped into the box, shape
        [batch, num_particles, 3].

    Raises:
        ValueError: If shapes do not fit, values are not finite, a is not in (0, 1], or
            the line of sight is neither an axis nor a direction.

    References:
        Kaiser 1987, MNRAS 227, 1; Hamilton 1998, arXiv:astro-ph/9708102.
    """
    position = tf.convert_to_tensor(position, name="position")
    momentum = tf.convert_to_tensor(momentum, name="momentum")
    checks.rank(position, "position", 3)
    checks.require(position.shape[-1] == 3, "position", "have 3 coordinates", position)
    fits = position.shape.is_compatible_with(momentum.shape)
    checks.require(fits, "momentum", f"have shape {position.shape}", momentum)
    checks.finite(position, "position")
    checks.finite(momentum, "momentum")
    checks.rank(a, "a", 0)
    direction = _direction(line_of_sight, position.dtype)
    rate = cast(_cells_per_momentum(cosmo, a), position.dtype)
    checks.require(
        rate.shape.rank == 0 or position.shape[:1].is_compatible_with(rate.shape),
        "cosmo", "be one, or one for each field", rate.shape,
    )  # fmt: skip
    rate = tf.reshape(rate, [-1, 1, 1])
    along = tf.reduce_sum(momentum * direction, axis=-1, keepdims=True)
    return position + rate * along * direction


@folded
def _cells_per_momentum(cosmo: Cosmology, a: TensorLike) -> tf.Tensor:
    """How far a momentum seems to place its particle along the line of sight, [batch...]."""
    return 1 / (cast(a, cosmo.dtype) ** 2 * tf.sqrt(Esqr(cosmo, a)))


def _direction(line_of_sight: int | TensorLike, dtype: tf.DType) -> tf.Tensor:
    """Unit vector [3] along an axis or a direction."""
    rule = "be an axis, 0, 1 or 2, or a direction of three numbers"
    if isinstance(line_of_sight, int | np.integer) and not isinstance(line_of_sight, bool):
        checks.require(0 <= line_of_sight <= 2, "line_of_sight", rule, line_of_sight)
        return tf.one_hot(int(line_of_sight), 3, dtype=dtype)
    vector = cast(line_of_sight, dtype)
    checks.require(vector.shape == (3,), "line_of_sight", rule, line_of_sight)
    checks.finite(vector, "line_of_sight")
    values = known(vector)
    is_zero = values is not None and not np.any(values)
    checks.require(not is_zero, "line_of_sight", "have a length above zero", line_of_sight)
    return vector / tf.norm(vector)
