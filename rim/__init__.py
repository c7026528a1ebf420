"""Recurrent inference machines and annealed optimisation for large inverse problems.

Names are imported when they are first used, so that the command line answers at once.
"""

import importlib
from typing import Any

# Public name and the module it comes from.
_PUBLIC = {
    "CosmicRIM": "rim.cosmic",
    "DirectUNet": "rim.direct",
    "FourierAgreement": "rim.training",
    "InitialConditions": "rim.initial_conditions",
    "InverseProblem": "rim.problem",
    "MapEstimate": "rim.annealed_map",
    "RIM": "rim.machine",
    "Reconstruction": "rim.reconstruction",
    "TrajectoryError": "rim.training",
    "load_machine": "rim.reconstruction",
    "load_pretrained": "rim.reconstruction",
    "map_estimate": "rim.annealed_map",
    "mocks": "rim.training",
    "preset": "rim.presets",
    "reconstruct": "rim.reconstruction",
    "sample_posterior": "rim.posterior",
    "standard_reconstruction": "rim.baselines",
    "train": "rim.training",
    "wiener_filter": "rim.baselines",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
