"""How good a survey would be, as a differentiable function of its bins, area and depth."""

from collections.abc import Sequence

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating
from flowpm_ext.cosmology.redshift import RedshiftDistribution, smail_nz, tomographic_bins
from flowpm_ext.cosmology.tomography.bins import bins_of_nz
from flowpm_ext.cosmology.tomography.metrics import Survey, metric
from flowpm_ext.cosmology.tomography.slices import SliceSpectra


def magnitude_limited_nz(i_limit: TensorLike) -> RedshiftDistribution:
    """Galaxies brighter than a magnitude in the i band, as expected for LSST.

    z**2 exp(-z / z0) with z0 = 0.0417 i - 0.744, and 46 10**(0.31 (i - 25)) galaxies per square
    arcminute.

    Args:
        i_limit: Limiting magnitude (AB), from about 20.5 to 25.5.

    Returns:
        The distribution with its density on the sky.

    Raises:
        ValueError: If `i_limit` is not between 18.5 and 30, beyond which the relation is void.

    References:
        LSST Science Collaboration 2009, arXiv:0912.0201, section 3.7.2.
    """
    checks.in_range(i_limit, "i_limit", 18.5, 30.0)
    i_limit = cast(i_limit, floating(i_limit))
    density = 46 * tf.pow(tf.constant(10.0, i_limit.dtype), 0.31 * (i_limit - 25))
    return smail_nz(2.0, 1.0, 0.0417 * i_limit - 0.744, gals_per_arcmin2=density)


def design_metric(
    spectra: SliceSpectra,
    bin_edges: TensorLike | Sequence[float],
    i_limit: TensorLike,
    f_sky: TensorLike,
    sigma0: TensorLike = 0.05,
    usable: TensorLike = 1.0,
    sigma_e: TensorLike = 0.26,
    kind: str = "detf",
    probes: str = "3x2",
) -> tf.Tensor:
    """Metric of a survey to a depth, over an area, with bins in photometric redshift.

    Its gradient says what is worth more: a wider or a deeper survey, better redshifts, other bins.

    Args:
        spectra: Spectra between slices.
        bin_edges: Edges of the bins (photometric redshift), increasing, shape [num_bins + 1].
        i_limit: Limiting magnitude in the i band (AB), which sets n(z) and the density.
        f_sky: Fraction of the sky, at most 1.
        sigma0: Scatter of photometric redshifts at redshift zero; see `redshift.photoz_bin`.
        usable: Part of the galaxies that is of use, at most 1; the density on the sky is
            proportional to it.
        sigma_e: Dispersion of one component of the ellipticities.
        kind: As for `metric`.
        probes: As for `metric`.

    Returns:
        The metric, a scalar, differentiable in all numbers.

    Raises:
        ValueError: If a number is not positive, a part is above 1, edges do not increase, or an
            option is unknown.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2; LSST Science Collaboration 2009,
        arXiv:0912.0201, section 3.7.2.
    """
    checks.positive(usable, "usable")
    checks.in_range(usable, "usable", 0, 1)
    nz = magnitude_limited_nz(i_limit)
    bins = bins_of_nz(tomographic_bins(nz, bin_edges, sigma0), spectra.edges, nz.gals_per_arcmin2)
    density = cast(usable, bins.counts.dtype) * nz.gals_per_arcmin2
    return metric(spectra, bins, Survey(f_sky, density, sigma_e), kind, probes)
