"""Observations in files: density fields and catalogues of tracers."""

import os
import pathlib
from typing import NamedTuple

import h5py
import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.mesh import LocalMesh
from rim.initial_conditions import InitialConditions

LAYOUT = (
    "It holds `overdensity` or `counts` [nx, ny, nz] or `position` [n, 3] (Mpc/h), and `box_size` "
    "(Mpc/h) as an attribute."
)


class Observation(NamedTuple):
    """What a file holds for a problem."""

    problem: InitialConditions  # the one that was given, on the mesh of the data
    y: np.ndarray  # [1, nx, ny, nz]
    truth: np.ndarray | None  # [1, nx, ny, nz], `initial` of the file


def read_observation(path: str | os.PathLike, problem: InitialConditions) -> Observation:
    """An observation for a problem from an HDF5 file.

    The file holds `overdensity` (or `counts`, for a Poisson likelihood) on a mesh, or the
    `position` of tracers, which are painted on cells of the size that the problem has; and the
    attribute `box_size`. A truth may stand beside it as `initial`.

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
            box = np.broadcast_to(np.asarray(file.attrs["box_size"], np.float64), 3)
            field = file[name][()] if name in file else None
            position = None if field is not None else file["position"][()]
            truth = file["initial"][()] if "initial" in file else None
    except OSError as error:
        checks.require(False, "DATA", "be an HDF5 file", f"{path} ({error})")
    checks.positive(box, "box_size")
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
        checks.require(truth.shape == shape, "initial", f"have shape {shape}", truth.shape)
        truth = np.asarray(truth, np.float32)[None]
    return Observation(problem, y, truth)


def _painted(position: np.ndarray, box: np.ndarray, problem: InitialConditions) -> np.ndarray:
    """Tracers in the cells of a mesh: counts to the nearest cell, or their overdensity."""
    is_list = position.ndim == 2 and position.shape[1] == 3 and position.shape[0] > 0
    checks.require(is_list, "position", "have shape [n, 3]", position.shape)
    checks.finite(position, "position")
    inside = bool(np.all((position >= 0) & (position <= box)))
    checks.require(
        inside, "position", f"lie from 0 to {box} Mpc/h", [position.min(), position.max()]
    )
    shape = problem.mesh.shape
    cells = position / problem.cell_size
    if problem.likelihood == "poisson":
        nearest = np.mod(np.rint(cells).astype(int), shape)
        counts = np.zeros(shape, np.float32)
        np.add.at(counts, tuple(nearest.T), 1.0)
        return counts
    mass = LocalMesh(shape).paint(tf.constant(cells[None], tf.float32)).numpy()[0]
    return mass / mass.mean() - 1
