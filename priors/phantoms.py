"""Made-up heads for magnetic resonance imaging, and the lines of modes that a scan measures.

A head is a stack of ellipses of random place, size and brightness in the manner of Shepp & Logan
1974: a bright skull, a brain, two dark ventricles, tissues and small lesions. Unlike theirs it is
not piecewise constant: edges are soft, each tissue has a texture of its own strength, and the
sensitivity of the coil shades the whole smoothly.
"""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold, generator, standard_normal
from flowpm_ext.core.types import TensorLike, cast
from priors.likelihood import GaussianLikelihood
from priors.operators import MaskedFourier
from priors.operators.base import map_shape

CHUNK = 256  # heads at a time
EDGE = 1.5  # width of an edge in pixels
SHADING, NUM_WAVES = 0.2, 3  # strength of the shading, and of how many waves it is made
TEXTURE_SCALE = 0.05  # of the side of the image, below which a texture is smooth

# Lowest and highest x and y of the centre, semi-axes along both, angle, brightness, relative
# texture; the field of view is from -1 to 1. The brain takes its place from the skull.
SKULL = ((-0.06, -0.06, 0.62, 0.72, -0.15, 0.70, 0.00), (0.06, 0.06, 0.74, 0.86, 0.15, 0.95, 0.05))
BRAIN = ((0.00, 0.00, 0.82, 0.82, 0.00, 0.35, 0.02), (0.00, 0.00, 0.90, 0.90, 0.00, 0.55, 0.15))
VENTRICLE = ((0.08, -0.2, 0.05, 0.15, -0.4, 0.10, 0.00), (0.22, 0.2, 0.12, 0.30, 0.4, 0.20, 0.05))
TISSUE = ((-0.4, -0.5, 0.08, 0.08, 0.00, 0.15, 0.02), (0.4, 0.5, 0.30, 0.30, np.pi, 0.90, 0.20))
LESION = ((-0.4, -0.5, 0.03, 0.03, 0.00, 0.10, 0.00), (0.4, 0.5, 0.08, 0.08, np.pi, 1.00, 0.05))
ELLIPSES = np.array([SKULL, BRAIN, *[TISSUE] * 5, *[VENTRICLE] * 2, *[LESION] * 3])
CHANCE = np.array([1, 1, *[0.7] * 5, 1, 1, *[0.5] * 3])  # that an ellipse is there


def brain_phantoms(num: int, side: int, seed: int | tf.Tensor = 0) -> np.ndarray:
    """Random heads with shading and texture.

    Args:
        num: How many.
        side: Pixels of each side.
        seed: An integer, or a stateless seed of shape [2]. The first of many are those of few.

    Returns:
        Images from 0, which is air, to about 1, float32, shape [num, side, side].

    Raises:
        ValueError: If `num` or `side` is not a positive integer.

    References:
        Shepp & Logan 1974, IEEE Trans. Nucl. Sci. 21, 21 (heads of ellipses).
    """
    checks.positive_integers(num=num, side=side)
    geometry, waves, white = (generator(fold(seed, number)) for number in range(3))
    parts = []
    for first in range(0, num, CHUNK):
        size = min(CHUNK, num - first)
        value, strength = _stacked(_ellipses(size, geometry), side)
        texture = _texture(white.normal(size=(size, side, side)))
        image = value * (1 + strength * texture) * _shading(size, side, waves)
        parts.append(np.maximum(image, 0.0).astype(np.float32))
    return np.concatenate(parts)


def cartesian_mask(
    shape: tuple[int, int],
    acceleration: float = 4.0,
    center_fraction: float = 0.08,
    seed: int | tf.Tensor = 0,
) -> np.ndarray:
    """Which modes a scan measures that takes some lines in full: rows of the plane of modes.

    The lines around frequency zero are always among them, the others are chosen at random.

    Args:
        shape: Pixels of the image, (ny, nx).
        acceleration: Lines that there are for each line that is measured, at least 1.
        center_fraction: Part of all lines that are measured around frequency zero.
        seed: An integer, or a stateless seed of shape [2].

    Returns:
        Mask in FFT layout, as `priors.operators.MaskedFourier` takes it, bool, shape [ny, nx].

    Raises:
        ValueError: If `shape` is not two positive integers, `acceleration` is below 1 or leaves
            no line, `center_fraction` is outside [0, 1], or the centre has more lines than are
            measured.

    References:
        Zbontar et al. 2018, arXiv:1811.08839 (masks of this kind).
    """
    ny, nx = map_shape(shape)
    checks.in_range(acceleration, "acceleration", 1.0, ny, "It cannot leave less than one line.")
    checks.in_range(center_fraction, "center_fraction", 0.0, 1.0)
    num_lines, num_center = round(ny / acceleration), round(ny * center_fraction)
    rule = f"leave at most the {num_lines} lines that are measured to the centre"
    checks.require(num_center <= num_lines, "center_fraction", rule, center_fraction)
    outwards = np.argsort(np.abs(np.fft.fftfreq(ny)), kind="stable")
    others = generator(seed).permutation(outwards[num_center:])[: num_lines - num_center]
    mask = np.zeros((ny, nx), bool)
    mask[outwards[:num_center]] = mask[others] = True
    return mask


