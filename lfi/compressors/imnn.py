"""Networks that learn summaries of the highest Fisher information."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.compressors.headed import Headed
from lfi.compressors.score import ScoreCompressor

STRENGTH = 10.0  # of what keeps the covariance near the identity
CLOSENESS = 0.1  # distance from the identity at which that fades
RATE = -math.log(CLOSENESS * (STRENGTH - 1) + CLOSENESS**2 / (1 + CLOSENESS)) / CLOSENESS


@keras.saving.register_keras_serializable("lfi")
class InformationNetwork(keras.Model):
    """Summaries with the highest Fisher information about parameters at one point.

    The network is trained on simulations there and on the derivatives of some of them; it needs
    no simulations elsewhere. The determinant of the Fisher matrix of the summaries grows, and a
    second term keeps their covariance near the identity, which would be arbitrary otherwise.

    Args:
        network: Keras layer or model from x to [batch, anything]; a dense layer follows where
            that is not `num_summaries`.
        num_parameters: Parameters.
        num_summaries: Summaries, at least as many; as many by default.
        **options: Of a Keras model.

    Raises:
        ValueError: If a number is not a positive integer, or there are fewer summaries than
            parameters.

    References:
        Charnock, Lavaux & Wandelt 2018, arXiv:1802.03537; Makinen et al. 2021, arXiv:2107.07405.
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        num_parameters: int,
        num_summaries: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        num_summaries = num_parameters if num_summaries is None else num_summaries
        checks.positive_integers(num_parameters=num_parameters, num_summaries=num_summaries)
        rule = f"be at least the number of parameters, {num_parameters}"
        checks.require(num_summaries >= num_parameters, "num_summaries", rule, num_summaries)
        self.num_parameters = num_parameters
        self.headed = Headed(network, num_summaries)

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.headed.build(shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Summaries of data.

        Args:
            x: Shape [batch, ...].

        Returns:
            Shape [batch, num_summaries].
        """
        return self.headed(x)

    def moments(
        self, x: TensorLike, derivatives: TensorLike
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Mean and covariance of the summaries, and the derivatives of the mean.

        Args:
            x: Simulations at one point, [num, ...].
            derivatives: Derivatives of the first of them by each parameter, [num_derived, P, ...].

        Returns:
            Mean [num_summaries], covariance [num_summaries, num_summaries] and derivatives
            [P, num_summaries].

        References:
            Charnock, Lavaux & Wandelt 2018, arXiv:1802.03537.
        """
        x, derivatives = (tf.cast(part, tf.float32) for part in (x, derivatives))
        first, slopes = x[: tf.shape(derivatives)[0]], []
        for number in range(self.num_parameters):
            # Forward: one pass for each parameter, however many summaries there are.
            with tf.autodiff.ForwardAccumulator(first, derivatives[:, number]) as accumulator:
                summaries = self(first)
            slopes.append(tf.reduce_mean(accumulator.jvp(summaries), axis=0))
        summaries = self(x)
        mean = tf.reduce_mean(summaries, axis=0)
        offset = summaries - mean
        num = tf.cast(tf.shape(offset)[0], tf.float32)
        covariance = tf.matmul(offset, offset, transpose_a=True) / (num - 1)
        return mean, covariance, tf.stack(slopes)

    def fisher(self, x: TensorLike, derivatives: TensorLike) -> tf.Tensor:
        """Fisher matrix of the summaries; take simulations that were not trained on.

        Args:
            x: Simulations at one point, [num, ...].
            derivatives: Derivatives of the first of them by each parameter, [num_derived, P, ...].

        Returns:
            Shape [P, P], in inverse squared units of the parameters.

        References:
            Charnock, Lavaux & Wandelt 2018, arXiv:1802.03537.
        """
        return _fisher(*self.moments(x, derivatives)[1:])

    def estimator(
        self, theta: TensorLike, x: TensorLike, derivatives: TensorLike
    ) -> ScoreCompressor:
        """What turns summaries into estimates of the parameters.

        Args:
            theta: Parameters of the simulations, [P].
            x: Simulations there, [num, ...].
            derivatives: Derivatives of the first of them by each parameter, [num_derived, P, ...].

        Returns:
            Compressor of summaries, whose `compress(network(x))` are the estimates.
        """
        mean, covariance, slopes = self.moments(x, derivatives)
        return ScoreCompressor(np.asarray(theta, np.float32), mean, covariance, slopes)

    def fit(
        self,
        x: TensorLike,
        derivatives: TensorLike,
        epochs: int = 100,
        batch_size: int = 1000,
        validation_split: float = 0.2,
        learning_rate: float = 3e-3,
        seed: int = 0,
        verbose: int = 0,
    ) -> dict[str, list[float]]:
        """Train, and keep the weights that did best on what was held out.

        Args:
            x: Simulations at one point, [num, ...].
            derivatives: Derivatives of the first of them by each parameter, with the same random
                numbers, [num_derived, P, ...]; see `central_differences`.
            epochs: Passes through the derivatives.
            batch_size: Simulations with derivatives in each update, which must be many more than
                summaries; those without come in proportion.
            validation_split: Part that is held out.
            learning_rate: The first one; it falls to zero as a cosine.
            seed: Of the order of simulations.
            verbose: 1 for a line per epoch, 0 for silence.

        Returns:
            The losses of each epoch, "loss" and "val_loss".

        Raises:
            ValueError: If shapes do not fit, a value is not finite, or too little is left.
        """
        x, derivatives = _checked(x, derivatives, self.num_parameters)
        checks.positive_integers(epochs=epochs, batch_size=batch_size)
        checks.in_range(validation_split, "validation_split", 0.01, 0.9)
        paired, alone, held = _parts(x, derivatives, validation_split)
        size = min(batch_size, len(paired[0]))
        num_steps = len(paired[0]) // size
        extra = len(alone) * size // len(paired[0])
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * num_steps)
        self.optimizer = keras.optimizers.Adam(rate)
        if not self.built:
            self.build(x.shape)
        update, judge = tf.function(self._update), tf.function(self._loss)
        rng, history = np.random.default_rng(seed), {"loss": [], "val_loss": []}
        best, weights = np.inf, self.get_weights()
        for epoch in range(epochs):
            order, losses = rng.permutation(len(paired[0])), []
            for step in range(num_steps):
                chosen = order[step * size : (step + 1) * size]
                others = alone[rng.integers(len(alone), size=extra)] if extra else alone[:0]
                batch = np.concatenate([paired[0][chosen], others])
                losses.append(float(update(batch, paired[1][chosen])))
            history["loss"].append(float(np.mean(losses)))
            history["val_loss"].append(float(judge(*held)))
            if history["val_loss"][-1] < best:
                best, weights = history["val_loss"][-1], self.get_weights()
            if verbose:
                keras.utils.io_utils.print_msg(f"Epoch {epoch + 1}: {history['val_loss'][-1]:.4f}")
        self.set_weights(weights)
        return history

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.headed.network),
            "num_parameters": self.num_parameters,
            "num_summaries": self.headed.num_outputs,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InformationNetwork":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**config | {"network": network})

    def _loss(self, x: tf.Tensor, derivatives: tf.Tensor) -> tf.Tensor:
        _, covariance, slopes = self.moments(x, derivatives)
        identity = tf.eye(covariance.shape[0])
        inverse = tf.linalg.inv(covariance)
        distance = tf.norm(covariance - identity) + tf.norm(inverse - identity)
        # Strong where the covariance is far from the identity, and gone where it is near.
        weight = STRENGTH * distance / (distance + tf.exp(-RATE * distance))
        return weight * distance - tf.linalg.slogdet(_fisher(covariance, slopes))[1]

    def _update(self, x: tf.Tensor, derivatives: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss(x, derivatives)
        gradient = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradient, self.trainable_variables, strict=True))
        return loss


