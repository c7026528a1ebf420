"""What a denoiser keeps of each scale, put right.

For the mean r(y, sigma) of all maps x behind y = x + sigma n, r and x have the same cross spectrum
with y, whatever the density. A network misses that by a percent or so on large scales, which the
probability flow, where each octave of noise counts once more, turns into tens of percent of the
power of its draws. So modes of r are multiplied by <x y*> / <r y*>, which is 1 for the true mean
and as a function of scale and noise keeps the power of all that follows the flow.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.nn.level_unet import spread
from flowpm_ext.numerics import fourier
from priors.denoiser import Denoiser
from priors.map_spectrum import spectrum

NUM_LEVELS = 14
NUM_MAPS = 256
BATCH = 16
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
    denoiser: Denoiser, kappa: np.ndarray, num_maps: int = NUM_MAPS, seed: int | tf.Tensor = 0
) -> Calibration:
    """Measure a denoiser on maps.

    Args:
        denoiser: Of maps with one channel.
        kappa: Maps without noise, [num, ny, nx].
        num_maps: How many of them to denoise at the most, spread evenly.
        seed: Of the noise.

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
    pixel, rows, (ell, power) = np.deg2rad(1 / 60), [], spectrum(kappa, 1.0)
    for number, level in enumerate(sigma):
        noise = tf.random.stateless_normal(chosen.shape, fold(seed, number), alg="philox")
        noisy = (chosen + level * noise.numpy()).astype(np.float32)
        mean = denoiser.predict(
            (noisy, np.full(len(noisy), level, np.float32)), batch_size=BATCH, verbose=0
        )
        _, (_, cross, of_noisy) = spectrum(np.stack([mean, noisy], axis=-1), 1.0)
        # Over the spectra that y should have and that it has: what is linear in these few draws
        # of maps and noise cancels.
        wanted, found = power / (power + (level * pixel) ** 2), cross / of_noisy
        rows.append(np.clip(wanted / found, 1 - MOST, 1 + MOST))
    return Calibration(sigma, ell * pixel / (2 * math.pi), np.stack(rows))


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
