"""Likelihood-free inference: learned summaries, neural densities, calibrated posteriors.

Names are imported when they are first used.
"""

import importlib
from typing import Any

# Public name and the module it comes from.
_PUBLIC = {
    "BoxPrior": "lfi.prior",
    "Chains": "lfi.chains",
    "Compressor": "lfi.compressors",
    "Ensemble": "lfi.ensemble",
    "LensingTask": "lfi.survey",
    "NLE": "lfi.nle",
    "NPE": "lfi.npe",
    "Posterior": "lfi.npe",
    "SampledPosterior": "lfi.nle",
    "Pretrained": "lfi.pretrained",
    "load_estimator": "lfi.saving",
    "load_pretrained": "lfi.pretrained",
    "run_rounds": "lfi.sequential",
    "save_estimator": "lfi.saving",
    "simulate": "lfi.sequential",
    "task": "lfi.task",
}
_SUBPACKAGES = ("compressors", "density", "diagnostics", "lens_finder", "tomography")

__all__ = sorted([*_PUBLIC, *_SUBPACKAGES])


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lfi.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    source = _PUBLIC[name]
    module = importlib.import_module(source)
    return module if source == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
