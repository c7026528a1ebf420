"""Parameters of any shapes and bounds, as one vector without bounds."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast


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


@dataclasses.dataclass(frozen=True)
class Space:
    """A structure of parameters, and the vectors without bounds that stand for it.

    Densities of the vectors count the slopes of the map, so that they are the same distribution.

    Args:
        parameters: Structure (dictionaries, lists, named tuples) of `Parameter`.
        dtype: float32 or float64.

    Raises:
        ValueError: If there is no parameter.
        TypeError: If the structure holds anything else.

    References:
        Carpenter et al. 2017, J. Stat. Softw. 76, 1 (the maps).
    """

    parameters: Any
    dtype: tf.DType = tf.float64

    def __post_init__(self) -> None:
        checks.require(len(self.leaves) > 0, "parameters", "hold a Parameter", self.parameters)
        for leaf in self.leaves:
            is_one = isinstance(leaf, Parameter)
            checks.require(
                is_one, "parameters", "hold objects of the type Parameter", leaf, error=TypeError
            )

    @property
    def leaves(self) -> list[Parameter]:
        """All parameters, in the order of the vector."""
        return tf.nest.flatten(self.parameters)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(leaf.size for leaf in self.leaves)

    def values(self, u: TensorLike) -> Any:
        """Parameters from vectors.

        Args:
            u: Shape [..., size].

        Returns:
            Structure of tensors [..., *shape].
        """
        return self._mapped(u)[0]

    def vector(self, values: Any) -> tf.Tensor:
        """Vectors from parameters, the inverse of `values`.

        Args:
            values: Structure of tensors [..., *shape] with the same leading axes.

        Returns:
            Shape [..., size].

        Raises:
            ValueError: If a tensor has another shape, or is not inside of its bounds.

        References:
            Carpenter et al. 2017, J. Stat. Softw. 76, 1.
        """
        tf.nest.assert_same_structure(self.parameters, values)
        parts = []
        for leaf, value in zip(self.leaves, tf.nest.flatten(values), strict=True):
            value = cast(value, self.dtype)
            lead = value.shape.rank - len(leaf.shape)
            fits = lead >= 0 and tuple(value.shape[lead:]) == leaf.shape
            checks.require(fits, "values", f"end in the shape {leaf.shape}", value.shape)
            u = leaf.unbounded(value)
            inside = f"be inside of ({leaf.low}, {leaf.high})"
            is_inside = tf.is_symbolic_tensor(u) or bool(np.all(np.isfinite(u)))
            checks.require(is_inside, "values", inside, value)
            parts.append(tf.reshape(u, [*value.shape[:lead], leaf.size]))
        return tf.concat(parts, axis=-1)

    def log_prob(self, function: Callable[[Any], tf.Tensor]) -> Callable[..., tf.Tensor]:
        """The same density over vectors.

        Args:
            function: Gives log densities [num_chains] of structures of tensors
                [num_chains, *shape].

        Returns:
            Function of vectors [num_chains, size].
        """

        def of_vector(u: tf.Tensor) -> tf.Tensor:
            values, log_slope = self._mapped(u)
            return tf.convert_to_tensor(function(values)) + log_slope

        return of_vector

    def _mapped(self, u: TensorLike) -> tuple[Any, tf.Tensor]:
        """Parameters, and the logarithm of the volume that one of the vectors makes, [...]."""
        u = cast(u, self.dtype)
        sizes = [leaf.size for leaf in self.leaves]
        checks.require(u.shape[-1] == sum(sizes), "u", f"end in an axis of {sum(sizes)}", u.shape)
        values, log_slope = [], tf.zeros([], u.dtype)
        for leaf, part in zip(self.leaves, tf.split(u, sizes, axis=-1), strict=True):
            value, slope = leaf.bounded(tf.reshape(part, [*u.shape[:-1], *leaf.shape]))
            values.append(value)
            if leaf.low is not None or leaf.high is not None:
                log_slope += tf.reduce_sum(tf.reshape(slope, part.shape), axis=-1)
        return tf.nest.pack_sequence_as(self.parameters, values), log_slope
