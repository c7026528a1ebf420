"""What a survey makes of the sky: bands, pixels, seeing and noise."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import standard_normal
from lfi.bands import LSST_DEPTH, check_bands

ZERO_POINT = 27.0  # AB magnitude of what has a flux of one
# Of each band of LSST: full width at half maximum of point sources (arcsec), and dark sky (AB per
# square arcsec): Ivezic et al. 2019, arXiv:0805.2366, table 2.
SEEING = {"u": 0.90, "g": 0.85, "r": 0.81, "i": 0.79, "z": 0.77, "y": 0.76}
SKY = {"u": 22.96, "g": 22.26, "r": 21.20, "i": 20.48, "z": 19.60, "y": 18.61}


@dataclasses.dataclass(frozen=True)
class ImagingSurvey:
    """How stamps are taken: fixed when a graph is traced.

    Args:
        bands: Letters of "ugrizy", in the order of the channels.
        side: Pixels along each side of a stamp.
        pixel_size_arcsec: Side of a pixel.
        seeing_arcsec: Full width at half maximum of point sources in each band; that of LSST by
            default.
        depth: AB magnitude of point sources at 5 sigma in each band; that of one year of LSST by
            default. By convention point sources cover 2.266 FWHM**2 for it, as one Gaussian does:
            those of the stamps have wings, are spread by the pixels, and reach 5 sigma when they
            are 0.1 magnitudes brighter.
        oversampling: Points along each side of a pixel where light is evaluated.

    Raises:
        ValueError: If a band is unknown or twice there, a number is not positive, or there is not
            one for each band.

    References:
        Ivezic et al. 2019, arXiv:0805.2366, table 2 and equation 6.
    """

    bands: str = "griz"
    side: int = 32
    pixel_size_arcsec: float = 0.25
    seeing_arcsec: Sequence[float] | None = None
    depth: Sequence[float] | None = None
    oversampling: int = 2

    def __post_init__(self) -> None:
        checks.positive_integers(side=self.side, oversampling=self.oversampling)
        checks.positive(self.pixel_size_arcsec, "pixel_size_arcsec")
        check_bands(self.bands, "".join(SKY))
        for name, table in (("seeing_arcsec", SEEING), ("depth", LSST_DEPTH)):
            given = getattr(self, name)
            given = [table[band] for band in self.bands] if given is None else given
            checks.positive(given, name)
            rule = f"be a number for each of {len(self.bands)} bands"
            checks.require(np.shape(given) == (len(self.bands),), name, rule, given)
            object.__setattr__(self, name, tuple(float(x) for x in given))

    def degraded(self, seeing: float = 1.0, noise: float = 1.0) -> "ImagingSurvey":
        """The same survey under another sky.

        Args:
            seeing: Factor of the full width at half maximum in all bands, at the same noise of a
                pixel.
            noise: Factor of the noise of a pixel in all bands.

        Returns:
            The survey.

        Raises:
            ValueError: If a factor is not positive.
        """
        checks.positive(seeing, "seeing")
        checks.positive(noise, "noise")
        # The depth of point sources is that of the pixels under their profile.
        depth = np.array(self.depth) - 2.5 * np.log10(noise * seeing)
        wider = seeing * np.array(self.seeing_arcsec)
        return dataclasses.replace(self, seeing_arcsec=tuple(wider), depth=tuple(depth))

    @property
    def sky_noise(self) -> np.ndarray:
        """Standard deviation of a pixel of empty sky, [num_bands]."""
        pixels = 2.266 * (np.array(self.seeing_arcsec) / self.pixel_size_arcsec) ** 2
        return 10 ** (0.4 * (ZERO_POINT - np.array(self.depth))) / 5 / np.sqrt(pixels)

    @property
    def sky_flux(self) -> np.ndarray:
        """Flux of the dark sky in a pixel, [num_bands]."""
        brightness = np.array([SKY[band] for band in self.bands])
        return 10 ** (0.4 * (ZERO_POINT - brightness)) * self.pixel_size_arcsec**2

    def variance(self, images: tf.Tensor) -> tf.Tensor:
        """Variance of the noise: that of the sky, and of the photons of the objects.

        Args:
            images: Without noise, shape [..., num_bands].

        Returns:
            The same shape.

        References:
            Ivezic et al. 2019, arXiv:0805.2366.
        """
        sky = tf.constant(self.sky_flux, images.dtype)
        return tf.constant(self.sky_noise**2, images.dtype) * (1 + tf.maximum(images, 0) / sky)

    def observe(self, images: tf.Tensor, seed: int | tf.Tensor) -> tf.Tensor:
        """Images with noise.

        Args:
            images: Without noise, shape [..., num_bands], known when a graph is traced.
            seed: An integer, or a stateless seed of shape [2].

        Returns:
            The same shape.

        References:
            Ivezic et al. 2019, arXiv:0805.2366.
        """
        normal = standard_normal(images.shape, seed, images.dtype)
        return images + tf.sqrt(self.variance(images)) * normal
