"""The starlet transform: isotropic wavelets of maps, their adjoint, and l1-norms."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.stats.arguments import real_maps
from flowpm_ext.stats.histogram import bin_edges, histogram, pixels_of, softness

B3_SPLINE = (1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16)
BOUNDARIES = ("mirror", "periodic")


def starlet(maps: TensorLike, num_scales: int | None = None, boundary: str = "mirror") -> tf.Tensor:
    """Differences of maps smoothed more and more, by cubic B-splines with holes.

    Scale j holds structure of some 2**j pixels, and what all of them leave is last. Their sum is
    the map: `tf.reduce_sum(coefficients, axis=1)` is the inverse. Linear, with the adjoint
    `starlet_adjoint`.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        num_scales: Number of wavelet scales, at most log2 of the shorter side; one less than
            that by default.
        boundary: "mirror", where the pixels of the border are repeated outside in reverse order,
            or "periodic".

    Returns:
        Coefficients in the unit of the maps, finest first, shape
        [batch, num_scales + 1, ny, nx, channels].

    Raises:
        ValueError: If the maps have not four axes or are not finite, `num_scales` does not fit
            their sides, or the boundary is unknown.
        TypeError: If the maps are not real.

    References:
        Starck, Fadili & Murtagh 2007, IEEE Trans. Image Process. 16, 297.
    """
    maps = real_maps(maps)
    checks.one_of(boundary, "boundary", BOUNDARIES)
    return _forward(maps, _num_scales(num_scales, maps), boundary)


def starlet_adjoint(coefficients: TensorLike, boundary: str = "mirror") -> tf.Tensor:
    """The adjoint of `starlet`: <starlet(x), w> = <x, starlet_adjoint(w)>.

    Args:
        coefficients: Any unit, finest scale first, shape [batch, num_scales + 1, ny, nx, channels].
        boundary: As for `starlet`.

    Returns:
        Maps, shape [batch, ny, nx, channels].

    Raises:
        ValueError: If the coefficients have not five axes or are not finite, there are too many
            scales for their sides, or the boundary is unknown.
        TypeError: If the coefficients are not real.

    References:
        Starck, Fadili & Murtagh 2007, IEEE Trans. Image Process. 16, 297.
    """
    coefficients = tf.convert_to_tensor(coefficients)
    checks.rank(coefficients, "coefficients", 5)
    real_maps(coefficients[:, 0], "coefficients")
    checks.finite(coefficients, "coefficients")
    checks.one_of(boundary, "boundary", BOUNDARIES)
    _num_scales(coefficients.shape[1] - 1, coefficients[:, 0])
    return _backward(coefficients, boundary)


def starlet_noise(num_scales: int) -> np.ndarray:
    """Standard deviation of each scale of the starlet transform of unit white noise.

    Args:
        num_scales: Number of wavelet scales.

    Returns:
        Standard deviations far from a border, float64 [num_scales + 1].

    Raises:
        ValueError: If `num_scales` is not a positive integer.

    References:
        Starck & Murtagh 1998, PASP 110, 193.
    """
    checks.positive_integers(num_scales=num_scales)
    # Smoothing is a product of two filters along the axes; so are the norms and products of it.
    squares, finer = [], np.ones(1)
    for scale in range(num_scales):
        holes = np.zeros(4 * 2**scale + 1)
        holes[:: 2**scale] = B3_SPLINE
        coarser = np.convolve(finer, holes)
        same = np.pad(finer, 2 * 2**scale)
        squares.append((same @ same) ** 2 - 2 * (same @ coarser) ** 2 + (coarser @ coarser) ** 2)
        finer = coarser
    return np.sqrt([*squares, (finer @ finer) ** 2])


def starlet_l1norm(
    maps: TensorLike,
    edges: TensorLike,
    num_scales: int | None = None,
    noise: TensorLike | None = None,
    smoothing: TensorLike = 0.0,
    boundary: str = "mirror",
) -> tf.Tensor:
    """Sums of the absolute values of starlet coefficients, in bins of the coefficient.

    Every pixel counts, in voids as in peaks. Differentiable; what crosses a hard edge leaves its
    bin in a jump, which a smoothing makes soft.

    Args:
        maps: Maps of any unit, shape [batch, ny, nx, channels].
        edges: Edges of the bins of the coefficient, shape [num_bins + 1]; a bin holds its lower
            edge.
        num_scales: As for `starlet`.
        noise: Standard deviation of white noise in a pixel, a number or one for each channel:
            coefficients and edges are then in units of the noise of their scale. None for those
            of the map.
        smoothing: Width of soft edges in the unit of the edges, as for `one_point`.
        boundary: As for `starlet`.

    Returns:
        Sums, finest scale first, shape [batch, channels, num_scales + 1, num_bins].

    Raises:
        ValueError: If the maps have not four axes or are not finite, the edges do not increase,
            the noise is not positive, or an option does not fit.
        TypeError: If the maps are not real.

    References:
        Ajani, Starck & Pettorino 2021, arXiv:2101.01542.
    """
    maps = real_maps(maps)
    checks.one_of(boundary, "boundary", BOUNDARIES)
    num_scales = _num_scales(num_scales, maps)
    if noise is not None:
        checks.positive(noise, "noise")
        noise = cast(noise, maps.dtype)
        fits = noise.shape.rank == 0 or noise.shape == maps.shape[-1:]
        checks.require(fits, "noise", "be one number, or one for each channel", noise)
        maps /= noise
    edges, width = bin_edges(edges, maps.dtype), softness(smoothing, maps.dtype)
    return _l1norm(maps, edges, width, num_scales, noise is not None, boundary)


def _num_scales(num_scales: int | None, maps: tf.Tensor) -> int:
    """Number of wavelet scales, whose widest filter reaches no further than the map is long."""
    shorter = min(maps.shape[1:3])
    most = int(np.log2(shorter))
    if num_scales is None:
        checks.require(most >= 2, "maps", "have at least 4 pixels along a side", maps.shape)
        return most - 1
    checks.positive_integers(num_scales=num_scales)
    rule = f"be at most {most} for maps of {shorter} pixels"
    checks.require(num_scales <= most, "num_scales", rule, num_scales)
    return int(num_scales)


@compiled
def _l1norm(
    maps: tf.Tensor,
    edges: tf.Tensor,
    width: tf.Tensor | None,
    num_scales: int,
    is_in_noise: bool,
    boundary: str,
) -> tf.Tensor:
    sums = []
    noise = starlet_noise(num_scales) if is_in_noise else np.ones(num_scales + 1)
    for scale, level in zip(_scales(maps, num_scales, boundary), noise, strict=True):
        pixels = pixels_of(scale) / cast(level, maps.dtype)
        sums.append(histogram(pixels, tf.abs(pixels), edges, width))
    return tf.stack(sums, axis=2)


@compiled
def _forward(maps: tf.Tensor, num_scales: int, boundary: str) -> tf.Tensor:
    return tf.stack(_scales(maps, num_scales, boundary), axis=1)


def _scales(maps: tf.Tensor, num_scales: int, boundary: str) -> list[tf.Tensor]:
    """Coefficients of each scale, like the maps."""
    scales = []
    for scale in range(num_scales):
        smooth = _smoothed(maps, 2**scale, boundary)
        scales.append(maps - smooth)
        maps = smooth
    return [*scales, maps]


@compiled
def _backward(coefficients: tf.Tensor, boundary: str) -> tf.Tensor:
    *scales, total = tf.unstack(coefficients, axis=1)
    # Smoothing is its own adjoint, with either boundary.
    for scale, w in reversed(list(enumerate(scales))):
        total = w + _smoothed(total - w, 2**scale, boundary)
    return total


def _smoothed(maps: tf.Tensor, step: int, boundary: str) -> tf.Tensor:
    """Maps convolved with B3 splines along both axes, with steps of so many pixels."""
    for axis in (1, 2):
        side, reach = maps.shape[axis], 2 * step
        if boundary == "mirror":
            padding = [[reach, reach] if i == axis else [0, 0] for i in range(4)]
            longer = tf.pad(maps, padding, mode="SYMMETRIC")
        else:
            first, last = (_part(maps, axis, start, reach) for start in (0, side - reach))
            longer = tf.concat([last, maps, first], axis)
        maps = tf.add_n(
            [weight * _part(longer, axis, i * step, side) for i, weight in enumerate(B3_SPLINE)]
        )
    return maps


def _part(maps: tf.Tensor, axis: int, start: int, size: int) -> tf.Tensor:
    """Rows or columns of maps."""
    here = [slice(None)] * axis + [slice(start, start + size)]
    return maps[tuple(here)]
