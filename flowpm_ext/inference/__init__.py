"""Optimisers, samplers and their diagnostics: methods that know no physics."""

from flowpm_ext.inference.chains import Samples
from flowpm_ext.inference.coordinates import Normal
from flowpm_ext.inference.diagnostics import effective_sample_size, r_hat
from flowpm_ext.inference.families import AbstractFamily, CouplingFlow, FullRank, MeanField
from flowpm_ext.inference.hmc import CompiledLogProb, sample_hmc
from flowpm_ext.inference.importance import Importance, importance
from flowpm_ext.inference.laplace import Laplace, laplace
from flowpm_ext.inference.lbfgs import Minimum, minimize
from flowpm_ext.inference.maximum import Maximum, maximum
from flowpm_ext.inference.mclmc import CompiledMicrocanonical, sample_mclmc
from flowpm_ext.inference.nuts import CompiledNuts, sample_nuts
from flowpm_ext.inference.parameter import Parameter
from flowpm_ext.inference.sampling import Draws, sample
from flowpm_ext.inference.space import Space
from flowpm_ext.inference.variational import Variational, fit_variational

__all__ = [
    "AbstractFamily",
    "CompiledLogProb",
    "CompiledMicrocanonical",
    "CompiledNuts",
    "CouplingFlow",
    "Draws",
    "FullRank",
    "Importance",
    "Laplace",
    "Maximum",
    "MeanField",
    "Minimum",
    "Normal",
    "Parameter",
    "Samples",
    "Space",
    "Variational",
    "effective_sample_size",
    "fit_variational",
    "importance",
    "laplace",
    "maximum",
    "minimize",
    "r_hat",
    "sample",
    "sample_hmc",
    "sample_mclmc",
    "sample_nuts",
]
