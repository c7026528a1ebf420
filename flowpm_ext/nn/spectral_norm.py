"""Networks whose layers stretch no input by more than they may."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn.convolution import PACKAGE

NUM_ITERATIONS = 12  # of the power method, from a fixed start: the norm to a percent or two


@keras.saving.register_keras_serializable(PACKAGE)
class SpectralNorm(keras.constraints.Constraint):
    """A constraint that keeps the largest singular value of a kernel below a limit.

    The kernel counts as a matrix [all but the last axis, last axis]; one that is below the limit
    is left as it is. Give it to kernels, not to biases or gains.

    Args:
        limit: Of the largest singular value.

    Raises:
        ValueError: If `limit` is not positive.

    References:
        Miyato et al. 2018, arXiv:1802.05957.
    """

    def __init__(self, limit: float = 1.0) -> None:
        checks.positive(limit, "limit")
        self.limit = float(limit)

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        matrix = tf.reshape(w, [-1, w.shape[-1]])
        right = np.random.default_rng(0).normal(size=(matrix.shape[1], 1))
        right = tf.constant(right, matrix.dtype)
        for _ in range(NUM_ITERATIONS):
            left = matrix @ right
            right = tf.linalg.matmul(matrix, left, transpose_a=True)
            right *= tf.math.rsqrt(tf.reduce_sum(right**2) + 1e-30)
        norm = tf.norm(matrix @ right)
        return w * (self.limit / tf.maximum(norm, self.limit))

    def get_config(self) -> dict[str, Any]:
        return {"limit": self.limit}
