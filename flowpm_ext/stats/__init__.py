"""Statistics of fields on a mesh: spectra, correlations and transfers, and windows."""

from flowpm_ext.stats.cross_correlation import (
    CrossCorrelation,
    TransferFunction,
    cross_correlation,
    transfer_function,
)
from flowpm_ext.stats.multipoles import PowerMultipoles, power_multipoles
from flowpm_ext.stats.power_spectrum import PowerSpectrum, cross_power_spectrum, power_spectrum
from flowpm_ext.stats.window import compensate_window

__all__ = [
    "CrossCorrelation",
    "PowerMultipoles",
    "PowerSpectrum",
    "TransferFunction",
    "compensate_window",
    "cross_correlation",
    "cross_power_spectrum",
    "power_multipoles",
    "power_spectrum",
    "transfer_function",
]
