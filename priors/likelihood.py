"""Gaussian likelihood of data that are linear in an image."""

import dataclasses
import math
from typing import ClassVar

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, TensorLike, cast, known
from priors.operators.base import AbstractLinearOperator, checked


@dataclasses.dataclass(frozen=True)
class GaussianLikelihood(Structure):
    """Likelihood of data = op(x) + noise, with Gaussian noise independent between pixels.

    A pixel outside the mask, or of infinite noise, carries no information: its inverse variance is
    zero and its data, which may be NaN, are set to zero. The dtype of `data` decides that of
    everything else.

    Attributes:
        op: Linear operator from an image to the data.
        data: Data (any unit), shape [..., *op.data_shape], complex where `op` gives complex
            numbers; leading axes are data sets.
        noise_std: Standard deviation of each real component (the unit of `data`), one number or
            a shape that broadcasts to that of `data`.
        mask: True where a pixel is observed, boolean or 0 and 1, of a shape that broadcasts to
            that of `data`; None for all pixels of finite noise.

    Raises:
        ValueError: If `data` do not end in `op.data_shape` or hold NaN or infinity inside the
            mask, `noise_std` is not positive inside the mask, a shape does not
            broadcast, or the mask is empty.
        TypeError: If `op` is no operator, or `data` are real where it gives complex numbers or
            the other way round.
    """

    op: AbstractLinearOperator
    data: TensorLike
    noise_std: TensorLike
    mask: TensorLike | None = None

    is_linear: ClassVar[bool] = True

    def __post_init__(self) -> None:
        op = self.op
        is_operator = isinstance(op, AbstractLinearOperator)
        checks.require(is_operator, "op", "be a linear operator", type(op), error=TypeError)
        data = checked(self.data, "data", op.data_shape, op.gives_complex)
        kind = data.dtype.real_dtype
        checks.require(
            kind.is_floating, "data", "be real or complex floats", kind.name, error=TypeError
        )
        noise_std = _broadcastable(self.noise_std, "noise_std", data, kind)
        mask = ~tf.math.is_inf(noise_std)
        if self.mask is not None:
            values = known(self.mask)
            binary = values is None or np.all((values == 0) | (values == 1))
            checks.require(binary, "mask", "hold booleans, or 0 and 1", self.mask)
            mask &= _broadcastable(self.mask, "mask", data, tf.bool)
        _check_observed(data, noise_std, mask)
        object.__setattr__(self, "data", tf.where(mask, data, tf.zeros_like(data)))
        object.__setattr__(self, "noise_std", noise_std)
        object.__setattr__(self, "mask", mask)

    def linearised(self) -> "GaussianLikelihood":
        """The likelihood of data that are linear in the image: itself.

        Returns:
            The likelihood.
        """
        return self

    @property
    def dtype(self) -> tf.DType:
        """Real dtype of images and noise."""
        return self.data.dtype.real_dtype

    @property
    def precision(self) -> tf.Tensor:
        """Inverse variance of each real component, zero outside the mask."""
        observed = tf.where(self.mask, self.noise_std, tf.ones_like(self.noise_std))
        return tf.where(self.mask, observed**-2, tf.zeros_like(observed))

    def residual(self, x: TensorLike) -> tf.Tensor:
        """Data minus those of an image, zero outside the mask.

        Args:
            x: Images, shape [..., *op.shape].

        Returns:
            Residual (the unit of `data`), shape [..., *op.data_shape].

        Raises:
            ValueError: If `x` does not end in the sides of an image.
        """
        difference = self.data - self.op(tf.convert_to_tensor(x, self.dtype))
        return tf.where(self.mask, difference, tf.zeros_like(difference))

    def log_prob(self, x: TensorLike) -> tf.Tensor:
        """Log-likelihood of images, normalised over the observed pixels.

        -1/2 sum |data - op(x)|**2 / noise_std**2 - sum log(2 pi noise_std**2) / 2, the second
        sum over real components: complex data have two in each pixel.

        Args:
            x: Images, shape [..., *op.shape].

        Returns:
            Log of the probability density, shape [...], the batch axes of `x` and `data`.

        Raises:
            ValueError: If `x` does not end in the sides of an image.
        """
        residual = self.residual(x)
        squared = tf.math.real(residual * tf.math.conj(residual))
        precision = self.precision
        components = 2 if self.data.dtype.is_complex else 1
        # The logarithm is that of the precision where observed, and zero elsewhere.
        positive = tf.where(self.mask, precision / (2 * math.pi), tf.ones_like(precision))
        each = components * tf.math.log(positive) - precision * squared
        return 0.5 * tf.reduce_sum(each, axis=tuple(range(-len(self.op.data_shape), 0)))

    def gradient(self, x: TensorLike) -> tf.Tensor:
        """Gradient of `log_prob` with respect to the image, in closed form.

        Args:
            x: Images, shape [..., *op.shape].

        Returns:
            Gradient (1 / the unit of the image), shape [..., *op.shape].

        Raises:
            ValueError: If `x` does not end in the sides of an image.
        """
        return self.weighted_adjoint(self.residual(x))

    def weighted_adjoint(self, y: tf.Tensor) -> tf.Tensor:
        """Adjoint of the operator on data divided by their variance.

        Args:
            y: Data (any unit), shape [..., *op.data_shape].

        Returns:
            Images (the unit of `y` over the variance), shape [..., *op.shape].
        """
        return self.op.adjoint(tf.cast(self.precision, y.dtype) * y)


def _broadcastable(value: TensorLike, name: str, data: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The value as a tensor of this dtype that broadcasts to the data without widening them."""
    value = cast(value, dtype)
    try:
        fits = tf.broadcast_static_shape(value.shape, data.shape).is_compatible_with(data.shape)
    except ValueError:
        fits = False
    checks.require(fits, name, f"broadcast to the data's shape {data.shape}", value)
    return value


def _check_observed(data: tf.Tensor, noise_std: tf.Tensor, mask: tf.Tensor) -> None:
    """Refuse an empty mask, and observed pixels without a number or without noise."""
    observed = known(mask)
    if observed is None:
        return
    fix = "No pixel is observed: see `mask` and where `noise_std` is finite."
    checks.require(bool(np.any(observed)), "mask", "hold at least one pixel", mask, fix)
    for name, value in (("data", data), ("noise_std", noise_std)):
        values = known(value)
        if values is None:
            continue
        values, inside = np.broadcast_arrays(values, observed)
        fix = "Set `mask` to False where nothing was observed."
        if name == "data":
            checks.finite(values[inside], name, fix)
        else:
            checks.positive(values[inside], name, fix)
