"""Galaxies that overlap, seen in several bands: Y = P * (A S) + n with a known truth."""

from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator
from priors.galaxies import galaxy_images, galaxy_psf
from priors.likelihood import GaussianLikelihood
from priors.operators import (
    AbstractLinearOperator,
    Convolution,
    Mixing,
    ModeMixing,
    Padding,
    Shift,
)

NUM_BANDS = 5
SLOPE, SCATTER = (-1.5, 2.5), 0.05  # of the logarithm of spectra from the first band to the last
SEPARATION = (3.0, 9.0)  # of blended galaxies, in pixels


class Blend(NamedTuple):
    """Overlapping galaxies in several bands, with the truth behind them."""

    data: np.ndarray  # [num_bands, ny, nx], with noise
    op: AbstractLinearOperator  # from centred sources to bands without noise
    noise_std: np.ndarray  # [num_bands, 1, 1], of a pixel
    sources: np.ndarray  # [num_sources, side, side], each in the middle of its own image
    sed: np.ndarray  # [num_bands, num_sources], brightness of each source in each band
    psf: np.ndarray  # [num_bands, ny, nx]
    offset: np.ndarray  # [num_sources, 2], places along y and x from the centre (pixels)


def blend(
    seed: int = 0,
    *,
    num_sources: int = 2,
    side: int = 32,
    margin: int = 8,
    noise_std: float = 0.1,
    fwhm: tuple[float, float] = (4.5, 3.0),
    flux_scatter: float = 0.4,
    sources: np.ndarray | None = None,
) -> Blend:
    """Overlapping galaxies in five bands: Y = P * (A S) + n, with A and P known.

    Bands go from blue, where seeing is worse, to red. The spectrum of each galaxy is a power law
    of random slope with some scatter, of mean 1 over the bands.

    Args:
        seed: An integer, or a stateless seed of shape [2].
        num_sources: Galaxies.
        side: Pixels of each side of the image of one galaxy.
        margin: Pixels around that for the frame which holds them all.
        noise_std: Standard deviation of the noise in a pixel of each band (the unit of the
            images, of which a galaxy has a median flux of 100).
        fwhm: Full width at half maximum of the seeing in the first and last band (pixels).
        flux_scatter: As in `galaxy_images`.
        sources: Images of the galaxies, [num_sources, side, side]; by default random ones.

    Returns:
        `Blend`; the first galaxy is within half a pixel of the middle.

    Raises:
        ValueError: If a number is not positive, or `sources` have another shape.

    References:
        Melchior et al. 2018, arXiv:1802.10157; Lanusse, Melchior & Moolekamp 2019,
        arXiv:1912.03980.
    """
    checks.positive_integers(num_sources=num_sources, side=side, margin=margin)
    checks.positive(noise_std, "noise_std")
    shape, rng = (num_sources, side, side), generator(fold(seed, 0))
    if sources is None:
        sources = galaxy_images(num_sources, side, fold(seed, 1), flux_scatter=flux_scatter)
    checks.require(np.shape(sources) == shape, "sources", f"have shape {shape}", sources)
    sed, offset = _spectra(num_sources, rng), _offsets(num_sources, rng)
    frame = side + 2 * margin
    psf = np.stack([galaxy_psf(frame, width) for width in np.linspace(*fwhm, NUM_BANDS)])
    op = blend_operator(sed, psf, offset, side)
    noise_std = np.full((NUM_BANDS, 1, 1), noise_std, np.float32)
    clean = op(np.asarray(sources, np.float32)).numpy()
    data = clean + noise_std * rng.normal(size=clean.shape).astype(np.float32)
    return Blend(data, op, noise_std, np.asarray(sources), sed, psf, offset)


