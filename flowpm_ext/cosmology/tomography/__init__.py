"""Tomographic bins: how well they constrain cosmology, exactly, quickly and with gradients."""

from flowpm_ext.cosmology.tomography.bins import (
    Bins,
    bins_of_nz,
    bins_of_weights,
    hard_bins,
    slices_of_redshifts,
)
from flowpm_ext.cosmology.tomography.design import design_metric, magnitude_limited_nz
from flowpm_ext.cosmology.tomography.metrics import (
    METRICS,
    PAIRS,
    PROBES,
    Survey,
    binned_spectra,
    figure_of_merit,
    fisher_matrix,
    metric,
    signal_to_noise,
)
from flowpm_ext.cosmology.tomography.nuisance import (
    Nuisance,
    marginal_fisher_matrix,
    marginal_metric,
)
from flowpm_ext.cosmology.tomography.slices import (
    CHALLENGE,
    PARAMETERS,
    SliceSpectra,
    challenge_ell,
    challenge_spectra,
    slice_spectra,
)

__all__ = [
    "CHALLENGE",
    "METRICS",
    "PAIRS",
    "PARAMETERS",
    "PROBES",
    "Bins",
    "Nuisance",
    "SliceSpectra",
    "Survey",
    "binned_spectra",
    "bins_of_nz",
    "bins_of_weights",
    "challenge_ell",
    "challenge_spectra",
    "design_metric",
    "figure_of_merit",
    "fisher_matrix",
    "hard_bins",
    "magnitude_limited_nz",
    "marginal_fisher_matrix",
    "marginal_metric",
    "metric",
    "signal_to_noise",
    "slice_spectra",
    "slices_of_redshifts",
]
