"""Conditional densities as Keras models."""

from lfi.density.autoregressive import MaskedAutoregressiveFlow
from lfi.density.base import ConditionalDensity
from lfi.density.coupling import CouplingFlow
from lfi.density.mixture import MixtureDensity

__all__ = ["ConditionalDensity", "CouplingFlow", "MaskedAutoregressiveFlow", "MixtureDensity"]
