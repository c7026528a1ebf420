"""Discrete tracers: Poisson counts of galaxies in cells, and positions for them."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import fold, stateless_seed
from flowpm_ext.core.types import TensorLike, known
from flowpm_ext.fields.arguments import per_field

_LARGE = 10.0  # rates from here on are drawn by rejection


def poisson_sample(
    overdensity: TensorLike, mean_count: TensorLike, seed: int | tf.Tensor
) -> tf.Tensor:
    """Numbers of tracers in cells, Poisson distributed around mean_count (1 + overdensity).

    The same however the call is run, which those of `tf.random.stateless_poisson` are not: XLA
    cannot compile it. Rates below 10 are drawn by inversion and those above by rejection, in
    float64. Counts have no gradient.

    Args:
        overdensity: That of the tracers, at least -1, shape [batch, ...].
        mean_count: Mean number of tracers per cell, scalar or [batch]. A number density n
            ((h/Mpc)**3) in cells of side d (Mpc/h) has n d**3.
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        Whole numbers in the shape and dtype of `overdensity`. In a graph, where values are not
        known, NaN where the rate is negative or not finite.

    Raises:
        ValueError: If `overdensity` is not finite or below -1, or `mean_count` is negative, not
            finite, or neither a scalar nor one for each field.
        TypeError: If `overdensity` is not of float32 or float64.

    References:
        Hörmann 1993, Insurance: Mathematics and Economics 12, 39 (PTRS, for large rates); Devroye
        1986, Non-Uniform Random Variate Generation, chapter X.3 (inversion).
    """
    overdensity = tf.convert_to_tensor(overdensity, name="overdensity")
    dtype = overdensity.dtype
    is_real = dtype in (tf.float32, tf.float64)
    checks.require(is_real, "overdensity", "be float32 or float64", dtype.name, error=TypeError)
    checks.require(overdensity.shape.rank != 0, "overdensity", "have a batch axis", overdensity)
    checks.finite(overdensity, "overdensity")
    values = known(overdensity)
    checks.require(
        values is None or not np.any(values < -1), "overdensity", "be at least -1",
        None if values is None else values.min(initial=0), "A rate cannot be negative.",
    )  # fmt: skip
    checks.non_negative(mean_count, "mean_count")
    # In float64, so that no rounding of the rate depends on how the call is run.
    overdensity = tf.cast(overdensity, tf.float64)
    mean_count = per_field(mean_count, "mean_count", overdensity)
    return tf.cast(_counts(overdensity, mean_count, stateless_seed(seed)), dtype)


def tracer_positions(counts: TensorLike, seed: int | tf.Tensor) -> list[np.ndarray]:
    """Positions of tracers, placed evenly at random within their cells; for eager use.

    The cell of a lattice point reaches half a cell to either side of it.

    Args:
        counts: Whole numbers of tracers, shape [batch, nx, ny, nz].
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        For each field, positions (cells) in float64, shape [num_tracers, 3], wrapped into the
        box.

    Raises:
        ValueError: If `counts` is not known, has not four axes, or is negative or not whole.

    References:
        Hockney & Eastwood 1988, Computer Simulation Using Particles, chapter 5, for the cells.
    """
    counts_here = known(counts)
    checks.require(
        counts_here is not None, "counts", "be known numbers", counts, "Call outside of the graph."
    )
    checks.rank(counts_here, "counts", 4)
    checks.non_negative(counts_here, "counts")
    is_whole = bool(np.all(counts_here == np.round(counts_here)))
    checks.require(is_whole, "counts", "be whole numbers", counts_here)
    placed = []
    for number, field in enumerate(counts_here):
        repeats = field.ravel().astype(np.int64)
        cells = np.indices(field.shape).reshape(3, -1).T
        offsets = _uniform([int(repeats.sum()), 3], fold(seed, number)).numpy() - 0.5
        placed.append((np.repeat(cells, repeats, axis=0) + offsets) % field.shape)
    return placed


@compiled
def _counts(overdensity: tf.Tensor, mean_count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    rate = tf.stop_gradient(mean_count * (1 + overdensity))
    is_good = (rate >= 0) & (rate < np.inf)
    is_large = is_good & (rate >= _LARGE)
    is_small = is_good & ~is_large
    # Each way gets a harmless rate where the other one is taken.
    few = _by_inversion(tf.where(is_small, rate, tf.zeros_like(rate)), fold(seed, 0))
    many = _by_rejection(tf.where(is_large, rate, _LARGE * tf.ones_like(rate)), is_large, seed)
    nowhere = np.nan * tf.ones_like(rate)
    return tf.where(is_large, many, tf.where(is_small, few, nowhere))


def _by_inversion(rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """How many values of the cumulative distribution lie below one uniform number."""
    chance = tf.exp(-rate)
    left = _uniform(rate.shape, seed) - chance

    def is_open(
        number: tf.Tensor, count: tf.Tensor, chance: tf.Tensor, left: tf.Tensor
    ) -> tf.Tensor:
        return tf.reduce_any(left > 0)

    def add_one(
        number: tf.Tensor, count: tf.Tensor, chance: tf.Tensor, left: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        count += tf.cast(left > 0, rate.dtype)
        chance *= rate / number
        return number + 1, count, chance, left - chance

    start = (tf.ones([], rate.dtype), tf.zeros_like(rate), chance, left)
    return tf.while_loop(is_open, add_one, start)[1]


def _by_rejection(rate: tf.Tensor, is_wanted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Transformed rejection: about 1.2 tries for each cell, until all that are wanted have one."""
    b = 0.931 + 2.53 * tf.sqrt(rate)
    a = -0.059 + 0.02483 * b
    log_height = tf.math.log(1.1239 + 1.1328 / (b - 3.4))
    quick = 0.9277 - 3.6224 / (b - 2)
    log_rate = tf.math.log(rate)

    def is_open(number: tf.Tensor, count: tf.Tensor, is_missing: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(is_missing)

    def try_again(
        number: tf.Tensor, count: tf.Tensor, is_missing: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        u, v = tf.unstack(_uniform([2, *rate.shape], fold(seed, number)))
        u -= 0.5
        edge = 0.5 - tf.abs(u)
        k = tf.floor((2 * a / edge + b) * u + rate + 0.43)
        found = tf.maximum(k, 0)
        height = tf.math.log(v) + log_height - tf.math.log(a / edge**2 + b)
        is_under = height <= found * log_rate - rate - tf.math.lgamma(found + 1)
        is_tail = (k < 0) | ((edge < 0.013) & (v > edge))
        is_taken = ((edge >= 0.07) & (v <= quick)) | (is_under & ~is_tail)
        count = tf.where(is_missing & is_taken, found, count)
        return number + 1, count, is_missing & ~is_taken

    start = (tf.ones([], tf.int32), tf.zeros_like(rate), is_wanted)
    return tf.while_loop(is_open, try_again, start)[1]


def _uniform(shape: list[int] | tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """Even numbers between 0 and 1 in float64, never on either end."""
    bits = tf.random.stateless_uniform(shape, seed, None, None, tf.uint32, alg="philox")
    return (tf.cast(bits, tf.float64) + 0.5) * 2.0**-32
