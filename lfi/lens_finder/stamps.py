"""Stamps of galaxies that are lenses, or look like one."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from lfi.lens_finder.deflection import isothermal_deflection, shear_deflection
from lfi.lens_finder.galaxies import KINDS, Galaxies
from lfi.lens_finder.light import ring, sersic, spiral_arms
from lfi.lens_finder.population import (
    NUM_IMPOSTORS,
    NUM_NEIGHBOURS,
    Population,
    draw_galaxies,
)
from lfi.lens_finder.seeing import grid, to_pixels
from lfi.lens_finder.survey import ImagingSurvey

CHUNK = 200  # stamps at a time
CORE = 0.01  # of mass, over the Einstein radius: no image of it is seen


@dataclasses.dataclass(frozen=True)
class Stamps:
    """Images of galaxies, and what is known of each.

    Attributes:
        images: With noise, in units of an AB magnitude of 27, float32 [num, side, side, num_bands].
        is_lens: bool [num].
        bands: Letters, in the order of the channels.
        kind: Which of `KINDS`, int32 [num].
        einstein_radius: arcsec, of a lens or that would go with the galaxy, [num].
        signal_to_noise: Of the lensed images or of what looks like them, all bands together, [num].
        magnification: Flux of lensed images in the stamp over that of the source, [num].
        galaxies: All numbers behind the images.
    """

    images: np.ndarray
    is_lens: np.ndarray
    bands: str
    kind: np.ndarray
    einstein_radius: np.ndarray
    signal_to_noise: np.ndarray
    magnification: np.ndarray
    galaxies: Galaxies

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: slice | np.ndarray) -> "Stamps":
        """Some of the stamps."""
        arrays = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        bands = arrays.pop("bands")
        return Stamps(bands=bands, **tf.nest.map_structure(lambda x: x[which], arrays))


def simulate_stamps(
    num: int,
    seed: int = 0,
    survey: ImagingSurvey | None = None,
    population: Population | None = None,
) -> Stamps:
    """Random stamps with noise; about a millisecond each on one core.

    Args:
        num: How many.
        seed: Of all that is random. The first of many are those of few.
        survey: How they are taken; four bands of LSST after a year by default.
        population: What there is; half of the stamps are lenses by default.

    Returns:
        The stamps.

    Raises:
        ValueError: If `num` is not a positive integer.

    References:
        Lanusse et al. 2018, arXiv:1703.02642, section 4; Metcalf et al. 2019, arXiv:1802.03609.
    """
    checks.positive_integers(num=num)
    survey = ImagingSurvey() if survey is None else survey
    chunk = _chunk(survey, Population() if population is None else population)
    parts = [chunk(fold(seed, number)) for number in range(-(-num // CHUNK))]
    whole = tf.nest.map_structure(lambda *x: np.concatenate(x)[:num], *parts)
    return Stamps(bands=survey.bands, is_lens=whole["galaxies"].kind == 0,
                  kind=whole["galaxies"].kind,
                  einstein_radius=whole["galaxies"].einstein_radius, **whole)  # fmt: skip


def render(galaxies: Galaxies, survey: ImagingSurvey) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Images without noise, differentiable in all numbers but `kind`.

    Args:
        galaxies: What there is; their type is that of the result.
        survey: How stamps are taken.

    Returns:
        Images, and the part of them that is lensed or an impostor, both
        [num, side, side, num_bands]; and the magnification, [num].

    References:
        Kormann, Schneider & Bartelmann 1994, A&A 284, 285; Sersic 1963, Bol. Asoc. Argent.
        Astron. 6, 41.
    """
    dtype = galaxies.einstein_radius.dtype
    points = tf.constant(grid(survey.side, survey.oversampling, survey.pixel_size_arcsec), dtype)
    area = (survey.pixel_size_arcsec / survey.oversampling) ** 2
    x, y = points - galaxies.centre[:, :1, None], points[:, None] - galaxies.centre[:, 1:, None]
    arcs = area * _lensed(x, y, galaxies)
    magnification = tf.reduce_sum(arcs, axis=[1, 2])
    blue = arcs * _is(galaxies, "lens") + _impostors(x, y, galaxies, magnification)
    blue = blue[:, None] * galaxies.source_flux[..., None, None]  # [num, num_bands, fine, fine]
    lens = area * sersic(x, y, *_columns(galaxies.lens_shape))
    others = lens[:, None] * galaxies.lens_flux[..., None, None]
    for i in range(NUM_NEIGHBOURS):
        dx, dy, radius, *shape = _columns(galaxies.neighbours[:, i])
        light = area * sersic(points - dx, points[:, None] - dy, radius, tf.ones([], dtype), *shape)
        others += light[:, None] * galaxies.neighbour_flux[:, i, :, None, None]
    seen = [
        to_pixels(light, galaxies.seeing, survey.side, survey.pixel_size_arcsec)
        for light in (blue, others)
    ]
    blue, others = (tf.transpose(image, [0, 2, 3, 1]) for image in seen)
    return blue + others, blue, magnification


