"""Settings of a problem, checked and in the form in which they are kept."""

from collections.abc import Sequence

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.fields.spectrum import Spectrum

TABLE_K = np.geomspace(1e-5, 1e2, 2048)  # h/Mpc, where a spectrum is kept


def table(spectrum: Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """A spectrum as a table that files can keep.

    Args:
        spectrum: Function of k (h/Mpc), or a pair (k, P).

    Returns:
        k (h/Mpc) and P ((Mpc/h)**3), float64.
    """
    if not callable(spectrum):
        return tuple(np.asarray(column, np.float64) for column in spectrum)
    return TABLE_K, np.asarray(spectrum(TABLE_K), np.float64)


def listed(pair: tuple[np.ndarray, np.ndarray] | None) -> list | None:
    """A table as JSON knows it.

    Args:
        pair: Columns, or None.

    Returns:
        Lists of numbers, or None.
    """
    return None if pair is None else [column.tolist() for column in pair]


def checked_bias(bias: Sequence[float]) -> tuple[float, ...]:
    """Lagrangian bias, or a refusal.

    Args:
        bias: What was received.

    Returns:
        b1, b2 and perhaps bs.

    Raises:
        ValueError: If it is not two or three finite numbers.
    """
    values = np.asarray(bias, np.float64)
    rule = "be (b1, b2) or (b1, b2, bs)"
    checks.require(values.shape in ((2,), (3,)), "bias", rule, bias)
    checks.finite(values, "bias")
    return tuple(values.tolist())


def checked_mask(mask: TensorLike, shape: tuple[int, ...]) -> np.ndarray:
    """Which cells were observed, or a refusal.

    Args:
        mask: What was received.
        shape: Of the mesh.

    Returns:
        Zeros and ones, float32.

    Raises:
        ValueError: If it has another shape, other numbers, or leaves nothing.
    """
    mask = np.asarray(mask)
    checks.require(mask.shape == shape, "mask", f"have shape {shape}", mask)
    is_binary = bool(np.all((mask == 0) | (mask == 1)))
    checks.require(is_binary, "mask", "hold zeros and ones", mask)
    checks.require(bool(np.any(mask)), "mask", "leave some cells", "no cell")
    return mask.astype(np.float32)


def checked_noise(noise_std: TensorLike, shape: tuple[int, ...]) -> np.ndarray:
    """Standard deviation of the noise in a cell, or a refusal.

    Args:
        noise_std: What was received.
        shape: Of the mesh.

    Returns:
        A scalar or an array of that shape, float64.

    Raises:
        ValueError: If it has another shape or is not positive.
    """
    noise_std = np.asarray(noise_std, np.float64)
    fits = noise_std.shape in ((), shape)
    checks.require(fits, "noise_std", f"be a number or have shape {shape}", noise_std)
    checks.positive(noise_std, "noise_std")
    return noise_std


def checked_count(mean_count: float | None, likelihood: str) -> float | None:
    """Mean number of tracers in a cell, or a refusal.

    Args:
        mean_count: What was received.
        likelihood: "gaussian" or "poisson".

    Returns:
        A positive number for "poisson", None for the other.

    Raises:
        ValueError: If it is given where it is not wanted, or the other way round.
    """
    wants = likelihood == "poisson"
    checks.require(
        (mean_count is not None) == wants,
        "mean_count", "be given for a Poisson likelihood, and for no other", mean_count,
    )  # fmt: skip
    if not wants:
        return None
    checks.positive(mean_count, "mean_count")
    return float(mean_count)
