"""Ways to draw from what is known by its score: kernels, annealed chains, flows of posteriors.

Kernels are imported when they are first used, because TensorFlow Probability takes seconds.
"""

import importlib
from typing import Any

_PUBLIC = {"Langevin": "priors.samplers.kernels", "ScoreHMC": "priors.samplers.kernels"}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
