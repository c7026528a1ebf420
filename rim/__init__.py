"""Recurrent inference machines and annealed optimisation for large inverse problems.

Names are imported when they are first used, so that the command line answers at once.
"""

import importlib
from typing import Any

# Public name and the module it comes from.
_PUBLIC = {
    "InitialConditions": "rim.initial_conditions",
    "InverseProblem": "rim.problem",
    "MapEstimate": "rim.annealed_map",
    "map_estimate": "rim.annealed_map",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
