"""What every redshift distribution is: a normalised density that knows where it is smooth."""

import abc
import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import Structure, TensorLike, cast, floating
from flowpm_ext.numerics import quadrature

ARCMIN2_PER_STERADIAN = (180 * 60 / math.pi) ** 2
NUM_NODES = 8  # in each panel: the panels are made for 4 nodes and 1e-6, 8 leave no error


@dataclasses.dataclass(frozen=True, eq=False)
class RedshiftDistribution(Structure, abc.ABC):
    """Base of all n(z): numbers or tensors that TensorFlow sees through, without state.

    A kind of distribution says where it is smooth (`breakpoints`) and what it is up to a
    factor (`_shape`); the rest follows. Integrals over n(z) are sums over a few nodes in each
    panel between two breakpoints, and the panels move with the parameters.

    Args:
        gals_per_arcmin2: Density of the galaxies on the sky (1 / arcmin**2).

    Raises:
        ValueError: If `gals_per_arcmin2` is not positive.
    """

    has_density: ClassVar[bool] = True  # a delta function has none
    gals_per_arcmin2: TensorLike = dataclasses.field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        density = units.to_value(self.gals_per_arcmin2, "arcmin-2", "gals_per_arcmin2")
        object.__setattr__(self, "gals_per_arcmin2", density)
        checks.positive(density, "gals_per_arcmin2")

    @abc.abstractmethod
    def breakpoints(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        """Edges of panels in which four Gauss-Legendre nodes integrate n(z) to about 1e-6.

        The first and the last are the ends of the distribution; outside them n(z) is zero.
        They follow the parameters, and gradients pass through them, because that is how the
        integral over a shifted histogram knows its derivative.

        Args:
            dtype: Floating type of the result.

        Returns:
            Redshifts, not decreasing, shape [num_panels + 1], of a static size.
        """

    @abc.abstractmethod
    def _shape(self, z: tf.Tensor) -> tf.Tensor:
        """Density up to a factor, at any shape of redshifts inside the support."""

    def __call__(self, z: TensorLike) -> tf.Tensor:
        """Normalised density of galaxies in redshift, dN/dz.

        Args:
            z: Redshift, any shape. Its type decides the precision; numbers mean float64.

        Returns:
            Density, whose integral over redshift is one, in the shape of `z`.
        """
        z = cast(z, floating(z))
        edges = self.breakpoints(z.dtype)
        inside = (z >= edges[0]) & (z <= edges[-1])
        # Outside, the shape is taken at a harmless point: its gradient there is zero, not NaN.
        shape = self._shape(tf.where(inside, z, 0.5 * (edges[0] + edges[-1])))
        return tf.where(inside, shape, 0) / self._total(edges)

    def mean(self, dtype: tf.DType = tf.float64) -> tf.Tensor:
        """Mean redshift.

        Args:
            dtype: Floating type of the result.

        Returns:
            The mean, a scalar.
        """
        edges = self.breakpoints(dtype)
        z, weights = quadrature.panel_nodes(edges, NUM_NODES)
        return tf.reduce_sum(z * weights * self._shape(z)) / self._total(edges)

    @property
    def gals_per_steradian(self) -> TensorLike:
        """Density of the galaxies on the sky (1 / steradian)."""
        return self.gals_per_arcmin2 * ARCMIN2_PER_STERADIAN

    def _total(self, edges: tf.Tensor) -> tf.Tensor:
        """Integral of the shape over the support."""
        z, weights = quadrature.panel_nodes(edges, NUM_NODES)
        return tf.reduce_sum(weights * self._shape(z))


def require_density(nz: RedshiftDistribution) -> None:
    """Refuse what is not a distribution with a density.

    Args:
        nz: What was received.

    Raises:
        TypeError: If `nz` is not a redshift distribution, or a delta function.
    """
    checks.require(
        isinstance(nz, RedshiftDistribution) and nz.has_density, "nz",
        "be a redshift distribution with a density", nz,
        "See the functions of `redshift`; a delta function has no density.", error=TypeError,
    )  # fmt: skip


def spread(low: tf.Tensor, high: tf.Tensor, fractions: np.ndarray) -> tf.Tensor:
    """Points from `low` to `high` at fixed fractions of the way.

    Args:
        low: First redshift, a scalar.
        high: Last redshift, a scalar.
        fractions: Numbers from 0 to 1, NumPy [n].

    Returns:
        Redshifts, shape [n].
    """
    return low + (high - low) * tf.constant(fractions, low.dtype)
