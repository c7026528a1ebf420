"""Differentiable cosmology in TensorFlow: theory, fields, simulations and lensing.

TensorFlow is loaded at the first use of a name, so that the import itself is quick.
"""

import importlib
from typing import Any

from flowpm_ext.version import __version__

_HOMES = {
    "Cosmology": "flowpm_ext.cosmology.parameters",
    "ParticleState": "flowpm_ext.pm.state",
    "Planck15": "flowpm_ext.cosmology.parameters",
    "Planck18": "flowpm_ext.cosmology.parameters",
    "cic_paint": "flowpm_ext.mesh.clouds",
    "cic_readout": "flowpm_ext.mesh.clouds",
    "linear_field": "flowpm_ext.fields.linear",
    "lpt_init": "flowpm_ext.pm.lpt",
    "nbody": "flowpm_ext.pm.nbody",
}
_SUBPACKAGES = (
    "core", "cosmology", "fields", "inference", "lensing", "mesh", "numerics", "pm", "stats",
)  # fmt: skip

__all__ = [
    "Cosmology",
    "ParticleState",
    "Planck15",
    "Planck18",
    "__version__",
    "cic_paint",
    "cic_readout",
    "linear_field",
    "lpt_init",
    "nbody",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"flowpm_ext.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'flowpm_ext' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
