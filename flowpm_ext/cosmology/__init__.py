"""Differentiable cosmology: background, growth, power spectra, angular spectra, forecasts."""

import importlib
from typing import Any

from flowpm_ext.cosmology.parameters import Cosmology, Planck15, Planck18, radiation_density

_MODULES = (
    "angular_cl",
    "background",
    "bias",
    "covariance",
    "fisher",
    "likelihood",
    "power",
    "probes",
    "redshift",
    "tomography",
)

__all__ = ["Cosmology", "Planck15", "Planck18", "radiation_density", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"flowpm_ext.cosmology.{name}")
    raise AttributeError(f"module 'flowpm_ext.cosmology' has no attribute {name!r}")
