"""Rays bent by one lens plane after the other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext.core.compile import compiled, folded, unfolded
from flowpm_ext.core.gradients import recomputed
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology import distances
from flowpm_ext.cosmology.bias import Bias, as_bias
from flowpm_ext.cosmology.expansion import HUBBLE_RADIUS
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.lensing import rays
from flowpm_ext.lensing.alignment import alignment_weights
from flowpm_ext.lensing.planes import LensPlanes
from flowpm_ext.lensing.sources import Sources, strength
from flowpm_ext.numerics import fourier


class RayTracedMaps(NamedTuple):
    """What happens to images of galaxies, averaged over each bin.

    The matrix of the lens map is ((1 - kappa - gamma1, -gamma2 + omega),
    (-gamma2 - omega, 1 - kappa + gamma1)), with x first.

    Attributes:
        convergence: kappa, shape [batch, ny, nx, num_bins].
        shear: gamma1 + i gamma2, complex, shape [batch, ny, nx, num_bins].
        rotation: omega, shape [batch, ny, nx, num_bins].
        deflection: Angle of the source less that of its image along y and x (radians), shape
            [batch, ny, nx, num_bins, 2].
    """

    convergence: tf.Tensor
    shear: tf.Tensor
    rotation: tf.Tensor
    deflection: tf.Tensor


def multiplane(
    cosmo: Cosmology,
    planes: LensPlanes,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    *,
    supersampling: int = 1,
    max_repeats: float = 1.0,
    ia_bias: TensorLike | None = None,
) -> RayTracedMaps:
    """Maps of lensing along rays that every plane bends.

    A ray and its Jacobian move freely from plane to plane, and are kicked there by the gradient
    and the tidal tensor of the potential, which is solved for on the whole periodic plane.
    Galaxies between two planes see the nearer ones. Differentiable with respect to the planes,
    the cosmology and n(z).

    Intrinsic alignments follow the tidal tensor of the slab that the galaxies are in, where the
    bent ray meets its plane. They are added to convergence and shear, which is right to first
    order; their shear is related to their convergence as in `shear`. Rotation and deflection are
    those of lensing alone.

    Args:
        cosmo: Cosmology, or a batch as long as that of the planes.
        planes: Lens planes.
        nz: n(z) of each bin; `delta_nz` for sources at one redshift.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        supersampling: Rays along the side of a pixel, whose mean the maps hold.
        max_repeats: How often the side of a box may fit into the field, where sources are behind.
        ia_bias: Amplitude of intrinsic alignments in the nonlinear alignment model, as for
            `WeakLensing`; None for none.

    Returns:
        The maps, in the dtype of the planes.

    Raises:
        ValueError: If sources lie behind the last plane, the field is wider than allowed, a
            number is not positive, or a bin with alignments is a delta function.
        TypeError: If a bin is no redshift distribution.

    References:
        Jain, Seljak & White 2000, arXiv:astro-ph/9901191; Hilbert et al. 2009,
        arXiv:0809.5035; Bridle & King 2007, arXiv:0705.0166 (alignments).
    """
    require_cosmology(cosmo)
    rays.check_field(cosmo, planes, nz, field_size_deg, num_pixels, supersampling, max_repeats)
    bias = None if ia_bias is None else as_bias(ia_bias, "ia_bias")
    path = _path(cosmo, tuple(nz), planes.chi, planes.thickness, bias)
    theta = rays.angles(field_size_deg, num_pixels, supersampling, planes.overdensity.dtype)
    return _maps(*_traced(planes, path, theta, num_pixels, supersampling))


class _Path(NamedTuple):
    """Free flight between planes, and where galaxies are on it.

    Attributes:
        cosine: Of the place after the flight to each plane, in that before, [..., num_planes].
        sine: Of the place after it, in the direction before (Mpc/h), [..., num_planes].
        bend: Of the direction after it, in the place before (h/Mpc), [..., num_planes].
        kick: 2 / c**2 times the surface potential's source for unit overdensity, [..., num_planes].
        along_place: For each bin, mean over galaxies behind each plane and before the next of what
            multiplies the place there (h/Mpc), [..., num_planes + 1, num_bins].
        along_direction: The same for the direction, [..., num_planes + 1, num_bins].
        aligned: One tensor [..., num_planes, num_bins] of the convergence that aligned galaxies
            seem to show for each unit of overdensity, or none.
    """

    cosine: tf.Tensor
    sine: tf.Tensor
    bend: tf.Tensor
    kick: tf.Tensor
    along_place: tf.Tensor
    along_direction: tf.Tensor
    aligned: tuple[tf.Tensor, ...]


@folded
@compiled
def _path(
    cosmo: Cosmology,
    nz: tuple[RedshiftDistribution, ...],
    chi: TensorLike,
    thickness: TensorLike,
    ia_bias: Bias | None,
) -> _Path:
    p = cosmo.columns()
    stops = tf.concat([tf.zeros_like(chi[:1]), chi], axis=0)
    flight = stops[1:] - stops[:-1]
    sine = distances.transverse(p, flight)
    kick = 2 * strength(cosmo, chi) * thickness
    shares = [_shares(cosmo, one, stops) for one in nz]
    place, direction = (tf.stack(x, axis=-1) for x in zip(*shares, strict=True))
    cosine, bend = distances.curvature_cosine(p, flight), p.Omega_k / HUBBLE_RADIUS**2 * sine
    aligned = ()
    if ia_bias is not None:
        aligned = (alignment_weights(cosmo, nz, chi, thickness, ia_bias),)
    return _Path(cosine, sine, bend, kick, place, direction, aligned)


def _shares(
    cosmo: Cosmology, nz: RedshiftDistribution, stops: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean of C(chi_s - stop) / f_K(chi_s), and of f_K(chi_s - stop) / f_K(chi_s), [..., n]."""
    p, sources = cosmo.columns(), Sources.of(cosmo, nz)
    ends = tf.concat([stops[1:], [np.inf]], axis=0)
    here = (sources.chi[..., None, :] > stops[:, None]) & (
        sources.chi[..., None, :] <= ends[:, None]
    )
    weight = sources.weight / distances.transverse(p, sources.chi)
    weight = tf.where(here, weight[..., None, :], 0.0)
    flight = tf.nn.relu(sources.chi[..., None, :] - stops[:, None])
    deep = tf.nest.map_structure(lambda x: x[..., None], p)
    return tuple(
        tf.reduce_sum(f(deep, flight) * weight, axis=-1)
        for f in (distances.curvature_cosine, distances.transverse)
    )


