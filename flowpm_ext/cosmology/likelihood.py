"""Gaussian likelihood of summary statistics."""

import math

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast, floating
from flowpm_ext.numerics.whitening import Whitening


def gaussian_log_likelihood(
    data: TensorLike, mean: TensorLike, covariance: TensorLike
) -> tf.Tensor:
    """Logarithm of the normalised Gaussian density of the data.

    -1/2 (data - mean) C**-1 (data - mean) - 1/2 ln det C - N/2 ln(2 pi), differentiable in
    all arguments. The determinant matters when the covariance depends on parameters.

    Args:
        data: One data vector in any unit, shape [N], or spectra [num_cl, num_ell].
        mean: Predictions for it, shape [batch..., *data.shape].
        covariance: Covariance in the squared unit of the data: a matrix [..., N, N] for the
            data flattened row by row, variances [N], or for spectra blocks
            [..., num_ell, num_cl, num_cl] as from `gaussian_cl_covariance_blocks`. Leading
            axes are a batch that meets that of `mean`.

    Returns:
        Log-likelihoods, shape [batch...].

    Raises:
        ValueError: If `data` is not finite, shapes do not fit, or the covariance is not
            finite or, outside compiled graphs, not positive definite.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021.
    """
    dtype = floating(data)
    checks.finite(data, "data")
    data, mean = cast(data, dtype), cast(mean, dtype)
    end = mean.shape[mean.shape.rank - data.shape.rank :] if mean.shape.rank else mean.shape
    checks.require(
        end.is_compatible_with(data.shape), "mean", f"end in the shape of the data, {data.shape}",
        f"shape {mean.shape}",
    )  # fmt: skip
    whitening = Whitening.of(covariance, data.shape, dtype)
    white = whitening(data - mean)
    misfit = tf.reduce_sum(white**2, axis=-1)
    volume = whitening.log_determinant() + data.shape.num_elements() * math.log(2 * math.pi)
    return -0.5 * (misfit + volume)
