"""Where particles are and how they move, and when."""

from typing import NamedTuple, Protocol

import tensorflow as tf

from flowpm_ext.core import checks


class ParticleState(NamedTuple):
    """Particles at one time, in units of mesh cells.

    Positions are not wrapped: position minus lattice point is the displacement. The peculiar
    velocity in km/s is momentum / a times 100 times the side of a cell in Mpc/h.
    """

    position: tf.Tensor
    """Comoving positions (cells), shape [batch, num_particles, 3]."""
    momentum: tf.Tensor
    """a**2 dx/dt / H0 (cells), shape [batch, num_particles, 3]."""
    a: tf.Tensor
    """Scale factor of both, scalar."""


def require_state(state: ParticleState, name: str = "state") -> ParticleState:
    """The state as tensors, or a refusal.

    Args:
        state: What was received; a plain tuple of three is taken too.
        name: Name of the argument, for the message.

    Returns:
        The state.

    Raises:
        ValueError: If shapes do not fit, values are not finite, or a is not in (0, 1].
        TypeError: If it is not a tuple of position, momentum and scale factor.
    """
    checks.require(
        isinstance(state, tuple) and len(state) == 3,
        name, "be a ParticleState (position, momentum, a)", state, error=TypeError,
    )  # fmt: skip
    position, momentum = (tf.convert_to_tensor(part) for part in state[:2])
    types = (position.dtype.name, momentum.dtype.name)
    checks.require(
        types in (("float32", "float32"), ("float64", "float64")),
        name, "be of float32 or of float64, both parts alike", types, error=TypeError,
    )  # fmt: skip
    checks.rank(position, "position", 3)
    checks.require(position.shape[-1] == 3, "position", "have three coordinates", position)
    checks.require(
        position.shape[1] not in (0, None), "position", "hold a known number of particles", position
    )
    checks.require(
        position.shape.is_compatible_with(momentum.shape),
        "momentum", f"have the shape of the position, {position.shape}", momentum,
    )  # fmt: skip
    checks.rank(state[2], "a", 0)
    checks.finite(position, "position")
    checks.finite(momentum, "momentum")
    checks.in_range(state[2], "a", 1e-8, 1 + 1e-6, "The scale factor today is 1.")
    return ParticleState(position, momentum, state[2])


class Batched(Protocol):
    """What is of one cosmology or of a batch: a `Cosmology`, or what was made of one."""

    @property
    def batch_size(self) -> int | None:
        """Number of cosmologies in a batch; None for a single one."""


def require_batch(cosmo: Batched, x: tf.Tensor) -> None:
    """Refuse a batch of cosmologies that is not as long as that of fields or particles.

    Args:
        cosmo: Cosmology, or a batch, or what was made of them.
        x: Fields or particles, shape [batch, ...].

    Raises:
        ValueError: If the lengths differ.
    """
    fits = cosmo.batch_size in (None, 1) or x.shape[0] in (None, cosmo.batch_size)
    checks.require(fits, "cosmo", f"be one, or {x.shape[0]} of them", cosmo.batch_size)