@compiled
def _traced(
    planes: LensPlanes, path: _Path, theta: tf.Tensor, num_pixels: int, supersampling: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Angles of the sources less those of their images, and the matrix of the lens map.

    Returns:
        Maps [batch, num_bins, 2, ny, nx] and [batch, num_bins, 2, 2, ny, nx], y first.
    """
    density, side = planes.overdensity, cast(planes.side, planes.overdensity.dtype)
    batch_size, num_rays = density.shape[1], theta.shape[0]
    num_bins = path.along_place.shape[-1]
    ranks = _Path(1, 1, 1, 1, 2, 2, (2,) * len(path.aligned))
    path = tf.nest.map_structure(
        lambda x, rank: _plane_first(x, batch_size, density.dtype, rank), path, ranks
    )
    # Place and direction of a ray (Mpc/h, radians), and then their derivatives by its angles.
    ones = tf.broadcast_to(tf.constant([1.0, 0.0, 0.0, 1.0], density.dtype), [num_rays, 4])
    direction = tf.tile(tf.concat([theta, ones], axis=-1)[None], [batch_size, 1, 1])
    place = tf.zeros_like(direction)

    found = _passed(density, path, side, place, direction)
    found = rays.averaged(tf.transpose(found, [0, 3, 2, 1]), num_pixels, supersampling)
    middle = rays.averaged(tf.transpose(theta), num_pixels, supersampling)
    sides = [batch_size, num_bins, 2, 2, num_pixels, num_pixels]
    return found[:, :, :2] - middle, tf.reshape(found[:, :, 2:], sides)


@recomputed
def _passed(
    density: tf.Tensor, path: _Path, side: tf.Tensor, place: tf.Tensor, direction: tf.Tensor
) -> tf.Tensor:
    """What sources in every bin see of place and direction, [batch, num_rays, 6, num_bins]."""
    num_planes = density.shape[0]

    def seen(k: int | tf.Tensor, place: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
        share = path.along_place[k][:, None, None], path.along_direction[k][:, None, None]
        return place[..., None] * share[0] + direction[..., None] * share[1]

    def pass_plane(k: tf.Tensor, place: tf.Tensor, direction: tf.Tensor, found: tf.Tensor) -> tuple:
        cosine, sine, bend = (x[k][:, None, None] for x in path[:3])
        place, direction = cosine * place + sine * direction, bend * place + cosine * direction
        kick, tide = _kicks(density[k], place, side)
        direction -= path.kick[k][:, None, None] * kick
        found += seen(k + 1, place, direction)
        for weight in path.aligned:
            # The trace of the tide is the overdensity, and twice the convergence is a trace.
            matrix = tf.pad(2 * tide, [[0, 0], [0, 0], [2, 0]])
            found -= matrix[..., None] * weight[k][:, None, None]
        return k + 1, place, direction, found

    *_, found = tf.while_loop(
        lambda k, *_: k < num_planes, pass_plane,
        (0, place, direction, seen(0, place, direction)), maximum_iterations=num_planes,
    )  # fmt: skip
    return found


def _plane_first(x: tf.Tensor, batch_size: int, dtype: tf.DType, rank: int) -> tf.Tensor:
    """Numbers [num_planes, ...] of a rank, or a batch of them, as [num_planes, batch, ...]."""
    x = cast(x, dtype)
    x = tf.broadcast_to(x, [batch_size, *x.shape[-rank:]])
    return tf.transpose(x, [1, 0, *range(2, rank + 1)])


def _kicks(density: tf.Tensor, place: tf.Tensor, side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Change of direction, and of its derivatives, where the Laplacian of the potential is density.

    Args:
        density: Overdensity of a plane, [batch, ny, nx].
        place: Comoving place of the rays (Mpc/h) and its derivatives, [batch, num_rays, 6].
        side: Of the plane (Mpc/h).

    Returns:
        Kicks for unit strength, [batch, num_rays, 6], and the tidal tensor, [batch, num_rays, 4].
    """
    num_pixels = density.shape[-1]
    wavenumbers = fourier.wavenumbers((num_pixels, num_pixels), 1.0)
    y2, x2 = (unfolded(k**2, density.dtype) for k in wavenumbers)
    y, x = (unfolded(k, density.dtype) for k in fourier.odd(wavenumbers))
    modes = fourier.rfft2(density)
    potential = tf.math.reciprocal_no_nan(y2 + x2)  # times -(cells**2)
    pixel = side / num_pixels
    zero = tf.zeros_like(potential)
    slopes = (modes * tf.complex(zero, -pixel * potential * k) for k in (y, x))
    tides = (modes * tf.complex(potential * k2, zero) for k2 in (y2, y * x, x2))
    every = tf.stack([*slopes, *tides], axis=1)
    values = tf.transpose(fourier.irfft2(every, num_pixels), [0, 2, 3, 1])
    values = rays.read(values, place[..., :2], side)
    # A sheet pulls towards the middle, which no periodic potential does.
    sheet = tf.reduce_mean(density, axis=(-2, -1))[:, None, None] / 2
    slope = values[..., :2] + sheet * place[..., :2]
    tide = tf.gather(values, [2, 3, 3, 4], axis=-1) + sheet * tf.constant([1, 0, 0, 1], sheet.dtype)
    square = [*place.shape[:2], 2, 2]
    turned = tf.matmul(tf.reshape(tide, square), tf.reshape(place[..., 2:], square))
    return tf.concat([slope, tf.reshape(turned, tide.shape)], axis=-1), tide


def _maps(deflection: tf.Tensor, matrix: tf.Tensor) -> RayTracedMaps:
    """The maps of angles [batch, bins, 2, ny, nx] and matrices [batch, bins, 2, 2, ny, nx]."""
    (yy, yx), (xy, xx) = (tf.unstack(row, axis=2) for row in tf.unstack(matrix, axis=2))
    shear = tf.complex((yy - xx) / 2, -(xy + yx) / 2)
    parts = (1 - (xx + yy) / 2, shear, (xy - yx) / 2)
    parts = (tf.transpose(x, [0, 2, 3, 1]) for x in parts)
    return RayTracedMaps(*parts, tf.transpose(deflection, [0, 3, 4, 1, 2]))
