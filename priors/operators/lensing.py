"""Weak lensing on a flat, periodic patch, as an operator from convergence to shear."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core.types import TensorLike, static
from flowpm_ext.lensing.shear import ConvergenceModes, convergence, shear
from priors.operators import base


@dataclasses.dataclass(frozen=True)
class KaiserSquires(base.AbstractLinearOperator):
    """Linear operator from convergence to shear; see `flowpm_ext.lensing.shear`.

    The mean convergence leaves no shear, so that `op.adjoint(op(kappa))` is `kappa` minus its
    mean; on maps without a mean the operator is unitary.

    Attributes:
        shape: Pixels of the map, (ny, nx).

    Raises:
        ValueError: If `shape` is not two positive integers.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
    """

    shape: tuple[int, int] = static()

    gives_complex = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", base.map_shape(self.shape))

    def modes(self, gamma: TensorLike) -> ConvergenceModes:
        """E- and B-mode convergence of a shear map.

        Args:
            gamma: Complex shear gamma1 + i gamma2 (dimensionless), shape [..., ny, nx].

        Returns:
            `ConvergenceModes` (dimensionless), each map real and of shape [..., ny, nx]; `e` is
            `op.adjoint(gamma)` and `b` that of the shear turned by 45 degrees,
            `op.adjoint(-1j * gamma)`.

        Raises:
            ValueError: If `gamma` does not end in the sides of the map.
            TypeError: If `gamma` is real.
        """
        return convergence(base.checked(gamma, "gamma", self.shape, is_complex=True))

    def _forward(self, x: tf.Tensor) -> tf.Tensor:
        return shear(x)

    def _backward(self, y: tf.Tensor) -> tf.Tensor:
        return convergence(y).e
