"""Bins of wavenumber on a mesh or a map: which mode is in which, and sums over each of them."""

import functools
from collections.abc import Sequence
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
    """Modes of a mesh or a map in bins of |k|."""

    segment: np.ndarray  # int32 [num_local_modes], row (num_bins + 1) + bin; the last bin: none
    k: np.ndarray  # [nk], mean |k| (radians per cell)
    num_modes: np.ndarray  # int64 [nk], modes of the full space


def edges_in_cells(
    edges: ArrayLike | None, name: str, unit: str, shape: tuple[int, ...], cell: float
) -> tuple[float, ...]:
    """Edges of bins (radians per cell), checked.

    Args:
        edges: Edges (1 / the unit of `cell`), shape [nk + 1]. None for bins as wide as the
            fundamental frequency of the longest side and centred on its multiples, as many as end
            below the Nyquist frequency.
        name: Name of the argument, for messages.
        unit: Unit of the edges, as astropy spells it.
        shape: Cells along each axis of the whole mesh or map.
        cell: Side of a cell (a length or an angle).

    Returns:
        Edges, nk + 1 numbers.

    Raises:
        ValueError: If there are fewer than two edges, they are negative or do not increase, are
            not known when the graph is built, or the mesh is too small for default bins.
    """
    if edges is None:
        longest = max(shape)
        fix = "A longest side of fewer than 3 cells has no default bins."
        checks.require(longest >= 3, name, "be given", None, fix)
        return tuple(2 * np.pi / longest * (np.arange((longest + 1) // 2) + 0.5))
    values = known(units.to_value(edges, unit, name))
    checks.require(
        values is not None, name, "be known when the graph is built", edges, "Use NumPy."
    )
    checks.rank(values, name, 1)
    checks.require(values.size >= 2, name, "hold at least two edges", values)
    checks.non_negative(values, name)
    checks.increasing(values, name)
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
    return _mode_bins(mesh.shape, mesh.wavenumbers(), edges, "k_edges")


@functools.lru_cache(maxsize=4)
def map_mode_bins(shape: tuple[int, int], edges: tuple[float, ...]) -> ModeBins:
    """Bins of the modes of a map. Its mean, ell = 0, is in none of them.

    Args:
        shape: Pixels along each axis.
        edges: Edges (radians per pixel), nk + 1 numbers; the lower belongs to its bin.

    Returns:
        The bins, in NumPy.

    Raises:
        ValueError: If a bin holds no mode.
    """
    return _mode_bins(shape, fourier.wavenumbers(shape, 1.0), edges, "ell_edges")


def _mode_bins(
    shape: tuple[int, ...], local: tuple[np.ndarray, ...], edges: tuple[float, ...], name: str
) -> ModeBins:
    """Bins of the modes with these wavenumbers, which are those held here."""
    num_bins = len(edges) - 1
    # |k| and its bin do not depend on signs, so wavenumbers of one sign count all modes.
    axes = fourier.wavenumbers(shape, 1.0, is_half=False)
    positive = [
        np.expand_dims(k.ravel()[: n // 2 + 1], tuple(i for i in range(len(shape)) if i != axis))
        for axis, (k, n) in enumerate(zip(axes, shape, strict=True))
    ]
    copies = functools.reduce(np.multiply.outer, map(fourier.half_plane_weights, shape)).ravel()
    place, k = (x.ravel() for x in _place(positive, edges))
    counts = np.bincount(place, copies, num_bins + 1)[:num_bins]
    empty = np.flatnonzero(counts == 0)
    checks.require(
        empty.size == 0, name, "have modes in every bin",
        f"none in {empty.size} of {num_bins} bins, first in bin {empty[0] if empty.size else 0}",
        f"Modes are multiples of 2 pi / side along each axis, up to sqrt({len(shape)}) times "
        "Nyquist.",
    )  # fmt: skip
    mean = np.bincount(place, copies * k, num_bins + 1)[:num_bins] / counts
    here, _ = _place(local, edges)
    rows = np.expand_dims(np.arange(here.shape[0]), tuple(range(1, len(shape))))
    segment = (here + rows * (num_bins + 1)).astype(np.int32).ravel()
    return ModeBins(segment, mean, np.rint(counts).astype(np.int64))


def _place(axes: Sequence[np.ndarray], edges: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Bin of each mode, the number of bins where it is in none, and |k|."""
    k = np.sqrt(functools.reduce(np.add, (k**2 for k in axes)))
    bounds = np.asarray(edges) * (1 - TOLERANCE)
    place = np.searchsorted(bounds, k, side="right") - 1
    num_bins = len(edges) - 1
    return np.where((k == 0) | (place < 0), num_bins, np.minimum(place, num_bins)), k


def bin_sums(
    values: tf.Tensor, segment: tf.Tensor, num_bins: int, weights: np.ndarray
) -> tf.Tensor:
    """Sums over the modes of each bin that are held here, in the full space.

    Every row or plane of modes has its own sums, which are then added: a sum of a million numbers
    one after the other would lose digits in float32.

    Args:
        values: A real number for each mode held here, shape [batch, rows, ...].
        segment: `ModeBins.segment`.
        num_bins: Number of bins.
        weights: How many modes of the full space each of the last axis stands for.

    Returns:
        Sums, shape [batch, num_bins].
    """
    num_rows = values.shape[1]
    values = values * tf.constant(weights, values.dtype)
    # The batch last: one look at the segment then serves all of it.
    columns = tf.transpose(tf.reshape(values, [-1, segment.shape[0]]))
    sums = tf.math.unsorted_segment_sum(columns, segment, num_rows * (num_bins + 1))
    rows = tf.reshape(sums, [num_rows, num_bins + 1, tf.shape(values)[0]])
    return tf.transpose(tf.reduce_sum(rows, axis=0)[:num_bins])