def central_differences(plus: TensorLike, minus: TensorLike, step: TensorLike) -> np.ndarray:
    """Derivatives of simulations that were run twice with the same random numbers.

    Args:
        plus: Simulations with each parameter a step higher, [num_derived, P, ...].
        minus: With each a step lower.
        step: Steps of the parameters, [P].

    Returns:
        Shape [num_derived, P, ...], float32.

    Raises:
        ValueError: If shapes do not fit, or a step is not positive.

    References:
        Charnock, Lavaux & Wandelt 2018, arXiv:1802.03537.
    """
    plus, minus, step = (np.asarray(part, np.float64) for part in (plus, minus, step))
    checks.require(plus.shape == minus.shape, "minus", f"have shape {plus.shape}", minus.shape)
    checks.positive(step, "step")
    fits = plus.ndim > 1 and step.shape == plus.shape[1:2]
    checks.require(fits, "step", f"have shape {plus.shape[1:2]}", step.shape)
    steps = step.reshape(1, -1, *[1] * (plus.ndim - 2))
    return ((plus - minus) / (2 * steps)).astype(np.float32)


def _fisher(covariance: tf.Tensor, slopes: tf.Tensor) -> tf.Tensor:
    return tf.matmul(slopes, tf.linalg.solve(covariance, tf.transpose(slopes)))


def _checked(x: TensorLike, derivatives: TensorLike, num: int) -> tuple[np.ndarray, np.ndarray]:
    x, derivatives = (np.asarray(part, np.float32) for part in (x, derivatives))
    rule = f"have shape [num_derived, {num}, {', '.join(map(str, x.shape[1:]))}]"
    fits = derivatives.shape[1:] == (num, *x.shape[1:]) and 0 < len(derivatives) <= len(x)
    checks.require(fits, "derivatives", f"{rule} with at most {len(x)}", derivatives.shape)
    checks.finite(x, "x")
    checks.finite(derivatives, "derivatives")
    return x, derivatives


def _parts(x: np.ndarray, derivatives: np.ndarray, split: float) -> tuple[Any, np.ndarray, Any]:
    """Pairs to train on, simulations without derivatives to train on, and what is held out."""
    first, alone = x[: len(derivatives)], x[len(derivatives) :]
    cut, last = (round((1 - split) * len(part)) for part in (first, alone))
    enough = 2 < cut < len(first) - 2
    rule = "be enough to train and to validate with"
    checks.require(enough, "derivatives", rule, len(first), "Make more simulations.")
    held = np.concatenate([first[cut:], alone[last:]]), derivatives[cut:]
    return (first[:cut], derivatives[:cut]), alone[:last], held