def _lensed(x: tf.Tensor, y: tf.Tensor, galaxies: Galaxies) -> tf.Tensor:
    """Surface brightness of a lensed source of unit flux, [num, fine, fine]."""
    theta = galaxies.einstein_radius[:, None, None]
    bent = isothermal_deflection(x, y, theta, *_columns(galaxies.mass), CORE * theta)
    tide = shear_deflection(x, y, *_columns(galaxies.shear))
    place = _columns(galaxies.source_position)
    behind = (p - a - b - c for p, a, b, c in zip((x, y), bent, tide, place, strict=True))
    return sersic(*behind, *_columns(galaxies.source_shape), softening=0.02)


def _impostors(x: tf.Tensor, y: tf.Tensor, galaxies: Galaxies, flux: tf.Tensor) -> tf.Tensor:
    """Flux at each point of what looks like arcs and has as much light, [num, fine, fine]."""
    size, q, angle, winding, contrast, phase, number, width = _columns(galaxies.feature)
    arms = spiral_arms(x, y, 0.7 * size, q, angle, winding, 4 * contrast, phase, number)
    circle = ring(x, y, size, width, q, angle, contrast, phase, number)
    companions = tf.zeros_like(arms)
    for i in range(NUM_IMPOSTORS):
        dx, dy, radius, axis_ratio, turn, part = _columns(galaxies.companions[:, i])
        one = tf.ones([], x.dtype)
        companions += part * sersic(x - dx, y - dy, radius, one, axis_ratio, turn, 0.02)
    total = tf.zeros_like(arms)
    for name, light in (("companions", companions), ("spiral", arms), ("ring", circle)):
        share = _is(galaxies, name) / tf.reduce_sum(light, axis=[1, 2], keepdims=True)
        total += share * light
    return total * flux[:, None, None]


def _is(galaxies: Galaxies, name: str) -> tf.Tensor:
    """One for galaxies of a kind, else zero, [num, 1, 1]."""
    is_kind = galaxies.kind == KINDS.index(name)
    return tf.cast(is_kind, galaxies.einstein_radius.dtype)[:, None, None]


def _columns(values: tf.Tensor) -> list[tf.Tensor]:
    """Each of [num, num_columns], as [num, 1, 1]."""
    return [column[:, None, None] for column in tf.unstack(values, axis=-1)]


@functools.lru_cache(maxsize=16)  # a compilation each
def _chunk(survey: ImagingSurvey, population: Population) -> Callable:
    """A compiled function from a seed to some stamps."""

    @tf.function(jit_compile=True, autograph=False)
    def chunk(seed: tf.Tensor) -> dict[str, tf.Tensor | Galaxies]:
        galaxies = draw_galaxies(CHUNK, fold(seed, 0), survey, population)
        images, blue, magnification = render(galaxies, survey)
        signal = tf.reduce_sum(blue**2 / survey.variance(images), axis=[1, 2, 3])
        return {
            "images": survey.observe(images, fold(seed, 1)),
            "signal_to_noise": tf.sqrt(signal),
            "magnification": magnification,
            "galaxies": galaxies,
        }

    return chunk
