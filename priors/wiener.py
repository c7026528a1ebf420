"""Wiener filter and exact samples of a Gaussian posterior, by conjugate gradients.

For an image x of prior covariance S, diagonal in Fourier space, and data d = A x + n with noise
of covariance N, the posterior is Gaussian with mean S^1/2 u, where

    (1 + S^1/2 A' N^-1 A S^1/2) u = S^1/2 A' N^-1 d.

This symmetric form never divides by the prior, so that modes without power stay zero, nor by
the noise of pixels that were not observed.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields.gaussian import amplitude, checked_power
from flowpm_ext.numerics import fourier
from flowpm_ext.numerics.linalg import LinearSolution, conjugate_gradients
from priors.convergence import warned
from priors.likelihood import GaussianLikelihood


class WienerResult(NamedTuple):
    """A Wiener-filtered map, and how well its equation was solved."""

    mean: tf.Tensor  # [..., ny, nx], posterior mean (the unit of the map)
    iterations: tf.Tensor  # [], int32, steps of conjugate gradients
    residual: tf.Tensor  # [...], what is left of the equation, relative to its right-hand side


def wiener_solve(
    likelihood: GaussianLikelihood,
    power: TensorLike,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
) -> WienerResult:
    """Posterior mean of a map with a Gaussian prior, with its convergence.

    Args:
        likelihood: Data, noise and operator of a map of shape [ny, nx]; leading axes of the
            data are data sets, solved side by side.
        power: Prior variance of each mode in FFT layout (square of the map's unit),
            shape [ny, nx], as `power_map` gives it.
        tolerance: Relative residual to stop at; in float32 about 1e-6 can be reached.
        max_iterations: Steps after which to stop in any case.

    Returns:
        `WienerResult`; compare its `residual` with `tolerance`.

    Raises:
        ValueError: If `power` has not the shape of the map, is negative, not finite or not the
            same for opposite frequencies, or `tolerance` or `max_iterations` is not positive.

    References:
        Wiener 1949; Zaroubi et al. 1995, arXiv:astro-ph/9410080.
    """
    power = _prior(likelihood, power, tolerance, max_iterations)
    return _solve(likelihood, power, tolerance, max_iterations)


def wiener_filter(
    likelihood: GaussianLikelihood,
    power: TensorLike,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
) -> tf.Tensor:
    """Posterior mean of a map with a Gaussian prior.

    Called eagerly, it warns when the tolerance was not reached; `wiener_solve` returns the
    residual instead.

    Args:
        likelihood: Data, noise and operator of a map of shape [ny, nx]; leading axes of the
            data are data sets, solved side by side.
        power: Prior variance of each mode in FFT layout (square of the map's unit),
            shape [ny, nx], as `power_map` gives it.
        tolerance: Relative residual to stop at; in float32 about 1e-6 can be reached.
        max_iterations: Steps after which to stop in any case.

    Returns:
        Mean (the unit of the map), shape [..., ny, nx].

    Raises:
        ValueError: If `power` has not the shape of the map, is negative, not finite or not the
            same for opposite frequencies, or `tolerance` or `max_iterations` is not positive.

    References:
        Wiener 1949; Zaroubi et al. 1995, arXiv:astro-ph/9410080.
    """
    result = wiener_solve(likelihood, power, tolerance, max_iterations)
    return warned(result, tolerance, max_iterations).mean


def wiener_samples(
    likelihood: GaussianLikelihood,
    power: TensorLike,
    num_samples: int,
    seed: int | tf.Tensor,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
) -> tf.Tensor:
    """Independent, exact samples of the posterior of a map with a Gaussian prior.

    A constrained realisation: s + W(d - A s - n), with s drawn from the prior, n from the noise,
    and W the Wiener filter. All samples are solved side by side, in memory for about ten times
    the result.

    Args:
        likelihood: Data, noise and operator of a map of shape [ny, nx].
        power: Prior variance of each mode in FFT layout (square of the map's unit),
            shape [ny, nx], as `power_map` gives it.
        num_samples: Number of samples.
        seed: An integer, or a stateless seed of shape [2].
        tolerance: Relative residual to stop at; in float32 about 1e-6 can be reached.
        max_iterations: Steps after which to stop in any case.

    Returns:
        Samples (the unit of the map), shape [num_samples, ..., ny, nx].

    Raises:
        ValueError: If `power` has not the shape of the map, is negative, not finite or not the
            same for opposite frequencies, or a number is not positive.

    References:
        Hoffman & Ribak 1991, ApJ 380, L5.
    """
    checks.positive(num_samples, "num_samples")
    power = _prior(likelihood, power, tolerance, max_iterations)
    seeds = tf.stack([fold(seed, number) for number in range(3)])
    result = _sample(likelihood, power, int(num_samples), seeds, tolerance, max_iterations)
    return warned(result, tolerance, max_iterations).mean


def wiener_adjoint(
    likelihood: GaussianLikelihood,
    power: TensorLike,
    weights: TensorLike,
    tolerance: float = 1e-6,
    max_iterations: int = 500,
) -> tf.Tensor:
    """Adjoint of the Wiener filter: the weight of each datum in a weighted sum of the mean.

    The mean is linear in the data, so that sum weights · mean(d) = Re sum conj(g) d for one g,
    found by one solution whatever the data are.

    Args:
        likelihood: Noise and operator of a map of shape [ny, nx]; its data do not matter.
        power: Prior variance of each mode in FFT layout (square of the map's unit),
            shape [ny, nx], as `power_map` gives it.
        weights: Weights of the pixels of the mean (any unit), shape [..., ny, nx].
        tolerance: Relative residual to stop at; in float32 about 1e-6 can be reached.
        max_iterations: Steps after which to stop in any case.

    Returns:
        g (the unit of `weights` times that of the map over that of the data), of the dtype of
        the data, shape [..., *op.data_shape], zero outside the mask.

    Raises:
        ValueError: If `weights` do not end in the sides of the map, `power` has not the
            shape of the map, is negative, not finite or not the same for opposite frequencies,
            or a number is not positive.

    References:
        Zaroubi, Hoffman, Fisher & Lahav 1995, arXiv:astro-ph/9410080 (the filter itself).
    """
    power = _prior(likelihood, power, tolerance, max_iterations)
    weights = tf.convert_to_tensor(weights, likelihood.dtype)
    sides = likelihood.op.shape
    fits = weights.shape[-2:].is_compatible_with(sides)
    checks.require(fits, "weights", f"end in axes {sides}", weights.shape)
    checks.finite(weights, "weights")
    result = _adjoint(likelihood, power, weights, tolerance, max_iterations)
    return warned(result, tolerance, max_iterations).mean


def _prior(
    likelihood: GaussianLikelihood, power: TensorLike, tolerance: float, max_iterations: int
) -> tf.Tensor:
    """The checked power in the dtype of the likelihood."""
    fix = "Take its `linearised()`."
    checks.require(likelihood.is_linear, "likelihood", "be linear", type(likelihood).__name__, fix)
    checks.positive(tolerance, "tolerance")
    checks.positive(max_iterations, "max_iterations")
    return tf.cast(checked_power(power, likelihood.op.shape), likelihood.dtype)


@compiled
def _solve(likelihood, power, tolerance, max_iterations) -> WienerResult:
    """Posterior mean."""
    root = _root(power)
    right = root * fourier.rfft2(likelihood.weighted_adjoint(likelihood.data))
    solution = _whitened_solution(likelihood, root, right, tolerance, max_iterations)
    return _result(fourier.irfft2(root * solution.x, power.shape[-1]), solution)


@compiled
def _sample(likelihood, power, num_samples, seeds, tolerance, max_iterations) -> WienerResult:
    """Posterior samples."""
    root = _root(power)
    sides = [num_samples, *likelihood.data.shape[: -len(likelihood.op.data_shape)], *power.shape]
    white = fourier.rfft2(standard_normal(sides, seeds[0], power.dtype))
    data = likelihood.residual(fourier.irfft2(root * white, power.shape[-1]))
    noise = _weighted_noise(likelihood, data.shape, tf.unstack(seeds[1:]))
    pulled = likelihood.weighted_adjoint(data) - likelihood.op.adjoint(noise)
    right = root * fourier.rfft2(pulled)
    solution = _whitened_solution(likelihood, root, right, tolerance, max_iterations)
    return _result(fourier.irfft2(root * (white + solution.x), power.shape[-1]), solution)


def _weighted_noise(likelihood, shape, seeds) -> tf.Tensor:
    """Noise over its variance, which is finite where nothing is observed too."""
    parts = [standard_normal(shape, s, likelihood.dtype) for s in seeds]
    noise = tf.complex(*parts) if likelihood.data.dtype.is_complex else parts[0]
    return tf.cast(tf.sqrt(likelihood.precision), noise.dtype) * noise


@compiled
def _adjoint(likelihood, power, weights, tolerance, max_iterations) -> WienerResult:
    """Data-shaped weights of a weighted sum of the mean."""
    root = _root(power)
    right = root * fourier.rfft2(weights)
    solution = _whitened_solution(likelihood, root, right, tolerance, max_iterations)
    data = likelihood.op(fourier.irfft2(root * solution.x, power.shape[-1]))
    return _result(tf.cast(likelihood.precision, data.dtype) * data, solution)


def _root(power: tf.Tensor) -> tf.Tensor:
    """S^1/2 on the half plane, complex so that it multiplies modes."""
    root = amplitude(power)
    return tf.complex(root, tf.zeros_like(root))


def _result(mean: tf.Tensor, solution: LinearSolution) -> WienerResult:
    return WienerResult(mean, solution.iterations, tf.squeeze(solution.residual, axis=[-2, -1]))


def _whitened_solution(likelihood, root, right, tolerance, max_iterations) -> LinearSolution:
    """Modes u that solve (1 + S^1/2 A' N^-1 A S^1/2) u = right.

    The unknowns are modes on the half plane, where S^1/2 costs no transform.
    """
    nx = likelihood.op.shape[-1]
    weights = tf.constant(fourier.half_plane_weights(nx), likelihood.dtype)

    def apply(u: tf.Tensor) -> tf.Tensor:
        data = likelihood.op(fourier.irfft2(root * u, nx))
        return u + root * fourier.rfft2(likelihood.weighted_adjoint(data))

    def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        product = tf.math.real(tf.math.conj(a) * b)
        return tf.reduce_sum(weights * product, axis=[-2, -1], keepdims=True)

    inverse = 1 / (1 + root**2 * mean_information(likelihood))
    return conjugate_gradients(apply, right, dot, tolerance, max_iterations, lambda u: inverse * u)


def mean_information(likelihood: GaussianLikelihood) -> tf.Tensor:
    """A' N^-1 A as if it were the same everywhere: exact for even noise and no mask.

    Args:
        likelihood: Data of a map of shape [ny, nx].

    Returns:
        Information of each mode (1 / square of the map's unit), [ny, nx // 2 + 1], complex with
        no imaginary part.
    """
    information = tf.math.real(fourier.rfft2(information_of_a_point(likelihood)))
    # An operator that treats places differently may respond with a negative mode.
    information = tf.nn.relu(information)
    return tf.complex(information, tf.zeros_like(information))


def information_of_a_point(likelihood: GaussianLikelihood) -> tf.Tensor:
    """A' N^-1 A of an image that is zero but in its first pixel, as if noise were even.

    The response of A' A to a point gives its spectrum, the mean precision its scale. An operator
    that hides this pixel gives nothing: it is good for the speed of a solution alone.

    Args:
        likelihood: Data of an image.

    Returns:
        Information (1 / square of the image's unit), the shape of the image.
    """
    point = tf.one_hot(0, math.prod(likelihood.op.shape), dtype=likelihood.dtype)
    # Scaled before it is transformed: XLA would evaluate what has no input while it compiles.
    point *= tf.reduce_mean(likelihood.precision)
    return likelihood.op.normal(tf.reshape(point, likelihood.op.shape))
