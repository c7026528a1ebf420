"""Observations in files: density fields and catalogues of tracers."""

import os
import pathlib
from typing import NamedTuple

import h5py
import numpy as np

from flowpm_ext.core import checks
from rim.initial_conditions import InitialConditions

LAYOUT = (
    "It holds `overdensity` or `counts` [nx, ny, nz] or `position` [n, 3] (Mpc/h), and `box_size` "
    "(Mpc/h) as an attribute; perhaps the true linear field `truth` [nx, ny, nz]."
)


class Observation(NamedTuple):
    """What a file holds for a problem."""

    problem: InitialConditions  # the one that was given, on the mesh of the data
    y: np.ndarray  # [1, nx, ny, nz]
    truth: np.ndarray | None  # [1, nx, ny, nz], `truth` of the file


def read_observation(path: str | os.PathLike, problem: InitialConditions) -> Observation:
    """An observation for a problem from an HDF5 file.

    The file holds `overdensity` (or `counts`, for a Poisson likelihood) on a mesh, or the
    `position` of tracers, which are painted on cells of the size that the problem has; and the
    attribute `box_size`. A truth may stand beside it as `truth`.

    Args:
        path: The file.
        problem: What was observed; its box gives way to that of the file.

    Returns:
        `Observation`.

    Raises:
        ValueError: If the file cannot be read, lacks something, or its cells or values do not
            fit the problem.
    """
    path = pathlib.Path(path)
    checks.require(path.is_file(), "DATA", "be a file", str(path))
    name = "counts" if problem.likelihood == "poisson" else "overdensity"
    try:
        with h5py.File(path, "r") as file:
            has = name in file or "position" in file
            received = f"{path} with {sorted(file)}"
            checks.require(has, "DATA", f"hold `{name}` or `position`", received, LAYOUT)
            checks.require("box_size" in file.attrs, "DATA", "say `box_size`", received, LAYOUT)
            box = np.asarray(file.attrs["box_size"])
            field = _numbers(file, name) if name in file else None
            position = None if field is not None else _numbers(file, "position")
            truth = _numbers(file, "truth") if "truth" in file else None
    except OSError as error:
        checks.require(False, "DATA", "be an HDF5 file", f"{path} ({error})")
    is_box = box.dtype.kind in "iuf" and box.shape in ((), (3,))
    checks.require(is_box, "box_size", "be one number or three (Mpc/h)", box)
    checks.positive(box, "box_size")
    box = np.broadcast_to(box.astype(np.float64), 3)
    if field is None:
        shape = tuple(round(side / problem.cell_size) for side in box)
    else:
        checks.require(field.ndim == 3, name, "have three axes", field.shape)
        shape = field.shape
    cell = box / np.array(shape)
    fits = bool(np.allclose(cell, problem.cell_size, rtol=1e-3))
    rule = f"have cells of {problem.cell_size:g} Mpc/h, as the problem does"
    checks.require(fits, "DATA", rule, f"a mesh {tuple(shape)} in a box of {box} Mpc/h")
    problem = problem if shape == problem.mesh.shape else problem.with_mesh(shape)
    if field is None:
        field = _painted(position, box, problem)
    y = problem.check(np.asarray(field, np.float32)).numpy()
    if truth is not None:
        checks.require(truth.shape == shape, "truth", f"have shape {shape}", truth.shape)
        truth = np.asarray(truth, np.float32)[None]
    return Observation(problem, y, truth)


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    """A dataset of real numbers."""
    found = file[name]
    is_real = isinstance(found, h5py.Dataset) and found.dtype.kind in "biuf"
    checks.require(is_real, name, "be an array of real numbers", found)
    return found[()]


def _painted(position: np.ndarray, box: np.ndarray, problem: InitialConditions) -> np.ndarray:
    """Counts of tracers in cells around lattice points, or their overdensity.

    Each goes to the nearest cell, so that its shot noise is white, as likelihoods assume.
    """
    is_list = position.ndim == 2 and position.shape[1] == 3 and position.shape[0] > 0
    checks.require(is_list, "position", "have shape [n, 3]", position.shape)
    checks.finite(position, "position")
    inside = bool(np.all((position >= 0) & (position <= box)))
    span = [float(position.min()), float(position.max())]
    checks.require(inside, "position", f"lie from 0 to {box} Mpc/h", span)
    shape = problem.mesh.shape
    nearest = np.mod(np.rint(position / problem.cell_size).astype(int), shape)
    counts = np.zeros(shape, np.float32)
    np.add.at(counts, tuple(nearest.T), 1.0)
    return counts if problem.likelihood == "poisson" else counts / counts.mean() - 1
