"""Made-up galaxies: Sersic profiles with spiral arms and clumps, and a network that knows them.

A galaxy is an ellipse of surface brightness exp(-b_n (r / r_e)^(1/n)), on which arms that wind up
towards the centre and bright clumps lie, seen by a telescope whose own resolution is about two
pixels. It is centred on the pixel (side // 2, side // 2).
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from scipy.special import gammaincinv

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from priors.denoiser import Denoiser

CHUNK = 256  # galaxies at a time
OVERSAMPLING = 4  # points along each side of a pixel, for profiles that are steep at the centre
INDEX, HALF_LIGHT = (0.6, 4.0), (0.07, 0.14)  # Sersic index; radius over the side of the image
AXIS_RATIO, EDGE = (0.3, 1.0), 5.0  # radius where light ends, in half-light radii
ARMS, PITCH = (0.0, 0.8), (0.2, 0.5)  # contrast of the arms; slope of their spirals
NUM_CLUMPS, CLUMP_FLUX, CLUMP_SIZE = 6, 0.25, 0.25  # at most; size in half-light radii
RESOLUTION = 2.0  # full width at half maximum of the telescope that saw them, in pixels
FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))
MOFFAT_BETA = 3.5  # of the wings of ground-based images
NOISE = (0.02, 10.0)  # levels that the denoiser learns; a galaxy has a rms of about 0.5
BATCH, LEARNING_RATE = 16, 4e-3


def galaxy_images(
    num: int,
    side: int = 32,
    seed: int = 0,
    *,
    flux: float = 100.0,
    flux_scatter: float = 0.4,
    irregularity: float = 1.0,
) -> np.ndarray:
    """Random isolated galaxies, each in the middle of its image.

    Args:
        num: How many.
        side: Pixels of each side.
        seed: An integer, or a stateless seed of shape [2]. The first of many are those of few.
        flux: Median of the sum over pixels (any unit).
        flux_scatter: Standard deviation of the natural logarithm of the flux; 0 for one flux.
        irregularity: Strength of arms and clumps; 0 for smooth ellipses.

    Returns:
        Images (the unit of `flux`), non-negative, float32, shape [num, side, side].

    Raises:
        ValueError: If a number is not positive, or a strength is negative.

    References:
        Sersic 1963, Bol. Asoc. Argent. Astron. 6, 41; Ciotti & Bertin 1999, A&A 352, 447.
    """
    checks.positive_integers(num=num, side=side)
    checks.positive(flux, "flux")
    checks.non_negative(flux_scatter, "flux_scatter")
    checks.non_negative(irregularity, "irregularity")
    shapes, clumps = (generator(fold(seed, number)) for number in range(2))
    parts = []
    for first in range(0, num, CHUNK):
        size = min(CHUNK, num - first)
        drawn = shapes.uniform(size=(9, CHUNK))[:, :size, None, None]
        image = _profile(drawn, side, irregularity)
        image = image + _clumps(clumps.uniform(size=(CHUNK, NUM_CLUMPS, 4))[:size], drawn, side,
                                irregularity, image.sum(axis=(1, 2)))  # fmt: skip
        image = _smoothed(image)
        log_flux = flux_scatter * _normal(drawn[7], drawn[8])
        image *= flux * np.exp(log_flux) / image.sum(axis=(1, 2), keepdims=True)
        parts.append(image.astype(np.float32))
    return np.concatenate(parts)


def galaxy_denoiser(
    side: int = 32,
    num_steps: int = 3000,
    seed: int = 0,
    *,
    num_images: int = 6000,
    filters: Sequence[int] = (16, 32),
    verbose: int = 0,
) -> Denoiser:
    """A network that has learned what isolated galaxies look like.

    Args:
        side: Pixels of each side of an image.
        num_steps: Steps of training, of 16 images each; some 0.05 s on one core for a side of 32.
        seed: An integer: of galaxies, weights and noise.
        num_images: Galaxies of `galaxy_images` to learn from, mirrored and turned.
        filters: As in `Denoiser`.
        verbose: 1 for a progress bar.

    Returns:
        `Denoiser` for `LearnedScore`, for images of the default flux.

    Raises:
        ValueError: If a number is not a positive integer.

    References:
        Karras et al. 2022, arXiv:2206.00364.
    """
    checks.positive_integers(num_steps=num_steps, num_images=num_images)
    images = galaxy_images(num_images, side, fold(seed, 0))
    keras.utils.set_random_seed(int(seed) % 2**32)  # all that Keras takes
    model = Denoiser(
        filters, sigma_min=NOISE[0], sigma_max=NOISE[1], padding="zero", ema_momentum=0.995,
        augment=side % 2 == 1, seed=seed,
    )  # fmt: skip
    model.adapt(images)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, num_steps)
    model.compile(keras.optimizers.Adam(rate))
    batches = tf.data.Dataset.from_tensor_slices(images).shuffle(num_images, seed=seed).repeat()
    model.fit(batches.batch(BATCH), steps_per_epoch=num_steps, epochs=1, verbose=verbose)
    return model


def galaxy_psf(side: int, fwhm: float, beta: float = MOFFAT_BETA) -> np.ndarray:
    """A Moffat profile, as images from the ground have it.

    Args:
        side: Pixels of each side.
        fwhm: Full width at half maximum (pixels).
        beta: Steepness of the wings; a Gaussian has an infinite one.

    Returns:
        Point-spread function with a sum of 1 and its centre at (side // 2, side // 2), float32,
        shape [side, side].

    Raises:
        ValueError: If a number is not positive, or `beta` is not above 1.

    References:
        Moffat 1969, A&A 3, 455; Trujillo et al. 2001, MNRAS 328, 977.
    """
    checks.positive_integers(side=side)
    checks.positive(fwhm, "fwhm")
    checks.require(beta > 1, "beta", "be above 1", beta)
    width = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    y, x = _grid(side, OVERSAMPLING)
    image = _coarse((1 + (x**2 + y**2) / width**2) ** -beta, OVERSAMPLING)
    return (image / image.sum()).astype(np.float32)


def _profile(drawn: np.ndarray, side: int, irregularity: float) -> np.ndarray:
    """Ellipses with arms, [num, side, side]."""
    y, x = _grid(side, OVERSAMPLING)
    index, radius = _between(INDEX, drawn[0]), side * _between(HALF_LIGHT, drawn[1])
    u, v = _turned(x, y, np.pi * drawn[3])
    v = v / _between(AXIS_RATIO, drawn[2])
    r = np.sqrt(u**2 + v**2) / radius
    light = np.exp(-gammaincinv(2 * index, 0.5) * r ** (1 / index))
    winding = 2 * (np.arctan2(v, u) - np.log(r + 0.1) / _between(PITCH, drawn[5]))
    # No arms at the centre, where they would wind up without end.
    arms = irregularity * _between(ARMS, drawn[4]) * r**2 / (0.3 + r**2)
    light *= np.maximum(1 + arms * np.cos(winding + 2 * np.pi * drawn[6]), 0.0)
    return _coarse(light * _end(r), OVERSAMPLING)


def _clumps(
    places: np.ndarray, drawn: np.ndarray, side: int, irregularity: float, flux: np.ndarray
) -> np.ndarray:
    """Bright knots that lie in the plane of the galaxy, [num, side, side]."""
    y, x = _grid(side, 1)
    radius = side * _between(HALF_LIGHT, drawn[1])[:, 0]  # [num, 1]
    r, angle = 1.8 * radius * np.sqrt(places[..., 0]), 2 * np.pi * places[..., 1]
    u, v = r * np.cos(angle), r * np.sin(angle) * _between(AXIS_RATIO, drawn[2])[:, 0]
    cx, cy = _turned(u, v, -np.pi * drawn[3][:, 0])
    size = CLUMP_SIZE * radius * (0.5 + places[..., 2])
    share = irregularity * CLUMP_FLUX / NUM_CLUMPS * 2 * places[..., 3] ** 2
    squared = (x - cx[..., None, None]) ** 2 + (y - cy[..., None, None]) ** 2
    knots = (
        np.exp(-0.5 * squared / size[..., None, None] ** 2) / (2 * np.pi * size**2)[..., None, None]
    )
    return flux[:, None, None] * np.sum(share[..., None, None] * knots, axis=1)


def _smoothed(images: np.ndarray) -> np.ndarray:
    """Images [num, side, side] at the resolution of the telescope."""
    side = images.shape[-1]
    k = 2 * np.pi * np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    transfer = np.exp(-0.5 * (k * RESOLUTION * FWHM_TO_SIGMA) ** 2)
    return np.maximum(np.fft.irfft2(np.fft.rfft2(images) * transfer, (side, side)), 0.0)


def _grid(side: int, oversampling: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances along y and x from the centre of the middle pixel, in pixels."""
    points = (np.arange(side * oversampling) + 0.5) / oversampling - 0.5 - side // 2
    return points[:, None], points[None, :]


def _coarse(fine: np.ndarray, factor: int) -> np.ndarray:
    """Means over squares of factor x factor points."""
    ny, nx = (n // factor for n in fine.shape[-2:])
    return fine.reshape(*fine.shape[:-2], ny, factor, nx, factor).mean(axis=(-3, -1))


def _turned(x: np.ndarray, y: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along axes turned by an angle."""
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


def _end(r: np.ndarray) -> np.ndarray:
    """One inside, and smoothly zero where light ends."""
    return np.cos(0.5 * np.pi * np.clip(r / EDGE, 0.0, 1.0)) ** 2


def _between(ends: tuple[float, float], drawn: np.ndarray) -> np.ndarray:
    return ends[0] + (ends[1] - ends[0]) * drawn


def _normal(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A normal number of two uniform ones (Box & Muller)."""
    return np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second)
