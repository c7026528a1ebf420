"""Particle-mesh simulations."""

from flowpm_ext.pm.fourier_filter import FourierFilter
from flowpm_ext.pm.lpt import lpt_init
from flowpm_ext.pm.nbody import nbody
from flowpm_ext.pm.potential_descent import Sharpening, potential_gradient_descent
from flowpm_ext.pm.sharpening import SharpeningFit, fit_sharpening
from flowpm_ext.pm.state import ParticleState
from flowpm_ext.pm.tables import SimulationTables

__all__ = [
    "FourierFilter",
    "ParticleState",
    "Sharpening",
    "SharpeningFit",
    "SimulationTables",
    "fit_sharpening",
    "lpt_init",
    "nbody",
    "potential_gradient_descent",
]
