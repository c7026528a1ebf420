"""Angular power spectra of flat maps, of all pairs of channels."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks, units
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.cosmology.angular_cl import tracer_pairs
from flowpm_ext.numerics import fourier
from flowpm_ext.stats.arguments import real_maps
from flowpm_ext.stats.bins import bin_sums, edges_in_cells, map_mode_bins
from flowpm_ext.stats.spectra import real_product

WINDOWS = ("pixel",)


class AngularPower(NamedTuple):
    """Angular power spectra in bins of |ell|."""

    ell: tf.Tensor  # [nl], mean |ell| of the modes in each bin
    cl: tf.Tensor  # [batch, num_cl, nl], the unit of the maps squared (steradian)
    num_modes: tf.Tensor  # int64 [nl], all modes of the Fourier plane; half of them independent


def angular_power(
    maps: TensorLike,
    pixel_size_arcmin: float,
    ell_edges: ArrayLike | None = None,
    window: str | None = None,
) -> AngularPower:
    """Auto and cross spectra of the channels of flat maps: mean power of the modes of each bin.

    C = area · <Re a_ell b_ell*> with a_ell = FFT / number of pixels, for the pairs of channels
    i <= j in the order of `angular_cl`. A bin holds its lower edge (to a relative 1e-6) and not
    its upper one; the mean of the map is in no bin. `num_modes` counts ell and -ell: below the
    Nyquist frequency, the scatter of the spectrum of a periodic Gaussian map is
    C sqrt(2 / num_modes). A map that is not periodic leaks power along the axes; take an apodised
    one, and divide by the mean square of what it was multiplied with. White noise of standard
    deviation sigma in each pixel adds sigma**2 times the area of a pixel. Differentiable with
    respect to the maps.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        pixel_size_arcmin: Side of a pixel (arcmin).
        ell_edges: Edges of the bins, increasing, shape [nl + 1]. By default bins as wide as the
            fundamental frequency of the longest side and centred on its multiples, as many as
            end below the Nyquist frequency.
        window: "pixel" to divide modes by the transform of a pixel, of which the maps hold the
            mean; None for maps of values at points.

    Returns:
        `AngularPower`, in the dtype of the maps.

    Raises:
        ValueError: If the maps have not four axes or are not finite, the pixel size is not
            positive, the edges are negative or do not increase, a bin holds no mode, or `window`
            is unknown.
        TypeError: If the maps are not real.

    References:
        Hivon et al. 2002, arXiv:astro-ph/0105302, for masks and leakage.
    """
    maps = real_maps(maps)
    pixel_size = units.to_value(pixel_size_arcmin, "arcmin", "pixel_size_arcmin")
    checks.positive(pixel_size, "pixel_size_arcmin")
    if window is not None:
        checks.one_of(window, "window", WINDOWS)
    cell = _radians(pixel_size)
    ny, nx = maps.shape[1:3]
    bins = map_mode_bins((ny, nx), edges_in_cells(ell_edges, "ell_edges", "", (ny, nx), cell))
    sums = _sums(maps, bins.segment, bins.num_modes.size, window)
    area = cast(cell**2 / (ny * nx) / bins.num_modes, maps.dtype)
    return AngularPower(
        cast(bins.k / cell, maps.dtype), area * sums, tf.constant(bins.num_modes)
    )  # fmt: skip


def _radians(pixel_size_arcmin: float) -> float:
    value = known(pixel_size_arcmin)
    is_number = value is not None and value.ndim == 0
    checks.require(
        is_number, "pixel_size_arcmin", "be one number known when the graph is built",
        pixel_size_arcmin,
    )  # fmt: skip
    return float(np.deg2rad(value / 60))


@compiled
def _sums(maps: tf.Tensor, segment: tf.Tensor, num_bins: int, window: str | None) -> tf.Tensor:
    """Sums of products of modes over the bins, [batch, num_cl, num_bins]."""
    _, ny, nx, num_channels = maps.shape
    modes = fourier.rfft2(tf.transpose(maps, [0, 3, 1, 2]))
    if window == "pixel":
        l2, l1 = fourier.wavenumbers((ny, nx), 1.0)
        transform = np.sinc(l1 / (2 * np.pi)) * np.sinc(l2 / (2 * np.pi))
        modes /= tf.constant(transform, modes.dtype)
    weights = fourier.half_plane_weights(nx)
    pairs = zip(*tracer_pairs(num_channels), strict=True)
    sums = [
        bin_sums(real_product(modes[:, i], modes[:, j]), segment, num_bins, weights)
        for i, j in pairs
    ]
    return tf.stack(sums, axis=1)
