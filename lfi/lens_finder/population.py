"""Which galaxies there are: lenses, and what is taken for them."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from lfi.lens_finder.draws import Draws
from lfi.lens_finder.galaxies import Galaxies
from lfi.lens_finder.survey import ZERO_POINT, ImagingSurvey

NUM_IMPOSTORS, NUM_NEIGHBOURS = 4, 2  # companions at most, and galaxies of the field
# Magnitudes relative to i of an old galaxy at a redshift of about a half, and of a young one.
RED = {"u": 4.0, "g": 2.4, "r": 0.85, "i": 0.0, "z": -0.35, "y": -0.5}
BLUE = {"u": 1.0, "g": 0.45, "r": 0.15, "i": 0.0, "z": -0.1, "y": -0.15}


@dataclasses.dataclass(frozen=True)
class Population:
    """Ranges that galaxies are drawn from: fixed when a graph is traced.

    Args:
        lens_fraction: Part of the stamps that hold a lens.
        impostors: Parts of the other stamps that hold a smooth galaxy alone, one with blue
            companions, with spiral arms and with a ring.
        einstein_radius_arcsec: Uniform in the logarithm.
        source_offset: Largest distance of a source from the middle of its lens, over the Einstein
            radius; uniform in the disc.
        source_magnitude: Brightest and faintest in i, before lensing; numbers grow as
            10**(0.3 magnitude).
        lens_magnitude: In i, for an Einstein radius of one arcsec.
        seeing_scatter: Standard deviation of the logarithm of the seeing.

    Raises:
        ValueError: If a number is not finite, a range is empty or not positive, or parts do not lie
            in [0, 1] and sum to one.

    References:
        Collett 2015, arXiv:1507.02657 (populations of lenses and sources).
    """

    lens_fraction: float = 0.5
    impostors: tuple[float, float, float, float] = (0.15, 0.35, 0.25, 0.25)
    einstein_radius_arcsec: tuple[float, float] = (0.5, 1.8)
    source_offset: float = 0.6
    source_magnitude: tuple[float, float] = (22.0, 24.5)
    lens_magnitude: float = 19.5
    seeing_scatter: float = 0.05

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            checks.finite(value, field.name)
            # Hashable, whatever they were: functions are compiled once for each population.
            plain = tuple(map(float, value)) if np.ndim(value) else float(value)
            object.__setattr__(self, field.name, plain)
        checks.in_range(self.lens_fraction, "lens_fraction", 0, 1)
        checks.in_range(self.impostors, "impostors", 0, 1)
        is_whole = np.shape(self.impostors) == (4,) and math.isclose(sum(self.impostors), 1)
        checks.require(is_whole, "impostors", "be 4 parts of one", self.impostors)
        for name in ("einstein_radius_arcsec", "source_magnitude"):
            is_range = np.shape(getattr(self, name)) == (2,)
            checks.require(is_range, name, "be a least and a largest number", getattr(self, name))
            checks.positive(getattr(self, name), name)
            checks.increasing(getattr(self, name), name)
        checks.positive(self.source_offset, "source_offset")
        checks.non_negative(self.seeing_scatter, "seeing_scatter")


def draw_galaxies(
    num: int,
    seed: int | tf.Tensor,
    survey: ImagingSurvey,
    population: Population,
    dtype: tf.DType = tf.float32,
) -> Galaxies:
    """Galaxies of a population, as `render` takes them.

    Args:
        num: How many.
        seed: An integer, or a stateless seed of shape [2].
        survey: Of its bands, seeing and size of stamps.
        population: What to draw from.
        dtype: float32 or float64.

    Returns:
        The galaxies.

    Raises:
        ValueError: If `num` is not a positive integer.

    References:
        Collett 2015, arXiv:1507.02657; Metcalf et al. 2019, arXiv:1802.03609, section 3.
    """
    checks.positive_integers(num=num)
    draws = Draws(num, seed, dtype)
    theta = draws.log_uniform(*population.einstein_radius_arcsec)
    q, angle = draws.uniform(0.45, 1.0), draws.angle()
    return Galaxies(
        kind=_kinds(draws, population),
        einstein_radius=theta,
        mass=tf.stack([q, angle], axis=-1),
        shear=draws.normal(0.04, 2),
        centre=draws.normal(0.05, 2),
        **_lens_light(draws, theta, q, angle, survey.bands, population),
        **_source(draws, theta, survey.bands, population),
        companions=_companions(draws, theta),
        feature=_feature(draws, theta),
        **_neighbours(draws, survey),
        seeing=tf.constant(survey.seeing_arcsec, dtype)
        * tf.exp(draws.normal(population.seeing_scatter))[:, None],
    )


def _kinds(draws: Draws, population: Population) -> tf.Tensor:
    lens = population.lens_fraction
    ends = np.cumsum([lens, *((1 - lens) * np.array(population.impostors))])[:-1]
    above = draws.uniform()[:, None] > tf.constant(ends, draws.dtype)
    return tf.reduce_sum(tf.cast(above, tf.int32), axis=-1)


def _lens_light(
    draws: Draws, theta: tf.Tensor, q: tf.Tensor, angle: tf.Tensor, bands: str, pop: Population
) -> dict[str, tf.Tensor]:
    """Brighter and larger for more massive galaxies (Faber & Jackson 1976, ApJ 204, 668)."""
    magnitude = pop.lens_magnitude - 5 * _log10(theta) + draws.normal(0.5)
    radius = 0.8 * theta**0.7 * tf.exp(draws.normal(0.25))
    round_ = tf.clip_by_value(q + draws.normal(0.08), 0.35, 1.0)
    shape = (radius, draws.uniform(2.5, 5.5), round_, angle + draws.normal(0.15))
    flux = _flux(magnitude[:, None] + draws.colour(RED, bands, 0.2))
    return {"lens_flux": flux, "lens_shape": tf.stack(shape, axis=-1)}


def _source(
    draws: Draws, theta: tf.Tensor, bands: str, population: Population
) -> dict[str, tf.Tensor]:
    bright, faint = (10 ** (0.3 * m) for m in population.source_magnitude)
    # Counts that grow by powers of ten, in units of those at the bright end.
    counts = draws.uniform(1.0, faint / bright)
    magnitude = population.source_magnitude[0] + _log10(counts) / 0.3
    shape = (draws.log_uniform(0.08, 0.35), draws.uniform(0.6, 2.0), draws.uniform(0.3, 1.0))
    return {
        "source_position": draws.disc(population.source_offset * theta),
        "source_flux": _flux(magnitude[:, None] + draws.colour(BLUE, bands, 0.2)),
        "source_shape": tf.stack([*shape, draws.angle()], axis=-1),
    }


def _companions(draws: Draws, theta: tf.Tensor) -> tf.Tensor:
    """One to four, most of them as far away as images of a source would be, [num, 4, 6]."""
    sides = (NUM_IMPOSTORS,)
    r, angle = theta[:, None] * draws.uniform(0.7, 1.7, *sides), draws.angle(2, *sides)
    shape = (draws.log_uniform(0.1, 0.4, *sides), draws.uniform(0.3, 1.0, *sides))
    there = tf.range(NUM_IMPOSTORS, dtype=draws.dtype) < draws.whole(1, NUM_IMPOSTORS)[:, None]
    part = tf.where(there, draws.log_uniform(0.2, 1.0, *sides), tf.zeros([], draws.dtype))
    part /= tf.reduce_sum(part, axis=-1, keepdims=True)
    places = (r * tf.cos(angle), r * tf.sin(angle))
    return tf.stack([*places, *shape, draws.angle(1, *sides), part], axis=-1)


def _feature(draws: Draws, theta: tf.Tensor) -> tf.Tensor:
    """Of arms and rings, [num, 8]."""
    size = theta * draws.uniform(0.7, 1.4)
    shape = (draws.uniform(0.4, 1.0), draws.angle(), draws.uniform(-8.0, 8.0))
    waves = (draws.uniform(0.1, 0.9), draws.angle(2), draws.whole(1, 3))
    return tf.stack([size, *shape, *waves, draws.uniform(0.12, 0.3)], axis=-1)


def _neighbours(draws: Draws, survey: ImagingSurvey) -> dict[str, tf.Tensor]:
    """Galaxies of the field, old or young; each is there in half of the stamps."""
    sides, bands = (NUM_NEIGHBOURS,), survey.bands
    half = 0.5 * survey.side * survey.pixel_size_arcsec
    places = draws.uniform(-half, half, *sides, 2)
    shape = (draws.log_uniform(0.15, 0.6, *sides), draws.uniform(0.3, 1.0, *sides))
    magnitude = draws.uniform(20.5, 25.0, *sides)[..., None]
    young = draws.uniform(0, 1, *sides)[..., None] < 0.6
    colours = [draws.colour(table, bands, 0.2, *sides) for table in (BLUE, RED)]
    there = tf.cast(draws.uniform(0, 1, *sides) < 0.5, draws.dtype)[..., None]
    parts = [places[..., 0], places[..., 1], *shape, draws.angle(1, *sides)]
    flux = there * _flux(magnitude + tf.where(young, *colours))
    return {"neighbours": tf.stack(parts, axis=-1), "neighbour_flux": flux}


def _flux(magnitude: tf.Tensor) -> tf.Tensor:
    return tf.exp((ZERO_POINT - magnitude) * (0.4 * math.log(10)))


def _log10(x: tf.Tensor) -> tf.Tensor:
    return tf.math.log(x) / math.log(10)
