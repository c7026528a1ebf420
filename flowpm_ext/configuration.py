"""What a simulation is made from: one frozen record, the same in Python, in files and in words.

The fields of the record are the options of the command line and the keys of configuration files.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import pathlib
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:  # TensorFlow is not needed to say which options there are
    from flowpm_ext.cosmology.parameters import Cosmology

MOST_STEPS = 100_000
PARAMETERS = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "Omega_k", "w0", "wa")


def _option(default: Any, text: str, choices: tuple[str, ...] | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class SimulationConfig:
    """Everything that decides the numbers of a simulation.

    Steps are uniform in the scale factor, from `a_start` to 1; the scale factors of snapshots are
    put in between, and the last of them ends the run.

    Attributes:
        mesh: Particles, and cells of the mesh that positions are counted in, along each side.
        box_size: Side of the box (Mpc/h).
        cosmology: "planck15" or "planck18", of which the next eight change parameters.
        Omega_c: Density of cold dark matter, or None for that of `cosmology`.
        Omega_b: Density of baryons.
        h: Hubble constant over 100 km/s/Mpc.
        n_s: Spectral index.
        sigma8: Amplitude; not used with a table.
        Omega_k: Curvature.
        w0: Equation of state of dark energy today.
        wa: Its change.
        spectrum: "theory" (Eisenstein & Hu), or a file with two columns, k (h/Mpc) and the linear
            P(k) at a = 1 ((Mpc/h)**3), taken as it is.
        a_start: Scale factor of the initial conditions.
        steps: Steps from `a_start` to 1.
        snapshots: Scale factors to keep, in [a_start, 1]; they are sorted.
        integrator: "fastpm", "leapfrog" or "bullfrog".
        force_mesh_factor: Cells of the force mesh along a cell of the mesh.
        gradient_kernel: Derivative of the potential, "finite_difference" or "spectral".
        window: How particles are spread and read, "cic" or "tsc".
        order: Order of the initial conditions in perturbation theory, 1 or 2.
        fixed_amplitude: Whether every mode has exactly the amplitude of the spectrum.
        paired: Whether the phases are opposite to those of the seed.
        precision: "float32" or "float64".
        seed: Seed of the initial conditions.

    Raises:
        ValueError: If a value cannot be used.
        TypeError: If a value is of the wrong kind.
    """

    mesh: int = _option(64, "particles and mesh cells along each side")
    box_size: float = _option(256.0, "side of the box in Mpc/h")
    cosmology: str = _option("planck18", "parameters of", ("planck15", "planck18"))
    Omega_c: float | None = _option(None, "density of cold dark matter")
    Omega_b: float | None = _option(None, "density of baryons")
    h: float | None = _option(None, "Hubble constant over 100 km/s/Mpc")
    n_s: float | None = _option(None, "spectral index")
    sigma8: float | None = _option(None, "amplitude; not used with a table")
    Omega_k: float | None = _option(None, "curvature")
    w0: float | None = _option(None, "equation of state of dark energy today")
    wa: float | None = _option(None, "its change")
    spectrum: str = _option(
        "theory", '"theory", or a file with columns k (h/Mpc) and linear P(k) at a = 1'
    )
    a_start: float = _option(0.1, "scale factor of the initial conditions")
    steps: int = _option(10, "steps from there to a = 1, uniform in a")
    snapshots: tuple[float, ...] = _option((1.0,), "scale factors to keep, such as 0.5,1")
    integrator: str = _option("fastpm", "time steps", ("fastpm", "leapfrog", "bullfrog"))
    force_mesh_factor: int = _option(1, "cells of the force mesh along a cell of the mesh")
    gradient_kernel: str = _option(
        "finite_difference", "derivative of the potential", ("finite_difference", "spectral")
    )
    window: str = _option("cic", "how particles meet the mesh", ("cic", "tsc"))
    order: int = _option(2, "order of the initial conditions, 1 or 2")
    fixed_amplitude: bool = _option(False, "give every mode exactly its mean amplitude")
    paired: bool = _option(False, "turn all phases around")
    precision: str = _option("float32", "of the particles", ("float32", "float64"))
    seed: int = _option(0, "seed of the initial conditions")

    def __post_init__(self) -> None:
        from flowpm_ext.core import checks

        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _typed(field, getattr(self, field.name)))
        for name, least in (("mesh", 4), ("steps", 1), ("force_mesh_factor", 1)):
            value = getattr(self, name)
            checks.require(value >= least, name, f"be at least {least}", value)
        checks.require(self.steps <= MOST_STEPS, "steps", f"be at most {MOST_STEPS}", self.steps)
        checks.require(abs(self.seed) < 2**62, "seed", "have less than 62 bits", self.seed)
        checks.positive(self.box_size, "box_size")
        checks.require(self.order in (1, 2), "order", "be 1 or 2", self.order)
        inside = 0 < self.a_start < 1
        checks.require(inside, "a_start", "lie between 0 and 1", self.a_start)
        self._check_snapshots()
        _ = self.cosmo

    def _check_snapshots(self) -> None:
        from flowpm_ext.core import checks

        checks.require(len(self.snapshots) > 0, "snapshots", "name a scale factor", "none")
        fix = "From the initial conditions to today."
        checks.in_range(np.array(self.snapshots), "snapshots", self.a_start, 1.0, fix)
        named = {f"{a:.4f}" for a in self.snapshots}
        checks.require(
            len(named) == len(self.snapshots), "snapshots", "differ in four decimals",
            list(self.snapshots), "Files are named by them.",
        )  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The record of these keys, and of defaults for all others.

        Args:
            values: Values by the names of the attributes.

        Returns:
            The record.

        Raises:
            ValueError: If a key is unknown, or a value cannot be used.
            TypeError: If a value is of the wrong kind.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in values:
            if key not in names:
                nearest = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)[0]
                raise ValueError(f"`{key}` is no option of a simulation. The nearest is {nearest}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The values by their names, as JSON holds them."""
        return dataclasses.asdict(self) | {"snapshots": list(self.snapshots)}

    def identity(self, table: np.ndarray | None = None) -> dict[str, Any]:
        """What tells this configuration from others: a table by its numbers, not by its name.

        Args:
            table: The table that `spectrum` names, k (h/Mpc) and P ((Mpc/h)**3), [2, nk].

        Returns:
            Values by their names, as JSON holds them.
        """
        values = self.to_dict()
        if table is not None:
            numbers = np.ascontiguousarray(table, np.float64).tobytes()
            values["spectrum"] = f"table {hashlib.sha256(numbers).hexdigest()[:12]}"
        return values

    @property
    def cosmo(self) -> "Cosmology":
        """The cosmology with its changes."""
        from flowpm_ext.cosmology import parameters

        preset = {"planck15": parameters.Planck15, "planck18": parameters.Planck18}[self.cosmology]
        given = {name: getattr(self, name) for name in PARAMETERS}
        return preset(**{name: value for name, value in given.items() if value is not None})

    @property
    def cell_size(self) -> float:
        """Side of a cell (Mpc/h)."""
        return self.box_size / self.mesh

    @property
    def segments(self) -> list[np.ndarray]:
        """Stages of each part of the run, which ends at a snapshot where the next begins."""
        uniform = np.linspace(self.a_start, 1.0, self.steps + 1)
        # A stage beside a snapshot, to rounding, is the snapshot.
        apart = np.abs(uniform[:, None] - np.array(self.snapshots)) > 1e-6
        inner = uniform[apart.all(axis=1)]
        starts = [self.a_start, *self.snapshots[:-1]]
        return [
            np.array([start, *inner[(inner > start) & (inner < end)], *[end] * (end > start)])
            for start, end in zip(starts, self.snapshots, strict=True)
        ]


