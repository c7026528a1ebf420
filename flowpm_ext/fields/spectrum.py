"""Power spectra as users give them, functions or tables, on the modes of a mesh.

A spectrum is evaluated once for each length of the wavevectors, and looked up from there.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike, floating
from flowpm_ext.mesh import AbstractMesh
from flowpm_ext.numerics import fourier

Spectrum = Callable[[np.ndarray], TensorLike] | tuple[ArrayLike, TensorLike]


def power_of_shells(
    pk: Spectrum, mesh: AbstractMesh, cell_size: float, batch_size: int | None
) -> tf.Tensor:
    """Variance P / cell volume of rfft3(field) / sqrt(number of cells), for each length of k.

    Args:
        pk: Function of k (h/Mpc), float64 [nk] and positive, that gives P ((Mpc/h)**3), [nk] or
            [batch, nk]; or a pair (k, P), interpolated and continued as power laws.
        mesh: The mesh.
        cell_size: Side of a cell (Mpc/h).
        batch_size: Number of fields; None where it is not known yet.

    Returns:
        Dimensionless power, [nk] or [batch, nk], zero for k = 0, in the dtype of P.

    Raises:
        ValueError: If P has another shape, is negative or not finite.
        TypeError: If `pk` is neither a function nor a pair.
    """
    k = _lengths(mesh) / cell_size
    checks.require(
        callable(pk) or (isinstance(pk, tuple | list) and len(pk) == 2),
        "pk", "be a function of k or a pair (k, P)", type(pk), error=TypeError,
    )  # fmt: skip
    function = pk if callable(pk) else power_law_table(*pk, "k", "pk")
    values = tf.convert_to_tensor(function(k[k > 0]))
    values = tf.cast(values, floating(values))
    size = np.count_nonzero(k)
    fits = values.shape.rank in (1, 2) and values.shape[-1] == size
    if fits and values.shape.rank == 2:
        fits = batch_size is None or values.shape[0] in (None, 1, batch_size)
    checks.require(
        fits, "pk", f"give one value for each of {size} k", values,
        "A batch of spectra has as many rows as there are fields.",
    )  # fmt: skip
    checks.non_negative(values, "pk")
    before = [[0, 0]] * (values.shape.rank - 1)
    return tf.pad(values / cell_size**3, [*before, [k.size - size, 0]])


def on_modes(of_shells: tf.Tensor, mesh: AbstractMesh) -> tf.Tensor:
    """Values at every mode, from those for each length of k.

    Args:
        of_shells: Values of any unit, shape [..., nk].
        mesh: The mesh.

    Returns:
        Values, shape [..., *shape of the modes].
    """
    place = np.searchsorted(_shells(mesh), _squares(mesh.wavenumbers(), mesh)).astype(np.int32)
    return tf.gather(of_shells, place, axis=-1)


def scaled(modes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Modes multiplied by real numbers.

    Args:
        modes: Complex modes of any unit.
        factor: Real numbers, of a shape that broadcasts.

    Returns:
        Their products.
    """
    # A cast to complex would do too, but its gradient warns.
    return modes * tf.complex(factor, tf.zeros_like(factor))


def root(power: tf.Tensor) -> tf.Tensor:
    """Square root of a power, with a zero gradient where it is zero.

    Args:
        power: Power of any unit and shape, not negative.

    Returns:
        Its square root.
    """
    is_free = power > 0
    # The inner choice keeps the infinite slope of the root at zero out of the gradient.
    safe = tf.sqrt(tf.where(is_free, power, tf.ones_like(power)))
    return tf.where(is_free, safe, tf.zeros_like(power))


def power_law_table(
    x: ArrayLike, y: TensorLike, x_name: str, y_name: str
) -> Callable[[np.ndarray], tf.Tensor]:
    """Function that joins the points of a table by power laws, and continues them.

    Args:
        x: Where the table has points (any unit), shape [n].
        y: Values there (any unit), shape [n].
        x_name: Name of `x`, for messages.
        y_name: Name of `y`, for messages.

    Returns:
        A function of x > 0 in a NumPy array, differentiable in `y`.

    Raises:
        ValueError: If there are not at least two increasing positive `x` with positive `y`.
    """
    x = np.asarray(x, np.float64)
    checks.rank(x, x_name, 1)
    checks.require(x.size >= 2, x_name, "hold at least two values", x)
    checks.positive(x, x_name)
    checks.increasing(x, x_name)
    y = tf.convert_to_tensor(y, name=y_name)
    checks.require(y.shape == x.shape, y_name, f"have shape {x.shape}", y.shape)
    checks.positive(y, y_name, "Zero has no power law; a function may give it.")

    def interpolated(at: np.ndarray) -> tf.Tensor:
        left = np.clip(np.searchsorted(x, at) - 1, 0, x.size - 2)
        fraction = np.log(at / x[left]) / np.log(x[left + 1] / x[left])
        log_y = tf.math.log(y)
        step = tf.gather(log_y, left + 1) - tf.gather(log_y, left)
        return tf.exp(tf.gather(log_y, left) + tf.constant(fraction, y.dtype) * step)

    return interpolated


@functools.lru_cache(maxsize=16)
def _lengths(mesh: AbstractMesh) -> np.ndarray:
    """Lengths of all wavevectors (radians per cell) without repetition, increasing."""
    return 2 * np.pi / math.lcm(*mesh.shape) * np.sqrt(_shells(mesh))


def _shells(mesh: AbstractMesh) -> np.ndarray:
    """k**2 of all modes, held here or not, in whole numbers without repetition, increasing."""
    axes = fourier.wavenumbers(mesh.shape, 1.0)
    x, y, z = (np.unique(_squares([k], mesh)) for k in axes)
    # Axis by axis: no array of the size of the mesh is sorted.
    return np.unique(np.add.outer(np.unique(np.add.outer(x, y)), z))


def _squares(wavenumbers: Sequence[np.ndarray], mesh: AbstractMesh) -> np.ndarray:
    """Sum of squares in whole numbers, so that equal lengths are equal."""
    unit = 2 * np.pi / math.lcm(*mesh.shape)
    return sum(np.rint(k / unit).astype(np.int64) ** 2 for k in wavenumbers)
