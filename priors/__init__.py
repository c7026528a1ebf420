"""Priors for inverse problems, from theory and from data, with explicit likelihoods.

Names are imported when they are first used, so that the command line answers at once.
"""

import importlib
from typing import Any

# Public name and the module it comes from; a module that is itself public stands for itself.
_PUBLIC = {
    "ClassicalResult": "priors.proximal",
    "Denoiser": "priors.denoiser",
    "GaussianLikelihood": "priors.likelihood",
    "GaussianScore": "priors.score",
    "HybridScore": "priors.score",
    "ImageSamples": "priors.posterior",
    "LearnedScore": "priors.score",
    "MapPrior": "priors.map_prior",
    "MassMap": "priors.mass_mapping",
    "MaximumPosterior": "priors.maximum",
    "ReducedShearLikelihood": "priors.reduced_shear",
    "SourceScore": "priors.deblending",
    "WienerResult": "priors.wiener",
    "annealed_mode": "priors.deblending",
    "blend": "priors.blends",
    "blend_likelihood": "priors.blends",
    "brain_phantoms": "priors.phantoms",
    "cartesian_mask": "priors.phantoms",
    "galaxy_denoiser": "priors.galaxies",
    "galaxy_images": "priors.galaxies",
    "load_pretrained": "priors.map_prior",
    "load_prior": "priors.map_prior",
    "mass_map": "priors.mass_mapping",
    "maximum_posterior": "priors.maximum",
    "nonnegative_least_squares": "priors.deblending",
    "operators": "priors.operators",
    "power_map": "flowpm_ext.fields",
    "probability_flow": "priors.flow",
    "read_maps": "priors.training_maps",
    "sample_posterior": "priors.posterior",
    "sample_prior": "priors.posterior",
    "samplers": "priors.samplers",
    "simulate_training_maps": "priors.training_maps",
    "sparse_map": "priors.classical",
    "total_variation_map": "priors.classical",
    "train_prior": "priors.map_prior",
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
