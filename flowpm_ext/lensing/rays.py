"""Lines of sight of the pixels of a square field, on lens planes."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import known
from flowpm_ext.cosmology.parameters import Cosmology
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.lensing.planes import LensPlanes
from flowpm_ext.lensing.sources import check_bins, depth, require_within, sources_of
from flowpm_ext.mesh import painting


def angles(
    field_size_deg: float, num_pixels: int, supersampling: int, dtype: tf.DType
) -> tf.Tensor:
    """Angles from the middle of a field to its pixels, or to points in a square grid in each.

    Args:
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        supersampling: Points along the side of a pixel.
        dtype: float32 or float64.

    Returns:
        Angles (radians) along y and x, shape [(supersampling * num_pixels)**2, 2].
    """
    count = num_pixels * supersampling
    side = np.deg2rad(field_size_deg)
    one = ((np.arange(count) + 0.5) / count - 0.5) * side
    return tf.constant(
        np.stack(np.meshgrid(one, one, indexing="ij"), axis=-1).reshape(-1, 2), dtype
    )


def averaged(values: tf.Tensor, num_pixels: int, supersampling: int) -> tf.Tensor:
    """Values at the points of `angles`, [..., num_points], as maps [..., ny, nx] of pixel means."""
    shape = [num_pixels, supersampling, num_pixels, supersampling]
    values = tf.reshape(values, tf.concat([tf.shape(values)[:-1], shape], axis=0))
    return tf.reduce_mean(values, axis=(-3, -1))


def read(plane: tf.Tensor, place: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Values of periodic planes where rays pass, linear between pixels.

    Args:
        plane: Values, shape [batch, ny, nx] or [batch, ny, nx, channels].
        place: Comoving places (Mpc/h) from the middle, shape [batch, num_rays, 2].
        side: Of the plane (Mpc/h), a scalar.

    Returns:
        Values, shape [batch, num_rays] or [batch, num_rays, channels].
    """
    num_pixels = plane.shape[1]
    pixels = place * (num_pixels / tf.cast(side, place.dtype)) + num_pixels / 2
    return painting.readout(plane, pixels)


def check_field(
    cosmo: Cosmology,
    planes: LensPlanes,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    supersampling: int,
    max_repeats: float,
) -> None:
    """Refuse a field or sources that do not fit into a light cone.

    Args:
        cosmo: Cosmology, or a batch.
        planes: The lens planes.
        nz: n(z) of each bin.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        supersampling: Points along the side of a pixel.
        max_repeats: How often the side of a box may fit into the field, where sources are behind.

    Raises:
        ValueError: If a number is not positive, the field is wider than allowed, or more than a
            thousandth of the galaxies of a bin lie behind the last plane.
        TypeError: If a bin is no redshift distribution.
    """
    check_bins(nz)
    checks.positive(field_size_deg, "field_size_deg")
    checks.positive(max_repeats, "max_repeats")
    checks.positive_integers(num_pixels=num_pixels, supersampling=supersampling)
    sources = sources_of(cosmo, nz)
    require_within(sources, planes.chi[-1] + planes.thickness / 2)
    far, side = depth(sources), known(planes.side)
    if far is None or side is None:
        return
    is_lens = known(planes.chi) < far
    width = np.deg2rad(field_size_deg) * np.max(known(planes.chi)[is_lens], initial=0.0)
    checks.require(
        width <= float(side) * max_repeats * (1 + 1e-6), "field_size_deg",
        f"span at most {max_repeats:g} boxes of {float(side):g} Mpc/h at the last plane",
        f"{field_size_deg:g} deg, {width:.0f} Mpc/h there",
        "Take a larger box, or a larger `max_repeats` and see structure repeat.",
    )  # fmt: skip


def box_around(
    far: float | None,
    field_size_deg: float,
    box_size: float | None = None,
    num_planes: int | None = None,
    num_slabs: int = 1,
    max_repeats: float = 1.0,
    margin: float = 1.0,
) -> tuple[float, int]:
    """The least box that a field fits into, and the planes that reach its sources.

    Args:
        far: Distance of the last sources (Mpc/h); needed for what is not given.
        field_size_deg: Side of the field (degrees).
        box_size: Side of the box (Mpc/h), where it is given.
        num_planes: Number of planes, where it is given.
        num_slabs: Planes in one box.
        max_repeats: How often the side of the box may fit into the field at the last sources.
        margin: Factor by which a box that is not given is wider.

    Returns:
        Side of the box (Mpc/h) and number of planes.
    """
    box_size = box_size or margin * np.deg2rad(field_size_deg) * far / max_repeats
    # 1e-6: a last plane that holds nothing but rounding is none.
    planes = num_planes or max(1, int(np.ceil(far * num_slabs / box_size - 1e-6)))
    return float(box_size), planes
