"""Networks that compress data to a few numbers that say the most about parameters."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike
from flowpm_ext.nn import OwnLoss
from lfi.compressors.draws import Draw, drawn, saved
from lfi.compressors.headed import Headed
from lfi.compressors.moments import Moments, batches
from lfi.compressors.objective import Objective
from lfi.compressors.resampling import bootstrap
from lfi.density import ConditionalDensity
from lfi.density.base import LEAST_SPREAD


@keras.saving.register_keras_serializable("lfi")
class Compressor(OwnLoss, keras.Model):
    """Summaries of data, trained by `compile` and `fit(x, theta)` on simulations.

    Losses: "vmim" maximises a lower bound of the mutual information of summaries and parameters,
    minus the mean of log q(theta | summaries), with a density q that is trained together;
    "gnll" is the same with a normal q whose mean are the summaries; "mse" and "mae" are the mean
    square and the mean absolute error of parameters in units of their scatter. The summaries of
    all but "vmim" are estimates of the parameters, in their units.

    The first `fit` looks at the data once to standardise them, see `adapt`.

    Args:
        network: Keras layer or model from x to [batch, anything]; a dense layer follows where
            that is not `num_summaries`.
        num_parameters: Parameters that are learned about.
        loss: "vmim", "gnll", "mse" or "mae".
        num_summaries: Summaries; as many as parameters by default, and always unless the loss is
            "vmim".
        density: Untrained q of "vmim", with `num_parameters` dimensions and `num_summaries`
            context; an affine coupling flow by default.
        low: Lower bounds of the parameters for that default, [num_parameters]; None for none.
        high: Upper bounds.
        augment: Function of x and a seed [2] that changes training batches in the graph, and
            leaves their distribution alone: flips and shifts.
        noise: Function of x and a seed [2] that makes simulations like observations. Training
            draws anew for each batch; evaluation always draws the same for the same batch.
            Neither it nor `augment` touches what the model is called with.
        seed: Of those draws.
        **options: Of a Keras model.

    Raises:
        ValueError: If the loss is unknown, a number is not a positive integer, or the density
            or the summaries do not fit the loss.

    References:
        Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459; Barber & Agakov 2003, NIPS 16, 201.
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        num_parameters: int,
        loss: str = "vmim",
        num_summaries: int | None = None,
        density: ConditionalDensity | None = None,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        augment: Draw | None = None,
        noise: Draw | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        num_summaries = num_parameters if num_summaries is None else num_summaries
        self.objective = Objective(loss, num_parameters, num_summaries, density, low, high)
        self.headed = Headed(network, num_summaries)
        self.augment, self.noise, self.seed = augment, noise, seed
        self.is_adapted = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="is_adapted"
        )

    @property
    def density(self) -> ConditionalDensity | None:
        """The density of parameters given summaries; None for "mse" and "mae"."""
        return self.objective.density

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.headed.build(shape)
        size = tuple(shape[-1:]) if _has_features(len(shape)) else ()
        self.x_mean = self.add_weight(
            shape=size, initializer="zeros", trainable=False, name="x_mean"
        )
        self.x_scale = self.add_weight(
            shape=size, initializer="ones", trainable=False, name="x_scale"
        )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Summaries of data.

        Args:
            x: Shape [batch, ...].

        Returns:
            Shape [batch, num_summaries]; in units of the parameters unless the loss is "vmim".
        """
        return self.objective(self.headed((x - self.x_mean) / self.x_scale))

    def adapt(self, x: Any = None, theta: TensorLike | None = None) -> None:
        """Learn means and scales of the data and the parameters, as `fit` does if it has to.

        x is standardised for each feature of [batch, features], each channel of
        [batch, ny, nx, channels], and as a whole for [batch, ny, nx]. `noise` is added first.

        Args:
            x: Data [num, ...], or a dataset of (x, theta) of which at most 300 batches are read;
                None leaves the data as they are.
            theta: Parameters [num, num_parameters] where x is not a dataset.

        Raises:
            ValueError: If a value is not finite, lengths differ, a parameter does not vary, there
                are not `num_parameters`, or they do not lie inside of the bounds of the density.
        """
        parts, data = [], None
        for number, (values, part) in enumerate(batches(x, theta)):
            self.objective.check_width(part)
            parts.append(part)
            if values is not None:
                data = data or Moments(int(_has_features(values.ndim)))
                data.add(drawn(self.noise, values, fold(self.seed, number)))
                if not self.built:
                    self.build(values.shape)
        self.objective.adapt(parts)
        if data is not None:
            mean, scale = data.result()
            self.x_mean.assign(mean)
            self.x_scale.assign(np.where(scale > LEAST_SPREAD * np.abs(mean), scale, 1.0))
        self.is_adapted.assign(1.0)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **options: Any) -> Any:
        """Train on simulations; see `adapt` for what the first call does before.

        Args:
            x: Data [num, ...], or a dataset of (x, theta).
            y: Parameters [num, num_parameters] where x is not a dataset.
            *args: Of `keras.Model.fit`.
            **options: Of `keras.Model.fit`.

        Returns:
            The history.

        Raises:
            ValueError: If pairs do not fit, or arrays are not finite.
        """
        if not float(self.is_adapted):
            self.adapt(x, y)
        elif y is not None:
            for _, part in batches(x, y):  # refuses what is not finite
                self.objective.check_width(part)
        if isinstance(x, tf.data.Dataset) and not args:
            options.setdefault("shuffle", False)  # Keras warns that it does not
        return super().fit(x, y, *args, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        seed = fold(self.seed, tf.cast(self.optimizer.iterations, tf.int32))
        x = drawn(self.noise, drawn(self.augment, x, fold(seed, 0)), fold(seed, 1))
        return super().train_step((x, y, weight))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        # The parameters name the batch: each has its own noise, and the same at each evaluation.
        number = tf.reduce_sum(tf.bitcast(tf.cast(y, tf.float32), tf.int32))
        x = drawn(self.noise, x, fold(self.seed, number))
        return super().test_step((x, y, weight))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Mean loss of summaries, weighted where weights are given, and that of regularisers."""
        each = self.objective.each(y, y_pred)
        weight = tf.ones_like(each) if sample_weight is None else tf.cast(sample_weight, each.dtype)
        extra = sum(self.losses) if self.losses else 0.0
        return tf.math.divide_no_nan(tf.reduce_sum(each * weight), tf.reduce_sum(weight)) + extra

    def compress(self, x: TensorLike, seed: int | None = None, batch_size: int = 256) -> np.ndarray:
        """Summaries of many data.

        Args:
            x: Shape [num, ...].
            seed: Of the noise that is added first, for simulations; None for observations, which
                have theirs.
            batch_size: Data at a time.

        Returns:
            Shape [num, num_summaries].

        Raises:
            ValueError: If `batch_size` is not a positive integer.

        References:
            Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459.
        """
        checks.positive_integers(batch_size=batch_size)
        parts = []
        for start in range(0, len(x), batch_size):
            part = x[start : start + batch_size]
            part = part if seed is None else drawn(self.noise, part, fold(seed, start))
            parts.append(self(part, training=False).numpy())
        return np.concatenate(parts)

    def mutual_information(
        self,
        x: TensorLike,
        theta: TensorLike,
        prior_entropy: float,
        seed: int = 0,
        num_bootstrap: int = 200,
    ) -> tuple[float, float]:
        """Lower bound of what the summaries say about the parameters, in nats.

        I >= H(theta) + mean log q(theta | summaries), on simulations that were not trained on.
        It is that of the summaries, and not of the data, as q sees nothing else.

        Args:
            x: Data [num, ...], to which `noise` is added.
            theta: Their parameters, draws of the prior, [num, num_parameters].
            prior_entropy: Differential entropy of the prior in nats, for a box the sum of
                log(high - low).
            seed: Of the noise and the bootstrap.
            num_bootstrap: Resamplings of the simulations.

        Returns:
            The bound, and its standard error from the finite number of simulations.

        Raises:
            ValueError: If the loss has no density, or lengths differ.

        References:
            Barber & Agakov 2003, NIPS 16, 201; Jeffrey, Alsing & Lanusse 2020, arXiv:2009.08459.
        """
        rule = "be 'vmim' or 'gnll' for a mutual information"
        checks.require(self.density is not None, "loss", rule, self.objective.kind)
        checks.require(len(x) == len(theta), "x", f"be as many as `theta`, {len(theta)}", len(x))
        theta = self.objective.off_bounds(tf.cast(theta, tf.float32))
        value = self.density.log_prob(theta, self.compress(x, seed)).numpy().astype(np.float64)
        means = bootstrap(value[:, None], num_bootstrap, seed)
        return float(prior_entropy + value.mean()), float(means.std(ddof=1))

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "network": keras.saving.serialize_keras_object(self.headed.network),
            "num_parameters": self.objective.num_parameters,
            "loss": self.objective.kind,
            "num_summaries": self.objective.num_summaries,
            "density": self.density and keras.saving.serialize_keras_object(self.density),
            "augment": saved(self.augment, "augment"),
            "noise": saved(self.noise, "noise"),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Compressor":
        made = {
            name: config[name] and keras.saving.deserialize_keras_object(config[name])
            for name in ("network", "density", "augment", "noise")
        }
        return cls(**config | made)


def _has_features(rank: int) -> bool:
    """Whether the last axis of data of this rank is features or channels, each of its own size."""
    return rank == 2 or rank > 3
