"""From convergence to what a survey sees: calibration, shape noise, masks, orientations."""

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.lensing.shear import convergence, shear


def observe(
    kappa: TensorLike,
    seed: int | tf.Tensor,
    *,
    pixel_size_arcmin: float,
    gals_per_arcmin2: TensorLike,
    sigma_e: TensorLike = 0.26,
    multiplicative_bias: TensorLike = 0.0,
    mask: TensorLike | None = None,
    is_turned: bool = False,
    through_shear: bool = False,
) -> tf.Tensor:
    """Noisy maps as a survey would make them, drawn afresh for every seed.

    Without `through_shear`, noise of standard deviation sigma_e / sqrt(gals_per_arcmin2 times
    the area of a pixel) is added to (1 + m) kappa; that is what the shape noise of a shear map
    becomes in its convergence. With it, the survey's own path is taken: kappa to reduced
    shear (1 + m) gamma / (1 - kappa), noise on both components and the mask there, and back to
    a convergence without a mean. A stateless function of tensors, for use within `tf.data`.

    Args:
        kappa: Convergence, shape [batch, ny, nx, num_bins].
        seed: An integer, or a stateless seed of shape [2].
        pixel_size_arcmin: Side of a pixel (arcmin).
        gals_per_arcmin2: Density of galaxies (1 / arcmin**2), a number or one for each bin.
        sigma_e: Dispersion of one component of the ellipticities, a number or one for each bin.
        multiplicative_bias: m of the calibration, a number, or one for each bin or for each map
            and bin, shape [num_bins] or [batch, num_bins].
        mask: Weights, 0 where nothing is seen, shape [ny, nx].
        is_turned: Whether each map is mirrored and turned by quarter turns at random before all
            else; the maps must be square.
        through_shear: Whether to take the path through reduced shear.

    Returns:
        Maps, in the shape and dtype of `kappa`.

    Raises:
        ValueError: If `kappa` has not four axes, a number is out of its range, or the mask does
            not fit.

    References:
        Kaiser & Squires 1993, ApJ 404, 441; van Waerbeke 2000, arXiv:astro-ph/9909160 (noise).
    """
    kappa = tf.convert_to_tensor(kappa, name="kappa")
    checks.rank(kappa, "kappa", 4)
    ny, nx = checks.static_grid(tf.transpose(kappa, [0, 3, 1, 2]), "kappa", ndim=2)
    checks.positive(pixel_size_arcmin, "pixel_size_arcmin")
    checks.positive(gals_per_arcmin2, "gals_per_arcmin2")
    checks.non_negative(sigma_e, "sigma_e")
    checks.finite(multiplicative_bias, "multiplicative_bias")
    weight = _mask(mask, (ny, nx), kappa.dtype)
    if is_turned:
        checks.require(ny == nx, "kappa", "be square, to be turned", (ny, nx))
        kappa = _turned(kappa, fold(seed, 1))
    sigma, density, bias = (
        cast(x, kappa.dtype) for x in (sigma_e, gals_per_arcmin2, multiplicative_bias)
    )
    noise = sigma / tf.sqrt(density * pixel_size_arcmin**2)
    gain = 1 + (bias[:, None, None] if bias.shape.rank == 2 else bias)
    if not through_shear:
        white = _white([tf.shape(kappa)[0], ny, nx, kappa.shape[-1]], seed, kappa)
        return weight * (gain * kappa + noise * white)
    first = tf.transpose(kappa, [0, 3, 1, 2])
    reduced = tf.transpose(shear(first) / tf.complex(1 - first, tf.zeros_like(first)), [0, 2, 3, 1])
    parts = tf.stack([tf.math.real(reduced), tf.math.imag(reduced)])
    white = _white([2, tf.shape(kappa)[0], ny, nx, kappa.shape[-1]], seed, kappa)
    seen = tf.unstack(weight * (gain * parts + noise * white))
    return tf.transpose(convergence(tf.transpose(tf.complex(*seen), [0, 3, 1, 2])).e, [0, 2, 3, 1])


def _turned(maps: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
    """Square maps [batch, n, n, channels], each in one of its eight orientations at random."""
    shape = [3, tf.shape(maps)[0], 1, 1, 1]
    swap, down, left = tf.unstack(
        tf.random.stateless_uniform(shape, fold(seed, 0), 0, 2, tf.int32, alg="philox") > 0
    )
    maps = tf.where(swap, tf.transpose(maps, [0, 2, 1, 3]), maps)
    maps = tf.where(down, tf.reverse(maps, [1]), maps)
    return tf.where(left, tf.reverse(maps, [2]), maps)


def _mask(mask: TensorLike | None, sides: tuple[int, int], dtype: tf.DType) -> tf.Tensor:
    """Weights [ny, nx, 1], or 1."""
    if mask is None:
        return tf.ones([], dtype)
    mask = cast(mask, dtype)
    checks.require(mask.shape == sides, "mask", f"have shape {sides}", mask.shape)
    checks.in_range(mask, "mask", 0.0, 1.0)
    return mask[..., None]


def _white(shape: list, seed: int | tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Unit noise, whose number of maps may be known only when the graph runs."""
    static = [side if isinstance(side, int) else like.shape[0] for side in shape]
    if None not in static:
        return standard_normal(static, fold(seed, 0), like.dtype)
    return tf.random.stateless_normal(shape, fold(seed, 0), dtype=like.dtype)
