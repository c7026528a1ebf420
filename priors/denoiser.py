"""Networks that remove Gaussian noise of any level, and so know the score of what they learned.

Miyasawa's and Tweedie's formula: where r(y, sigma) is the mean of all maps x that may lie behind
y = x + sigma n, the score of the smoothed density is (r(y, sigma) - y) / sigma^2.

What is learned is little. The map is split into bands of scales that are uncorrelated in data and
in noise, with variances v_i and sigma^2. The best linear estimate from them, y with each band
shrunk by v_i / (v_i + sigma^2), leaves an error whose size c_out is known too, and so

    r(y, sigma) = shrunk(y, sigma) + c_out(sigma) F(bands / (v + sigma^2)^1/2, log sigma)

asks of a network F that it turn inputs of variance 1 into an output of variance 1 at any sigma and
on any scale. With one band this is the preconditioning of Karras et al. 2022, arXiv:2206.00364;
with a `power` the shrunk map is the Wiener filter's, and F learns what is not Gaussian (Remy et
al. 2022, arXiv:2201.05561).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.fields.gaussian import checked_power
from flowpm_ext.nn import LevelUNet, OwnLoss, SpectralNorm, WeightAverage, turned
from flowpm_ext.nn.convolution import PADDINGS
from flowpm_ext.nn.level_unet import spread
from flowpm_ext.numerics import fourier
from priors.bands import noise_covariance, principal, scale_bands

PACKAGE = "priors"
CHUNK = 64  # maps at a time
MOST_NOISE = 5.0  # standard deviations of noise on the highest peak that training shows


@keras.saving.register_keras_serializable(PACKAGE)
class Denoiser(OwnLoss, keras.Model):
    """The mean of the maps behind a noisy one, trained by `compile` and `fit(maps)`.

    `adapt(maps)` comes first: it learns the variances of the bands. Maps are those without noise,
    [num, space...] or [num, space..., channels]; training adds noise of all levels to them, anew
    in each step, and validation always adds the same. While a network is evaluated, saved by a
    callback or returned by `fit`, its weights are a running average of those of the steps.

    Args:
        filters: Channels of the U-Net at each scale, the finest first; there is one band more.
            Each side of a map must divide by 2**(len(filters) - 1).
        sigma_min: Smallest standard deviation of the noise, in the unit of the maps.
        sigma_max: Largest.
        scale: Root mean square of the maps until `adapt` has seen them.
        channels: Channels of a map, or components of a point for `rank` 0.
        padding: How maps end: "periodic", "reflect" or "zero".
        kernel_size: Odd width of the convolutions.
        ema_momentum: Weight of the past in the running average of weights; None for no average.
        rank: Dimensions of space; 0 for points [batch, channels], which need a `network`.
        network: Keras layer instead of the U-Net, from [batch, space..., inputs] to
            [batch, space..., channels]. Inputs are the bands of each channel (for points the
            point itself), the Wiener-filtered map if there is a `power`, and log sigma mapped
            to [-1, 1].
        power: Prior variance of each mode in FFT layout (square of the maps' unit), [ny, nx], as
            `priors.power_map` gives it; the network then learns only what the Wiener filter
            leaves. For maps with one channel.
        augment: Whether training mirrors maps, and turns square ones by quarter turns.
        spectral_limit: The most that a kernel of the U-Net may stretch its input, as a matrix;
            None for no limit.
        seed: Of noise and turns.
        **options: Of a Keras model.

    Raises:
        ValueError: If noise levels are not positive and increasing, another number is out of
            range, or the parts do not fit each other.

    References:
        Miyasawa 1961, Bull. Inst. Internat. Statist. 38, 181; Vincent 2011, Neural Computation
        23, 1661; Karras et al. 2022, arXiv:2206.00364; Remy et al. 2022, arXiv:2201.05561.
    """

    def __init__(
        self,
        filters: Sequence[int] = (32, 64, 128),
        *,
        sigma_min: float,
        sigma_max: float,
        scale: float = 1.0,
        channels: int = 1,
        padding: str = "periodic",
        kernel_size: int = 3,
        ema_momentum: float | None = 0.999,
        rank: int = 2,
        network: keras.layers.Layer | None = None,
        power: TensorLike | None = None,
        augment: bool = False,
        spectral_limit: float | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        _check_numbers(sigma_min, sigma_max, scale, ema_momentum)
        checks.positive_integers(channels=channels)
        checks.one_of(rank, "rank", (0, 1, 2, 3))
        checks.one_of(padding, "padding", PADDINGS)
        given = rank > 0 or network is not None
        checks.require(given, "network", "be given for points, `rank` 0", network)
        checks.require(rank > 0 or not augment, "augment", "be False for points", augment)
        self.filters, self.kernel_size = tuple(filters), kernel_size
        self.sigma_min, self.sigma_max = float(sigma_min), float(sigma_max)
        self.channels, self.padding, self.rank = channels, padding, rank
        self.ema_momentum, self.augment, self.seed = ema_momentum, augment, seed
        self.network, self.spectral_limit = network, spectral_limit
        limit = None if spectral_limit is None else SpectralNorm(spectral_limit)
        self.unet = network or LevelUNet(self.filters, channels, kernel_size, rank, padding, limit)
        self._first_scale = scale
        self._add_bands(scale)
        self._add_power(power)

    def _add_bands(self, scale: float) -> None:
        """Weights that `adapt` learns; before, data as white as the noise."""
        self._noise = noise_covariance(len(self.filters) if self.rank else 0, self.rank)
        found = principal(scale**2 * self._noise, self._noise)
        names = ("mixing", "variance", "share")
        for name, value in zip(names, found, strict=True):
            weight = self.add_weight(shape=value.shape, trainable=False, name=f"band_{name}")
            weight.assign(value)
            setattr(self, name, weight)
        self.highest = self.add_weight(
            shape=found[1].shape, initializer=keras.initializers.Constant(np.inf),
            trainable=False, name="band_highest",
        )  # fmt: skip
        self.is_adapted = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="is_adapted"
        )

    def _add_power(self, power: TensorLike | None) -> None:
        self.power = None
        if power is not None:
            fits = self.rank == 2 and self.channels == 1
            checks.require(fits, "power", "come with `rank` 2 and 1 channel", power)
            power = cast(checked_power(power), tf.float32)
            self.power = self.add_weight(shape=power.shape, trainable=False, name="power")
            self.power.assign(power)

    @property
    def scale(self) -> float:
        """Root mean square of the maps, in their unit."""
        return float(np.sqrt(np.sum(np.square(self.share) * np.asarray(self.variance))))

    def build(self, shape: Any = None) -> None:
        """Make the weights, whose shapes do not depend on the maps."""
        num_inputs = len(self._noise) * self.channels + (self.power is not None)
        space = (None,) * self.rank
        if not self.unet.built:
            self.unet.build((None, *space, num_inputs + (self.network is not None)))
        self.built = True

    def __call__(
        self, y: TensorLike, sigma: TensorLike | None = None, *args: Any, **options: Any
    ) -> tf.Tensor:
        """The mean of the maps behind noisy ones; see `call`, for which numbers become tensors.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels]; or a pair of them and
                `sigma`.
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].
            *args: Of `call`.
            **options: Of `call`.

        Returns:
            The shape of `y`.

        References:
            Karras et al. 2022, arXiv:2206.00364.
        """
        if isinstance(sigma, float | int | np.number):
            sigma = tf.constant(sigma, tf.float32)
        return super().__call__(y, *(() if sigma is None else (sigma,)), *args, **options)

    def call(
        self, y: TensorLike, sigma: TensorLike | None = None, power: TensorLike | None = None
    ) -> tf.Tensor:
        """The mean of the maps behind noisy ones.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels]; or a pair of them and
                `sigma`, as `predict` wants it.
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].
            power: A prior variance [ny, nx] in the place of the model's own.

        Returns:
            The shape of `y`.
        """
        if isinstance(y, tuple | list):
            y, sigma = y
        y, sigma, power = self._checked(y, sigma, power)
        return y + self._change(y, sigma, power)

    def score(self, y: TensorLike, sigma: TensorLike, power: TensorLike | None = None) -> tf.Tensor:
        """Gradient of the log density of maps with noise.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels].
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].
            power: A prior variance [ny, nx] in the place of the model's own.

        Returns:
            (r(y, sigma) - y) / sigma^2 (1 / the unit of the maps), the shape of `y`.

        Raises:
            ValueError: If shapes do not fit, y is not finite, or sigma is outside of the range
                that the network knows.

        References:
            Vincent 2011, Neural Computation 23, 1661.
        """
        y, sigma, power = self._checked(y, sigma, power)
        # Of the change alone: the difference to y would round to nothing for little noise.
        return self._change(y, sigma, power) / spread(sigma, y) ** 2

    def _checked(self, y: Any, sigma: Any, power: Any) -> tuple[tf.Tensor, ...]:
        """Arguments as tensors, or a refusal; values of a graph pass unchecked."""
        y = cast(y, tf.float32)
        self._check_maps(y, "y")
        checks.require(sigma is not None, "sigma", "be given", sigma)
        sigma = cast(sigma, tf.float32)
        checks.rank(sigma, "sigma", (0, 1))
        ends = self.sigma_min * (1 - 1e-6), self.sigma_max * (1 + 1e-6)  # of float32
        checks.in_range(sigma, "sigma", *ends, "It is what the network has learned.")
        sizes = sigma.shape.rank == 0 or sigma.shape.is_compatible_with(y.shape[:1])
        checks.require(sizes, "sigma", f"be a number or have shape {y.shape[:1]}", sigma)
        if power is None:
            return y, sigma, self.power
        known = self.power is not None
        checks.require(known, "power", "be None for a network that was not trained with one", power)
        return y, sigma, checked_power(cast(power, tf.float32), tuple(y.shape[1:3]))

    def _check_maps(self, maps: TensorLike, name: str) -> None:
        ranks = (self.rank + 1, self.rank + 2) if self.channels == 1 else (self.rank + 2,)
        checks.rank(maps, name, ranks)
        if len(maps.shape) == self.rank + 2:
            fits = maps.shape[-1] == self.channels
            checks.require(fits, name, f"have {self.channels} channels", maps)
        if self.rank:
            # The widest band is padded by as much; a mirror does not repeat the outermost cell.
            least = 2 ** len(self.filters) + (self.padding == "reflect")
            sides = [side for side in maps.shape[1 : self.rank + 1] if side is not None]
            rule = f"have sides of at least {least}"
            checks.require(all(side >= least for side in sides), name, rule, sides)
        checks.finite(maps, name)

    def _change(self, y: tf.Tensor, sigma: tf.Tensor, power: tf.Tensor | None) -> tf.Tensor:
        """The mean of the maps minus y: the linear estimate's, and the network's."""
        x = self._with_channels(y)
        bands = (
            scale_bands(x, len(self._noise), self.padding) @ self.mixing
        )  # [batch, space..., channels, bands]
        variance, inputs = spread(sigma, bands) ** 2, [self._flat(self._whitened(bands, sigma))]
        if self.power is None:
            shrunk = -variance / (variance + self.variance) * self.share
            change = tf.reduce_sum(shrunk * bands, axis=-1)
        else:
            change = _wiener_change(x, sigma, power)
            inputs.append((x + change) / spread(_size_of_mean(self.power, sigma), x))
        change += spread(self._error(sigma), x) * self._network(tf.concat(inputs, axis=-1), sigma)
        return tf.ensure_shape(tf.reshape(change, tf.shape(y)), y.shape)

    def _with_channels(self, y: tf.Tensor) -> tf.Tensor:
        return y if y.shape.rank == self.rank + 2 or not self.rank else y[..., None]

    def _whitened(self, bands: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        """Bands of variance 1, none higher than training shows.

        What is higher is left to the linear estimate, which takes it back; networks go on as they
        please where they have seen nothing, and chains would follow them.
        """
        level = spread(sigma, bands)
        highest = self.highest + MOST_NOISE * level
        bands = tf.clip_by_value(bands, -highest, highest)
        return bands / tf.sqrt(self.variance + level**2)

    def _flat(self, bands: tf.Tensor) -> tf.Tensor:
        """Bands as channels."""
        return tf.reshape(bands, [*tf.unstack(tf.shape(bands)[:-2]), math.prod(bands.shape[-2:])])

    def _error(self, sigma: tf.Tensor) -> tf.Tensor:
        """Root mean square error of the linear estimate, the shape of `sigma`."""
        noise = sigma[..., None] ** 2
        if self.power is None:
            left = self.variance * noise / (self.variance + noise)
            return tf.sqrt(tf.reduce_sum(self.share**2 * left, axis=-1))
        power = tf.reshape(self.power, [-1])
        return tf.sqrt(tf.reduce_mean(power * noise / (power + noise), axis=-1))

    def _network(self, inputs: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        width = math.log(self.sigma_max / self.sigma_min)
        level = 2 * tf.math.log(sigma / self.sigma_min) / width - 1
        if self.network is None:
            return self.unet(inputs, tf.reshape(level, [-1, 1]))
        level = spread(level, inputs) * tf.ones_like(inputs[..., :1])
        return self.network(tf.concat([inputs, level], axis=-1))

    def adapt(self, maps: TensorLike | tf.data.Dataset) -> None:
        """Learn the variance and the highest value of the bands, before the first `fit`.

        Args:
            maps: Maps without noise, [num, space...] or [num, space..., channels], or a dataset
                of batches of them, which is gone through twice.

        Raises:
            ValueError: If maps have another shape, are not finite, or are all zero.
        """
        total, count = np.zeros_like(self._noise), 0
        for bands in self._bands_of(maps):
            total, count = total + bands.T @ bands, count + len(bands)
        checks.require(count > 0 and np.sum(total) > 0, "maps", "have variance", np.sum(total))
        for name, value in zip(
            ("mixing", "variance", "share"), principal(total / count, self._noise), strict=True
        ):
            getattr(self, name).assign(value)
        mixing = np.asarray(self.mixing, np.float64)
        self.highest.assign(
            np.max([np.abs(bands @ mixing).max(axis=0) for bands in self._bands_of(maps)], axis=0)
        )
        self.is_adapted.assign(1.0)
        self.build()

    def _bands_of(self, maps: TensorLike | tf.data.Dataset) -> Iterable[np.ndarray]:
        """Bands of all pixels of some maps after others, float64 [pixels, bands]."""
        for part in _batches(maps):
            self._check_maps(part, "maps")
            part = self._with_channels(tf.constant(part, tf.float32))
            bands = scale_bands(part, len(self._noise), self.padding).numpy()
            yield bands.reshape([-1, len(self._noise)]).astype(np.float64)

    def fit(self, x: Any, **options: Any) -> Any:
        """Train on maps without noise, after `adapt`.

        Args:
            x: Maps [num, space...] or [num, space..., channels], or a dataset of batches of them.
            **options: Of `keras.Model.fit`, by name; `validation_data` are maps too.

        Returns:
            The history.

        Raises:
            ValueError: If `adapt` was not called, or maps have another shape or are not finite.
        """
        is_adapted = bool(float(self.is_adapted))
        checks.require(is_adapted, "adapt", "be called with maps before `fit`", None)
        if isinstance(x, tf.data.Dataset):
            options.setdefault("shuffle", False)  # Keras warns that it does not
        else:
            self._check_maps(np.asarray(x), "x")
            x = np.asarray(x, np.float32)
        if self.ema_momentum is not None:
            average = WeightAverage(self.ema_momentum)
            options["callbacks"] = [average, *(options.get("callbacks") or ())]
        return super().fit(x, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        seed = fold(self.seed, tf.cast(self.optimizer.iterations, tf.int32))
        maps = self._with_channels(keras.utils.unpack_x_y_sample_weight(data)[0])
        maps = turned(maps, fold(seed, 2)) if self.augment else maps
        return super().train_step(self._noisy(maps, seed))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        maps = self._with_channels(keras.utils.unpack_x_y_sample_weight(data)[0])
        # The maps name the batch: each has its own noise, and the same at each evaluation.
        number = tf.reduce_sum(tf.bitcast(tf.cast(maps, tf.float32), tf.int32))
        return super().test_step(self._noisy(maps, fold(self.seed + 1, number)))

    def _noisy(self, maps: tf.Tensor, seed: tf.Tensor) -> tuple:
        """Noisy maps with their noise level, and those without noise."""
        maps = tf.cast(maps, tf.float32)
        num = tf.shape(maps)[0]
        # Levels at even steps in log sigma from a random one: all alike, and less chance.
        first = tf.random.stateless_uniform([], fold(seed, 0), alg="philox")
        place = (first + tf.range(num, dtype=tf.float32) / tf.cast(num, tf.float32)) % 1.0
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** place
        noise = tf.random.stateless_normal(tf.shape(maps), fold(seed, 1), alg="philox")
        return (maps + spread(sigma, maps) * noise, sigma), maps

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

    def get_config(self) -> dict[str, Any]:
        names = (
            "name", "filters", "sigma_min", "sigma_max", "channels", "padding", "kernel_size",
            "ema_momentum", "rank", "augment", "spectral_limit", "seed",
        )  # fmt: skip
        network = self.network and keras.saving.serialize_keras_object(self.network)
        shape = None if self.power is None else list(self.power.shape)
        own = {"scale": self._first_scale, "network": network, "power_shape": shape}
        return {name: getattr(self, name) for name in names} | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Denoiser":
        """A model of a file, before its weights: the power is one of them.

        Args:
            config: What `get_config` gave.

        Returns:
            The model.
        """
        config = dict(config)
        shape, network = config.pop("power_shape"), config.pop("network")
        network = network and keras.saving.deserialize_keras_object(network)
        return cls(**config, network=network, power=None if shape is None else np.zeros(shape))


def _check_numbers(
    sigma_min: float, sigma_max: float, scale: float, ema_momentum: float | None
) -> None:
    checks.positive(sigma_min, "sigma_min")
    checks.positive(sigma_max, "sigma_max")
    checks.require(sigma_min < sigma_max, "sigma_min", "be below `sigma_max`", sigma_min)
    checks.positive(scale, "scale")
    if ema_momentum is not None:
        checks.in_range(ema_momentum, "ema_momentum", 0.0, 1.0)


def _wiener_change(x: tf.Tensor, sigma: tf.Tensor, power: tf.Tensor) -> tf.Tensor:
    """The Wiener filter's map minus y = x, [batch, ny, nx, 1]."""
    y = x[..., 0]
    noise = spread(sigma, y) ** 2
    half = fourier.half_plane(tf.convert_to_tensor(power))
    return fourier.filter2(y, -noise / (half + noise))[..., None]


def _size_of_mean(power: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Root mean square of the Wiener filter's map, the shape of `sigma`."""
    power, noise = tf.reshape(power, [-1]), sigma[..., None] ** 2
    return tf.sqrt(tf.reduce_mean(power**2 / (power + noise), axis=-1) + 1e-30)


def _batches(maps: TensorLike | tf.data.Dataset) -> Iterable[np.ndarray]:
    """Maps a chunk at a time."""
    if isinstance(maps, tf.data.Dataset):
        for batch in maps:
            yield np.asarray(batch[0] if isinstance(batch, tuple) else batch)
        return
    maps = np.asarray(maps)
    for first in range(0, len(maps), CHUNK):
        yield maps[first : first + CHUNK]
