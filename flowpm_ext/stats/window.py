"""The window that painting leaves on the modes of a mesh, and its removal."""

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.mesh.painting import WINDOWS
from flowpm_ext.stats.arguments import fields_on_mesh

ORDER = {"cic": 2, "tsc": 3}  # how many top hats of one cell are convolved


def compensate_window(
    field: TensorLike, window: str = "cic", mesh: AbstractMesh | None = None
) -> tf.Tensor:
    """Field with its modes divided by the transform of the window it was painted with.

    The transform is prod sinc(k_i / 2)**p, with k_i in radians per cell and p = 2 for clouds in
    cells, 3 for triangular clouds. Aliases, which painting adds too, stay. The noise of the
    particles grows near the Nyquist frequency, where the window is smallest.

    Args:
        field: Field of any unit, shape [batch, nx, ny, nz].
        window: "cic" or "tsc".
        mesh: Mesh of the field; one on this device by default.

    Returns:
        Field in the same unit, shape [batch, nx, ny, nz].

    Raises:
        ValueError: If `field` has not four axes, is not finite or not on the mesh, or `window` is
            unknown.
        TypeError: If `field` is not real.

    References:
        Jing 2005, arXiv:astro-ph/0409240.
    """
    checks.one_of(window, "window", WINDOWS)
    mesh, field = fields_on_mesh(mesh, field=field)
    return _divided(field, window, mesh)


@compiled
def _divided(field: tf.Tensor, window: str, mesh: AbstractMesh) -> tf.Tensor:
    modes = mesh.rfft3(field)
    for factor in inverse_window(mesh, window):
        modes *= tf.constant(factor, modes.dtype)
    return mesh.irfft3(modes)


def inverse_window(mesh: AbstractMesh, window: str | None) -> list[np.ndarray]:
    """One over the transform of a window: one factor for each axis, to broadcast.

    Args:
        mesh: The mesh.
        window: "cic", "tsc", or None for no window.

    Returns:
        Arrays that multiply modes; none for no window.
    """
    if window is None:
        return []
    return [np.sinc(k / (2 * np.pi)) ** -ORDER[window] for k in mesh.wavenumbers()]
