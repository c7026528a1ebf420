"""Many simulations of a cheap kind, moved to where few of a costly kind are."""

import itertools

import numpy as np
from scipy.linalg import sqrtm

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_summaries

# Of polynomials in the parameters. A mean that is wrong by half a standard deviation anywhere is
# a bias of the posterior there, and cheap simulations are many.
MEAN_DEGREE, SHIFT_DEGREE = 6, 1


def moved_summaries(
    theta: TensorLike, x: TensorLike, few_theta: TensorLike, few_x: TensorLike
) -> np.ndarray:
    """Summaries of cheap simulations, with the mean and the scatter of costly ones.

    What few simulations tell well is how far off cheap ones are: a shift of the mean that is
    linear in the parameters, and another covariance of what is left. All else, such as how the
    mean bends and how densities differ from a Gaussian, stays that of the cheap ones. Parameters
    of the costly ones may come from any part of the prior; beyond it the shift is continued.

    Args:
        theta: Parameters of the cheap simulations, or functions of them that summaries are nearly
            polynomials of, such as logarithms, shape [num, num_parameters].
        x: Their summaries, shape [num, num_data].
        few_theta: Parameters of the costly simulations, shape [num_few, num_parameters].
        few_x: Their summaries, shape [num_few, num_data].

    Returns:
        The cheap summaries, moved, float64 [num, num_data].

    Raises:
        ValueError: If shapes do not fit, a value is not finite, simulations are too few for the
            polynomials, or too few cheap ones lie where the costly ones are.

    References:
        Krouglova et al. 2025, arXiv:2502.08416, for simulators of several fidelities; Peyre &
        Cuturi 2019, arXiv:1803.00567, remark 2.31, for the map between two Gaussians.
    """
    theta, x = checked_summaries(theta, "theta"), checked_summaries(x, "x")
    few_theta = checked_summaries(few_theta, "few_theta")
    few_x = checked_summaries(few_x, "few_x")
    for name, part, like in (("x", x, theta), ("few_x", few_x, few_theta)):
        checks.require(len(part) == len(like), name, f"have {len(like)} rows", part.shape)
    for name, part, like in (("few_theta", few_theta, theta), ("few_x", few_x, x)):
        width = like.shape[1]
        checks.require(part.shape[1] == width, name, f"have {width} columns", part.shape)
    middle, scale = theta.mean(axis=0), theta.std(axis=0)
    checks.require(bool(np.all(scale > 0)), "theta", "vary in every parameter", scale)
    unit, few_unit = (theta - middle) / scale, (few_theta - middle) / scale
    bent, linear = _powers(unit, MEAN_DEGREE), _powers(few_unit, SHIFT_DEGREE)
    for name, design in (("theta", bent), ("few_theta", linear)):
        least = design.shape[1] + x.shape[1]
        checks.require(len(design) > least, name, f"hold more than {least}", len(design))
    weights = np.linalg.lstsq(bent, x, rcond=None)[0]
    rest = x - bent @ weights
    off = few_x - _powers(few_unit, MEAN_DEGREE) @ weights
    shift = np.linalg.lstsq(linear, off, rcond=None)[0]
    left = off - linear @ shift
    # Scatter changes with the parameters: compared is that of the same part of their space.
    near = np.all((theta >= few_theta.min(axis=0)) & (theta <= few_theta.max(axis=0)), axis=1)
    least = 4 * x.shape[1]
    checks.require(near.sum() >= least, "theta", f"hold {least} among few_theta", near.sum())
    spread = _gaussian_map(_second_moment(rest[near], bent), _second_moment(left, linear))
    return bent @ weights + _powers(unit, SHIFT_DEGREE) @ shift + rest @ spread


def _powers(unit: np.ndarray, degree: int) -> np.ndarray:
    """All products of up to `degree` columns, [num, num_products]; the first is one."""
    columns = [
        np.prod(unit[:, list(chosen)], axis=1)
        for count in range(degree + 1)
        for chosen in itertools.combinations_with_replacement(range(unit.shape[1]), count)
    ]
    return np.stack(columns, axis=1)


def _second_moment(rest: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Covariance of what a fit has left, where its freedom was small against the data or not."""
    freedom = design.shape[1] * len(rest) / len(design)
    return rest.T @ rest / (len(rest) - freedom)


def _gaussian_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The symmetric matrix that takes a Gaussian of one covariance to one of another."""
    root = np.real(sqrtm(before))
    inverse = np.linalg.inv(root)
    return inverse @ np.real(sqrtm(root @ after @ root)) @ inverse
