"""Priors for inverse problems, from theory and from data, with explicit likelihoods.

Names are imported when they are first used, so that the command line answers at once.
"""

import importlib
from typing import Any

# Public name and the module it comes from; a module that is itself public stands for itself.
_PUBLIC = {
    "Denoiser": "priors.denoiser",
    "GaussianLikelihood": "priors.likelihood",
    "GaussianScore": "priors.score",
    "HybridScore": "priors.score",
    "ImageSamples": "priors.posterior",
    "LearnedScore": "priors.score",
    "MassMap": "priors.mass_mapping",
    "WienerResult": "priors.wiener",
    "mass_map": "priors.mass_mapping",
    "operators": "priors.operators",
    "power_map": "flowpm_ext.fields",
    "probability_flow": "priors.flow",
    "sample_posterior": "priors.posterior",
    "sample_prior": "priors.posterior",
    "wiener_adjoint": "priors.wiener",
    "wiener_filter": "priors.wiener",
    "wiener_samples": "priors.wiener",
    "wiener_solve": "priors.wiener",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    source = _PUBLIC[name]
    module = importlib.import_module(source)
    return module if source == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
