"""How tracers follow matter: galaxy bias and alignment amplitudes as functions of redshift.

Each is called with redshifts and the linear growth factor there, and returns the bias. Any
function of (z, growth_factor) may stand in for them.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast

Bias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class ConstantBias(Structure):
    """The same bias at all redshifts.

    Attributes:
        value: The bias, a scalar or one for each cosmology of a batch.
    """

    value: TensorLike

    def __call__(self, z: tf.Tensor, growth: tf.Tensor) -> tf.Tensor:
        """Bias, broadcast against `z`."""
        return _column(self.value, z) * tf.ones_like(z)


@dataclasses.dataclass(frozen=True)
class InverseGrowthBias(Structure):
    """Bias b / D1(z): clustering that stays as it is while matter grows.

    Attributes:
        value: The bias today.
    """

    value: TensorLike

    def __call__(self, z: tf.Tensor, growth: tf.Tensor) -> tf.Tensor:
        """Bias, broadcast against `z`."""
        return _column(self.value, z) / growth


@dataclasses.dataclass(frozen=True)
class PowerLawBias(Structure):
    """Bias A ((1 + z) / (1 + z0))**eta, as for intrinsic alignments in DES Year 1.

    Attributes:
        amplitude: A, the bias at the pivot.
        eta: The power.
        z0: The pivot redshift.
    """

    amplitude: TensorLike
    eta: TensorLike
    z0: TensorLike = 0.62

    def __call__(self, z: tf.Tensor, growth: tf.Tensor) -> tf.Tensor:
        """Bias, broadcast against `z`."""
        ratio = (1 + z) / (1 + _column(self.z0, z))
        return _column(self.amplitude, z) * ratio ** _column(self.eta, z)


def constant_linear_bias(b: TensorLike) -> ConstantBias:
    """The same bias at all redshifts.

    Args:
        b: Bias, a scalar or [batch].

    Returns:
        The bias model.

    Raises:
        ValueError: If `b` is not finite.

    References:
        Kaiser 1984, ApJ 284, L9.
    """
    checks.finite(b, "b")
    return ConstantBias(b)


def inverse_growth_linear_bias(b: TensorLike) -> InverseGrowthBias:
    """Bias b / D1(z).

    Args:
        b: Bias today, a scalar or [batch].

    Returns:
        The bias model.

    Raises:
        ValueError: If `b` is not finite.

    References:
        Fry 1996, ApJ 461, L65 (clustering conserved by number).
    """
    checks.finite(b, "b")
    return InverseGrowthBias(b)


def des_y1_ia_bias(amplitude: TensorLike, eta: TensorLike, z0: TensorLike = 0.62) -> PowerLawBias:
    """Amplitude of intrinsic alignments A ((1 + z) / (1 + z0))**eta.

    Args:
        amplitude: A at the pivot, a scalar or [batch].
        eta: The power, a scalar or [batch].
        z0: The pivot redshift.

    Returns:
        The bias model.

    Raises:
        ValueError: If an argument is not finite.

    References:
        Troxel et al. 2018, arXiv:1708.01538.
    """
    for name, value in (("amplitude", amplitude), ("eta", eta), ("z0", z0)):
        checks.finite(value, name)
    return PowerLawBias(amplitude, eta, z0)


def as_bias(value: Bias | TensorLike, name: str) -> Bias:
    """A number as a constant bias; a bias model as it is.

    Args:
        value: A bias model, a function of (z, growth_factor), or a number.
        name: Name of the argument, for the message.

    Returns:
        The bias model.

    Raises:
        ValueError: If a number is not finite.

    References:
        Kaiser 1984, ApJ 284, L9.
    """
    if callable(value):
        return value
    checks.finite(value, name)
    return ConstantBias(value)


def _column(value: TensorLike, z: tf.Tensor) -> tf.Tensor:
    """A parameter as [..., 1] in the type of `z`."""
    return cast(value, z.dtype)[..., None]
