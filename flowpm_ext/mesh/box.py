"""The box that a mesh divides into cubic cells."""

from collections.abc import Sequence

import numpy as np

from flowpm_ext.core import checks, units
from flowpm_ext.mesh.base import mesh_sides


def cell_size(mesh_shape: int | Sequence[int], box_size: float | Sequence[float]) -> float:
    """Side of a cell, which must be a cube.

    Args:
        mesh_shape: Cells along each axis: an integer for a cube, or three.
        box_size: Sides of the box (Mpc/h): one number for a cube, or three.

    Returns:
        Side of a cell (Mpc/h).

    Raises:
        ValueError: If a side is not positive, or the cells are not cubes.
    """
    cells = np.array(mesh_sides(mesh_shape))
    sides = np.asarray(units.to_value(box_size, "Mpc/h", "box_size"), np.float64)
    checks.require(sides.shape in ((), (3,)), "box_size", "be one number or three", box_size)
    checks.positive(sides, "box_size")
    spacing = sides / cells
    # 1e-6 lets sides that were rounded to float32 pass.
    is_cubic = bool(np.allclose(spacing, spacing[0], rtol=1e-6, atol=0))
    checks.require(
        is_cubic, "box_size", "divide into cubic cells", box_size,
        f"For {tuple(cells.tolist())} cells whose first side is {sides.flat[0]:g}, it is "
        f"{tuple((cells * spacing[0]).tolist())}.",
    )  # fmt: skip
    return float(spacing[0])
