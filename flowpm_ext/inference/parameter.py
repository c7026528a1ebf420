"""One tensor of parameters, and its map to numbers without bounds."""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import cast


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One tensor of parameters.

    Args:
        shape: Its shape.
        low: What it stays above, a number or an array that broadcasts to the shape; None for no
            bound.
        high: What it stays below, likewise.

    Raises:
        ValueError: If a bound is not finite or does not fit the shape, or `low` is not below
            `high`.
    """

    shape: tuple[int, ...] = ()
    low: Any = None
    high: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(side) for side in self.shape))
        checks.require(min(self.shape, default=1) > 0, "shape", "be of positive sides", self.shape)
        for name in ("low", "high"):
            if (bound := getattr(self, name)) is not None:
                checks.finite(bound, name, "Write None for no bound.")
                rule = f"broadcast to the shape {self.shape}"
                sides = np.shape(bound)
                last = self.shape[len(self.shape) - len(sides) :]
                fits = len(sides) <= len(self.shape) and all(
                    side in (1, whole) for side, whole in zip(sides, last, strict=True)
                )
                checks.require(fits, name, rule, bound)
        if self.low is not None and self.high is not None:
            is_below = bool(np.all(np.asarray(self.low) < np.asarray(self.high)))
            checks.require(is_below, "low", f"be below high, {self.high}", self.low)

    @property
    def size(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    def bounded(self, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The tensor from numbers on the real line, and the logarithms of its slopes.

        Args:
            u: Shape [..., *shape].

        Returns:
            Both of the same shape: u itself without bounds, an exponential from one bound, a
            logistic function between two.
        """
        low, high = (None if b is None else cast(b, u.dtype) for b in (self.low, self.high))
        if low is None and high is None:
            return u, tf.zeros_like(u)
        if low is None:
            return high - tf.exp(u), u
        if high is None:
            return low + tf.exp(u), u
        slope = tf.math.log(high - low) + tf.math.log_sigmoid(u) + tf.math.log_sigmoid(-u)
        return low + (high - low) * tf.sigmoid(u), slope

    def unbounded(self, value: tf.Tensor) -> tf.Tensor:
        """Numbers on the real line from the tensor, the inverse of `bounded`.

        Args:
            value: Shape [..., *shape].

        Returns:
            The same shape; infinite on a bound, and no number beyond.
        """
        low, high = (None if b is None else cast(b, value.dtype) for b in (self.low, self.high))
        if low is None and high is None:
            return value
        if low is None:
            return tf.math.log(high - value)
        if high is None:
            return tf.math.log(value - low)
        return tf.math.log(value - low) - tf.math.log(high - value)
