"""Optimisers, samplers and their diagnostics: methods that know no physics."""

from flowpm_ext.inference.diagnostics import effective_sample_size, r_hat
from flowpm_ext.inference.hmc import CompiledLogProb, Samples, sample_hmc
from flowpm_ext.inference.lbfgs import Minimum, minimize

__all__ = [
    "CompiledLogProb",
    "Minimum",
    "Samples",
    "effective_sample_size",
    "minimize",
    "r_hat",
    "sample_hmc",
]
