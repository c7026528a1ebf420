"""Norms of images that classical priors penalise: of their wavelets, and of their steps."""

import dataclasses
import math

import tensorflow as tf

from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.core.types import static
from flowpm_ext.stats.starlet import starlet, starlet_adjoint
from priors.likelihood import GaussianLikelihood
from priors.proximal import AbstractNorm

NUM_PROBES = 8  # draws of the noise; with the mean over places, deviations to a few per cent


@dataclasses.dataclass(frozen=True)
class StarletNorm(AbstractNorm):
    """Weighted l1-norm of starlet coefficients.

    Attributes:
        weights: Of wavelet scales, shape [1 or batch, num_scales, ny or 1, nx or 1].
        boundary: As for `starlet`.
    """

    weights: tf.Tensor
    boundary: str = static()

    @property
    def bound(self) -> float:
        """One: in Fourier space wavelets are non-negative, and their sum at most one."""
        return 1.0

    def analyse(self, x: tf.Tensor) -> tf.Tensor:
        """Wavelet coefficients, without the coarsest scale, shape [batch, num_scales, ny, nx]."""
        return starlet(x[..., None], self.weights.shape[1], self.boundary)[:, :-1, ..., 0]

    def adjoint(self, forces: tf.Tensor) -> tf.Tensor:
        """Images of forces on wavelets, shape [batch, ny, nx]."""
        padded = tf.pad(forces[..., None], [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
        return starlet_adjoint(padded, self.boundary)[..., 0]

    def value(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Sum of weighted absolute values, shape [batch]."""
        return tf.reduce_sum(self.weights * tf.abs(coefficients), axis=[1, 2, 3])

    def limited(self, forces: tf.Tensor) -> tf.Tensor:
        """Forces between minus and plus the weights."""
        return tf.clip_by_value(forces, -self.weights, self.weights)


@dataclasses.dataclass(frozen=True)
class TotalVariation(AbstractNorm):
    """Isotropic total variation.

    Attributes:
        strength: Weight, a scalar.
        boundary: "periodic" or "mirror".
    """

    strength: tf.Tensor
    boundary: str = static()

    @property
    def bound(self) -> float:
        """Eight: each difference of two pixels doubles a pixel at the most, along two axes."""
        return 8.0

    def analyse(self, x: tf.Tensor) -> tf.Tensor:
        """Steps to the next row and column, shape [batch, 2, ny, nx]."""
        steps = [tf.roll(x, -1, axis) - x for axis in (-2, -1)]
        return self._inside(tf.stack(steps, axis=1))

    def adjoint(self, forces: tf.Tensor) -> tf.Tensor:
        """Minus the divergence of forces, shape [batch, ny, nx]."""
        forces = self._inside(forces)
        return tf.add_n(
            [tf.roll(forces[:, i], 1, axis) - forces[:, i] for i, axis in enumerate((-2, -1))]
        )

    def value(self, coefficients: tf.Tensor) -> tf.Tensor:
        """Sum of the lengths of the steps, shape [batch]."""
        return self.strength * tf.reduce_sum(self._lengths(coefficients), axis=[1, 2])

    def limited(self, forces: tf.Tensor) -> tf.Tensor:
        """Forces no longer than the strength."""
        over = tf.maximum(self._lengths(forces), self.strength)
        return forces * tf.math.divide_no_nan(self.strength, over)[:, None]

    def _lengths(self, steps: tf.Tensor) -> tf.Tensor:
        squared = tf.reduce_sum(steps**2, axis=1)
        positive = tf.where(squared > 0, squared, tf.ones_like(squared))
        return tf.where(squared > 0, tf.sqrt(positive), tf.zeros_like(squared))

    def _inside(self, steps: tf.Tensor) -> tf.Tensor:
        """Steps without those across the border, where the border is not periodic."""
        if self.boundary == "periodic":
            return steps
        ny, nx = steps.shape[-2:]
        rows = tf.cast(tf.range(ny) < ny - 1, steps.dtype)[:, None] * tf.ones([1, nx], steps.dtype)
        columns = tf.cast(tf.range(nx) < nx - 1, steps.dtype) * tf.ones([ny, 1], steps.dtype)
        return steps * tf.stack([rows, columns])


def wavelet_information(
    likelihood: GaussianLikelihood, num_scales: int, boundary: str
) -> tf.Tensor:
    """Variance that noise alone gives the wavelets of A' N^-1 data, by scale and place.

    It is what the data say about an atom of the starlet at that scale and place: large where noise
    is low. From draws of noise whose squares are smoothed over twice the size of the atom. Places
    that were observed less than others count as these: each is given at least the mean of its
    scale, weighted by the information itself.

    Args:
        likelihood: Noise and operator of a map of shape [ny, nx].
        num_scales: Number of wavelet scales.
        boundary: As for `starlet`.

    Returns:
        Information (1 / square of the map's unit), shape [1 or batch, num_scales, ny, nx].

    References:
        Hutchinson 1989, Commun. Stat. Simul. Comput. 18, 1059; Lanusse et al. 2016,
        arXiv:1603.01599.
    """
    op, is_complex = likelihood.op, likelihood.data.dtype.is_complex
    precision = tf.sqrt(likelihood.precision)
    extra = len(op.data_shape) - precision.shape.rank
    batch = precision.shape[: max(-extra, 0)]
    sides = [*batch, *op.data_shape]
    unweighted = StarletNorm(tf.ones([1, num_scales, 1, 1], likelihood.dtype), boundary)

    def advance(number: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parts = [standard_normal(sides, tf.stack([number, i]), likelihood.dtype) for i in (0, 1)]
        noise = tf.complex(*parts) if is_complex else parts[0]
        maps = op.adjoint(tf.cast(precision, noise.dtype) * noise)
        squared = unweighted.analyse(tf.reshape(maps, [-1, *op.shape])) ** 2
        return number + 1, total + squared / NUM_PROBES

    start = tf.zeros([batch.num_elements(), num_scales, *op.shape], likelihood.dtype)
    _, total = tf.while_loop(
        lambda number, total: number < NUM_PROBES, advance, (tf.constant(0), start),
        maximum_iterations=NUM_PROBES,
    )  # fmt: skip
    return tf.stack([_levelled(total[:, j], j, boundary) for j in range(num_scales)], axis=1)


def _levelled(squared: tf.Tensor, scale: int, boundary: str) -> tf.Tensor:
    """Squares of one scale, smoothed, and nowhere below their weighted mean."""
    smoothings = min(scale + 2, int(math.log2(min(squared.shape[-2:]))))
    smooth = starlet(squared[..., None], smoothings, boundary)[:, -1, ..., 0]
    axes = [-2, -1]
    first = tf.reduce_sum(smooth, axes, keepdims=True)
    second = tf.reduce_sum(smooth**2, axes, keepdims=True)
    return tf.maximum(smooth, tf.math.divide_no_nan(second, first))
