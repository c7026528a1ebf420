"""Parameters of any shapes and bounds, as one vector without bounds."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.inference.chains import require_one_each
from flowpm_ext.inference.parameter import Parameter


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

    def vector(self, values: Any, name: str = "values") -> tf.Tensor:
        """Vectors from parameters, the inverse of `values`.

        Args:
            values: Structure of tensors [..., *shape] with the same leading axes.
            name: What messages call it.

        Returns:
            Shape [..., size].

        Raises:
            ValueError: If the structure or a shape is another, or a number is not finite or not
                inside of its bounds.

        References:
            Carpenter et al. 2017, J. Stat. Softw. 76, 1.
        """
        wanted, given = (_paths(structure) for structure in (self.parameters, values))
        rule = f"have the parts {_listed(wanted)}"
        checks.require(given == wanted, name, rule, _listed(given))
        parts = [
            self._flat(leaf, value, f"{name}{path}")
            for leaf, value, path in zip(self.leaves, tf.nest.flatten(values), given, strict=True)
        ]
        return tf.concat(parts, axis=-1)

    def log_prob(
        self, function: Callable[[Any], tf.Tensor], with_slopes: bool = True
    ) -> Callable[..., tf.Tensor]:
        """The same density over vectors.

        Args:
            function: Gives log densities [num_chains] of structures of tensors
                [num_chains, *shape].
            with_slopes: Whether the slopes of the map count, so that it is the same distribution;
                without them values are those of `function`.

        Returns:
            Function of vectors [num_chains, size], which raises a ValueError where `function`
            does not give one number for each of them.
        """

        def of_vector(u: tf.Tensor) -> tf.Tensor:
            values, log_slope = self._mapped(u)
            value = tf.convert_to_tensor(function(values))
            # Before the sum, which would make one number for all chains one for each.
            require_one_each(value, u.shape[:-1])
            return value + log_slope if with_slopes else value

        return of_vector

    def _flat(self, leaf: Parameter, value: Any, name: str) -> tf.Tensor:
        """Numbers on the real line of one parameter, [..., leaf.size]."""
        value = cast(value, self.dtype)
        lead = value.shape.rank - len(leaf.shape)
        fits = lead >= 0 and tuple(value.shape[lead:]) == leaf.shape
        checks.require(fits, name, f"end in the shape {leaf.shape}", value.shape)
        checks.finite(value, name)
        u = leaf.unbounded(value)
        is_inside = tf.is_symbolic_tensor(u) or bool(np.all(np.isfinite(u)))
        checks.require(is_inside, name, f"be inside of ({leaf.low}, {leaf.high})", value)
        return tf.reshape(u, [*value.shape[:lead], leaf.size])

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


def _paths(structure: Any, at: str = "") -> list[str]:
    """How each leaf is reached, in the order of the vector."""
    if isinstance(structure, dict):
        parts = [(f"{at}[{key!r}]", structure[key]) for key in sorted(structure)]
    elif hasattr(structure, "_fields"):
        parts = [(f"{at}.{name}", part) for name, part in structure._asdict().items()]
    elif isinstance(structure, list | tuple):
        parts = [(f"{at}[{number}]", part) for number, part in enumerate(structure)]
    else:  # a leaf, or what only `tf.nest` sees through
        return [at] * len(tf.nest.flatten(structure))
    return [path for name, part in parts for path in _paths(part, name)]


def _listed(paths: list[str]) -> str:
    """A few of them, in words."""
    return ", ".join(path or "(a tensor)" for path in paths[:8]) + (
        ", ..." if len(paths) > 8 else ""
    )
