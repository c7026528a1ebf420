"""Denoising score matching: how a denoiser learns from maps without noise."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.nn import OwnLoss, WeightAverage, turned
from flowpm_ext.nn.level_unet import spread
from priors.conditions import pair


class ScoreMatching(OwnLoss):
    """Training of a `Denoiser`; put it before `keras.Model`.

    Each step adds noise of all levels to the maps, anew; validation always adds the same.

    References:
        Vincent 2011, Neural Computation 23, 1661.
    """

    def fit(self, x: Any, **options: Any) -> Any:
        """Train on maps without noise, after `adapt`.

        Args:
            x: Maps [num, space...] or [num, space..., channels], or a pair of them and parameters
                [num, num_parameters], or a dataset of batches of either.
            **options: Of `keras.Model.fit`, by name; `validation_data` are of the same kind.

        Returns:
            The history.

        Raises:
            ValueError: If `adapt` was not called, maps have another shape or are not finite, or
                parameters are missing or not of the range that `adapt` has seen.
        """
        is_adapted = bool(float(self.is_adapted))
        checks.require(is_adapted, "adapt", "be called with maps before `fit`", None)
        if isinstance(x, tf.data.Dataset):
            options.setdefault("shuffle", False)  # Keras warns that it does not
        else:
            maps, parameters = pair(x, "x", self.conditions is not None)
            self._check_maps(np.asarray(maps), "x")
            x = np.asarray(maps, np.float32)
            if parameters is not None:
                self.conditions.check(parameters)
                x = (x, np.asarray(parameters, np.float32))
        if self.ema_momentum is not None:
            average = WeightAverage(self.ema_momentum)
            options["callbacks"] = [average, *(options.get("callbacks") or ())]
        return super().fit(x, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        seed = fold(self.seed, tf.cast(self.optimizer.iterations, tf.int32))
        maps, parameters = self._training_pair(data)
        maps = turned(maps, fold(seed, 2)) if self.augment else maps
        return super().train_step(self._noisy(maps, parameters, seed))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        maps, parameters = self._training_pair(data)
        # The maps name the batch: each has its own noise, and the same at each evaluation.
        number = tf.reduce_sum(tf.bitcast(tf.cast(maps, tf.float32), tf.int32))
        return super().test_step(self._noisy(maps, parameters, fold(self.seed + 1, number)))

    def _training_pair(self, data: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Maps with channels, and their parameters where the network is told any."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        # Keras takes the second of a pair in a dataset for a target.
        is_pair = self.conditions is not None
        maps, parameters = pair(x if y is None or not is_pair else (x, y), "x", is_pair)
        return self._with_channels(maps), parameters

    def _noisy(self, maps: tf.Tensor, parameters: tf.Tensor | None, seed: tf.Tensor) -> tuple:
        """Noisy maps with their noise level and parameters, and those without noise."""
        maps = tf.cast(maps, tf.float32)
        num = tf.shape(maps)[0]
        # Levels at even steps in log sigma from a random one: all alike, and less chance.
        first = tf.random.stateless_uniform([], fold(seed, 0), alg="philox")
        place = (first + tf.range(num, dtype=tf.float32) / tf.cast(num, tf.float32)) % 1.0
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** place
        noise = tf.random.stateless_normal(tf.shape(maps), fold(seed, 1), alg="philox")
        told = () if parameters is None else (parameters,)
        return (maps + spread(sigma, maps) * noise, sigma, *told), maps

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Mean square error over that of the linear estimate, so that all noise levels count."""
        error = (y_pred - y) / spread(self._error(x[1]), y)
        extra = sum(self.losses) if self.losses else 0.0
        return tf.reduce_mean(error**2) + extra
