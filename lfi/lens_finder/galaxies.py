"""Numbers that stamps are made of."""

import dataclasses

import tensorflow as tf

from flowpm_ext.core.types import Structure

KINDS = ("lens", "smooth", "companions", "spiral", "ring")


@dataclasses.dataclass(frozen=True)
class Galaxies(Structure):
    """Numbers that make noiseless stamps, for `render`.

    Lengths are in arcsec, angles in radians, fluxes in units of an AB magnitude of 27. Fields of
    a stamp have shape [num]; others are described. What is not a lens has an impostor of the
    colour and the flux of what would be lensed.

    Attributes:
        kind: Which of `KINDS`, int32.
        einstein_radius: Of the lens, or that would go with the galaxy.
        mass: Axis ratio and angle of the mass, [num, 2].
        shear: External, [num, 2].
        centre: Of the lens, [num, 2].
        lens_flux: In each band, [num, num_bands].
        lens_shape: Half-light radius, Sersic index, axis ratio and angle, [num, 4].
        source_position: Behind the lens, from its centre, [num, 2].
        source_flux: In each band before lensing, [num, num_bands].
        source_shape: As `lens_shape`.
        companions: Of impostors: x, y, radius, axis ratio, angle, part of the flux, [num, 4, 6].
        feature: Of impostors: size, axis ratio, angle, winding, contrast, phase, number of arms
            or knots, width, [num, 8].
        neighbour_flux: Of galaxies of the field, [num, 2, num_bands].
        neighbours: x, y, radius, axis ratio and angle of those, [num, 2, 5].
        seeing: Full width at half maximum in each band, [num, num_bands].
    """

    kind: tf.Tensor
    einstein_radius: tf.Tensor
    mass: tf.Tensor
    shear: tf.Tensor
    centre: tf.Tensor
    lens_flux: tf.Tensor
    lens_shape: tf.Tensor
    source_position: tf.Tensor
    source_flux: tf.Tensor
    source_shape: tf.Tensor
    companions: tf.Tensor
    feature: tf.Tensor
    neighbour_flux: tf.Tensor
    neighbours: tf.Tensor
    seeing: tf.Tensor
