"""What happens to maps inside of training: the noise of galaxy shapes, and turns."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.lensing import observe


@keras.saving.register_keras_serializable("lfi")
@dataclasses.dataclass(frozen=True)
class ShapeNoise:
    """Adds the noise of galaxy shapes to maps; Keras files keep it as part of a compressor.

    Args:
        pixel_size_arcmin: Side of a pixel (arcmin).
        gals_per_arcmin2: Density of galaxies (1 / arcmin**2), one number for each bin.
        sigma_e: Dispersion of one component of the ellipticities.

    Raises:
        ValueError: If a number is not positive (`sigma_e`: negative).
    """

    pixel_size_arcmin: float
    gals_per_arcmin2: Sequence[float]
    sigma_e: float = 0.26

    def __post_init__(self) -> None:
        checks.positive(self.pixel_size_arcmin, "pixel_size_arcmin")
        checks.positive(self.gals_per_arcmin2, "gals_per_arcmin2")
        checks.non_negative(self.sigma_e, "sigma_e")
        # Files give lists, and what a graph holds must have a hash.
        object.__setattr__(self, "gals_per_arcmin2", tuple(self.gals_per_arcmin2))

    @property
    def std(self) -> np.ndarray:
        """Standard deviation in a pixel of each bin, [num_bins]."""
        return self.sigma_e / (np.sqrt(self.gals_per_arcmin2) * self.pixel_size_arcmin)

    def __call__(self, x: TensorLike, seed: int | tf.Tensor) -> tf.Tensor:
        """Maps with noise.

        Args:
            x: Convergence, shape [batch, ny, nx, num_bins].
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            The shape of `x`.

        Raises:
            ValueError: If `x` has not four axes.

        References:
            van Waerbeke 2000, arXiv:astro-ph/9909160.
        """
        return observe(
            x, seed, pixel_size_arcmin=self.pixel_size_arcmin,
            gals_per_arcmin2=self.gals_per_arcmin2, sigma_e=self.sigma_e,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """The arguments, as Keras keeps them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ShapeNoise":
        """The noise of a file.

        Args:
            config: What `get_config` gave.

        Returns:
            The noise.
        """
        return cls(**config)


@keras.saving.register_keras_serializable("lfi")
def turned(x: TensorLike, seed: int | tf.Tensor) -> tf.Tensor:
    """Square maps, each mirrored and turned by quarter turns at random.

    Args:
        x: Shape [batch, n, n, num_bins].
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        The shape of `x`.

    Raises:
        ValueError: If maps are not square.

    References:
        Shorten & Khoshgoftaar 2019, J. Big Data 6, 60.
    """
    # Noise of zero: what turns maps is a part of `observe`.
    return observe(
        x, seed, pixel_size_arcmin=1.0, gals_per_arcmin2=1.0, sigma_e=0.0, is_turned=True
    )
