"""The problems whose weights come with the package."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.cosmology.parameters import Planck15
from rim.initial_conditions import InitialConditions

CELL = 6.25  # Mpc/h
WEIGHTS = pathlib.Path(__file__).parent / "weights"
NOISE = 1000.0  # (Mpc/h)**3, the shot noise of 10**-3 tracers per (Mpc/h)**3

PRESETS: dict[str, dict[str, Any]] = {
    "matter": {"noise_std": 1.0},
    "tracers": {"bias": (0.11, -0.32), "noise_power": NOISE},
    "tracers_without_unity": {
        "bias": (1.11, -0.32), "noise_power": NOISE, "has_unity": False,
    },
}  # fmt: skip


def preset(name: str = "matter", mesh_shape: int | Sequence[int] = 64) -> InitialConditions:
    """One of the problems that the package has weights for, in cells of 6.25 Mpc/h.

    Args:
        name: "matter": the overdensity of matter with a noise of 1 in each cell; "tracers":
            Lagrangian bias (0.11, -0.32) and shot noise of 1000 (Mpc/h)**3;
            "tracers_without_unity": the same where the tracers have b1 = 1.11 and do not follow
            the particles otherwise, as some published fits have it.
        mesh_shape: Cells along each axis: an integer for a cube, or three.

    Returns:
        The problem, with 2LPT and the cosmology of Planck 2015.

    Raises:
        ValueError: If the name is unknown or the mesh no shape.

    References:
        Modi et al. 2021, arXiv:2104.12864; Planck Collaboration 2016, arXiv:1502.01589.
    """
    checks.one_of(name, "name", tuple(PRESETS))
    sides = [mesh_shape] * 3 if isinstance(mesh_shape, int) else list(mesh_shape)
    return InitialConditions(Planck15(), sides, [n * CELL for n in sides], **PRESETS[name])


def shipped_weights(problem: InitialConditions) -> pathlib.Path | None:
    """The weights that come with the package for a problem, whatever its box.

    Args:
        problem: The problem.

    Returns:
        Their file; None if there are none.
    """
    for name in PRESETS:
        if not differences(problem, preset(name, problem.mesh.shape)):
            path = WEIGHTS / f"{name}.keras"
            return path if path.exists() else None
    return None


def differences(problem: InitialConditions, other: InitialConditions) -> list[str]:
    """What two problems do not share, besides their boxes.

    Args:
        problem: One.
        other: Another.

    Returns:
        Names of settings, sorted.
    """
    mine, its = problem.get_config(), other.get_config()
    boxes = {"mesh_shape", "box_size"}
    return sorted(
        name for name in mine if name not in boxes and not _is_same(mine[name], its[name])
    )


def _is_same(a: Any, b: Any) -> bool:
    """Whether two settings agree, numbers to the rounding of a spectrum."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
    if a is None or b is None or isinstance(a, str):
        return a == b
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-5, atol=0))
