"""What a denoiser keeps of each scale, put right.

For the mean r(y, sigma) of all maps x behind y = x + sigma n, r and x have the same cross spectrum
with y, whatever the density. A network misses that by a percent or so on large scales, which the
probability flow, where each octave of noise counts once more, turns into tens of percent of the
power of its draws. So modes of r are multiplied by <x y*> / <r y*>, which is 1 for the true mean
and as a function of scale and noise keeps the power of all that follows the flow.

Images of a network's flow are not quite the maps with noise that it was measured on, and it keeps
another part of them: by half a percent or less at each level, by percents of power in the end. So
the multipliers are measured once more, on images of the flow itself.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.nn.level_unet import spread
from flowpm_ext.numerics import fourier
from priors.denoiser import Denoiser
from priors.flow import probability_flow
from priors.map_spectrum import power_of_modes, spectrum, without_window

NUM_LEVELS = 14
NUM_MAPS = 256
BATCH, PIXELS = 16, 2**18  # at a time: maps, and pixels of images of the flow
# Images of the flow in each round, as many as maps at the most: 512 have the power of fine scales
# to .7 %, and rounds before the last need not be as good.
NUM_IMAGES = (256, 512)
STEPS_BETWEEN = 2  # of the flow, from level to level
MOST = 0.2  # change of a mode; more is the noise of a measurement where nothing is kept


class Calibration(NamedTuple):
    """What modes of a denoised map are to be multiplied by."""

    sigma: np.ndarray  # [num_levels], even steps of the logarithm, the unit of the maps
    frequency: np.ndarray  # [num_rings], cycles per pixel
    transfer: np.ndarray  # [num_levels, num_rings]

    def on_grid(self, shape: tuple[int, int]) -> np.ndarray:
        """The multipliers of the modes of maps.

        Args:
            shape: Pixels, (ny, nx).

        Returns:
            Shape [num_levels, ny, nx // 2 + 1]; 1 for the mean.
        """
        frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
        log = np.log(np.maximum(frequency, self.frequency[0]))
        grid = np.stack([np.interp(log, np.log(self.frequency), row) for row in self.transfer])
        return np.where(frequency > 0, grid, 1.0)


def calibrated(
    denoiser: Denoiser,
    kappa: np.ndarray,
    num_maps: int = NUM_MAPS,
    seed: int | tf.Tensor = 0,
    progress: bool = False,
) -> Calibration:
    """Measure a denoiser on maps, and then on images that follow its flow.

    Args:
        denoiser: Of maps with one channel.
        kappa: Maps without noise, [num, ny, nx].
        num_maps: How many of them to denoise at the most, spread evenly.
        seed: Of the noise.
        progress: Whether to show a progress bar.

    Returns:
        The calibration.

    Raises:
        ValueError: If maps have another shape or are not finite.
    """
    checks.rank(kappa, "kappa", 3)
    checks.finite(kappa, "kappa")
    chosen = kappa[np.linspace(0, len(kappa) - 1, min(num_maps, len(kappa))).astype(int)]
    sigma = np.geomspace(denoiser.sigma_min, denoiser.sigma_max, NUM_LEVELS)
    sigma[[0, -1]] = denoiser.sigma_min, denoiser.sigma_max
    pixel, (ell, cl) = np.deg2rad(1 / 60), spectrum(kappa, 1.0)
    wanted = cl / (cl + (sigma[:, None] * pixel) ** 2)
    numbers = [min(number, len(kappa)) for number in NUM_IMAGES]
    total = NUM_LEVELS + sum(len(_batches(number, kappa.shape[1:])) for number in numbers)
    with tqdm(total=total, desc="calibration", disable=not progress) as bar:
        kept = np.stack([
            _kept_of_maps(denoiser, chosen, level, fold(seed, number), bar)
            for number, level in enumerate(sigma)
        ])  # fmt: skip
        found = Calibration(sigma, ell * pixel / (2 * math.pi), _limited(wanted / kept))
        power = power_of_modes(ell, without_window(ell, cl, kappa.shape[1:], 1.0),
                               kappa.shape[1:], 1.0)  # fmt: skip
        for place, number in enumerate(numbers):
            kept = _kept_of_flow(
                CalibratedDenoiser(denoiser, found), power, number, fold(seed, -1 - place), bar
            )
            found = found._replace(transfer=_limited(found.transfer * wanted / kept))
    return found


def _limited(transfer: np.ndarray) -> np.ndarray:
    return np.clip(transfer, 1 - MOST, 1 + MOST)


def _kept_of_maps(
    denoiser: Denoiser, kappa: np.ndarray, level: float, seed: tf.Tensor, bar: tqdm
) -> np.ndarray:
    """What is kept of each scale of maps with noise, [num_rings]."""
    noise = tf.random.stateless_normal(kappa.shape, seed, alg="philox")
    noisy = (kappa + level * noise.numpy()).astype(np.float32)
    levels = np.full(len(noisy), level, np.float32)
    mean = denoiser.predict((noisy, levels), batch_size=BATCH, verbose=0)
    bar.update()
    cross, of_noisy = _spectra(mean, noisy)
    # Over the spectrum that y has, not that it should have: what is linear in these few draws of
    # maps and noise cancels.
    return cross / of_noisy


def _kept_of_flow(
    denoiser: "CalibratedDenoiser", power: np.ndarray, num: int, seed: tf.Tensor, bar: tqdm
) -> np.ndarray:
    """The same of images that follow the flow from the most noise on, [num_levels, num_rings]."""
    sigma, score = denoiser.calibration.sigma, tf.function(denoiser.score)
    root, sums = np.sqrt(power[:, : power.shape[1] // 2 + 1]), 0.0
    for batch, size in enumerate(_batches(num, power.shape)):
        field, noise = standard_normal((2, size, *power.shape), fold(seed, batch), tf.float32)
        y = fourier.filter2(field, root) + cast(sigma[-1], tf.float32) * noise
        found = []
        for number in reversed(range(len(sigma))):
            level = tf.constant(sigma[number], tf.float32)
            mean = y + level**2 * score(y, level)
            found.append(size * np.stack(_spectra(mean.numpy(), y.numpy())))
            if number:
                y = _moved(score, y, sigma[number], sigma[number - 1])
        sums = sums + np.array(found[::-1])
        bar.update()
    return sums[:, 0] / sums[:, 1]


def _batches(num: int, sides: tuple[int, int]) -> list[int]:
    """How many images to move at a time, about as many each time."""
    parts = -(-num * math.prod(sides) // PIXELS)
    return [len(part) for part in np.array_split(np.arange(num), min(parts, num))]


def _moved(score: Callable, y: tf.Tensor, start: float, end: float) -> tf.Tensor:
    """Images that followed the flow from one level to the next."""
    return probability_flow(
        lambda x, level: score(x, tf.constant(level, tf.float32)), y, start, end, STEPS_BETWEEN
    )


def _spectra(mean: np.ndarray, noisy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cross spectrum of two sets of maps, and that of the second."""
    _, (_, cross, of_noisy) = spectrum(np.stack([mean, noisy], axis=-1), 1.0)
    return cross, of_noisy


class CalibratedDenoiser:
    """A denoiser of maps whose means keep of each scale what they must.

    Args:
        denoiser: Of maps with one channel.
        calibration: As `calibrated` measured it.

    Attributes:
        sigma_min: Smallest noise level that it knows (the unit of the maps).
        sigma_max: Largest.
        scale: Root mean square of the maps without noise.
    """

    def __init__(self, denoiser: Denoiser, calibration: Calibration) -> None:
        self.denoiser, self.calibration = denoiser, calibration
        self.sigma_min, self.sigma_max = denoiser.sigma_min, denoiser.sigma_max
        self.scale = denoiser.scale

    def __call__(self, y: TensorLike, sigma: TensorLike) -> tf.Tensor:
        """The mean of the maps behind noisy ones.

        Args:
            y: Noisy maps, [batch, ny, nx].
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].

        Returns:
            The shape of `y`.
        """
        y, sigma = cast(y, tf.float32), cast(sigma, tf.float32)
        return y + spread(sigma, y) ** 2 * self.score(y, sigma)

    def score(self, y: TensorLike, sigma: TensorLike) -> tf.Tensor:
        """Gradient of the log density of maps with noise.

        Args:
            y: Noisy maps, [batch, ny, nx].
            sigma: Standard deviation of the noise (the unit of the maps), a number or [batch].

        Returns:
            The shape of `y` (1 / the unit of the maps).
        """
        y, sigma = cast(y, tf.float32), cast(sigma, tf.float32)
        checks.rank(y, "y", 3)
        score, noise = self.denoiser.score(y, sigma), spread(sigma, y) ** 2
        change = fourier.filter2(y + noise * score, self._transfer(y.shape[1:], sigma) - 1)
        return score + change / noise

    def _transfer(self, shape: tf.TensorShape, sigma: tf.Tensor) -> tf.Tensor:
        """Multipliers on the half plane, [ny, nx // 2 + 1], for each map where sigma has them."""
        table = tf.constant(self.calibration.on_grid(tuple(shape)), tf.float32)
        num = len(self.calibration.sigma)
        width = math.log(self.sigma_max / self.sigma_min)
        place = (num - 1) * tf.math.log(sigma / self.sigma_min) / width
        place = tf.clip_by_value(place, 0.0, num - 1.0)
        weight = tf.nn.relu(1 - tf.abs(place[..., None] - tf.range(num, dtype=tf.float32)))
        return tf.tensordot(weight, table, 1)
