"""One-point statistics of maps: the distribution of pixel values and its moments."""

from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike
from flowpm_ext.stats.arguments import real_maps
from flowpm_ext.stats.histogram import bin_edges, histogram, pixels_of, softness


class Moments(NamedTuple):
    """Moments of the pixels of each map."""

    mean: tf.Tensor  # [batch, channels], the unit of the map
    variance: tf.Tensor  # [batch, channels], the unit of the map squared
    skewness: tf.Tensor  # [batch, channels], 0 for a Gaussian
    kurtosis: tf.Tensor  # [batch, channels], in excess of that of a Gaussian


def one_point(maps: TensorLike, edges: TensorLike, smoothing: TensorLike = 0.0) -> tf.Tensor:
    """Probability density of the values of pixels.

    Normalised by all pixels: the integral over the bins is the fraction of pixels within the
    outermost edges. With hard edges the gradient is zero.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        edges: Edges of the bins, in the unit of the maps, shape [num_bins + 1]; a bin holds its
            lower edge.
        smoothing: Width of soft edges in the unit of the maps: a pixel is above an edge to the
            degree sigmoid((pixel - edge) / smoothing), which has gradients with respect to the
            maps. 0 for hard edges.

    Returns:
        Density (1 / the unit of the maps), shape [batch, channels, num_bins].

    Raises:
        ValueError: If the maps have not four axes or are not finite, the edges do not increase,
            or the smoothing is negative.
        TypeError: If the maps are not real.

    References:
        Liu & Madhavacheril 2019, arXiv:1809.10747, for the distribution of convergence.
    """
    maps = real_maps(maps)
    return _density(maps, bin_edges(edges, maps.dtype), softness(smoothing, maps.dtype))


def moments(maps: TensorLike) -> Moments:
    """Mean, variance, skewness and excess kurtosis of the pixels of each map.

    Variance is the mean square about the mean. A constant map has no skewness or kurtosis: they
    are not a number. Differentiable.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].

    Returns:
        `Moments`.

    Raises:
        ValueError: If the maps have not four axes or are not finite.
        TypeError: If the maps are not real.

    References:
        Petri et al. 2013, arXiv:1309.4460, for moments of convergence.
    """
    return Moments(*_moments(real_maps(maps)))


@compiled
def _density(maps: tf.Tensor, edges: tf.Tensor, width: tf.Tensor | None) -> tf.Tensor:
    pixels = pixels_of(maps)
    counts = histogram(pixels, tf.ones_like(pixels), edges, width)
    return counts / (pixels.shape[-1] * (edges[1:] - edges[:-1]))


@compiled
def _moments(maps: tf.Tensor) -> list[tf.Tensor]:
    mean = tf.reduce_mean(maps, axis=[1, 2], keepdims=True)
    square, cube, fourth = (tf.reduce_mean((maps - mean) ** n, axis=[1, 2]) for n in (2, 3, 4))
    return [mean[:, 0, 0], square, cube / square**1.5, fourth / square**2 - 3]
