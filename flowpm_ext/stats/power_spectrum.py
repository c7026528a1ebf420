"""Power spectra of fields on a mesh."""

from typing import NamedTuple

import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.stats import spectra
from flowpm_ext.stats.arguments import fields_on_mesh


class PowerSpectrum(NamedTuple):
    """A power spectrum in bins of |k|."""

    k: tf.Tensor  # [nk], mean |k| of the modes in each bin (h/Mpc)
    power: tf.Tensor  # [batch, nk], (Mpc/h)**3
    num_modes: tf.Tensor  # int64 [nk], all modes of the full space; half of them independent


def power_spectrum(
    overdensity: TensorLike,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None = None,
    shot_noise: TensorLike = 0.0,
    window: str | None = None,
    mesh: AbstractMesh | None = None,
) -> PowerSpectrum:
    """Mean power of the modes in each bin of |k|.

    P = box volume · <|delta_k|**2> with delta_k = FFT / number of cells. A bin holds its lower
    edge (to a relative 1e-6) and not its upper one; the mean of the field, k = 0, is in no bin.
    `num_modes` counts k and -k, whose modes are conjugates: below the Nyquist frequency, the
    scatter of the power of a Gaussian field is
    P sqrt(2 / num_modes). Differentiable with respect to the field.

    Args:
        overdensity: Overdensity (dimensionless), shape [batch, nx, ny, nz].
        box_size: Side of a cubic box (Mpc/h), or three sides that divide into cubic cells.
        k_edges: Edges of the bins (h/Mpc), increasing, shape [nk + 1]. By default bins as wide as
            the fundamental frequency of the longest side and centred on its multiples, as many as
            end below the Nyquist frequency.
        shot_noise: Power subtracted everywhere ((Mpc/h)**3), scalar.
        window: "cic" or "tsc" to divide modes by the transform of the window that the field was
            painted with; None for none.
        mesh: Mesh of the field; one on this device by default.

    Returns:
        `PowerSpectrum`, in the dtype of the field.

    Raises:
        ValueError: If the field has not four axes, is not finite or not on the mesh, the cells
            are not cubes of a positive side, the edges are negative or do not increase, a bin
            holds no mode, the shot noise is negative, or `window` is unknown.
        TypeError: If the field is not real.

    References:
        Feldman, Kaiser & Peacock 1994, arXiv:astro-ph/9304022; Jing 2005,
        arXiv:astro-ph/0409240, for the window.
    """
    checks.non_negative(shot_noise, "shot_noise")
    checks.rank(shot_noise, "shot_noise", 0)
    mesh, field = fields_on_mesh(mesh, overdensity=overdensity)
    bins, (power,) = spectra.binned_power(mesh, (field,), ((0, 0),), box_size, k_edges, window)
    return PowerSpectrum(bins.k, power - cast(shot_noise, power.dtype), bins.num_modes)


def cross_power_spectrum(
    a: TensorLike,
    b: TensorLike,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None = None,
    window: str | None = None,
    mesh: AbstractMesh | None = None,
) -> PowerSpectrum:
    """Mean over the modes in each bin of |k| of the real part of a_k b_k*, with its sign.

    Conventions are those of `power_spectrum`; the imaginary parts of k and -k cancel.
    Differentiable with respect to both fields.

    Args:
        a: Overdensity (dimensionless), shape [batch, nx, ny, nz].
        b: Another of the same shape.
        box_size: Side of a cubic box (Mpc/h), or three sides that divide into cubic cells.
        k_edges: Edges of the bins (h/Mpc), as for `power_spectrum`.
        window: "cic" or "tsc" to divide the modes of both by the transform of this window; None
            for none. Where only one was painted, use `compensate_window` on it.
        mesh: Mesh of the fields; one on this device by default.

    Returns:
        `PowerSpectrum`, in float64 if either field is.

    Raises:
        ValueError: If a field has not four axes, is not finite or not on the mesh, the shapes
            differ, the cells are not cubes of a positive side, the edges are negative or do not
            increase, a bin holds no mode, or `window` is unknown.
        TypeError: If a field is not real.

    References:
        Feldman, Kaiser & Peacock 1994, arXiv:astro-ph/9304022.
    """
    mesh, a, b = fields_on_mesh(mesh, a=a, b=b)
    bins, (power,) = spectra.binned_power(mesh, (a, b), ((0, 1),), box_size, k_edges, window)
    return PowerSpectrum(bins.k, power, bins.num_modes)
