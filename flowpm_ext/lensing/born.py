"""Convergence along straight lines of sight."""

from collections.abc import Sequence

import tensorflow as tf

from flowpm_ext.core.compile import compiled, folded
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology import distances
from flowpm_ext.cosmology.bias import Bias, as_bias
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.lensing import rays
from flowpm_ext.lensing.alignment import alignment_weights
from flowpm_ext.lensing.planes import LensPlanes
from flowpm_ext.lensing.sources import lensing_weights


def born(
    cosmo: Cosmology,
    planes: LensPlanes,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float,
    num_pixels: int,
    *,
    supersampling: int = 1,
    max_repeats: float = 1.0,
    ia_bias: TensorLike | None = None,
) -> tf.Tensor:
    """Convergence maps in the Born approximation.

    kappa = sum over planes of weight times overdensity times thickness, where the line of sight
    to the middle of a pixel meets the plane. A map holds values at points, and so the power of
    structure smaller than a pixel too, folded back; `supersampling` points along each side of a
    pixel make it a mean over the pixel, whose window is then sinc(l1 s / 2) sinc(l2 s / 2) of
    its side s. Differentiable with respect to the planes, the cosmology and n(z).

    Args:
        cosmo: Cosmology, or a batch as long as that of the planes.
        planes: Lens planes.
        nz: n(z) of each bin; `delta_nz` for sources at one redshift.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        supersampling: Points along the side of a pixel.
        max_repeats: How often the side of a box may fit into the field, where sources are behind.
        ia_bias: Amplitude of intrinsic alignments in the nonlinear alignment model, as for
            `WeakLensing`; None for none.

    Returns:
        Convergence, shape [batch, num_pixels, num_pixels, num_bins], in the dtype of the planes.

    Raises:
        ValueError: If sources lie behind the last plane, the field is wider than allowed, or a
            number is not positive.
        TypeError: If a bin is no redshift distribution.

    References:
        Bartelmann & Schneider 2001, arXiv:astro-ph/9912508; Petri, Haiman & May 2017,
        arXiv:1612.00852.
    """
    require_cosmology(cosmo)
    rays.check_field(cosmo, planes, nz, field_size_deg, num_pixels, supersampling, max_repeats)
    bias = None if ia_bias is None else as_bias(ia_bias, "ia_bias")
    weights = _weights(cosmo, tuple(nz), planes.chi, planes.thickness, bias)
    place = _places(cosmo, planes.chi)
    theta = rays.angles(field_size_deg, num_pixels, supersampling, planes.overdensity.dtype)
    return _maps(planes, weights, place, theta, num_pixels, supersampling)


@folded
def _places(cosmo: Cosmology, chi: TensorLike) -> tf.Tensor:
    """Transverse distances (Mpc/h), [..., num_planes]."""
    return distances.transverse(cosmo.columns(), chi)


@folded
@compiled
def _weights(
    cosmo: Cosmology,
    nz: tuple[RedshiftDistribution, ...],
    chi: TensorLike,
    thickness: TensorLike,
    ia_bias: Bias | None,
) -> tf.Tensor:
    """Convergence for each unit of overdensity, [..., num_planes, num_bins]."""
    weights = thickness * tf.stack([lensing_weights(cosmo, one, chi) for one in nz], axis=-1)
    if ia_bias is None:
        return weights
    return weights + alignment_weights(cosmo, nz, chi, thickness, ia_bias)


@compiled
def _maps(
    planes: LensPlanes,
    weights: tf.Tensor,
    distance: tf.Tensor,
    theta: tf.Tensor,
    num_pixels: int,
    supersampling: int,
) -> tf.Tensor:
    """Maps from weights [..., num_planes, num_bins] and distances (Mpc/h) [..., num_planes]."""
    density = planes.overdensity
    num_planes, batch_size, num_bins = *density.shape[:2], weights.shape[-1]
    distance = tf.broadcast_to(cast(distance, density.dtype), [batch_size, num_planes])
    weights = cast(weights, density.dtype)
    weights = tf.broadcast_to(weights, [batch_size, num_planes, num_bins])
    place = tf.transpose(distance)[..., None, None] * theta
    together = [num_planes * batch_size, -1, 2]
    flat = tf.reshape(density, [num_planes * batch_size, *density.shape[2:]])
    values = rays.read(flat, tf.reshape(place, together), planes.side)
    values = tf.reshape(values, [num_planes, batch_size, -1])
    kappa = tf.einsum("kbr,bkn->bnr", values, weights)
    return tf.transpose(rays.averaged(kappa, num_pixels, supersampling), [0, 2, 3, 1])
