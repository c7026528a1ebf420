"""The power spectrum of convergence maps, from theory."""

from collections.abc import Sequence

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.cosmology import Cosmology, Planck18, angular_cl, probes, redshift
from flowpm_ext.fields.gaussian import power_map
from priors.catalogue import Source, read_nz
from priors.sky_grid import SkyGrid

# The theory is smooth: this many multipoles hold it to 1e-3 between the tabulated ones.
NUM_ELL = 128


def theory_power(
    nz: Source | Sequence | redshift.RedshiftDistribution,
    grid: SkyGrid,
    cosmo: Cosmology | None = None,
) -> np.ndarray:
    """Power of the convergence in each Fourier mode of a map, from the Limber C_ell.

    The map holds means over its pixels, as shear that is averaged in pixels gives them.

    Args:
        nz: Redshift distribution of the galaxies: see `priors.catalogue.read_nz`; or one of
            `flowpm_ext.cosmology.redshift`.
        grid: The pixels.
        cosmo: Cosmology; Planck18 if None.

    Returns:
        C_ell over the area of a pixel, times the square of the pixel's transform, in FFT layout,
        shape [ny, nx]; 0 at ell = 0.

    Raises:
        ValueError: If the distribution cannot be read or holds bad values.
        TypeError: If `cosmo` is no cosmology, or `nz` of another kind than these.
    """
    cosmo = Planck18() if cosmo is None else cosmo
    rule, fix = "be a cosmology", "Pass `flowpm_ext.Planck18()`, for example."
    checks.require(isinstance(cosmo, Cosmology), "cosmo", rule, cosmo, fix, TypeError)
    if not isinstance(nz, redshift.RedshiftDistribution):
        nz = redshift.histogram_nz(*read_nz(nz))
    probe = probes.WeakLensing([nz])
    lowest = 2 * np.pi / (max(grid.shape) * grid.pixel_size)
    highest = np.sqrt(2) * np.pi / grid.pixel_size  # the corner of the Fourier plane
    ell = np.geomspace(0.99 * lowest, 1.01 * highest, NUM_ELL)
    cl = angular_cl.angular_cl(cosmo, ell, [probe])[0]
    return np.asarray(power_map((ell, cl), grid.shape, grid.pixel_size)) * _window(grid.shape)


def _window(shape: tuple[int, int]) -> np.ndarray:
    """What the mean over a pixel leaves of the power of each mode, in FFT layout."""
    return np.multiply.outer(*(np.sinc(np.fft.fftfreq(n)) ** 2 for n in shape))
