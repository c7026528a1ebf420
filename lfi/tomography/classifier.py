"""A network that divides galaxies into the tomographic bins that constrain cosmology best."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import integer_seed
from flowpm_ext.cosmology.tomography import (
    METRICS,
    PROBES,
    SliceSpectra,
    Survey,
    bins_of_weights,
    challenge_spectra,
    metric,
    slices_of_redshifts,
)
from flowpm_ext.nn import OwnLoss
from lfi.tomography.baselines import check_features
from lfi.tomography.scores import check_redshifts, redshift_edges
from lfi.tomography.warm_start import warm_start

CLIP = 5.0  # quartile ranges from the median: undetected is far away, but not at infinity
REJECTED = -1


@keras.saving.register_keras_serializable("lfi")
class BinClassifier(OwnLoss, keras.Model):
    """Galaxies to bins from photometry, by gradient of a metric of the bins themselves.

    The loss is minus the logarithm of a metric of all training galaxies at once, each in all bins
    in part by a softmax. It begins with the bins of equal comoving distance, which a few epochs
    of cross-entropy teach, and the softmax hardens by `temperature`. Galaxies in several bins
    bring noise to the cross spectra of these, so that soft bins are not better than they seem.

    Args:
        num_bins: Number of bins.
        metric: "snr", "fom" or "detf", which is maximised.
        spectra: Spectra between slices; those of the challenge at 25 multipoles by default, made at
            the first `fit`. They are not kept in a file.
        survey: The survey; that of the challenge by default.
        probes: "ww", "gg" or "3x2".
        hidden: Units of the hidden layers.
        reject: Whether galaxies may be left out.
        temperature: Of the softmax, at the first and the last epoch.
        warm_epochs: Epochs of cross-entropy, in batches of 500.
        seed: Of the weights and of the order of those batches.
        **options: Of a Keras model.

    Raises:
        ValueError: If a number is not positive or an option is unknown.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 4.
    """

    def __init__(
        self,
        num_bins: int,
        metric: str = "detf",
        spectra: SliceSpectra | None = None,
        survey: Survey | None = None,
        probes: str = "3x2",
        hidden: Sequence[int] = (64, 64),
        reject: bool = False,
        temperature: tuple[float, float] = (0.3, 0.05),
        warm_epochs: int = 5,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(num_bins=num_bins, warm_epochs=warm_epochs)
        checks.one_of(metric, "metric", METRICS)
        checks.one_of(probes, "probes", PROBES)
        checks.positive(temperature, "temperature")
        self.num_bins, self.metric, self.probes, self.reject = num_bins, metric, probes, reject
        self.spectra, self.survey = spectra, Survey() if survey is None else survey
        self.hidden, self.temperatures = tuple(hidden), tuple(temperature)
        self.warm_epochs, self.seed = warm_epochs, seed
        sizes = [*self.hidden, num_bins + reject]
        self.stack = [
            keras.layers.Dense(
                size, activation="silu" if number < len(hidden) else None,
                kernel_initializer=keras.initializers.GlorotUniform(integer_seed(seed, number)),
            )
            for number, size in enumerate(sizes)
        ]  # fmt: skip
        self.temperature, self.is_adapted = (
            self.add_weight(shape=(), initializer=start, trainable=False, name=name)
            for name, start in (("temperature", "ones"), ("is_adapted", "zeros"))
        )

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.centre = self.add_weight(
            shape=shape[-1:], initializer="zeros", trainable=False, name="centre"
        )
        self.scale = self.add_weight(
            shape=shape[-1:], initializer="ones", trainable=False, name="scale"
        )
        for layer, size in zip(self.stack, [shape[-1], *self.hidden], strict=True):
            layer.build((None, size))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Weights in each bin.

        Args:
            x: Photometric features, shape [num_galaxies, num_features].

        Returns:
            Shape [num_galaxies, num_bins]; rows sum to one, or less where galaxies may be left out.
        """
        return tf.nn.softmax(self.logits(x) / self.temperature)[:, : self.num_bins]

    def fit(
        self, x: Any, redshift: Any, epochs: int = 150, validation_data: Any = None, **options: Any
    ) -> keras.callbacks.History:
        """Train on galaxies with redshifts; all of them are one batch.

        The first call learns centres and scales of the features and begins with the warm start;
        others go on from the weights that there are.

        Args:
            x: Photometric features, shape [num_galaxies, num_features].
            redshift: True redshifts, shape [num_galaxies].
            epochs: Updates after the warm start.
            validation_data: Other features and redshifts, or None.
            **options: Of `keras.Model.fit`.

        Returns:
            The history.

        Raises:
            ValueError: If something is not finite, there are fewer galaxies than bins, all have
                the same redshift, or the features are others than those of the first call.
        """
        self._check(x, redshift)
        check_redshifts(redshift, self.num_bins)
        if self.spectra is None:
            self.spectra = challenge_spectra(num_ell=25)
        x, slice_of, redshift = self._in_order(x, redshift)
        if not self.is_trained:
            self._adapt(x)
            cuts = redshift_edges(redshift, self.num_bins)
            warm_start(self, x, np.searchsorted(cuts, redshift, side="right"))
        if validation_data is not None:
            self._check(*validation_data)
            held = self._in_order(*validation_data)[:2]
            options |= {"validation_data": held, "validation_batch_size": len(held[0])}
        cooling = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, _: self._cool(epoch / max(epochs - 1, 1))
        )
        callbacks = [cooling, *(options.pop("callbacks", None) or [])]
        return super().fit(
            x, slice_of, batch_size=len(x), epochs=epochs, shuffle=False, callbacks=callbacks,
            **options,
        )  # fmt: skip

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Minus the logarithm of the metric of galaxies that are one batch; see `score` for others.

        Args:
            x: Photometric features, shape [num_galaxies, num_features].
            y: True redshifts, shape [num_galaxies]; or slices, integers, in order, as `fit` hands
                them on for its `validation_data`.
            **options: Of `keras.Model.evaluate`.

        Returns:
            As `keras.Model.evaluate`.

        Raises:
            ValueError: If something is not finite, or the model is not trained.
        """
        if np.asarray(y).dtype.kind not in "iu":
            self._require_trained()
            self._check(x, y)
            x, y, _ = self._in_order(x, y)
        return super().evaluate(x, y, **options | {"batch_size": len(x)})

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Minus the logarithm of the metric, for the slice `y` of each galaxy, in order."""
        bins = bins_of_weights(y_pred, y, self.spectra.num_slices, is_sorted=True)
        value = metric(self.spectra, bins, self.survey, self.metric, self.probes)
        return -tf.cast(tf.math.log(value), tf.float32)

    def assign(self, x: Any) -> np.ndarray:
        """Bin of each galaxy.

        Args:
            x: Photometric features, shape [num_galaxies, num_features].

        Returns:
            int [num_galaxies]; -1 for those that are left out.

        Raises:
            ValueError: If a feature is not finite, there are others than in training, or the model
                is not trained.

        References:
            Zuntz et al. 2021, arXiv:2108.13418.
        """
        self._require_trained()
        self._check(x)
        weights = self.predict(np.asarray(x, np.float32), batch_size=8192, verbose=0)
        left = 1 - weights.sum(axis=1)
        chosen = np.argmax(weights, axis=1)
        is_left = self.reject & (left > weights.max(axis=1))
        return np.where(is_left, REJECTED, chosen)

    def get_config(self) -> dict[str, Any]:
        survey = {name: float(value) for name, value in vars(self.survey).items()}
        names = "num_bins", "metric", "probes", "hidden", "reject", "warm_epochs", "seed"
        return {
            "name": self.name,
            "survey": survey,
            "temperature": self.temperatures,
            **{name: getattr(self, name) for name in names},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BinClassifier":
        return cls(**config | {"survey": Survey(**config["survey"])})

    def logits(self, x: tf.Tensor) -> tf.Tensor:
        """What the softmax is of, for features [num_galaxies, num_features]."""
        x = tf.clip_by_value((x - self.centre) / self.scale, -CLIP, CLIP)
        for layer in self.stack:
            x = layer(x)
        return x

    @property
    def is_trained(self) -> bool:
        """Whether `fit` was called, so that the scales of the features are known."""
        return bool(float(self.is_adapted))

    def _require_trained(self) -> None:
        checks.require(self.is_trained, "model", "be trained by `fit` first", None)

    def _check(self, x: Any, redshift: Any = None) -> None:
        """Refuse features that are not finite, or do not go with redshifts or those of before."""
        check_features(x, redshift)
        if self.is_trained:
            num = self.centre.shape[0]
            rule = f"have the {num} features of the training"
            checks.require(np.shape(x)[1] == num, "x", rule, f"shape {np.shape(x)}")

    def _adapt(self, x: np.ndarray) -> None:
        """Centres and scales of the features."""
        if not self.built:
            self.build(x.shape)
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        self.centre.assign(middle)
        self.scale.assign(np.where(high > low, high - low, 1.0))
        self.is_adapted.assign(1.0)

    def _cool(self, part: float) -> None:
        first, last = (math.log(t) for t in self.temperatures)
        self.temperature.assign(math.exp(first + part * (last - first)))

    def _in_order(self, x: Any, redshift: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Galaxies in order of their slices, without those outside of all."""
        redshift = np.asarray(redshift, np.float32)
        slice_of = slices_of_redshifts(redshift, self.spectra.edges).numpy()
        order = np.argsort(slice_of, kind="stable")[np.count_nonzero(slice_of < 0) :]
        rule = f"be below {float(self.spectra.edges[-1]):g} for some, the end of `spectra`"
        checks.require(len(order) > 0, "redshift", rule, redshift)
        return np.asarray(x, np.float32)[order], slice_of[order], redshift[order]
