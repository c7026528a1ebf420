"""Inverse problems: what is unknown, what was observed, and how probable each makes the other."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from flowpm_ext.core import checks

LogLikelihood = Callable[..., tf.Tensor]
LogPrior = Callable[[tf.Tensor], tf.Tensor]


class InverseProblem:
    """Any differentiable likelihood with a prior.

    The observation may be a structure: data with the operator, mask or noise of each example.

    Args:
        log_likelihood: Function of the unknown x [batch, ...] and an observation, up to a
            constant, [batch]. Where annealing is wanted it takes a third argument, `scale`:
            the length below which it ignores the data, a scalar tensor.
        log_prior: Function of x, up to a constant, [batch].
        is_compiled: Whether XLA compiles the gradients; off where they hold networks or what
            XLA does not know.

    Raises:
        TypeError: If one of them is no function.
    """

    coordinates: Sequence[str] = ("plain",)
    """Ways to write the unknown down, the best one to search in first."""

    unit_spheres: Sequence[str] = ()
    """Those in which the posterior is about a unit sphere, where a first step of 1 fits."""

    def __init__(
        self, log_likelihood: LogLikelihood, log_prior: LogPrior, is_compiled: bool = True
    ) -> None:
        for name, function in (("log_likelihood", log_likelihood), ("log_prior", log_prior)):
            is_one = callable(function)
            checks.require(is_one, name, "be a function", function, error=TypeError)
        self._log_likelihood, self._log_prior = log_likelihood, log_prior
        self.is_compiled = is_compiled
        self._losses: dict[str, Callable] = {}

    @property
    def can_anneal(self) -> bool:
        """Whether the likelihood takes a scale."""
        return "scale" in inspect.signature(self._log_likelihood).parameters

    def log_likelihood(self, x: tf.Tensor, y: Any, scale: float | tf.Tensor = 0.0) -> tf.Tensor:
        """Log probability of an observation, up to a constant.

        Args:
            x: Unknown, shape [batch, ...].
            y: Observation, in the structure that the function of the problem takes.
            scale: Length below which data are ignored, in the unit of the problem.

        Returns:
            Shape [batch].
        """
        return self._log_likelihood(x, y, scale) if self.can_anneal else self._log_likelihood(x, y)

    def log_prior(self, x: tf.Tensor) -> tf.Tensor:
        """Log density of an unknown before it is observed, up to a constant.

        Args:
            x: Unknown, shape [batch, ...].

        Returns:
            Shape [batch].
        """
        return self._log_prior(x)

    def check(self, y: Any) -> Any:
        """An observation of this problem, or a refusal; here any is taken.

        Args:
            y: What was received.

        Returns:
            Tensors with a batch axis.
        """
        return y

    def to_unknown(self, u: tf.Tensor, coordinates: str = "plain") -> tf.Tensor:
        """The unknown from its coordinates.

        Args:
            u: Coordinates, shape [batch, ...].
            coordinates: Which ones, out of `self.coordinates`.

        Returns:
            Shape [batch, ...].

        Raises:
            ValueError: If the coordinates are unknown.
        """
        checks.one_of(coordinates, "coordinates", self.coordinates)
        return u

    def to_coordinates(self, x: tf.Tensor, coordinates: str = "plain") -> tf.Tensor:
        """Coordinates of an unknown.

        Args:
            x: Unknown, shape [batch, ...].
            coordinates: Which ones, out of `self.coordinates`.

        Returns:
            Shape [batch, ...].

        Raises:
            ValueError: If the coordinates are unknown.
        """
        checks.one_of(coordinates, "coordinates", self.coordinates)
        return x

    def gradients(
        self, x: tf.Tensor, y: Any, scale: float | tf.Tensor = 0.0
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Gradients of log likelihood and log prior by the unknown.

        Args:
            x: Unknown, shape [batch, ...].
            y: Observation.
            scale: Length below which data are ignored.

        Returns:
            Both, in the shape of `x`.
        """
        return self._compiled_gradients(x, y, tf.cast(scale, x.dtype))

    @functools.cached_property
    def _compiled_gradients(self) -> Callable:
        def both(x: tf.Tensor, y: Any, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                likelihood = tf.reduce_sum(self.log_likelihood(x, y, scale))
                prior = tf.reduce_sum(self.log_prior(x))
            zero = tf.UnconnectedGradients.ZERO
            return (
                tape.gradient(likelihood, x, unconnected_gradients=zero),
                tape.gradient(prior, x, unconnected_gradients=zero),
            )

        return tf.function(both, jit_compile=self.is_compiled, autograph=False)

    def loss_in(self, coordinates: str) -> Callable:
        """Minus the log posterior of one unknown, with its gradient by coordinates of it.

        Args:
            coordinates: Which ones, out of `self.coordinates`.

        Returns:
            A compiled function of coordinates [1, ...], an observation of one and the scale, that
            gives a scalar and its gradient.

        Raises:
            ValueError: If the coordinates are unknown.
        """
        checks.one_of(coordinates, "coordinates", self.coordinates)
        if coordinates in self._losses:
            return self._losses[coordinates]

        def loss(u: tf.Tensor, y: Any, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(u)
                x = self.to_unknown(u, coordinates)
                value = -tf.reduce_sum(self.log_likelihood(x, y, scale) + self.log_prior(x))
            return value, tape.gradient(value, u)

        compiled = tf.function(loss, jit_compile=self.is_compiled, autograph=False)
        return self._losses.setdefault(coordinates, compiled)
