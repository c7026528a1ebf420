"""Checks of arguments that several parts share."""

from collections.abc import Sequence

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike


def checked_summaries(x: TensorLike, name: str) -> np.ndarray:
    """Summaries of simulations in float64, after checks.

    Args:
        x: Shape [num, num_data].
        name: Name of the argument, for the message.

    Returns:
        The same, float64.

    Raises:
        ValueError: If the shape is another or a value is not finite.
    """
    x = np.asarray(x, np.float64)
    checks.require(x.ndim == 2 and x.size > 0, name, "have shape [num, num_data]", x.shape)
    checks.finite(x, name)
    return x


def checked_names(names: Sequence[str] | None, num: int, default: str = "x") -> list[str]:
    """Names of summaries or parameters, as many as there are.

    Args:
        names: What was received; None for numbered ones.
        num: How many there are.
        default: What numbered ones begin with.

    Returns:
        The names.

    Raises:
        ValueError: If they are not as many.
    """
    names = [f"{default}_{i}" for i in range(num)] if names is None else list(names)
    checks.require(len(names) == num, "names", f"be {num} texts", names)
    return names


def are_names_of(names: Sequence[str], known: Sequence[str]) -> bool:
    """Whether names are the known ones in their order, or numbered ones, which say nothing.

    Args:
        names: What was received.
        known: Names of the parameters.

    Returns:
        Whether they are.
    """
    return list(names) in (list(known), checked_names(None, len(known), "theta"))


def paired(theta: TensorLike, x_obs: np.ndarray, is_one: bool) -> tuple[np.ndarray, tuple]:
    """Parameters whose posterior density is asked for, after checks.

    Args:
        theta: Shape [num_samples, num_parameters], or for several observations
            [num_samples, num, num_parameters].
        x_obs: Observations, [num, ...].
        is_one: Whether it is one observation.

    Returns:
        Parameters [num_samples * num, num_parameters], those of all observations in turn, and the
        shape of one density for each.

    Raises:
        ValueError: If `theta` has another shape.
    """
    theta = np.asarray(theta, np.float32)
    rank = 2 if is_one else 3
    fits = theta.ndim == rank and (is_one or theta.shape[1] == len(x_obs))
    shape = "[num_samples, num_parameters]"
    shape = shape if is_one else f"[num_samples, {len(x_obs)}, num_parameters]"
    checks.require(fits, "theta", f"have shape {shape}", theta.shape)
    return theta.reshape(-1, theta.shape[-1]), theta.shape[:-1]
