"""Monotone rational-quadratic splines."""

import numpy as np
import tensorflow as tf

LEAST_WIDTH = 1e-3  # of a piece, over the whole
LEAST_SLOPE = 1e-3


def num_parameters(num_pieces: int) -> int:
    """Numbers that describe a spline.

    Args:
        num_pieces: Its pieces.

    Returns:
        Their count: widths, heights, and slopes between the pieces.
    """
    return 3 * num_pieces - 1


def knots(parameters: tf.Tensor, bound: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where pieces meet, and how steep the spline is there.

    Args:
        parameters: Free numbers, shape [..., num_parameters].
        bound: Half the side of the box that the spline lives in.

    Returns:
        Abscissas, ordinates and slopes, [..., num_pieces + 1] each, from -bound to bound; the
        slope is 1 at both ends, where the identity goes on. Zeros give the identity.

    References:
        Durkan et al. 2019, arXiv:1906.04032.
    """
    num_pieces = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = tf.split(parameters, [num_pieces, num_pieces, num_pieces - 1], -1)
    ends = [
        _running(LEAST_WIDTH + (1 - LEAST_WIDTH * num_pieces) * tf.nn.softmax(part), bound)
        for part in (widths, heights)
    ]
    # Zero gives a slope of one.
    start = np.log(np.expm1(1 - LEAST_SLOPE))
    inner = LEAST_SLOPE + tf.nn.softplus(slopes + start)
    one = tf.ones_like(parameters[..., :1])
    return *ends, tf.concat([one, inner, one], axis=-1)


def forward(x: tf.Tensor, parameters: tf.Tensor, bound: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The spline at x; the identity outside of its box.

    Args:
        x: Any shape.
        parameters: Shape [*x.shape, num_parameters].
        bound: Half the side of the box.

    Returns:
        Values and logarithms of slopes, in the shape of `x`.

    References:
        Durkan et al. 2019, arXiv:1906.04032.
    """
    inside = tf.abs(x) < bound
    safe = tf.where(inside, x, tf.zeros_like(x))
    left, width, low, height, first, last = _piece(safe, knots(parameters, bound), 0)
    part = (safe - left) / width
    mean = height / width
    below = mean + (first + last - 2 * mean) * part * (1 - part)
    value = low + height * (mean * part**2 + first * part * (1 - part)) / below
    log_slope = _log_slope(part, mean, first, last, below)
    return tf.where(inside, value, x), tf.where(inside, log_slope, tf.zeros_like(x))


def inverse(y: tf.Tensor, parameters: tf.Tensor, bound: float) -> tf.Tensor:
    """Where the spline has the value y.

    Args:
        y: Any shape.
        parameters: Shape [*y.shape, num_parameters].
        bound: Half the side of the box.

    Returns:
        The shape of `y`.

    References:
        Durkan et al. 2019, arXiv:1906.04032.
    """
    inside = tf.abs(y) < bound
    safe = tf.where(inside, y, tf.zeros_like(y))
    left, width, low, height, first, last = _piece(safe, knots(parameters, bound), 1)
    mean = height / width
    rise, bend = safe - low, first + last - 2 * mean
    a = height * (mean - first) + rise * bend
    b = height * first - rise * bend
    c = -mean * rise
    # The root between 0 and 1, in the form that does not cancel.
    part = 2 * c / (-b - tf.sqrt(tf.maximum(b**2 - 4 * a * c, 0)))
    return tf.where(inside, left + part * width, y)


def _running(parts: tf.Tensor, bound: float) -> tf.Tensor:
    """Ends of pieces from their parts of the whole."""
    inner = 2 * bound * tf.cumsum(parts, axis=-1)[..., :-1] - bound
    edge = tf.fill(tf.shape(inner[..., :1]), tf.constant(bound, parts.dtype))
    return tf.concat([-edge, inner, edge], axis=-1)


def _piece(value: tf.Tensor, found: tuple[tf.Tensor, ...], axis: int) -> tuple[tf.Tensor, ...]:
    """Left end, width, lower end, height and both slopes of the piece that holds a value.

    `axis` 0 looks among the abscissas, 1 among the ordinates.
    """
    after = tf.cast(value[..., None] >= found[axis][..., 1:-1], tf.int32)
    number = tf.reduce_sum(after, axis=-1)
    hot = tf.one_hot(number, found[0].shape[-1] - 1, dtype=value.dtype)
    x, y, slope = found

    def at(values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(hot * values, axis=-1)

    left, low = at(x[..., :-1]), at(y[..., :-1])
    width, height = at(x[..., 1:]) - left, at(y[..., 1:]) - low
    return left, width, low, height, at(slope[..., :-1]), at(slope[..., 1:])


def _log_slope(
    part: tf.Tensor, mean: tf.Tensor, first: tf.Tensor, last: tf.Tensor, below: tf.Tensor
) -> tf.Tensor:
    above = last * part**2 + 2 * mean * part * (1 - part) + first * (1 - part) ** 2
    return 2 * tf.math.log(mean) + tf.math.log(above) - 2 * tf.math.log(below)
