"""From convergence to what a survey sees: redshifts, calibration, shape noise, masks, turns."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.lensing.shear import convergence, shear
from flowpm_ext.numerics.interpolate import spline_slopes


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
    redshift_shift: TensorLike = 0.0,
    mean_redshift: TensorLike | None = None,
) -> tf.Tensor:
    """Noisy maps as a survey would make them, drawn afresh for every seed.

    Without `through_shear`, noise of standard deviation sigma_e / sqrt(gals_per_arcmin2 times
    the area of a pixel) is added to (1 + m) kappa; that is what the shape noise of a shear map
    becomes in its convergence. With it, the survey's own path is taken: kappa to reduced
    shear (1 + m) gamma / (1 - kappa), noise on both components and the mask there, and back to
    a convergence without a mean. A stateless function of tensors, for use within `tf.data`.

    A `redshift_shift` of n(z) is an approximation, of first order in the shift: at each position
    it takes the slope, at the mean redshifts, of the natural cubic spline through the maps of all
    bins and a convergence of zero at redshift zero. What the matter between two bins adds to that
    slope is not in the maps: beside Born maps through the same planes with n(z) really shifted
    (four Gaussian bins at 0.4, 0.6, 0.8, 1.0, a shift of 0.02, pixels of 5 arcmin), the change of
    the maps is wrong by 0.21, 0.12, 0.12 and 0.27 of its own deviation where bins have a width of
    0.1, and by 0.39, 0.27, 0.25 and 0.41 where it is 0.05. The change itself is 0.09, 0.06, 0.05
    and 0.04 of the deviation of the maps. Their variance changes by 0.12 too little in the first
    bin, 0.1 too much in the last and 0.02 between, of its own change.

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
        redshift_shift: How far n(z) is moved, n(z - shift), positive towards higher redshift; a
            number, or one for each bin or for each map and bin, shape [num_bins] or
            [batch, num_bins]. It comes before all else but the turns.
        mean_redshift: Mean redshifts of the bins, increasing, shape [num_bins]; needed for a
            shift, with at least two bins.

    Returns:
        Maps, in the shape and dtype of `kappa`.

    Raises:
        ValueError: If `kappa` has not four axes, a number is out of its range, the mask does not
            fit, or a shift comes without mean redshifts that fit.

    References:
        Kaiser & Squires 1993, ApJ 404, 441; van Waerbeke 2000, arXiv:astro-ph/9909160 (noise);
        de Boor 1978, A Practical Guide to Splines, chapter IV.
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
    kappa = _shifted(kappa, redshift_shift, mean_redshift)
    sigma, density, bias = (
        cast(x, kappa.dtype) for x in (sigma_e, gals_per_arcmin2, multiplicative_bias)
    )
    noise = sigma / tf.sqrt(density * pixel_size_arcmin**2)
    gain = 1 + _on_maps(bias)
    if not through_shear:
        white = _white([tf.shape(kappa)[0], ny, nx, kappa.shape[-1]], seed, kappa)
        return weight * (gain * kappa + noise * white)
    first = tf.transpose(kappa, [0, 3, 1, 2])
    reduced = tf.transpose(shear(first) / tf.complex(1 - first, tf.zeros_like(first)), [0, 2, 3, 1])
    parts = tf.stack([tf.math.real(reduced), tf.math.imag(reduced)])
    white = _white([2, tf.shape(kappa)[0], ny, nx, kappa.shape[-1]], seed, kappa)
    seen = tf.unstack(weight * (gain * parts + noise * white))
    return tf.transpose(convergence(tf.transpose(tf.complex(*seen), [0, 3, 1, 2])).e, [0, 2, 3, 1])


def _shifted(
    kappa: tf.Tensor, redshift_shift: TensorLike, mean_redshift: TensorLike | None
) -> tf.Tensor:
    """Maps of bins whose n(z) are moved, to first order."""
    checks.finite(redshift_shift, "redshift_shift")
    if mean_redshift is None:
        dz = known(redshift_shift)
        is_zero = dz is not None and not np.any(dz)
        checks.require(is_zero, "mean_redshift", "be given for a shift", mean_redshift)
        return kappa
    num_bins, z = kappa.shape[-1], known(mean_redshift)
    checks.require(
        z is not None, "mean_redshift", "be known when the graph is built", mean_redshift
    )
    checks.require(
        num_bins is not None and num_bins > 1, "kappa", "hold at least two bins, for a shift",
        kappa,
    )  # fmt: skip
    checks.require(
        z.shape == (num_bins,), "mean_redshift", f"have shape {(num_bins,)}", mean_redshift
    )
    checks.positive(z, "mean_redshift")
    checks.increasing(z, "mean_redshift")
    dz = cast(redshift_shift, kappa.dtype)
    fitting = [tf.TensorShape(x) for x in ((), (num_bins,), (kappa.shape[0], num_bins))]
    checks.require(
        any(dz.shape.is_compatible_with(shape) for shape in fitting), "redshift_shift",
        "be a number, or have the shape [num_bins] or [batch, num_bins]", dz.shape,
    )  # fmt: skip
    # Nothing lies before a source at redshift zero. From bin to bin the slope changes with the
    # matter between them, much like white noise, of which a natural spline is the best guess.
    from_zero = tf.pad(kappa, [[0, 0]] * 3 + [[1, 0]])
    slopes = spline_slopes(np.concatenate([[0.0], z]), from_zero)[..., 1:]
    return kappa + _on_maps(dz) * slopes


def _on_maps(values: tf.Tensor) -> tf.Tensor:
    """Numbers [], [num_bins] or [batch, num_bins], to multiply maps [batch, ny, nx, num_bins]."""
    return values[:, None, None] if values.shape.rank == 2 else values


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
