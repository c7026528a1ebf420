"""What all conditional densities share: standardised inputs, bounds, and training by likelihood."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.nn import OwnLoss

LOG_2PI = math.log(2 * math.pi)
CHUNK = 50_000  # log densities at a time
LEAST_SPREAD = 1e-6  # of numbers that vary, over their mean: about what float32 resolves
ON_BOUND = 2 / math.pi  # of the square: a normal distribution cut at its mean lies so far inside


class LinearPrediction(keras.layers.Layer):
    """What a linear function of the context says of y, and how its errors go together.

    Where y has bounds, the prediction bends and stays inside, over a width of its own error: about
    as the mean of a normal distribution does that bounds cut off. A sharp edge there would leave a
    density to undo it, just where posteriors that touch a bound need it to be right.

    Args:
        num_dims: Components of y.
        num_context: Components of the context.
        **options: Of a Keras layer.
    """

    def __init__(self, num_dims: int, num_context: int, **options: Any) -> None:
        super().__init__(trainable=False, **options)

        def weight(name: str, start: Any, *shape: int) -> keras.Variable:
            return self.add_weight(shape=shape, initializer=start, trainable=False, name=name)

        self.kernel = weight("kernel", "zeros", num_context, num_dims)
        self.bias = weight("bias", "zeros", num_dims)
        self.error = weight("error", "ones", num_dims)
        self.mixing = weight("mixing", keras.initializers.Identity(), num_dims, num_dims)
        self.built = True

    def adapt(self, seen: tf.Tensor, y: tf.Tensor) -> None:
        """Least squares.

        Args:
            seen: Standardised context, [num, num_context].
            y: Shape [num, num_dims].
        """
        seen, y = np.asarray(seen, np.float64), np.asarray(y, np.float64)
        mean, scale = np.mean(y, axis=0), np.std(y, axis=0)
        kernel = np.linalg.lstsq(seen, y - mean, rcond=1e-6)[0]
        self.kernel.assign(kernel)
        self.bias.assign(mean)
        error = np.std(y - mean - seen @ kernel, axis=0)
        # Where y is a linear function of the context there is no error to bend over.
        self.error.assign(np.maximum(error, LEAST_SPREAD * scale))

    def decorrelate(self, error: tf.Tensor) -> None:
        """Learn the triangle that brings errors to unit covariance.

        Args:
            error: Standardised errors on the line, [num, num_dims].
        """
        covariance = np.atleast_2d(np.cov(np.asarray(error, np.float64).T))
        root = np.linalg.cholesky(covariance + LEAST_SPREAD * np.eye(len(covariance)))
        self.mixing.assign(np.linalg.inv(root).T)

    def call(self, seen: tf.Tensor) -> tf.Tensor:
        """The prediction, as if there were no bounds.

        Args:
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch, num_dims].
        """
        return tf.matmul(seen, self.kernel) + self.bias

    def kept_positive(self, distance: tf.Tensor) -> tf.Tensor:
        """The distance of a prediction to a bound, bent to be positive.

        Args:
            distance: Shape [batch, num_dims], negative beyond the bound.

        Returns:
            The same shape: the distance where it is many errors, error^2 / |distance| beyond.
        """
        bend = 4 * ON_BOUND * self.error**2
        root = tf.sqrt(distance**2 + bend)
        # Beyond the bound as a quotient, since the difference of the two rounds to nothing.
        outside = bend / (root + tf.abs(distance))
        return 0.5 * tf.where(distance > 0, distance + root, outside)


class ConditionalDensity(OwnLoss, keras.Model):
    """The density of y given a context, trained by `compile` and `fit(context, y)`.

    Inside, y is first mapped to the real line where it has bounds, and y and context are brought
    to mean 0 and variance 1 by what `adapt` was shown; all of it counts in the density. With
    `linear`, what is standardised is how y differs from its linear prediction by the context, and
    its components are made uncorrelated too.

    Args:
        num_dims: Components of y.
        num_context: Components of the context that the density sees: of the embedding, if there
            is one.
        low: Lower bounds of y, [num_dims], infinite where there is none; None for none at all.
            Give both or neither.
        high: Upper bounds.
        embedding: Keras layer or model from the raw context to [batch, num_context].
        linear: Whether y is first predicted by a linear function of the context; there must be
            no embedding then.
        **options: Of a Keras model.

    Raises:
        ValueError: If a number is not a positive integer, or bounds do not fit.
    """

    def __init__(
        self,
        num_dims: int,
        num_context: int,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        embedding: keras.layers.Layer | None = None,
        linear: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(num_dims=num_dims, num_context=num_context)
        fix = "An embedding can be as linear as it likes."
        checks.require(not (linear and embedding), "linear", "be without `embedding`", linear, fix)
        self.num_dims, self.num_context, self.embedding = num_dims, num_context, embedding
        self.prediction = LinearPrediction(num_dims, num_context) if linear else None
        self.low, self.high = _bounds(low, high, num_dims)
        for name, size in (("y", num_dims), ("context", num_context)):
            for kind, start in (("mean", "zeros"), ("scale", "ones")):
                weight = self.add_weight(
                    shape=(size,), initializer=start, trainable=False, name=f"{name}_{kind}"
                )
                setattr(self, f"{name}_{kind}", weight)

    def adapt(self, context: TensorLike, y: TensorLike) -> None:
        """Learn means and standard deviations, before the first `fit`.

        Args:
            context: Raw context, shape [num, ...].
            y: Shape [num, num_dims].

        Raises:
            ValueError: If a component of y or the context does not vary, is not finite, or y lies
                on or outside its bounds.
        """
        y = tf.cast(tf.convert_to_tensor(y), tf.float32)
        checks.finite(y, "y")
        if self.embedding is None:
            context = tf.cast(tf.convert_to_tensor(context), tf.float32)
            self._standardise("context", context)
        u = self.to_line(y)[0]
        self._standardise("y", u)
        if self.prediction is not None:
            seen = self(context)
            self.prediction.adapt(seen, y)
            rest = u - self._predicted(seen)
            self._standardise("y", rest)
            self.prediction.decorrelate((rest - self.y_mean) / self.y_scale)

    def _standardise(self, name: str, values: tf.Tensor) -> None:
        """Learn the mean and the scale of y or the context."""
        checks.finite(values, name, "Values must lie inside of their bounds.")
        # In float64: what all are alike in would hide how they differ.
        values = np.asarray(values, np.float64)
        mean, scale = np.mean(values, axis=0), np.std(values, axis=0)
        constant = np.flatnonzero(scale <= LEAST_SPREAD * np.abs(mean)).tolist()
        received = f"components {constant} constant"
        checks.require(not constant, name, "vary in every component", received)
        getattr(self, f"{name}_mean").assign(mean)
        getattr(self, f"{name}_scale").assign(scale)

    def _predicted(self, seen: tf.Tensor) -> tf.Tensor:
        """The linear prediction, on the line."""
        found = self.prediction(seen)
        if self.low is None:
            return found
        distances = found - self.low, self.high - found
        above, below = (self.prediction.kept_positive(distance) for distance in distances)
        return self._logs(found, above, below)[0]

    def to_line(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """y without bounds, and the logarithm of what its volume grows by.

        Args:
            y: Shape [batch, num_dims].

        Returns:
            Real numbers [batch, num_dims], and log |d u / d y|, [batch].

        References:
            The logit function, or the logarithm where there is one bound; the change of variables.
        """
        if self.low is None:
            return y, tf.zeros_like(y[..., 0])
        u, log_above, log_below = self._logs(y, y - self.low, self.high - y)
        both = np.isfinite(self.low) & np.isfinite(self.high)
        growth = np.log(np.where(both, self.high - self.low, 1.0)) - log_above - log_below
        return u, tf.reduce_sum(growth, axis=-1)

    def _logs(self, y: tf.Tensor, above: tf.Tensor, below: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """y on the line by its distances to the bounds, infinite if there is none; their logs."""
        has_low, has_high = np.isfinite(self.low), np.isfinite(self.high)
        log_above = tf.math.log(tf.where(has_low, above, 1.0))
        log_below = tf.math.log(tf.where(has_high, below, 1.0))
        return tf.where(has_low | has_high, log_above - log_below, y), log_above, log_below

    def from_line(self, u: tf.Tensor) -> tf.Tensor:
        """y from real numbers.

        Args:
            u: Shape [..., num_dims].

        Returns:
            The same shape, inside of the bounds.

        References:
            The logistic function, or the exponential where there is one bound.
        """
        if self.low is None:
            return u
        has_low, has_high = np.isfinite(self.low), np.isfinite(self.high)
        low, high = (np.where(np.isfinite(end), end, 0.0) for end in (self.low, self.high))
        between = low + (high - low) * tf.sigmoid(u)
        size = tf.where(has_low != has_high, u, 0.0)  # else it may overflow, and so its slope
        one_side = tf.where(has_low, low + tf.exp(size), high - tf.exp(-size))
        return tf.where(has_low & has_high, between, tf.where(has_low | has_high, one_side, u))

    def call(self, context: tf.Tensor) -> tf.Tensor:
        """The context as the density sees it.

        Args:
            context: Raw context, shape [batch, ...].

        Returns:
            Shape [batch, num_context].
        """
        seen = context if self.embedding is None else self.embedding(context)
        return (seen - self.context_mean) / self.context_scale

    def log_prob(self, y: TensorLike, context: TensorLike) -> tf.Tensor:
        """Log density of y given the context.

        Args:
            y: Shape [batch, num_dims].
            context: Raw context, shape [batch, ...].

        Returns:
            Shape [batch]; minus infinity outside of the bounds.

        Raises:
            ValueError: If y has another number of components.

        References:
            Papamakarios et al. 2021, arXiv:1912.02762.
        """
        y = tf.cast(tf.convert_to_tensor(y), tf.float32)
        return self._log_prob(y, self(tf.cast(tf.convert_to_tensor(context), tf.float32)))

    def log_prob_of_each(self, y: TensorLike, context: TensorLike) -> tf.Tensor:
        """Log density of several values to each context, which is looked at once.

        Args:
            y: Shape [num * batch, num_dims], one value for each context, then the next for each.
            context: Raw context, shape [batch, ...].

        Returns:
            Shape [num * batch]; minus infinity outside of the bounds.

        Raises:
            ValueError: If y has another number of components, or is no multiple of the contexts.

        References:
            Papamakarios et al. 2021, arXiv:1912.02762.
        """
        y = np.asarray(y, np.float32)
        seen = self(tf.cast(tf.convert_to_tensor(context), tf.float32)).numpy()
        fits = len(seen) > 0 and len(y) % len(seen) == 0
        checks.require(fits, "y", f"be a multiple of {len(seen)}", len(y))
        found = []
        for first in range(0, len(y), CHUNK):
            part = y[first : first + CHUNK]
            rows = np.arange(first, first + len(part)) % len(seen)
            found.append(self._log_prob(tf.constant(part), tf.constant(seen[rows])))
        return tf.concat(found, axis=0)

    def _log_prob(self, y: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        fits = y.shape[-1] == self.num_dims
        checks.require(fits, "y", f"have {self.num_dims} components", y.shape)
        inside = tf.ones_like(y[..., 0], tf.bool)
        if self.low is not None:
            inside = tf.reduce_all((y > self.low) & (y < self.high), axis=-1)
            # Where y is outside any value inside does, and is not shown.
            y = tf.where(inside[..., None], y, self.from_line(tf.zeros_like(y)))
        u, growth = self.to_line(y)
        if self.prediction is not None:
            u -= self._predicted(seen)
        z = (u - self.y_mean) / self.y_scale
        growth -= tf.reduce_sum(tf.math.log(self.y_scale))
        if self.prediction is not None:
            z = tf.matmul(z, self.prediction.mixing)
            growth += tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.prediction.mixing)))
        value = self.standard_log_prob(z, seen) + growth
        return tf.where(inside, value, -np.inf)

    def sample(self, num: int, context: TensorLike, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """Draws of y for each context.

        Args:
            num: Draws for each.
            context: Raw context, shape [batch, ...].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [num, batch, num_dims].

        Raises:
            ValueError: If `num` is not a positive integer.

        References:
            Papamakarios et al. 2021, arXiv:1912.02762.
        """
        checks.positive_integers(num=num)
        seen = self(tf.cast(tf.convert_to_tensor(context), tf.float32))
        batch = seen.shape[0]
        repeated = tf.tile(seen, [num, 1])
        z = self.standard_sample(repeated, seed)
        if self.prediction is not None:
            z = tf.matmul(z, tf.linalg.inv(self.prediction.mixing))
        u = z * self.y_scale + self.y_mean
        if self.prediction is not None:
            u += tf.tile(self._predicted(seen), [num, 1])
        return tf.reshape(self.from_line(u), [num, batch, self.num_dims])

    def standard_log_prob(self, z: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        """Log density of standardised y.

        Args:
            z: Shape [batch, num_dims].
            seen: Standardised context, [batch, num_context].

        Returns:
            Shape [batch].
        """
        raise NotImplementedError

    def standard_sample(self, seen: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """A draw of standardised y for each context.

        Args:
            seen: Standardised context, [batch, num_context].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            Shape [batch, num_dims].
        """
        raise NotImplementedError

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Minus the mean log density of y, weighted where weights are given."""
        value = -self._log_prob(tf.cast(y, tf.float32), y_pred)
        if sample_weight is None:
            return tf.reduce_mean(value)
        weights = tf.reduce_sum(sample_weight)
        return tf.math.divide_no_nan(tf.reduce_sum(value * sample_weight), weights)

    def get_config(self) -> dict[str, Any]:
        embedding = self.embedding
        return {
            "name": self.name,
            "num_dims": self.num_dims,
            "num_context": self.num_context,
            "low": None if self.low is None else self.low.tolist(),
            "high": None if self.high is None else self.high.tolist(),
            "embedding": embedding and keras.saving.serialize_keras_object(embedding),
            "linear": self.prediction is not None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ConditionalDensity":
        embedding = config.get("embedding")
        return cls(
            **config | {"embedding": embedding and keras.saving.deserialize_keras_object(embedding)}
        )


def normal_log_prob(z: tf.Tensor) -> tf.Tensor:
    """Log density of independent normal numbers.

    Args:
        z: Shape [batch, num_dims].

    Returns:
        Shape [batch].

    References:
        The definition of the normal distribution.
    """
    return -0.5 * tf.reduce_sum(z**2 + LOG_2PI, axis=-1)


def lower_triangle(log_diagonal: tf.Tensor, below: tf.Tensor) -> tf.Tensor:
    """Lower triangles with a positive diagonal.

    Args:
        log_diagonal: Logarithms of the diagonal, [..., n].
        below: What is below it, row after row, [..., n (n - 1) / 2].

    Returns:
        Shape [..., n, n].

    References:
        Williams 1996, Neural Computation 8, 843.
    """
    size = log_diagonal.shape[-1]
    rows, columns = np.tril_indices(size, -1)
    place = np.zeros([len(rows), size, size], np.float32)
    place[np.arange(len(rows)), rows, columns] = 1.0
    return tf.linalg.diag(tf.exp(log_diagonal)) + tf.tensordot(below, place, 1)


def _bounds(
    low: Sequence[float] | None, high: Sequence[float] | None, num_dims: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both bounds as arrays, or neither."""
    both = (low is None) == (high is None)
    checks.require(both, "low", "come with `high`, or neither be given", low)
    if low is None:
        return None, None
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    for name, bound in (("low", low), ("high", high)):
        checks.require(bound.shape == (num_dims,), name, f"have shape [{num_dims}]", bound)
        checks.require(not np.isnan(bound).any(), name, "be numbers", bound)
    checks.require(bool(np.all(low < high)), "low", "be below `high`", low)
    return (low, high) if np.isfinite([low, high]).any() else (None, None)
