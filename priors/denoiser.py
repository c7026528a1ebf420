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
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.fields.gaussian import checked_power
from flowpm_ext.nn import LevelUNet, SpectralNorm
from flowpm_ext.nn.convolution import PADDINGS
from flowpm_ext.nn.level_unet import spread
from flowpm_ext.numerics import fourier
from priors.bands import noise_covariance, principal, scale_bands
from priors.conditions import Conditions, batches, told
from priors.matching import ScoreMatching

PACKAGE = "priors"
MOST_NOISE = 5.0  # standard deviations of noise on the highest peak that training shows


@keras.saving.register_keras_serializable(PACKAGE)
class Denoiser(ScoreMatching, keras.Model):
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
            point itself), the Wiener-filtered map if there is a `power`, and log sigma and the
            parameters, each mapped to [-1, 1].
        power: Prior variance of each mode in FFT layout (square of the maps' unit), [ny, nx], as
            `priors.power_map` gives it; the network then learns only what the Wiener filter
            leaves. For maps with one channel.
        augment: Whether training mirrors maps, and turns square ones by quarter turns.
        spectral_limit: The most that a kernel of the U-Net may stretch its input, as a matrix;
            None for no limit.
        num_parameters: Parameters of the simulations behind the maps, such as those of the
            cosmology, that the network is told as it is told sigma; training data are then pairs
            of maps and parameters [num, num_parameters].
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
        num_parameters: int = 0,
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
        self.num_parameters = num_parameters
        self.conditions = Conditions(num_parameters) if num_parameters else None
        self.unet = network or LevelUNet(
            self.filters, channels, kernel_size, rank, padding, limit, 1 + num_parameters
        )
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
            levels = 0 if self.network is None else 1 + self.num_parameters
            self.unet.build((None, *space, num_inputs + levels))
        self.built = True

    def __call__(
        self, y: TensorLike, sigma: TensorLike | None = None, *args: Any, **options: Any
    ) -> tf.Tensor:
        """The mean of the maps behind noisy ones; see `call`, for which numbers become tensors.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels]; or a tuple of them,
                `sigma` and, where there are any, the parameters.
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
        if options.get("parameters") is not None:
            options["parameters"] = cast(options["parameters"], tf.float32)
        return super().__call__(y, *(() if sigma is None else (sigma,)), *args, **options)

    def call(
        self,
        y: TensorLike,
        sigma: TensorLike | None = None,
        power: TensorLike | None = None,
        parameters: TensorLike | None = None,
    ) -> tf.Tensor:
        """The mean of the maps behind noisy ones.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels]; or a tuple of them,
                `sigma` and, where there are any, the parameters, as `predict` wants it.
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].
            power: A prior variance [ny, nx] in the place of the model's own.
            parameters: Of the simulations, [num_parameters] or [batch, num_parameters].

        Returns:
            The shape of `y`.
        """
        if isinstance(y, tuple | list):
            y, sigma, *more = y
            parameters = more[0] if more else parameters
        y, *known = self._checked(y, sigma, power, parameters)
        return y + self._change(y, *known)

    def score(
        self,
        y: TensorLike,
        sigma: TensorLike,
        power: TensorLike | None = None,
        parameters: TensorLike | None = None,
    ) -> tf.Tensor:
        """Gradient of the log density of maps with noise.

        Args:
            y: Noisy maps, [batch, space...] or [batch, space..., channels].
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].
            power: A prior variance [ny, nx] in the place of the model's own.
            parameters: Of the simulations, [num_parameters] or [batch, num_parameters].

        Returns:
            (r(y, sigma) - y) / sigma^2 (1 / the unit of the maps), the shape of `y`.

        Raises:
            ValueError: If shapes do not fit, y is not finite, sigma or parameters are outside of
                the range that the network knows, or parameters are missing or of no use to it.

        References:
            Vincent 2011, Neural Computation 23, 1661.
        """
        y, sigma, *known = self._checked(y, sigma, power, parameters)
        # Of the change alone: the difference to y would round to nothing for little noise.
        return self._change(y, sigma, *known) / spread(sigma, y) ** 2

    def _checked(self, y: Any, sigma: Any, power: Any, parameters: Any) -> tuple[tf.Tensor, ...]:
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
        parameters = told(self, parameters)
        if parameters is not None and parameters.shape.rank == 2:
            fits = parameters.shape[:1].is_compatible_with(y.shape[:1])
            checks.require(fits, "parameters", f"be of {y.shape[0]} maps", parameters.shape)
        if power is None:
            return y, sigma, self.power, parameters
        known = self.power is not None
        checks.require(known, "power", "be None for a network that was not trained with one", power)
        power = checked_power(cast(power, tf.float32), tuple(y.shape[1:3]))
        return y, sigma, power, parameters

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

    def _change(
        self, y: tf.Tensor, sigma: tf.Tensor, power: tf.Tensor | None, parameters: Any
    ) -> tf.Tensor:
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
        found = self._network(tf.concat(inputs, axis=-1), sigma, parameters)
        change += spread(self._error(sigma), x) * found
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

    def _network(self, inputs: tf.Tensor, sigma: tf.Tensor, parameters: Any) -> tf.Tensor:
        width = math.log(self.sigma_max / self.sigma_min)
        levels = tf.reshape(2 * tf.math.log(sigma / self.sigma_min) / width - 1, [-1, 1])
        if self.conditions is not None:
            levels = self.conditions(levels, parameters)
        if self.network is None:
            return self.unet(inputs, levels)
        levels = spread(levels, inputs) * tf.ones_like(inputs[..., :1])
        return self.network(tf.concat([inputs, levels], axis=-1))

    def adapt(self, maps: Any) -> None:
        """Learn the variance and the highest value of the bands, before the first `fit`.

        Args:
            maps: Maps without noise, [num, space...] or [num, space..., channels], or a pair of
                them and parameters [num, num_parameters], whose range is learned too; or a
                dataset of batches of either, which is gone through more than once.

        Raises:
            ValueError: If maps have another shape, are not finite, or are all zero, or parameters
                are missing, not finite, or do not vary.
        """
        if self.conditions is not None:
            self.conditions.learn(part for _, part in batches(maps, "maps", True))
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

    def _bands_of(self, maps: Any) -> Iterable[np.ndarray]:
        """Bands of all pixels of some maps after others, float64 [pixels, bands]."""
        for part, _ in batches(maps, "maps", self.conditions is not None):
            self._check_maps(part, "maps")
            part = self._with_channels(tf.constant(part, tf.float32))
            bands = scale_bands(part, len(self._noise), self.padding).numpy()
            yield bands.reshape([-1, len(self._noise)]).astype(np.float64)

    def get_config(self) -> dict[str, Any]:
        names = (
            "name", "filters", "sigma_min", "sigma_max", "channels", "padding", "kernel_size",
            "ema_momentum", "rank", "augment", "spectral_limit", "num_parameters", "seed",
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
