"""Weights of values in bins, which may have soft edges so that counts have gradients."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, known


def bin_edges(edges: TensorLike, dtype: tf.DType, name: str = "edges") -> tf.Tensor:
    """Edges of bins as a tensor, or a refusal.

    Args:
        edges: Increasing, shape [num_bins + 1].
        dtype: Of the result.
        name: Name of the argument, for messages.

    Returns:
        The edges.

    Raises:
        ValueError: If there are fewer than two, or they do not increase.
    """
    checks.rank(edges, name, 1)
    checks.finite(edges, name)
    checks.increasing(edges, name)
    edges = cast(edges, dtype)
    checks.require((edges.shape[0] or 2) >= 2, name, "hold at least two edges", edges)
    return edges


def softness(smoothing: TensorLike, dtype: tf.DType) -> tf.Tensor | None:
    """The width of soft edges as a tensor; None where edges are known to be hard.

    Args:
        smoothing: Width, in the unit of the values, a scalar; 0 for hard edges.
        dtype: Of the result.

    Returns:
        The width.

    Raises:
        ValueError: If it is negative or no scalar.
    """
    checks.rank(smoothing, "smoothing", 0)
    checks.non_negative(smoothing, "smoothing")
    number = known(smoothing)
    return None if number is not None and number == 0 else cast(smoothing, dtype)


def histogram(
    values: tf.Tensor, weights: tf.Tensor, edges: tf.Tensor, width: tf.Tensor | None
) -> tf.Tensor:
    """Sums of the weights of the values in each bin.

    Args:
        values: Any unit, shape [..., num_values].
        weights: Any unit, the same shape.
        edges: Edges of the bins, shape [num_bins + 1]; a bin holds its lower edge.
        width: None for hard edges. Else a value is in a bin to the degree
            sigmoid((value - lower) / width) - sigmoid((value - upper) / width).

    Returns:
        Sums, shape [..., num_bins].
    """
    low, high = edges[:-1, None], edges[1:, None]
    values, weights = values[..., None, :], weights[..., None, :]
    if width is None:
        share = tf.cast((values >= low) & (values < high), weights.dtype)
    else:
        share = tf.sigmoid((values - low) / width) - tf.sigmoid((values - high) / width)
    return tf.reduce_sum(share * weights, axis=-1)


def pixels_of(maps: tf.Tensor) -> tf.Tensor:
    """Pixels of maps in one row.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].

    Returns:
        The same, shape [batch, channels, ny * nx].
    """
    _, ny, nx, num_channels = maps.shape
    return tf.reshape(tf.transpose(maps, [0, 3, 1, 2]), [-1, num_channels, ny * nx])
