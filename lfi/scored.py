"""Training by the slope of the log density, where a simulator gives it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.nn import OwnLoss
from lfi.density import ConditionalDensity


class ScoreTraining(OwnLoss, keras.Model):
    """A density whose slope in the parameters is trained beside its value.

    The score of a simulation and all its random numbers, d log p(x, z | theta) / d theta, scatters
    about that of the data alone, so that a least-squares fit to it learns the latter. Fit it with
    a dictionary of `context` and `score`, and y. Densities with smooth layers, such as "maf", have
    smooth slopes; others learn from scores less.

    Args:
        density: To be trained.
        parameters: What of the density is parameters, "context" or "y".
        score: Scores of the training set, [num, num_parameters], for their scale.
        weight: Of the squared error of the slope, in units of the mean square of scores.

    Raises:
        ValueError: If an option is unknown or the weight not positive.

    References:
        Brehmer et al. 2020, arXiv:1805.12244; Zeghal et al. 2024, arXiv:2409.17975.
    """

    def __init__(
        self, density: ConditionalDensity, parameters: str, score: np.ndarray, weight: float = 1.0
    ) -> None:
        super().__init__()
        checks.one_of(parameters, "parameters", ("context", "y"))
        checks.positive(weight, "score_weight")
        self.density, self.parameters, self.weight = density, parameters, weight
        power = np.mean(np.square(score), axis=0)
        # Where the score is always zero the density is flat, and no scale is known.
        self.power = np.where(power > 0, power, 1.0).astype(np.float32)

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """The context as the density sees it.

        Args:
            inputs: `context`, shape [batch, ...], and `score`.

        Returns:
            Shape [batch, num_context].
        """
        return self.density(inputs["context"])

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Minus the mean log density, and the mean squared error of its slope."""
        parts = {"context": x["context"], "y": tf.cast(y, tf.float32)}
        with tf.GradientTape() as tape:
            tape.watch(parts[self.parameters])
            value = self.density.log_prob(parts["y"], parts["context"])
        slope = tape.gradient(value, parts[self.parameters])
        error = tf.reduce_mean((slope - x["score"]) ** 2 / self.power)
        return self.weight * error - tf.reduce_mean(value)
