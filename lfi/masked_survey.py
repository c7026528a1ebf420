"""A survey of shear with holes, and with noise of its own in each pixel."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.core.types import TensorLike
from flowpm_ext.lensing import convergence, shear
from lfi.batching import in_batches


class MaskedSurvey:
    """What a survey makes of simulated convergence: data and simulations are treated alike.

    Args:
        noise_std: Standard deviation of each component of the shear of a pixel, shape [ny, nx].
        mask: Where there are galaxies, 1 or True, and where not, shape [ny, nx].

    Raises:
        ValueError: If shapes differ, noise is negative or not finite, or no pixel is seen.

    References:
        Kaiser & Squires 1993, ApJ 404, 441.
    """

    def __init__(self, noise_std: TensorLike, mask: TensorLike) -> None:
        mask = np.asarray(mask, np.float32)
        noise_std = np.asarray(noise_std, np.float32)
        rule = f"have the shape of `noise_std`, {noise_std.shape}"
        checks.require(mask.ndim == 2 and mask.shape == noise_std.shape, "mask", rule, mask.shape)
        checks.non_negative(noise_std, "noise_std")
        checks.require(bool(mask.any()), "mask", "hold a pixel that is seen", "none")
        self.shape = mask.shape
        self._mask, self._noise_std = tf.constant(mask), tf.constant(noise_std)

    def mapped(self, gamma: TensorLike) -> tf.Tensor:
        """Convergence of shear, without what is known in the holes.

        Args:
            gamma: Complex shear, shape [batch, ny, nx].

        Returns:
            The part without curl, shape [batch, ny, nx, 1], float32.

        References:
            Kaiser & Squires 1993, ApJ 404, 441.
        """
        seen = tf.cast(gamma, tf.complex64) * tf.complex(self._mask, 0.0)
        return convergence(seen).e[..., None]

    def observed(
        self, kappa: TensorLike, seed: int | tf.Tensor = 0, corner: tuple[int, int] = (0, 0),
        has_noise: bool = True,
    ) -> tf.Tensor:  # fmt: skip
        """The map of a survey of reduced shear.

        Args:
            kappa: Convergence of a periodic field, or of one so wide that its far edges do not
                matter, shape [batch, side, side].
            seed: Of the noise, an integer or a stateless seed of shape [2].
            corner: Pixel of the field (y, x) that the survey begins with.
            has_noise: Whether to add noise.

        Returns:
            Shape [batch, ny, nx, 1], float32.

        Raises:
            ValueError: If the survey does not lie in the field.

        References:
            Bartelmann & Schneider 2001, arXiv:astro-ph/9912508, section 4, for the reduced shear.
        """
        kappa = tf.cast(kappa, tf.float32)
        (ny, nx), (y, x) = self.shape, corner
        inside = min(y, x) >= 0 and y + ny <= kappa.shape[-2] and x + nx <= kappa.shape[-1]
        rule = f"leave room for {ny} x {nx} pixels in a field of {tuple(kappa.shape[-2:])}"
        checks.require(inside, "corner", rule, corner)
        reduced = shear(kappa) / tf.complex(1 - kappa, 0.0)
        reduced = reduced[:, y : y + ny, x : x + nx]
        if has_noise:
            white = standard_normal([2, tf.shape(kappa)[0], ny, nx], seed)
            reduced += tf.complex(*tf.unstack(self._noise_std * white))
        return self.mapped(reduced)

    def windows(
        self, maps: TensorLike, corners: Sequence[tuple[int, int]], seed: int | tf.Tensor = 0,
        has_noise: bool = True,
    ) -> np.ndarray:  # fmt: skip
        """Many fields, such as those of light cones, each seen in several windows.

        Args:
            maps: Convergence, shape [num, side, side].
            corners: Where windows begin, as for `observed`.
            seed: Of the noise, which is another in each window.
            has_noise: Whether to add noise.

        Returns:
            Shape [len(corners) * num, ny, nx, 1], float32: first all fields in the first window.

        Raises:
            ValueError: If a window does not lie in the field.

        References:
            Petri, Haiman & May 2016, arXiv:1601.06792, for many maps of few simulations.
        """

        def seen(corner: tuple[int, int], own: tf.Tensor) -> np.ndarray:
            return in_batches(
                lambda part, number: self.observed(part, fold(own, number), corner, has_noise),
                np.asarray(maps),
            )

        return np.concatenate([seen(one, fold(seed, i)) for i, one in enumerate(corners)])
