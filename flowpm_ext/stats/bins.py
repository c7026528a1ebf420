"""Bins of wavenumber on a mesh: which mode is in which, and sums over each of them."""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks, units
from flowpm_ext.core.types import known
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier

# A mode on an edge belongs to the bin that begins there, however the edge or the side of the box
# was rounded: to float32, at worst.
TOLERANCE = 1e-6


class ModeBins(NamedTuple):
    """Modes of a mesh in bins of |k|."""

    segment: np.ndarray  # int32 [num_local_modes], row (num_bins + 1) + bin; the last bin: none
    k: np.ndarray  # [nk], mean |k| (radians per cell)
    num_modes: np.ndarray  # int64 [nk], modes of the full space


def edges_in_cells(k_edges: ArrayLike | None, mesh: AbstractMesh, cell: float) -> tuple[float, ...]:
    """Edges of bins (radians per cell), checked.

    Args:
        k_edges: Edges (h/Mpc), shape [nk + 1]. None for bins as wide as the fundamental frequency
            of the longest side and centred on its multiples, as many as end below the Nyquist
            frequency.
        mesh: The mesh.
        cell: Side of a cell (Mpc/h).

    Returns:
        Edges, nk + 1 numbers.

    Raises:
        ValueError: If there are fewer than two edges, they are negative or do not increase, are
            not known when the graph is built, or the mesh is too small for default bins.
    """
    if k_edges is None:
        longest = max(mesh.shape)
        fix = "A longest side of fewer than 3 cells has no default bins."
        checks.require(longest >= 3, "k_edges", "be given", None, fix)
        return tuple(2 * np.pi / longest * (np.arange((longest + 1) // 2) + 0.5))
    values = known(units.to_value(k_edges, "h/Mpc", "k_edges"))
    checks.require(
        values is not None, "k_edges", "be known when the graph is built", k_edges, "Use NumPy."
    )
    checks.rank(values, "k_edges", 1)
    checks.require(values.size >= 2, "k_edges", "hold at least two edges", values)
    checks.non_negative(values, "k_edges")
    checks.increasing(values, "k_edges")
    return tuple(values.astype(np.float64) * cell)


@functools.lru_cache(maxsize=4)
def mode_bins(mesh: AbstractMesh, edges: tuple[float, ...]) -> ModeBins:
    """Bins of the modes of a mesh. The mean of a field, k = 0, is in none of them.

    Args:
        mesh: The mesh.
        edges: Edges (radians per cell), nk + 1 numbers; the lower belongs to its bin.

    Returns:
        The bins, in NumPy.

    Raises:
        ValueError: If a bin holds no mode.
    """
    num_bins = len(edges) - 1
    # |k| and its bin do not depend on signs, so an eighth of the modes counts them all.
    axes = fourier.wavenumbers(mesh.shape, 1.0, is_half=False)
    octant = [
        k.ravel()[: n // 2 + 1].reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, (k, n) in enumerate(zip(axes, mesh.shape, strict=True))
    ]
    wx, wy, wz = (fourier.half_plane_weights(n) for n in mesh.shape)
    copies = (wx[:, None, None] * wy[:, None] * wz).ravel()
    place, k = (x.ravel() for x in _place(octant, edges))
    counts = np.bincount(place, copies, num_bins + 1)[:num_bins]
    empty = np.flatnonzero(counts == 0)
    checks.require(
        empty.size == 0, "k_edges", "have modes in every bin",
        f"none in {empty.size} of {num_bins} bins, first in bin {empty[0] if empty.size else 0}",
        "Modes are multiples of 2 pi / side along each axis, up to sqrt(3) times Nyquist.",
    )  # fmt: skip
    mean = np.bincount(place, copies * k, num_bins + 1)[:num_bins] / counts
    here, _ = _place(list(mesh.wavenumbers()), edges)
    rows = np.arange(here.shape[0])[:, None, None]
    segment = (here + rows * (num_bins + 1)).astype(np.int32).ravel()
    return ModeBins(segment, mean, np.rint(counts).astype(np.int64))


def _place(axes: list[np.ndarray], edges: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Bin of each mode, the number of bins where it is in none, and |k|."""
    kx, ky, kz = (k**2 for k in axes)
    k = np.sqrt(kx + ky + kz)
    bounds = np.asarray(edges) * (1 - TOLERANCE)
    place = np.searchsorted(bounds, k, side="right") - 1
    num_bins = len(edges) - 1
    return np.where((k == 0) | (place < 0), num_bins, np.minimum(place, num_bins)), k


def bin_sums(values: tf.Tensor, segment: tf.Tensor, num_bins: int, mesh: AbstractMesh) -> tf.Tensor:
    """Sums over the modes of each bin, in the full space.

    Every plane of modes has its own sums, which are then added: a sum of a million numbers one
    after the other would lose digits in float32.

    Args:
        values: A real number for each mode held here, shape [batch, ...].
        segment: `ModeBins.segment`.
        num_bins: Number of bins.
        mesh: The mesh.

    Returns:
        Sums, shape [batch, num_bins].
    """
    num_planes = values.shape[1]
    values = values * tf.constant(mesh.mode_weights(), values.dtype)
    # The batch last: one look at the segment then serves all of it.
    columns = tf.transpose(tf.reshape(values, [-1, segment.shape[0]]))
    sums = tf.math.unsorted_segment_sum(columns, segment, num_planes * (num_bins + 1))
    planes = tf.reshape(sums, [num_planes, num_bins + 1, tf.shape(values)[0]])
    local = tf.transpose(tf.reduce_sum(planes, axis=0)[:num_bins])
    return mesh.sum(local, axis=())
