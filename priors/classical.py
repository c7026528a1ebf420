"""Images under classical priors that are not Gaussian: few wavelets, or little total variation.

Both are the most probable image given the data, the mode of a posterior; they have no samples.
"""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast, known
from flowpm_ext.stats.starlet import BOUNDARIES, starlet_noise
from priors.convergence import warned
from priors.likelihood import GaussianLikelihood
from priors.penalties import StarletNorm, TotalVariation, wavelet_information
from priors.proximal import AbstractNorm, ClassicalResult, most_probable


def sparse_map(
    likelihood: GaussianLikelihood,
    *,
    num_scales: int | None = None,
    threshold: TensorLike = 2.0,
    num_reweightings: int = 0,
    non_negative: bool = False,
    boundary: str = "periodic",
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
) -> ClassicalResult:
    """Most probable map under a prior of few starlet wavelets.

    It minimises 1/2 chi2(x) + sum_jp weight_jp |w_jp| over maps x, with w the starlet
    coefficients of x (the analysis form) at scale j and place p. What is left on the coarsest scale
    is not penalised. The weight is `threshold` times the standard deviation that noise alone gives
    the coefficients of A' N^-1 data, the slope of the likelihood at an empty map; where less was
    observed than elsewhere, the weight is that of the places that were. Called eagerly, it warns
    where the tolerance was not reached.

    Args:
        likelihood: Data, noise and operator of a map of shape [ny, nx]; leading axes of the
            data are data sets, solved side by side.
        num_scales: Number of wavelet scales, at most log2 of the shorter side; one less than
            that by default.
        threshold: Weights in standard deviations of the noise, one number or one for each wavelet
            scale, finest first. For a convergence in pixels of an arcminute with twice as much
            noise as signal, 1.75 to 2 was best.
        num_reweightings: How often to solve again with weights that are smaller where the last
            map has large coefficients, which takes away most of the bias of high peaks.
        non_negative: Whether pixels may not be negative.
        boundary: "periodic", or "mirror" as for `starlet`.
        tolerance: Residual to stop at; in float32 about 1e-5 can be reached.
        max_iterations: Steps after which to stop in any case, for each solution.

    Returns:
        `ClassicalResult`: the map in its own unit, shape [..., ny, nx], and its convergence.

    Raises:
        ValueError: If `threshold` is negative, not finite, or neither one number nor one for each
            scale, `num_scales` does not fit the map, an option is unknown, or a number is not
            positive.

    References:
        Lanusse, Starck, Leonard & Pires 2016, arXiv:1603.01599; Candès, Wakin & Boyd 2008,
        J. Fourier Anal. Appl. 14, 877, for the reweighting.
    """
    checks.one_of(boundary, "boundary", BOUNDARIES)
    checks.non_negative(num_reweightings, "num_reweightings")
    num_scales = _num_scales(likelihood.op.shape, num_scales)
    threshold = _strength(threshold, "threshold", likelihood.dtype, (num_scales,))
    _check_limits(tolerance, max_iterations)
    result = _sparse(likelihood, threshold, num_scales, int(num_reweightings), bool(non_negative),
                     boundary, tolerance, max_iterations)  # fmt: skip
    return warned(result, tolerance, known(result.iterations), solver="The sparse map")


def total_variation_map(
    likelihood: GaussianLikelihood,
    strength: TensorLike,
    *,
    non_negative: bool = False,
    boundary: str = "periodic",
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
) -> ClassicalResult:
    """Most probable map under a prior of little total variation: plateaus with sharp edges.

    It minimises 1/2 chi2(x) + strength · sum_p |grad x|_p over maps x, where the gradient is
    that to the next row and the next column, and |.| is its length (isotropic total variation).
    Called eagerly, it warns where the tolerance was not reached.

    Args:
        likelihood: Data, noise and operator of a map of shape [ny, nx]; leading axes of the
            data are data sets, solved side by side.
        strength: Weight of the total variation (1 / the unit of the map), one number. For a
            convergence in pixels of an arcminute with twice as much noise as signal, 0.7 over
            `noise_std` was best.
        non_negative: Whether pixels may not be negative.
        boundary: "periodic", or "mirror", where there is no step across the border.
        tolerance: Residual to stop at; in float32 about 1e-5 can be reached.
        max_iterations: Steps after which to stop in any case.

    Returns:
        `ClassicalResult`: the map in its own unit, shape [..., ny, nx], and its convergence.

    Raises:
        ValueError: If `strength` is negative, not finite or not one number, `boundary` is
            unknown, or a number is not positive.

    References:
        Rudin, Osher & Fatemi 1992, Physica D 60, 259; Chambolle & Pock 2011, J. Math. Imaging
        Vis. 40, 120.
    """
    checks.one_of(boundary, "boundary", BOUNDARIES)
    strength = _strength(strength, "strength", likelihood.dtype)
    _check_limits(tolerance, max_iterations)
    _check_map(likelihood.op.shape)
    result = _total_variation(likelihood, strength, bool(non_negative), boundary, tolerance,
                              max_iterations)  # fmt: skip
    solver = "The total-variation map"
    return warned(result, tolerance, known(result.iterations), solver=solver)


