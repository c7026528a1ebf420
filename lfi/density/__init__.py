"""Conditional densities as Keras models."""

from lfi.density.autoregressive import MaskedAutoregressiveFlow
from lfi.density.base import ConditionalDensity
from lfi.density.by_name import DENSITIES, make_density
from lfi.density.coupling import CouplingFlow
from lfi.density.mixture import MixtureDensity

__all__ = [
    "DENSITIES",
    "ConditionalDensity",
    "CouplingFlow",
    "MaskedAutoregressiveFlow",
    "MixtureDensity",
    "make_density",
]
