"""Shifts and scales, as the parts of a flow apply them."""

import tensorflow as tf

NUM_PARAMETERS = 2  # of each component: a shift and a free logarithm of a scale


def forward(x: tf.Tensor, parameters: tf.Tensor, bound: float) -> tuple[tf.Tensor, tf.Tensor]:
    """x less a shift, over a scale.

    Args:
        x: Any shape.
        parameters: Shape [*x.shape, 2].
        bound: That the logarithm of the scale stays within.

    Returns:
        Values and logarithms of slopes, in the shape of `x`.

    References:
        Dinh, Sohl-Dickstein & Bengio 2016, arXiv:1605.08803.
    """
    log_scale = _log_scale(parameters, bound)
    return (x - parameters[..., 0]) * tf.exp(-log_scale), -log_scale


def inverse(y: tf.Tensor, parameters: tf.Tensor, bound: float) -> tf.Tensor:
    """What `forward` made y of.

    Args:
        y: Any shape.
        parameters: Shape [*y.shape, 2].
        bound: That the logarithm of the scale stays within.

    Returns:
        The shape of `y`.

    References:
        Dinh, Sohl-Dickstein & Bengio 2016, arXiv:1605.08803.
    """
    return y * tf.exp(_log_scale(parameters, bound)) + parameters[..., 0]


def _log_scale(parameters: tf.Tensor, bound: float) -> tf.Tensor:
    return bound * tf.tanh(parameters[..., 1] / bound)
