"""Whether a solver reached its tolerance, and the warning where it did not."""

import warnings
from typing import Protocol, TypeVar

import numpy as np
import tensorflow as tf

from flowpm_ext.core.types import known


class Solved(Protocol):
    """What a solver returns beside its solution."""

    @property
    def iterations(self) -> tf.Tensor:
        """Steps taken, shape []."""

    @property
    def residual(self) -> tf.Tensor:
        """Relative residual, any shape."""


Solution = TypeVar("Solution", bound=Solved)


class NotConvergedWarning(UserWarning):
    """A solver stopped before it reached the tolerance."""


def warned(
    result: Solution,
    tolerance: float,
    max_iterations: int,
    stacklevel: int = 3,
    solver: str = "The Wiener filter",
) -> Solution:
    """The solution, after a warning where it is known not to have converged.

    Args:
        result: What the solver found.
        tolerance: Relative residual that was asked for.
        max_iterations: Steps that it was allowed.
        stacklevel: Calls between the warning and the line that it names, as in `warnings.warn`.
        solver: What stopped, for the message.

    Returns:
        `result` as it is.
    """
    if not has_converged(result, tolerance, max_iterations):
        worst = np.max(result.residual)
        warnings.warn(
            f"{solver} stopped after {int(result.iterations)} iterations at a relative "
            f"residual of {worst:.1e}; the tolerance is {tolerance:.1e}. Raise "
            "`max_iterations`, or `tolerance` where rounding in float32 keeps it from being "
            "reached.",
            NotConvergedWarning,
            stacklevel=stacklevel,
        )
    return result


def has_converged(result: Solved, tolerance: float, max_iterations: int) -> bool:
    """Whether a solution reached its tolerance; true of one that is not known yet.

    Args:
        result: What the solver found.
        tolerance: Relative residual that was asked for.
        max_iterations: Steps that it was allowed.

    Returns:
        False where the residual is known and too large.
    """
    residual, iterations = known(result.residual), known(result.iterations)
    # Ten times: rounding keeps the true residual above the one that the steps carry along.
    slack = 1 if iterations == max_iterations else 10
    return residual is None or bool(np.all(residual <= slack * tolerance))
