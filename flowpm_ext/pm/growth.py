"""Growth of displacements and of momenta in perturbation theory, where the particles need it."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core.compile import compiled, folded
from flowpm_ext.core.types import Structure, TensorLike, cast
from flowpm_ext.cosmology import expansion
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.parameters import Cosmology


@dataclasses.dataclass(frozen=True)
class Growth(Structure):
    """Factors of the displacements and momenta of both orders, shape [batch..., n].

    A displacement that grows like D has the momentum a**2 dx/dt / H0 = a**2 E f D.

    Attributes:
        first: D1.
        first_momentum: a**2 E f1 D1.
        second: D2.
        second_momentum: a**2 E f2 D2.
    """

    first: tf.Tensor
    first_momentum: tf.Tensor
    second: tf.Tensor
    second_momentum: tf.Tensor


@folded
def growth_at(cosmo: Cosmology, *a: TensorLike) -> Growth:
    """Growth factors at scale factors.

    Args:
        cosmo: Cosmology, or a batch.
        *a: Scale factors, scalars, [n] or [batch, n], all in one line of the result.

    Returns:
        Factors in the dtype of the cosmology.

    References:
        Bouchet et al. 1995, arXiv:astro-ph/9406013.
    """
    return _read(_table(cosmo), cosmo, a)


# Apart from what depends on the number of scale factors, so that it is compiled only once.
@compiled
def _table(cosmo: Cosmology) -> GrowthTable:
    return GrowthTable.of(cosmo.columns())


@compiled
def _read(table: GrowthTable, cosmo: Cosmology, a: tuple[TensorLike, ...]) -> Growth:
    a = tf.concat(_beside_each_other([cast(x, cosmo.dtype) for x in a]), axis=-1)
    rate = a**2 * tf.sqrt(expansion.squared_rate(cosmo.columns(), a))
    first, second = table.factor(a), table.second_factor(a)
    return Growth(first, rate * table.rate(a) * first, second, rate * table.second_rate(a) * second)


def _beside_each_other(parts: list[tf.Tensor]) -> list[tf.Tensor]:
    """Scalars, [n] and [batch, n] with the same leading axes."""
    parts = [x[None] if x.shape.rank == 0 else x for x in parts]
    batch = [x.shape[0] for x in parts if x.shape.rank == 2]
    return [tf.broadcast_to(x, [*batch[:1], x.shape[-1]]) for x in parts]