def scan(
    image: TensorLike, mask: TensorLike, noise_std: float, seed: int | tf.Tensor = 0
) -> GaussianLikelihood:
    """What a scan measures of an image, and what that says about it.

    y = mask · (fft2(x) / sqrt(ny nx) + noise): noise of this standard deviation in each part of
    each mode is noise of the same standard deviation in each pixel of an image of all modes.

    Args:
        image: Image (any unit), shape [ny, nx].
        mask: Modes that are measured, in FFT layout, bool, shape [ny, nx].
        noise_std: Standard deviation of the noise (the unit of the image) of each real component.
        seed: An integer, or a stateless seed of shape [2], of the noise.

    Returns:
        `GaussianLikelihood` of the image, with its data.

    Raises:
        ValueError: If the image is not finite, shapes differ, the mask measures nothing, or
            `noise_std` is not positive.

    References:
        Zbontar et al. 2018, arXiv:1811.08839.
    """
    checks.positive(noise_std, "noise_std")
    checks.finite(image, "image")
    image, op = cast(image, tf.float32), MaskedFourier(mask)
    noise = noise_std * standard_normal([2, *op.shape], seed, image.dtype)
    data = op(image) + tf.cast(mask, tf.complex64) * tf.complex(noise[0], noise[1])
    return GaussianLikelihood(op, data, cast(noise_std, image.dtype))


def _ellipses(num: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of each ellipse as in the tables, and whether it is there, [num, ellipses, 8]."""
    drawn = rng.uniform(size=(num, len(ELLIPSES), 8))
    low, high = ELLIPSES[:, 0], ELLIPSES[:, 1]
    found = low + (high - low) * drawn[..., :7]
    skull, brain, left = found[:, 0], found[:, 1], found[:, -5]
    brain[:, :2], brain[:, 4] = skull[:, :2], skull[:, 4]
    brain[:, 2:4] *= skull[:, 2:4]
    left[:, [0, 4]] *= -1  # a pair of ventricles
    return np.concatenate([found, (drawn[..., 7:] < CHANCE[:, None])], axis=-1)


def _stacked(ellipses: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and strength of texture where later ellipses hide earlier ones."""
    y, x = np.meshgrid(*2 * [_places(side)], indexing="ij")
    value, strength = np.zeros((2, len(ellipses), side, side))
    brain = 1.0
    for number, column in enumerate(np.moveaxis(ellipses, 1, 0)):
        cx, cy, a, b, angle, bright, textured, there = column.T[..., None, None]
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        inside = (1 - np.hypot(u / a, v / b)) * np.minimum(a, b) * side / 2  # about pixels
        cover = brain * there * np.clip(inside / EDGE + 0.5, 0.0, 1.0)
        brain = cover if number == 1 else brain  # all that follows is in it
        value += cover * (bright - value)
        strength += cover * (textured - strength)
    return value, strength


def _texture(white: np.ndarray) -> np.ndarray:
    """Gaussian fields of variance 1 that are smooth on small scales, [num, side, side]."""
    side = white.shape[-1]
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side, 1 / side)], indexing="ij"))
    amplitude = np.exp(-((np.pi * TEXTURE_SCALE * k) ** 2))
    amplitude /= np.sqrt(np.mean(amplitude**2))
    return np.fft.ifft2(np.fft.fft2(white) * amplitude).real


def _shading(num: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth factors around 1, waves as long as the image or longer, [num, side, side]."""
    y, x = np.meshgrid(*2 * [_places(side)], indexing="ij")
    drawn = rng.uniform(size=(num, NUM_WAVES, 3, 1, 1))
    number, angle, phase = np.pi * drawn[:, :, 0], 2 * np.pi * drawn[:, :, 1], drawn[:, :, 2]
    along = x[None, None] * np.cos(angle) + y[None, None] * np.sin(angle)
    waves = np.sin(number * along + 2 * np.pi * phase)
    return np.exp(SHADING * waves.mean(axis=1))


def _places(side: int) -> np.ndarray:
    """Centres of pixels from -1 to 1, [side]."""
    return (2 * np.arange(side) + 1) / side - 1
