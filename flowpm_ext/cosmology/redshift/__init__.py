"""Redshift distributions of galaxies: densities, catalogues and photometric bins.

All are made by functions, are callable, and are normalised to one for any parameters.
"""

from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.cosmology.redshift.changes import stretch, systematic_shift
from flowpm_ext.cosmology.redshift.photometric import photoz_bin, tomographic_bins
from flowpm_ext.cosmology.redshift.shapes import DeltaRedshift, delta_nz, gaussian_nz, smail_nz
from flowpm_ext.cosmology.redshift.tables import histogram_nz, kde_nz, tabulated_nz

__all__ = [
    "DeltaRedshift",
    "RedshiftDistribution",
    "delta_nz",
    "gaussian_nz",
    "histogram_nz",
    "kde_nz",
    "photoz_bin",
    "smail_nz",
    "stretch",
    "systematic_shift",
    "tabulated_nz",
    "tomographic_bins",
]