def read_config(path: str | os.PathLike) -> dict[str, Any]:
    """Options from a file.

    Args:
        path: JSON or TOML file, by the end of its name, with options by their names.

    Returns:
        The options as they stand there.

    Raises:
        ValueError: If the file cannot be read, or holds no table of options.
    """
    path = pathlib.Path(path)
    parse = {".json": json.loads, ".toml": tomllib.loads}.get(path.suffix.lower())
    if parse is None:
        raise ValueError(f"`config` must end in .json or .toml. Received: {str(path)!r}.")
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"`config` must be a file that can be read. Received: {str(path)!r}"
        raise ValueError(f"{message} ({error.strerror}).") from None
    except ValueError as error:
        message = f"`config` must be valid {path.suffix[1:].upper()}. Received: {str(path)!r}"
        raise ValueError(f"{message} ({error}).") from None
    if not isinstance(values, dict):
        raise ValueError(f"`config` must hold options by name. Received: {type(values).__name__}.")
    return values


def _typed(field: dataclasses.Field, value: Any) -> Any:
    """The value in the kind of its field, or a refusal."""
    from flowpm_ext.core import checks

    name, default = field.name, field.default
    if name == "snapshots":
        return _scale_factors(value)
    if value is None and default is None:
        return None
    kind = float if default is None else type(default)
    fits = {
        bool: isinstance(value, bool | np.bool_),
        int: isinstance(value, int | np.integer) and not isinstance(value, bool),
        float: isinstance(value, int | float | np.number) and not isinstance(value, bool),
        str: isinstance(value, str | os.PathLike),
    }[kind]
    named = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}[kind]
    checks.require(fits, name, f"be {named}", value, error=TypeError)
    if kind is float:
        checks.finite(value, name)
    if field.metadata["choices"]:
        checks.one_of(value, name, field.metadata["choices"])
    return kind(value)


def _scale_factors(value: Any) -> tuple[float, ...]:
    """Scale factors in increasing order, from one or several."""
    from flowpm_ext.core import checks

    values = np.atleast_1d(np.asarray(value))
    fits = values.ndim == 1 and (values.dtype.kind in "if" or not values.size)
    checks.require(fits, "snapshots", "be scale factors", value, error=TypeError)
    return tuple(sorted(values.astype(float).tolist()))