@compiled
def _sparse(likelihood, threshold, num_scales, num_reweightings, non_negative, boundary, tolerance,
            max_iterations) -> ClassicalResult:  # fmt: skip
    """The sparse map, solved once and again for each reweighting."""
    information = wavelet_information(likelihood, num_scales, boundary)
    weights = tf.reshape(threshold, [1, -1, 1, 1]) * tf.sqrt(information)
    norm = StarletNorm(weights, boundary)
    result = _solved(likelihood, norm, None, non_negative, tolerance, max_iterations)
    atoms = cast(starlet_noise(num_scales)[:-1, None, None], weights.dtype)
    for _ in range(num_reweightings):
        maps = tf.reshape(result.map, [-1, *result.map.shape[-2:]])
        # Half the weight where a coefficient is `threshold` times its noise, atoms / root of the
        # information over atoms.
        size = tf.abs(norm.analyse(maps)) * information / atoms**2
        again = StarletNorm(tf.math.divide_no_nan(weights**2, weights + size), boundary)
        steps = result.iterations
        result = _solved(likelihood, again, result.map, non_negative, tolerance, max_iterations)
        result = result._replace(iterations=result.iterations + steps)
    return result


@compiled
def _total_variation(likelihood, strength, non_negative, boundary, tolerance, max_iterations
                     ) -> ClassicalResult:  # fmt: skip
    """The map of little total variation."""
    norm = TotalVariation(strength, boundary)
    return _solved(likelihood, norm, None, non_negative, tolerance, max_iterations)


def _solved(
    likelihood: GaussianLikelihood,
    norm: AbstractNorm,
    start: tf.Tensor | None,
    non_negative: bool,
    tolerance: tf.Tensor,
    max_iterations: int,
) -> ClassicalResult:
    """The most probable maps, from empty ones where there is no start."""
    if start is None:
        batch = likelihood.data.shape[: -len(likelihood.op.data_shape)]
        start = tf.zeros([*batch, *likelihood.op.shape], likelihood.dtype)
    return most_probable(likelihood, norm, start, non_negative, tolerance, max_iterations)


def _num_scales(shape: tuple[int, ...], num_scales: int | None) -> int:
    """Number of wavelet scales, whose widest filter reaches no further than the map is long."""
    _check_map(shape)
    most = int(np.log2(min(shape)))
    if num_scales is None:
        checks.require(most >= 2, "likelihood", "be of maps of at least 4 pixels a side", shape)
        return most - 1
    checks.positive_integers(num_scales=num_scales)
    rule = f"be at most {most} for maps of {min(shape)} pixels"
    checks.require(num_scales <= most, "num_scales", rule, num_scales)
    return int(num_scales)


def _check_map(shape: tuple[int, ...]) -> None:
    checks.require(len(shape) == 2, "likelihood", "be of maps, with two axes", shape)


def _check_limits(tolerance: float, max_iterations: int) -> None:
    checks.positive(tolerance, "tolerance")
    checks.positive_integers(max_iterations=max_iterations)


def _strength(
    value: TensorLike, name: str, dtype: tf.DType, shape: tuple[int, ...] | None = None
) -> tf.Tensor:
    """A checked strength: one number, or an array of this shape."""
    checks.non_negative(value, name)
    value = cast(value, dtype)
    rule = "be one number" if shape is None else f"be one number, or one for each of {shape} scales"
    checks.require(tuple(value.shape) in ((), shape), name, rule, value.shape)
    return value if shape is None else tf.broadcast_to(value, shape)
