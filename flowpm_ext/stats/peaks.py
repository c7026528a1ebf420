"""Counts of the peaks of maps, by their height."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike
from flowpm_ext.stats.arguments import real_maps
from flowpm_ext.stats.histogram import bin_edges, histogram, pixels_of, softness

NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def peak_counts(maps: TensorLike, edges: TensorLike, smoothing: TensorLike = 0.0) -> tf.Tensor:
    """Number of pixels higher than their eight neighbours, in bins of height.

    Pixels on the border of the map are no peaks. Give maps in units of their noise for the
    counts of lensing surveys, and their negative for counts of minima.

    Counts of whole peaks change in jumps, and their gradient is zero. With a smoothing s, a pixel
    counts with the product of sigmoid((pixel - neighbour) / s) over its neighbours, and is above
    an edge to the degree sigmoid((pixel - edge) / s): the counts and their gradients with
    respect to the maps are smooth, and tend to whole peaks as s goes to zero.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        edges: Edges of the bins of height, in the unit of the maps, shape [num_bins + 1]; a bin
            holds its lower edge.
        smoothing: Width of soft comparisons in the unit of the maps; 0 for whole peaks.

    Returns:
        Counts, shape [batch, channels, num_bins].

    Raises:
        ValueError: If the maps have not four axes or are not finite, a side has fewer than three
            pixels, the edges do not increase, or the smoothing is negative.
        TypeError: If the maps are not real.

    References:
        Kratochvil, Haiman & May 2010, arXiv:0907.0486; Liu et al. 2015, arXiv:1412.0757.
    """
    maps = real_maps(maps)
    has_inside = min(maps.shape[1:3]) >= 3
    checks.require(has_inside, "maps", "have at least 3 pixels along a side", maps)
    return _counts(maps, bin_edges(edges, maps.dtype), softness(smoothing, maps.dtype))


@compiled
def _counts(maps: tf.Tensor, edges: tf.Tensor, width: tf.Tensor | None) -> tf.Tensor:
    _, ny, nx, _ = maps.shape
    inside = maps[:, 1:-1, 1:-1]
    height = pixels_of(inside)
    excess = [inside - maps[:, 1 + dy : ny - 1 + dy, 1 + dx : nx - 1 + dx] for dy, dx in NEIGHBOURS]
    if width is None:
        higher = [tf.cast(x > 0, maps.dtype) for x in excess]
    else:
        higher = [tf.sigmoid(x / width) for x in excess]
    weight = higher[0]
    for factor in higher[1:]:
        weight *= factor
    return histogram(height, pixels_of(weight), edges, width)
