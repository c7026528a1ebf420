"""Products of the modes of fields, averaged over bins of |k|: what all spectra are made of."""

import math
from typing import NamedTuple

import tensorflow as tf
from numpy.polynomial import legendre
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import cast
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.mesh.box import cell_size
from flowpm_ext.mesh.painting import WINDOWS
from flowpm_ext.stats.bins import bin_sums, edges_in_cells, mode_bins
from flowpm_ext.stats.window import inverse_window

Pairs = tuple[tuple[int, int], ...]


class Bins(NamedTuple):
    """What each bin holds."""

    k: tf.Tensor  # [nk], mean |k| (h/Mpc)
    num_modes: tf.Tensor  # int64 [nk], modes of the full space


def binned_power(
    mesh: AbstractMesh,
    fields: tuple[tf.Tensor, ...],
    pairs: Pairs,
    box_size: float | ArrayLike,
    k_edges: ArrayLike | None,
    window: str | None,
    multipoles: tuple[int, ...] = (0,),
    axis: int = 2,
) -> tuple[Bins, list[tf.Tensor]]:
    """Mean product of the modes of pairs of fields, times the volume of the box.

    Args:
        mesh: The mesh.
        fields: Fields (dimensionless), each [batch, *mesh.local_shape].
        pairs: The two fields of each spectrum, by their places.
        box_size: Side or sides of the box (Mpc/h).
        k_edges: Edges of the bins (h/Mpc), shape [nk + 1], or None.
        window: "cic", "tsc" or None.
        multipoles: Even l; every pair has a spectrum for each, weighted with (2 l + 1) L_l(mu).
        axis: Line of sight, mu = k[axis] / |k|.

    Returns:
        The bins, and spectra [batch, nk] ((Mpc/h)**3), pair by pair, l running fastest.

    Raises:
        ValueError: If the cells are not cubes, the edges are not right, or `window` is unknown.
    """
    if window is not None:
        checks.one_of(window, "window", WINDOWS)
    cell = cell_size(mesh.shape, box_size)
    bins = mode_bins(mesh, edges_in_cells(k_edges, "k_edges", "h/Mpc", mesh.shape, cell))
    sums = _sums(
        fields, bins.segment, mesh, pairs, bins.num_modes.size, window, multipoles, axis
    )  # fmt: skip
    dtype = fields[0].dtype
    factor = cast(cell**3 / math.prod(mesh.shape) / bins.num_modes, dtype)
    found = Bins(cast(bins.k / cell, dtype), tf.constant(bins.num_modes))
    return found, [factor * total for total in sums]


@compiled
def _sums(
    fields: tuple[tf.Tensor, ...],
    segment: tf.Tensor,
    mesh: AbstractMesh,
    pairs: Pairs,
    num_bins: int,
    window: str | None,
    multipoles: tuple[int, ...],
    axis: int,
) -> list[tf.Tensor]:
    """Sums of products of modes over the bins, [batch, num_bins] each."""
    modes = [mesh.rfft3(field) for field in fields]
    sums = []
    for i, j in pairs:
        product = real_product(modes[i], modes[j])
        for factor in inverse_window(mesh, window):
            product *= tf.constant(factor**2, product.dtype)
        for multipole in multipoles:
            weighted = product * _legendre(mesh, multipole, axis, product.dtype)
            local = bin_sums(weighted, segment, num_bins, mesh.mode_weights())
            sums.append(mesh.sum(local, axis=()))
    return sums


def real_product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Real part of a b*.

    Args:
        a: Complex modes, any shape.
        b: Others, of the same shape.

    Returns:
        Products, in that shape.
    """
    return tf.math.real(a) * tf.math.real(b) + tf.math.imag(a) * tf.math.imag(b)


def _legendre(mesh: AbstractMesh, multipole: int, axis: int, dtype: tf.DType) -> tf.Tensor:
    """(2 l + 1) L_l(mu) of each mode, for even l, a polynomial in mu**2."""
    coefficients = (2 * multipole + 1) * legendre.leg2poly([0.0] * multipole + [1.0])[::2]
    if multipole == 0:
        return tf.ones([], dtype)
    squares = [tf.constant(k**2, dtype) for k in mesh.wavenumbers()]
    mu2 = tf.math.divide_no_nan(squares[axis], squares[0] + squares[1] + squares[2])
    return tf.math.polyval([cast(c, dtype) for c in coefficients[::-1]], mu2)
