"""Statistics of fields on a mesh and of maps: spectra, correlations, peaks, wavelets."""

from flowpm_ext.stats.angular_power import AngularPower, angular_power
from flowpm_ext.stats.cross_correlation import (
    CrossCorrelation,
    TransferFunction,
    cross_correlation,
    transfer_function,
)
from flowpm_ext.stats.multipoles import PowerMultipoles, power_multipoles
from flowpm_ext.stats.one_point import Moments, moments, one_point
from flowpm_ext.stats.peaks import peak_counts
from flowpm_ext.stats.power_spectrum import PowerSpectrum, cross_power_spectrum, power_spectrum
from flowpm_ext.stats.starlet import starlet, starlet_adjoint, starlet_l1norm, starlet_noise
from flowpm_ext.stats.window import compensate_window

__all__ = [
    "AngularPower",
    "CrossCorrelation",
    "Moments",
    "PowerMultipoles",
    "PowerSpectrum",
    "TransferFunction",
    "angular_power",
    "compensate_window",
    "cross_correlation",
    "cross_power_spectrum",
    "moments",
    "one_point",
    "peak_counts",
    "power_multipoles",
    "power_spectrum",
    "starlet",
    "starlet_adjoint",
    "starlet_l1norm",
    "starlet_noise",
    "transfer_function",
]
