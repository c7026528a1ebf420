"""White noise of one realization at several resolutions."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import fold, stateless_seed
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields import arguments
from flowpm_ext.mesh import AbstractMesh


def resample_white_noise(
    white: TensorLike, mesh_shape: int | Sequence[int], seed: int | tf.Tensor = 0
) -> tf.Tensor:
    """White noise on another mesh over the same box, with the same large scales.

    Along each axis, modes below the Nyquist frequency of the coarser mesh are those of `white`,
    so that the linear fields made from both have the same delta_k there. All others are fresh
    noise drawn from `seed`: the small scales of a finer mesh, and the Nyquist frequency itself of
    a coarser one, where the old mesh has a wave and its opposite and the new one has only
    their sum. Either way the result is again real white noise of unit variance. Differentiable
    with respect to `white`. The whole mesh must be on this device.

    Args:
        white: Unit noise, shape [batch, nx, ny, nz].
        mesh_shape: Cells along each axis of the new mesh: an integer for a cube, or three.
        seed: An integer, or a stateless seed of shape [2], for the fresh noise; it may be the one
            that drew `white`.

    Returns:
        Unit noise, shape [batch, *mesh_shape], in the dtype of `white`.

    Raises:
        ValueError: If `white` is not finite or has not four axes, or `mesh_shape` is not positive.
        TypeError: If `white` is not of float32 or float64.

    References:
        Hahn & Abel 2011, arXiv:1103.6031, for noise of nested resolutions.
    """
    white, old = arguments.field_on_mesh(white, "white", None)
    new = arguments.mesh_of(mesh_shape, None)
    return _resampled(white, old, new, stateless_seed(seed))


@compiled
def _resampled(
    white: tf.Tensor, old: AbstractMesh, new: AbstractMesh, seed: tf.Tensor
) -> tf.Tensor:
    batch_size = tf.shape(white)[0] if white.shape[0] is None else white.shape[0]
    # Realizations are numbered from 0: this one is never that of `white`.
    fresh = new.white_noise(fold(seed, -1), batch_size, white.dtype)
    is_shared, modes = True, old.rfft3(white)
    for axis, (numbers, size, wanted) in enumerate(
        zip(_numbers(new), old.shape, new.shape, strict=True)
    ):
        is_kept = 2 * np.abs(numbers) < min(size, wanted)
        modes = tf.gather(modes, np.where(is_kept, numbers % size, 0).ravel(), axis=axis + 1)
        is_shared = is_shared & is_kept
    # delta_k goes as rfft3(white) / sqrt(number of cells).
    scale = (np.prod(new.shape) / np.prod(old.shape)) ** 0.5
    return new.irfft3(tf.where(is_shared, scale * modes, new.rfft3(fresh)))


def _numbers(mesh: AbstractMesh) -> list[np.ndarray]:
    """Whole waves in the box along each axis, ready to broadcast."""
    return [
        np.rint(k * n / (2 * np.pi)).astype(int)
        for k, n in zip(mesh.wavenumbers(), mesh.shape, strict=True)
    ]
