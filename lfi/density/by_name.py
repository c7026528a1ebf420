"""Densities by short names."""

from collections.abc import Callable
from typing import Any

from flowpm_ext.core import checks
from lfi.density.autoregressive import MaskedAutoregressiveFlow
from lfi.density.base import ConditionalDensity
from lfi.density.coupling import CouplingFlow
from lfi.density.mixture import MixtureDensity

DENSITIES: dict[str, Callable[..., ConditionalDensity]] = {
    "mdn": MixtureDensity,
    "maf": MaskedAutoregressiveFlow,
    "coupling": lambda *args, **options: CouplingFlow(*args, "affine", **options),
    "spline": CouplingFlow,
    "autoregressive": lambda *args, **options: MaskedAutoregressiveFlow(
        *args, **{"hidden": (100, 100), "activation": "relu", "transform": "spline"} | options
    ),
}


def make_density(kind: str, num_dims: int, num_context: int, **options: Any) -> ConditionalDensity:
    """A density by its short name.

    Args:
        kind: "mdn", "maf", "coupling", "spline" or "autoregressive".
        num_dims: Components of y.
        num_context: Components of the context.
        **options: Of the density.

    Returns:
        The density, untrained.

    Raises:
        ValueError: If the name is unknown.
    """
    checks.one_of(kind, "density", tuple(DENSITIES))
    return DENSITIES[kind](num_dims, num_context, **options)