def blend_likelihood(blend: Blend) -> GaussianLikelihood:
    """The likelihood of the sources of a blend, with as many data images as there are sources.

    In each Fourier mode the bands are a matrix of more rows than columns times the sources, and
    its QR decomposition tells which combinations of bands know about them: noise of the others
    changes the likelihood by a constant. So nothing is lost, and less is computed than with all
    bands in `GaussianLikelihood(blend.op, blend.data, blend.noise_std)`.

    Args:
        blend: Data of more bands than sources, with noise that is the same in all pixels of a
            band.

    Returns:
        The likelihood of images of the shape [num_sources, side, side].

    Raises:
        ValueError: If there are fewer bands than sources.

    References:
        Tegmark, Taylor & Heavens 1997, arXiv:astro-ph/9603021 (compression without loss).
    """
    num_bands, num_sources = blend.sed.shape
    rule = f"have at least {num_sources} bands"
    checks.require(num_bands >= num_sources, "blend", rule, blend.data.shape)
    sources, frame = blend.sources.shape, blend.data.shape[-1]
    # What each source alone looks like in each band, from a point in the middle of its image.
    point = np.zeros((num_sources, *sources))
    point[range(num_sources), range(num_sources), sources[1] // 2, sources[2] // 2] = 1.0
    seen = np.roll(blend.op(point).numpy(), (-(frame // 2),) * 2, (-2, -1)) / blend.noise_std
    basis, matrix = np.linalg.qr(np.moveaxis(np.fft.rfft2(seen), (0, 1), (-1, -2)))
    modes = np.fft.rfft2(blend.data.astype(np.float64) / blend.noise_std)
    data = np.fft.irfft2(np.einsum("yxbs,byx->syx", basis.conj(), modes), (frame, frame))
    op = ModeMixing(np.moveaxis(matrix, (-2, -1), (0, 1)), frame)
    padding = Padding((frame - sources[-1]) // 2, sources)
    return GaussianLikelihood(op @ padding, data.astype(blend.data.dtype), 1.0)


def overlapping_pairs(num: int, side: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Isolated galaxies, and the same ones with another on top, of the same total flux.

    Args:
        num: How many pairs.
        side: Pixels of each side.
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        Isolated galaxies and blends, float32, each [num, side, side]. In a blend the second
        galaxy is 3 to 9 pixels away, a whole number along each axis; both are scaled until their
        sum has the flux of the isolated one.

    Raises:
        ValueError: If a number is not a positive integer.

    References:
        Lanusse, Melchior & Moolekamp 2019, arXiv:1912.03980.
    """
    checks.positive_integers(num=num, side=side)
    first, second = np.split(galaxy_images(2 * num, side, fold(seed, 0)), 2)
    rng = generator(fold(seed, 1))
    places = np.rint([_offsets(2, rng)[1] for _ in range(num)]).astype(int)
    moved = [np.roll(image, tuple(place), (0, 1))
             for image, place in zip(second, places, strict=True)]  # fmt: skip
    both = first + np.stack(moved)
    flux = first.sum(axis=(1, 2), keepdims=True) / both.sum(axis=(1, 2), keepdims=True)
    return first, both * flux


def blend_operator(
    sed: np.ndarray, psf: np.ndarray, offset: np.ndarray, side: int
) -> AbstractLinearOperator:
    """From images of single, centred galaxies to all of them in several bands.

    Args:
        sed: Brightness of each galaxy in each band, [num_bands, num_sources].
        psf: Point-spread functions, as large as the frame, [num_bands, ny, ny].
        offset: Places of the galaxies along y and x from the middle of the frame (pixels),
            [num_sources, 2].
        side: Pixels of each side of the image of one galaxy.

    Returns:
        P (A S), a product of `Convolution`, `Mixing`, `Shift` and `Padding`.

    Raises:
        ValueError: If the frame is not larger than an image by an even number of pixels.

    References:
        Melchior et al. 2018, arXiv:1802.10157.
    """
    num_bands, frame = psf.shape[0], psf.shape[-1]
    is_even = frame > side and (frame - side) % 2 == 0
    checks.require(is_even, "psf", f"be wider than {side} by an even number", psf.shape)
    sources = (len(offset), side, side)
    shift = Shift(offset, (len(offset), frame, frame)) @ Padding((frame - side) // 2, sources)
    return Convolution(psf, (num_bands, frame, frame)) @ Mixing(sed, (frame, frame)) @ shift


def _spectra(num_sources: int, rng: np.random.Generator) -> np.ndarray:
    """Power laws with scatter, of mean 1, [bands, sources]."""
    wave = np.linspace(-0.5, 0.5, NUM_BANDS)[:, None]
    slope = rng.uniform(*SLOPE, size=num_sources)
    sed = np.exp(slope * wave + SCATTER * rng.normal(size=(NUM_BANDS, num_sources)))
    return (sed / sed.mean(axis=0)).astype(np.float32)


def _offsets(num_sources: int, rng: np.random.Generator) -> np.ndarray:
    """The first near the middle, the others around it, [sources, 2]."""
    distance, angle = rng.uniform(*SEPARATION, num_sources), rng.uniform(0, 2 * np.pi, num_sources)
    distance[0] = 0.0
    around = distance[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return (around + rng.uniform(-0.5, 0.5, size=around.shape)).astype(np.float32)
