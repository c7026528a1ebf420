"""Integrals along trajectories that are known at a few points."""

import functools

import numpy as np
from scipy.interpolate import CubicSpline

from flowpm_ext.core import checks


@functools.cache
def path_weights(num_steps: int, skip: int = 1) -> np.ndarray:
    """Weights W of the integral of f · dx along a path through points, sum_ij W_ij f_i · x_j.

    Path and force are cubic splines through the points, taken at even times: the error falls with
    the fourth power of the time between them. The integral along the path turned round is that
    along the path with the other sign, to rounding.

    Args:
        num_steps: Steps from point to point, one or more.
        skip: Steps between points that count; it divides `num_steps`. Others weigh nothing.

    Returns:
        Shape [num_steps + 1, num_steps + 1].

    Raises:
        ValueError: If a number is not positive, or `skip` does not divide `num_steps`.

    References:
        de Boor 1978, A Practical Guide to Splines.
    """
    checks.positive_integers(num_steps=num_steps, skip=skip)
    checks.require(num_steps % skip == 0, "skip", f"divide {num_steps}", skip)
    time = np.arange(0.0, num_steps + 1, skip)
    spline = CubicSpline(time, np.eye(len(time)))
    # Three points for each step: exact for the fifth degree that the product has.
    node, weight = np.polynomial.legendre.leggauss(3)
    at = (time[:-1, None] + skip * (node + 1) / 2).ravel()
    value, slope = spline(at), spline(at, 1)
    found = np.einsum("t,ti,tj->ij", np.tile(skip * weight / 2, len(time) - 1), value, slope)
    # By symmetry of the splines already, but for rounding.
    found = (found - found[::-1, ::-1]) / 2
    weights = np.zeros([num_steps + 1, num_steps + 1])
    weights[::skip, ::skip] = found
    return weights
