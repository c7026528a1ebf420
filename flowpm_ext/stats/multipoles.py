"""Multipoles of the power spectrum about a line of sight."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.stats import spectra
from flowpm_ext.stats.arguments import fields_on_mesh


class PowerMultipoles(NamedTuple):
    """Multipoles of a power spectrum in bins of |k|."""

    k: tf.Tensor  # [nk], mean |k| of the modes in each bin (h/Mpc)
    power: tf.Tensor  # [batch, num_multipoles, nk], (Mpc/h)**3
    num_modes: tf.Tensor  # int64 [nk], all modes of the full space; half of them independent


def power_multipoles(
    overdensity: TensorLike,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None = None,
    multipoles: Sequence[int] = (0, 2, 4),
    line_of_sight: int = 2,
    shot_noise: TensorLike = 0.0,
    window: str | None = None,
    mesh: AbstractMesh | None = None,
) -> PowerMultipoles:
    """Mean over the modes in each bin of |k| of (2 l + 1) L_l(mu) times the power.

    P_l = box volume · (2 l + 1) <|delta_k|**2 L_l(mu)>, with mu the cosine of the angle between k
    and an axis of the mesh. A bin has few directions where k is small, and the mean of
    L_l over them is not zero: an isotropic field has small quadrupoles and hexadecapoles there.
    They are left in; compare with a theory averaged over the same modes. Other conventions are
    those of `power_spectrum`, which is the monopole.

    Args:
        overdensity: Overdensity in redshift space (dimensionless), shape [batch, nx, ny, nz].
        box_size: Side of a cubic box (Mpc/h), or three sides that divide into cubic cells.
        k_edges: Edges of the bins (h/Mpc), as for `power_spectrum`.
        multipoles: Even l; odd ones are zero for every real field.
        line_of_sight: Axis of the line of sight, 0, 1 or 2.
        shot_noise: Power subtracted from the monopole ((Mpc/h)**3), scalar.
        window: "cic" or "tsc" to divide modes by the transform of the window that the field was
            painted with; None for none.
        mesh: Mesh of the field; one on this device by default.

    Returns:
        `PowerMultipoles`, in the dtype of the field.

    Raises:
        ValueError: If the field has not four axes, is not finite or not on the mesh, the cells
            are not cubes of a positive side, the edges are negative or do not increase, a bin
            holds no mode, the shot noise is negative, `window` is unknown, a multipole is
            odd or negative, or `line_of_sight` is no axis.
        TypeError: If the field is not real.

    References:
        Yamamoto et al. 2006, arXiv:astro-ph/0505115; Hamilton 1998, arXiv:astro-ph/9708102.
    """
    checks.non_negative(shot_noise, "shot_noise")
    checks.rank(shot_noise, "shot_noise", 0)
    is_axis = line_of_sight in (0, 1, 2)
    checks.require(is_axis, "line_of_sight", "be an axis, 0, 1 or 2", line_of_sight)
    degrees = tuple(multipoles)
    is_even = len(degrees) > 0 and all(degree in range(0, 21, 2) for degree in degrees)
    checks.require(is_even, "multipoles", "be even integers from 0 to 20", multipoles)
    degrees = tuple(int(degree) for degree in degrees)
    mesh, field = fields_on_mesh(mesh, overdensity=overdensity)
    bins, spectrum = spectra.binned_power(
        mesh, (field,), ((0, 0),), box_size, k_edges, window, degrees, int(line_of_sight)
    )
    noise = cast(shot_noise, field.dtype)
    spectrum = [
        power - noise if degree == 0 else power
        for degree, power in zip(degrees, spectrum, strict=True)
    ]
    return PowerMultipoles(bins.k, tf.stack(spectrum, axis=1), bins.num_modes)
