"""Random numbers of galaxies, the same however a graph is run."""

import math

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import standard_uniform

# Position of each band along the spectrum, for colours that are redder or bluer as a whole.
TILT = {"u": 1.6, "g": 1.0, "r": 0.45, "i": 0.0, "z": -0.3, "y": -0.5}
MOST = 224  # numbers of one galaxy


class Draws:
    """Numbers drawn one after another.

    Args:
        num: How many at a time, the first side of all results.
        seed: An integer, or a stateless seed of shape [2].
        dtype: float32 or float64.
    """

    def __init__(self, num: int, seed: int | tf.Tensor, dtype: tf.DType) -> None:
        # All at once: each call of a generator is long to compile.
        self.parts = standard_uniform([MOST, num], seed, dtype)
        self.dtype, self.count = dtype, 0

    def uniform(self, low: float = 0.0, high: float = 1.0, *sides: int) -> tf.Tensor:
        """[num, *sides]."""
        first, self.count = self.count, self.count + math.prod(sides)
        checks.require(self.count <= MOST, "draws", f"be at most {MOST}", self.count)
        part = tf.transpose(self.parts[first : self.count])
        return low + (high - low) * tf.reshape(part, [-1, *sides])

    def log_uniform(self, low: float, high: float, *sides: int) -> tf.Tensor:
        """[num, *sides]."""
        return tf.exp(self.uniform(math.log(low), math.log(high), *sides))

    def normal(self, std: float, *sides: int) -> tf.Tensor:
        """[num, *sides]."""
        radius = tf.sqrt(-2 * tf.math.log(self.uniform(0.0, 1.0, *sides)))
        return std * radius * tf.cos(2 * math.pi * self.uniform(0.0, 1.0, *sides))

    def whole(self, low: int, high: int) -> tf.Tensor:
        """Integers from low to high, [num], floating."""
        return tf.floor(self.uniform(low, high + 1))

    def disc(self, radius: tf.Tensor | float, *sides: int) -> tf.Tensor:
        """Points of a disc, [num, *sides, 2]."""
        r, angle = radius * tf.sqrt(self.uniform(0, 1, *sides)), self.angle(2, *sides)
        return tf.stack([r * tf.cos(angle), r * tf.sin(angle)], axis=-1)

    def angle(self, halves: int = 1, *sides: int) -> tf.Tensor:
        """Radians of half a turn or a whole one, [num, *sides]."""
        return self.uniform(0, halves * math.pi, *sides)

    def colour(self, table: dict[str, float], bands: str, std: float, *sides: int) -> tf.Tensor:
        """Magnitudes relative to i, redder or bluer as a whole, [num, *sides, num_bands]."""
        mean = tf.constant([table[band] for band in bands], self.dtype)
        tilt = tf.constant([TILT[band] for band in bands], self.dtype)
        own = self.normal(0.05, *sides, len(bands))
        return mean + tilt * self.normal(std, *sides)[..., None] + own
