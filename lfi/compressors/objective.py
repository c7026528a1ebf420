"""What a compressor is trained for: four losses of summaries and parameters."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from lfi.compressors.gaussian import GaussianAround
from lfi.compressors.moments import Moments
from lfi.density import ConditionalDensity, CouplingFlow
from lfi.prior import innermost

LOSSES = ("vmim", "gnll", "mse", "mae")


class Objective(keras.layers.Layer):
    """A loss of summaries and parameters, with the density that it trains where it has one.

    Args:
        kind: "vmim", "gnll", "mse" or "mae".
        num_parameters: Parameters.
        num_summaries: Summaries; as many as parameters unless the kind is "vmim".
        density: Of the parameters given the summaries, for "vmim"; a flow by default.
        low: Lower bounds of the parameters for that default, [num_parameters]; None for none.
        high: Upper bounds.

    Raises:
        ValueError: If the kind is unknown, a number is not a positive integer, or the density or
            the summaries do not fit.

    References:
        Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459.
    """

    def __init__(
        self,
        kind: str,
        num_parameters: int,
        num_summaries: int,
        density: ConditionalDensity | None = None,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        checks.one_of(kind, "loss", LOSSES)
        checks.positive_integers(num_parameters=num_parameters, num_summaries=num_summaries)
        self.kind, self.num_parameters, self.num_summaries = kind, num_parameters, num_summaries
        self.density = self._checked(density)
        if kind == "vmim" and density is None:
            # Of the small densities this one gave the highest bounds where posteriors bend.
            self.density = CouplingFlow(
                num_parameters, num_summaries, "affine", activation="tanh", low=low, high=high
            )
        if kind == "gnll" and density is None:
            self.density = GaussianAround(num_parameters)
        for name, start in (("mean", "zeros"), ("scale", "ones")):
            weight = self.add_weight(
                shape=(num_parameters,), initializer=start, trainable=False, name=name
            )
            setattr(self, name, weight)
        self.built = True

    def call(self, out: tf.Tensor) -> tf.Tensor:
        """Summaries from what a network says of order one.

        Args:
            out: Shape [batch, num_summaries].

        Returns:
            The same for "vmim", else in units of the parameters.
        """
        return out if self.kind == "vmim" else self.mean + self.scale * out

    def each(self, theta: tf.Tensor, summaries: tf.Tensor) -> tf.Tensor:
        """Loss of each example.

        Args:
            theta: Parameters, [batch, num_parameters].
            summaries: Shape [batch, num_summaries].

        Returns:
            Shape [batch].

        Raises:
            ValueError: If there is another number of parameters.
        """
        self.check_width(theta)
        theta = tf.cast(theta, tf.float32)
        if self.density is not None:
            return -self.density.log_prob(self.off_bounds(theta), summaries)
        error = (theta - summaries) / self.scale
        return tf.reduce_mean(tf.abs(error) if self.kind == "mae" else error**2, axis=-1)

    def adapt(self, parts: Sequence[np.ndarray]) -> None:
        """Learn means and scales of the parameters.

        Args:
            parts: Batches [batch, num_parameters].

        Raises:
            ValueError: If a parameter does not vary, is not finite, or does not lie inside of the
                bounds of the density.
        """
        plain, on_line = Moments(), Moments()
        for part in parts:
            checks.finite(part, "theta")
            plain.add(part)
            if self.kind == "vmim":
                on_line.add(self.density.to_line(self.off_bounds(tf.cast(part, tf.float32)))[0])
        mean, scale = plain.result()
        checks.require(bool(np.all(scale > 0)), "theta", "vary in every component", scale)
        self.mean.assign(mean)
        self.scale.assign(scale)
        if self.kind == "gnll":
            self.density.standardise(mean, scale)
        elif self.kind == "vmim":
            mean, scale = on_line.result()
            inside = bool(np.all(np.isfinite(scale)))
            checks.require(inside, "theta", "lie inside of the bounds `low` and `high`", scale)
            self.density.y_mean.assign(mean)
            self.density.y_scale.assign(scale)

    def off_bounds(self, theta: tf.Tensor) -> tf.Tensor:
        """Parameters where the density has a value: those on a bound, as designs have them, moved.

        Args:
            theta: Parameters, [batch, num_parameters].

        Returns:
            The same, with those on a bound of the density within it; others are left alone.
        """
        low, high = self.density.low, self.density.high
        if low is None:
            return theta
        is_within = (theta >= low) & (theta <= high)
        return tf.where(is_within, tf.clip_by_value(theta, *innermost(low, high)), theta)

    def check_width(self, theta: np.ndarray | tf.Tensor) -> None:
        """Refuse parameters of another shape.

        Args:
            theta: Should be [batch, num_parameters].

        Raises:
            ValueError: If it is not.
        """
        rule = f"have shape [num, {self.num_parameters}]"
        fits = len(theta.shape) == 2 and theta.shape[-1] == self.num_parameters
        checks.require(fits, "theta", rule, f"shape {tuple(theta.shape)}")

    def _checked(self, density: ConditionalDensity | None) -> ConditionalDensity | None:
        sizes = self.num_parameters, self.num_summaries
        if self.kind != "vmim":
            rule = f"be as many as parameters, {sizes[0]}, for loss {self.kind!r}"
            checks.require(sizes[0] == sizes[1], "num_summaries", rule, sizes[1])
            # A file of "gnll" brings its own back.
            is_own = density is None or (
                self.kind == "gnll" and isinstance(density, GaussianAround)
            )
            rule = "be left out unless the loss is 'vmim'"
            checks.require(is_own, "density", rule, type(density).__name__)
        elif density is not None:
            rule = f"have {sizes[0]} dimensions and {sizes[1]} components of context"
            found = density.num_dims, density.num_context
            checks.require(found == sizes, "density", rule, found)
        return density
