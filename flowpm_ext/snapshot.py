"""Snapshots: HDF5 files of particles in physical units, and back to the units of the engine."""

import json
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5, parts
from flowpm_ext.configuration import PARAMETERS, SimulationConfig
from flowpm_ext.core.types import known
from flowpm_ext.mesh import LocalMesh, Processes
from flowpm_ext.pm.state import ParticleState, require_state

KIND, FORMAT_VERSION = "flowpm_ext snapshot", 1
FIX = "Make it again with `python -m flowpm_ext simulate`."
VELOCITY_UNIT = 100.0  # km/s in a Mpc/h at the Hubble rate of today


class Snapshot(NamedTuple):
    """What a snapshot file holds."""

    state: ParticleState
    """Particles, a batch of one, in units of mesh cells."""
    config: SimulationConfig
    """What they were made from."""
    table: np.ndarray | None
    """Linear spectrum where it was a table: k (h/Mpc) and P ((Mpc/h)**3) at a = 1, [2, nk]."""


class Header(NamedTuple):
    """What a snapshot file says of itself."""

    a: float
    """Scale factor."""
    identity: dict
    """Configuration, with the fingerprint of the table where there is one."""


def snapshot_name(a: float) -> str:
    """Name of the file of a snapshot.

    Args:
        a: Scale factor.

    Returns:
        The name.
    """
    return f"snapshot_a{a:.4f}.h5"


def write_snapshot(
    path: str | os.PathLike,
    state: ParticleState,
    config: SimulationConfig,
    table: np.ndarray | None = None,
    processes: Processes | None = None,
) -> None:
    """HDF5 file with positions and peculiar velocities of particles.

    `position` [num_particles, 3] is comoving, in Mpc/h, within the box; `velocity` in km/s. The
    particles are in the order of the lattice that they started from, z fastest.

    Of several processes each writes its particles to a file of its own, beside which the file of
    this name is an index that reads as if it held them.

    Args:
        path: File to write, which appears whole or not at all.
        state: Particles, a batch of one, in units of mesh cells.
        config: What they were made from.
        table: Linear spectrum where it was a table, as in `Snapshot`.
        processes: The processes that hold the particles, in slabs of the lattice.

    Raises:
        ValueError: If the state is not finite, or not that of the mesh of `config`.
        OSError: If the file cannot be written.
    """
    state = require_state(state)
    size = 1 if processes is None else processes.size
    shape = (1, config.mesh**3 // size, 3)
    if tuple(state.position.shape) != shape:
        raise ValueError(f"`state` must have shape {shape}. Received: {state.position.shape}.")
    a, dtype = float(known(state.a)), state.position.dtype.as_numpy_dtype
    position = _wrapped(known(state.position)[0] * np.float64(config.cell_size), config, dtype)
    per_momentum = VELOCITY_UNIT * config.cell_size / a
    velocity = (known(state.momentum)[0] * np.float64(per_momentum)).astype(dtype)
    rows = {
        "position": (position, {"unit": "Mpc/h", "about": "comoving, in [0, box_size)"}),
        "velocity": (velocity, {"unit": "km/s", "about": "peculiar velocity a dx/dt"}),
    }
    attributes = _attributes(a, config, table)
    about = "rows: k (h/Mpc), linear P at a = 1 ((Mpc/h)^3)"
    others = {} if table is None else {"linear_power": (table, {"about": about})}
    parts.write(path, KIND, FORMAT_VERSION, rows, attributes, processes, others=others)


def load_snapshot(path: str | os.PathLike) -> Snapshot:
    """Particles of a snapshot, in the units of the engine, and what they were made from.

    Positions are not wrapped: each is the one of its periodic images that is nearest to the
    lattice point where the particle started.

    Args:
        path: File that `write_snapshot` made.

    Returns:
        State, configuration and table; a state of a batch of one.

    Raises:
        ValueError: If the file is absent, truncated, no snapshot, or of another format version.
    """
    with parts.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        header, config = _header(file), SimulationConfig.from_dict(json.loads(file.attrs["config"]))
        position = file["position"][:] / np.float64(config.cell_size)
        velocity = file["velocity"][:]
        table = file["linear_power"][:] if "linear_power" in file else None
    lattice = LocalMesh(config.mesh).lattice(tf.float64).numpy()
    half = config.mesh / 2
    displacement = np.mod(position - lattice + half, config.mesh) - half
    momentum = velocity * np.float64(header.a / (VELOCITY_UNIT * config.cell_size))
    moved = (tf.constant(x[None], velocity.dtype) for x in (lattice + displacement, momentum))
    return Snapshot(ParticleState(*moved, tf.constant(header.a, velocity.dtype)), config, table)


def read_header(path: str | os.PathLike) -> Header:
    """What a snapshot says of itself, without reading its particles.

    Args:
        path: File that `write_snapshot` made.

    Returns:
        Its scale factor, and what tells its configuration from others.

    Raises:
        ValueError: If the file is absent, truncated, no snapshot, or of another format version.
    """
    with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
        return _header(file)


def _header(file: hdf5.h5py.File) -> Header:
    return Header(float(file.attrs["scale_factor"]), json.loads(file.attrs["identity"]))


def _wrapped(position: np.ndarray, config: SimulationConfig, dtype: type) -> np.ndarray:
    """Positions (Mpc/h) in [0, box_size), in the precision of the particles."""
    inside = np.mod(position, config.box_size).astype(dtype)
    # Rounding takes what is just below the box size to it.
    return np.where(inside >= dtype(config.box_size), dtype(0), inside)


def _attributes(a: float, config: SimulationConfig, table: np.ndarray | None) -> dict:
    cosmo = config.cosmo
    return {
        "scale_factor": a,
        "box_size": config.box_size,
        "box_size_unit": "Mpc/h",
        "mesh_shape": [config.mesh] * 3,
        "cell_size": config.cell_size,
        "num_particles": config.mesh**3,
        "seed": config.seed,
        "config": json.dumps(config.to_dict()),
        "identity": json.dumps(config.identity(table)),
        **{name: getattr(cosmo, name) for name in (*PARAMETERS, "Omega_m")},
    }
