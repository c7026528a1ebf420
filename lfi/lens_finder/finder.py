"""A network that says how likely a stamp is to hold a strong lens."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.nn import OwnLoss, turned
from lfi.bands import check_bands
from lfi.lens_finder.calibration import platt_scaling
from lfi.lens_finder.labels import labels_of
from lfi.lens_finder.network import SIZES, DeepLens
from lfi.lens_finder.stamps import Stamps

PART_OF_PIXELS = 200_000  # that centres and scales are learned from, in each band


@keras.saving.register_keras_serializable("lfi")
class LensFinder(OwnLoss, keras.Model):
    """Stamps to the probability that they hold a strong lens: compile, fit, predict, save.

    Each band is put in units of its sky noise, from quartiles of the training stamps, and bright
    pixels are compressed by an inverse hyperbolic sine. Training turns and mirrors stamps.
    Images come as `Stamps`, whose bands are then checked, or as an array and labels.

    Args:
        bands: Letters of the bands, in the order of the channels.
        side: Pixels along each side of a stamp.
        size: "deeplens" for the published network, or "small" for one that trains in minutes on a
            CPU.
        augment: Whether training turns by quarters and mirrors.
        seed: Of that.
        **options: Of a Keras model.

    Raises:
        ValueError: If `side` is not a positive integer, a band is twice there, or `size` is
            unknown.

    References:
        Lanusse et al. 2018, arXiv:1703.02642.
    """

    def __init__(
        self,
        bands: str = "griz",
        side: int = 32,
        size: str = "small",
        augment: bool = True,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        checks.positive_integers(side=side)
        checks.one_of(size, "size", tuple(SIZES))
        check_bands(bands)
        self.bands, self.side, self.size, self.augment, self.seed = bands, side, size, augment, seed
        self.network = DeepLens(**SIZES[size]._asdict())
        self.head = keras.layers.Dense(1)
        self._run = tf.function(self._features, autograph=False, reduce_retracing=True)
        numbers = {"centre": (len(bands), "zeros"), "scale": (len(bands), "ones")}
        # Slope and offset of calibrated logits, and whether the statistics are there.
        numbers |= {"slope": ((), "ones"), "offset": ((), "zeros"), "is_adapted": ((), "zeros")}
        for name, (shape, start) in numbers.items():
            shape = (shape,) if isinstance(shape, int) else shape
            weight = self.add_weight(shape=shape, initializer=start, trainable=False, name=name)
            setattr(self, name, weight)

    def build(self, shape: tuple[int | None, ...] | None = None) -> None:
        if self.network.built:
            return  # `adapt` builds too
        self.network.build((None, self.side, self.side, len(self.bands)))
        self.head.build((None, self.network.architecture.stages[-1][1]))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Probabilities.

        Args:
            x: Stamps, shape [batch, side, side, num_bands].
            training: Whether batch normalisation is that of training.

        Returns:
            Shape [batch, 1].
        """
        logits = self.head(self._features(x, training))
        # The activation of Keras, which hands the logits on to its losses.
        return keras.activations.sigmoid(self.slope * logits + self.offset)

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = "binary_crossentropy",
        *,
        jit_compile: bool = False,
        **options: Any,
    ) -> None:
        """Say how to train.

        Args:
            optimizer: Of Keras.
            loss: Of Keras, for probabilities.
            jit_compile: Whether XLA compiles a step; on a CPU networks are slower then.
            **options: Of `keras.Model.compile`.
        """
        super().compile(optimizer, loss=loss, jit_compile=jit_compile, **options)

    def adapt(self, x: np.ndarray) -> None:
        """Learn the centre and the scale of each band, as the first `fit` does.

        Args:
            x: Stamps, shape [num, side, side, num_bands].

        Raises:
            ValueError: If stamps do not fit, are not finite, or a band does not vary.
        """
        x = self.checked(x)
        if not self.built:
            self.build()
        every = max(1, x.size // (len(self.bands) * PART_OF_PIXELS))
        pixels = x.reshape(-1, len(self.bands))[::every]
        low, middle, high = np.quantile(pixels, [0.25, 0.5, 0.75], axis=0)
        checks.require(bool(np.all(high > low)), "x", "vary in every band", high - low)
        self.centre.assign(middle)
        self.scale.assign((high - low) / 1.349)  # the standard deviation of normal noise
        self.is_adapted.assign(1.0)

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> keras.callbacks.History:
        """Train.

        Args:
            x: `Stamps`; or an array [num, side, side, num_bands]; or a dataset of batches and
                labels, for which `adapt` is called before.
            y: Labels of an array, 0 or 1, [num].
            **options: Of `keras.Model.fit`; `validation_data` may be `Stamps`.

        Returns:
            The history.

        Raises:
            ValueError: If stamps do not fit or are not finite, or labels are of one class.
        """
        if not isinstance(x, tf.data.Dataset):
            x, y = self.checked(x), labels_of(x, y)
            if not float(self.is_adapted):
                self.adapt(x)
        checks.require(bool(float(self.is_adapted)), "x", "be an array, or follow `adapt`", x)
        held = options.get("validation_data")
        if isinstance(held, Stamps):
            options["validation_data"] = self.checked(held), labels_of(held)
        self.slope.assign(1.0)  # the calibration is that of other weights
        self.offset.assign(0.0)
        return super().fit(x, y, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.augment:
            x = turned(x, fold(self.seed, tf.cast(self.optimizer.iterations, tf.int32)))
        return super().train_step((x, y, weight))

    def predict(self, x: Any, batch_size: int = 512, verbose: Any = 0, **options: Any) -> Any:
        """Probabilities of stamps; those of the training mix of lenses and others.

        Args:
            x: `Stamps`, an array or a dataset.
            batch_size: Stamps at a time.
            verbose: 1 for a progress bar.
            **options: Of `keras.Model.predict`.

        Returns:
            float32 [num, 1].

        Raises:
            ValueError: If stamps do not fit or are not finite.
        """
        x = x if isinstance(x, tf.data.Dataset) else self.checked(x)
        return super().predict(x, batch_size=batch_size, verbose=verbose, **options)

    def evaluate(self, x: Any = None, y: Any = None, verbose: Any = 0, **options: Any) -> Any:
        """The loss and other metrics of stamps.

        Args:
            x: `Stamps`, an array or a dataset.
            y: Labels of an array, 0 or 1, [num].
            verbose: 1 for a progress bar.
            **options: Of `keras.Model.evaluate`.

        Returns:
            As `keras.Model.evaluate`.

        Raises:
            ValueError: If stamps do not fit or are not finite, or labels are of one class.
        """
        if isinstance(x, Stamps | np.ndarray):
            x, y = self.checked(x), labels_of(x, y)
        return super().evaluate(x, y, verbose=verbose, **options)

    def logits(self, x: Any, batch_size: int = 512) -> np.ndarray:
        """Calibrated log odds, by which stamps are ranked: probabilities near one round to one.

        Args:
            x: `Stamps` or an array.
            batch_size: Stamps at a time.

        Returns:
            float32 [num].

        Raises:
            ValueError: If stamps do not fit or are not finite.

        References:
            Platt 1999, Advances in Large Margin Classifiers, 61.
        """
        return float(self.slope) * self._raw_logits(x, batch_size) + float(self.offset)

    def features(self, x: Any, batch_size: int = 512) -> np.ndarray:
        """What the last layer sees of stamps.

        Args:
            x: `Stamps` or an array.
            batch_size: Stamps at a time.

        Returns:
            float32 [num, num_features].

        Raises:
            ValueError: If stamps do not fit or are not finite.

        References:
            Lanusse et al. 2018, arXiv:1703.02642.
        """
        checks.positive_integers(batch_size=batch_size)
        x = self.checked(x)
        if not self.built:
            self.build()
        parts = range(0, len(x), batch_size)
        return np.concatenate(
            [self._run(tf.constant(x[i : i + batch_size])).numpy() for i in parts]
        )

    def calibrate(self, x: Any, y: Any = None) -> tuple[float, float]:
        """Learn the slope and the offset of the logits from stamps that were not trained on.

        Args:
            x: `Stamps`, or an array.
            y: Labels of an array, 0 or 1, [num].

        Returns:
            Slope and offset.

        Raises:
            ValueError: If stamps do not fit or are not finite, or labels are of one class.

        References:
            Platt 1999, Advances in Large Margin Classifiers, 61; Guo et al. 2017, arXiv:1706.04599.
        """
        # What is refused leaves the calibration that there was.
        found = platt_scaling(self._raw_logits(x), labels_of(x, y))
        self.slope.assign(found[0])
        self.offset.assign(found[1])
        return found

    def checked(self, x: Any) -> np.ndarray:
        """Images that fit the network.

        Args:
            x: `Stamps`, or an array [num, side, side, num_bands].

        Returns:
            float32, the same shape.

        Raises:
            ValueError: If the bands are others or in another order, the size is another, or a
                value is not finite.
        """
        if isinstance(x, Stamps):
            rule = f"have bands {self.bands!r}, in this order"
            checks.require(x.bands == self.bands, "x", rule, x.bands)
            x = x.images
        self._check_shape(np.shape(x))
        checks.finite(x, "x", "Fill bad pixels, or leave such stamps out.")
        return np.asarray(x, np.float32)

    def get_config(self) -> dict[str, Any]:
        names = "name", "bands", "side", "size", "augment", "seed"
        return {name: getattr(self, name) for name in names}

    def _raw_logits(self, x: Any, batch_size: int = 512) -> np.ndarray:
        """Before the calibration, [num]."""
        return self.head(self.features(x, batch_size)).numpy()[:, 0]

    def _features(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        self._check_shape(x.shape)
        return self.network(tf.asinh((x - self.centre) / self.scale), training=training)

    def _check_shape(self, shape: Any) -> None:
        wanted = (self.side, self.side, len(self.bands))
        rule = f"have shape [num, {self.side}, {self.side}, {len(self.bands)}], the last for bands "
        fits = len(shape) == 4 and tuple(shape[1:]) == wanted
        checks.require(fits, "x", f"{rule}{self.bands!r}", f"shape {tuple(shape)}")
