"""How much of one field is in another: the correlation coefficient and the transfer function."""

from typing import NamedTuple

import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.stats import spectra
from flowpm_ext.stats.arguments import fields_on_mesh


class CrossCorrelation(NamedTuple):
    """Correlation coefficient of two fields in bins of |k|."""

    k: tf.Tensor  # [nk], mean |k| of the modes in each bin (h/Mpc)
    correlation: tf.Tensor  # [batch, nk], dimensionless, 1 for proportional fields
    num_modes: tf.Tensor  # int64 [nk], all modes of the full space; half of them independent


class TransferFunction(NamedTuple):
    """Ratio of the amplitudes of two fields in bins of |k|."""

    k: tf.Tensor  # [nk], mean |k| of the modes in each bin (h/Mpc)
    transfer: tf.Tensor  # [batch, nk], dimensionless, 1 for fields of equal power
    num_modes: tf.Tensor  # int64 [nk], all modes of the full space; half of them independent


def cross_correlation(
    a: TensorLike,
    b: TensorLike,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None = None,
    shot_noise: tuple[TensorLike, TensorLike] = (0.0, 0.0),
    window: str | None = None,
    mesh: AbstractMesh | None = None,
) -> CrossCorrelation:
    """r(k) = P_ab / sqrt(P_aa P_bb), from -1 to 1 unless shot noise is subtracted.

    Zero, with zero gradient, in bins where either field has no power. Conventions are those of
    `power_spectrum`. Differentiable with respect to both fields.

    Args:
        a: Overdensity (dimensionless), shape [batch, nx, ny, nz].
        b: Another of the same shape.
        box_size: Side of a cubic box (Mpc/h), or three sides that divide into cubic cells.
        k_edges: Edges of the bins (h/Mpc), as for `power_spectrum`.
        shot_noise: Power subtracted from P_aa and from P_bb ((Mpc/h)**3), two scalars.
        window: "cic" or "tsc" to divide the modes of both by the transform of this window; None
            for none. Where only one was painted, use `compensate_window` on it.
        mesh: Mesh of the fields; one on this device by default.

    Returns:
        `CrossCorrelation`, in float64 if either field is.

    Raises:
        ValueError: If a field has not four axes, is not finite or not on the mesh, the shapes
            differ, the cells are not cubes of a positive side, the edges are negative or do not
            increase, a bin holds no mode, shot noise is not two scalars from zero up, or
            `window` is unknown.
        TypeError: If a field is not real.

    References:
        Tassev, Zaldarriaga & Eisenstein 2013, arXiv:1301.0322.
    """
    noise = _two_scalars(shot_noise)
    mesh, a, b = fields_on_mesh(mesh, a=a, b=b)
    pairs = ((0, 0), (1, 1), (0, 1))
    bins, (aa, bb, ab) = spectra.binned_power(mesh, (a, b), pairs, box_size, k_edges, window)
    has_power, root_a, root_b = _amplitudes(aa, bb, noise)
    # Roots before the product, which could overflow in float32.
    ratio = tf.where(has_power, ab / (root_a * root_b), tf.zeros_like(ab))
    return CrossCorrelation(bins.k, ratio, bins.num_modes)


def transfer_function(
    a: TensorLike,
    b: TensorLike,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None = None,
    shot_noise: tuple[TensorLike, TensorLike] = (0.0, 0.0),
    window: str | None = None,
    mesh: AbstractMesh | None = None,
) -> TransferFunction:
    """T(k) = sqrt(P_aa / P_bb), the amplitude of `a` relative to `b`.

    Where `a` is a reconstruction and `b` the truth, a perfect one has T = 1. Zero, with zero
    gradient, in bins where either field has no power. Conventions are those of `power_spectrum`.
    Differentiable with respect to both fields.

    Args:
        a: Overdensity whose transfer is asked for (dimensionless), shape [batch, nx, ny, nz].
        b: Overdensity it is relative to, of the same shape.
        box_size: Side of a cubic box (Mpc/h), or three sides that divide into cubic cells.
        k_edges: Edges of the bins (h/Mpc), as for `power_spectrum`.
        shot_noise: Power subtracted from P_aa and from P_bb ((Mpc/h)**3), two scalars.
        window: "cic" or "tsc" to divide the modes of both by the transform of this window, which
            hardly matters here. Where only one was painted, use `compensate_window` on it.
        mesh: Mesh of the fields; one on this device by default.

    Returns:
        `TransferFunction`, in float64 if either field is.

    Raises:
        ValueError: If a field has not four axes, is not finite or not on the mesh, the shapes
            differ, the cells are not cubes of a positive side, the edges are negative or do not
            increase, a bin holds no mode, shot noise is not two scalars from zero up, or
            `window` is unknown.
        TypeError: If a field is not real.

    References:
        Tassev, Zaldarriaga & Eisenstein 2013, arXiv:1301.0322.
    """
    noise = _two_scalars(shot_noise)
    mesh, a, b = fields_on_mesh(mesh, a=a, b=b)
    pairs = ((0, 0), (1, 1))
    bins, (aa, bb) = spectra.binned_power(mesh, (a, b), pairs, box_size, k_edges, window)
    has_power, root_a, root_b = _amplitudes(aa, bb, noise)
    ratio = tf.where(has_power, root_a / root_b, tf.zeros_like(aa))
    return TransferFunction(bins.k, ratio, bins.num_modes)


def _two_scalars(shot_noise: tuple[TensorLike, TensorLike]) -> tuple[TensorLike, TensorLike]:
    """Shot noise of two fields, checked."""
    is_pair = isinstance(shot_noise, tuple | list) and len(shot_noise) == 2
    checks.require(is_pair, "shot_noise", "be two numbers, of `a` and of `b`", shot_noise)
    for noise in shot_noise:
        checks.non_negative(noise, "shot_noise")
        checks.rank(noise, "shot_noise", 0)
    return tuple(shot_noise)


def _amplitudes(
    aa: tf.Tensor, bb: tf.Tensor, noise: tuple[TensorLike, TensorLike]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where both fields have power, and the roots of their power there, 1 elsewhere."""
    aa, bb = (power - cast(n, power.dtype) for power, n in zip((aa, bb), noise, strict=True))
    has_power = (aa > 0) & (bb > 0)
    # Chosen before the root, whose slope at zero is infinite.
    roots = (tf.sqrt(tf.where(has_power, power, tf.ones_like(power))) for power in (aa, bb))
    return has_power, *roots
