"""Background and growth as functions of (cosmo, a): the public door to both.

Every function is differentiable in the cosmology and in `a`, takes a batch of cosmologies,
and works in graphs and under XLA.
"""

from flowpm_ext.cosmology.distances import (
    a_of_chi,
    angular_diameter_distance,
    dchioverda,
    luminosity_distance,
    radial_comoving_distance,
    transverse_comoving_distance,
)
from flowpm_ext.cosmology.expansion import Esqr, H, Omega_de_a, Omega_m_a, f_de, w
from flowpm_ext.cosmology.growth import (
    growth_factor,
    growth_factor_second,
    growth_rate,
    growth_rate_second,
)

__all__ = [
    "Esqr",
    "H",
    "Omega_de_a",
    "Omega_m_a",
    "a_of_chi",
    "angular_diameter_distance",
    "dchioverda",
    "f_de",
    "growth_factor",
    "growth_factor_second",
    "growth_rate",
    "growth_rate_second",
    "luminosity_distance",
    "radial_comoving_distance",
    "transverse_comoving_distance",
    "w",
]
