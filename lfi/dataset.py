"""Simulations and observations in files, as the command line takes them."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from lfi.arguments import checked_names

KIND, FORMAT_VERSION = "simulations for inference", 1
LAYOUT = (
    "It holds `theta` [num, num_parameters] and `x` [num, ...]; perhaps `names`, `low` and `high` "
    "of the parameters."
)


class Simulations(NamedTuple):
    """Parameters, data that were made from them, and the box they were drawn from."""

    theta: np.ndarray  # [num, num_parameters]
    x: np.ndarray  # [num, ...]
    names: tuple[str, ...]
    low: np.ndarray | None = None  # [num_parameters]
    high: np.ndarray | None = None
    origin: str | None = None  # a mark of what made them, for rounds that go on

    def take(self, rows: np.ndarray) -> "Simulations":
        """Some of the simulations, by their places [num]."""
        return self._replace(theta=self.theta[rows], x=self.x[rows])


class Observation(NamedTuple):
    """What was observed."""

    x: np.ndarray  # [...], as the data of one simulation
    truth: np.ndarray | None  # [num_parameters], where it is known


@keras.saving.register_keras_serializable("lfi")
class WhiteNoise:
    """Normal noise that is independent in each pixel, for `Compressor`.

    Args:
        std: Standard deviation, in units of the data.

    Raises:
        ValueError: If it is not positive.
    """

    def __init__(self, std: float) -> None:
        checks.positive(std, "noise")
        self.std = float(std)

    def __call__(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Data with noise.

        Args:
            x: Shape [batch, ...].
            seed: Stateless seed, [2].

        Returns:
            The shape of `x`.

        References:
            The normal distribution.
        """
        return x + self.std * tf.random.stateless_normal(tf.shape(x), seed)

    def get_config(self) -> dict[str, Any]:
        """What a file keeps of it."""
        return {"std": self.std}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WhiteNoise":
        """The noise that a file keeps."""
        return cls(**config)


def read_simulations(path: str | os.PathLike) -> Simulations:
    """Simulations from an HDF5 file, or from a folder of lensing maps.

    Args:
        path: File with `theta` and `x`, and perhaps `names`, `low` and `high` as arrays or
            attributes; or a folder that `python -m flowpm_ext lightcone` made.

    Returns:
        The simulations, float32.

    Raises:
        ValueError: If it cannot be read, lacks something, or shapes do not fit.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return _read_maps(path)
    with opened(path, LAYOUT) as file:
        missing = [name for name in ("theta", "x") if name not in file]
        received = f"{path} with {sorted(file)}"
        checks.require(not missing, "DATA", f"hold {' and '.join(missing)}", received, LAYOUT)
        theta, x = (_numbers(file, name) for name in ("theta", "x"))
        names = _texts(file, "names")
        box = [_numbers(file, name) if name in file else None for name in ("low", "high")]
        origin = file.attrs.get("origin")
    fits = theta.ndim == 2 and x.ndim >= 2 and len(x) == len(theta) > 0
    received = f"theta {theta.shape} and x {x.shape}"
    checks.require(fits, "DATA", "have as many rows in `theta` as in `x`", received, LAYOUT)
    for name, bound in zip(("low", "high"), box, strict=True):
        rule = f"have shape {theta.shape[1:]}"
        checks.require(bound is None or bound.shape == theta.shape[1:], name, rule, bound)
    names = tuple(checked_names(names, theta.shape[1], "theta"))
    return Simulations(theta, x, names, *box, origin)


def write_simulations(path: str | os.PathLike, found: Simulations) -> None:
    """Write simulations so that `read_simulations` reads them.

    Args:
        path: File to write.
        found: The simulations.

    Raises:
        OSError: If the file cannot be written.
    """
    arrays = {name: getattr(found, name) for name in ("theta", "x", "low", "high")}
    datasets = {name: (array, {}) for name, array in arrays.items() if array is not None}
    attributes = {"names": json.dumps(found.names)}
    if found.origin is not None:
        attributes["origin"] = found.origin
    hdf5.write(path, KIND, FORMAT_VERSION, datasets, attributes)


def read_observation(path: str | os.PathLike) -> Observation:
    """One observation from an HDF5, NumPy or text file.

    Args:
        path: File with `x` [...] and perhaps `truth` [num_parameters], .npy or .txt.

    Returns:
        The observation, float32.

    Raises:
        ValueError: If it cannot be read, or holds no numbers.
    """
    path = pathlib.Path(path)
    checks.require(path.is_file(), "observation", "be a file", str(path))
    if path.suffix in (".npy", ".txt"):
        try:
            x = np.load(path) if path.suffix == ".npy" else np.loadtxt(path, ndmin=1)
            return Observation(x.astype(np.float32), None)
        except (ValueError, TypeError, OSError, EOFError) as error:
            reason = f"{path} ({' '.join(str(error).split())[:80]})"
            checks.require(False, "observation", "be an array of numbers", reason)
    with opened(path, LAYOUT) as file:
        received = f"{path} with {sorted(file)}"
        checks.require("x" in file, "observation", "hold `x`", received)
        truth = _numbers(file, "truth") if "truth" in file else None
        return Observation(_numbers(file, "x"), truth)


def write_observation(path: str | os.PathLike, found: Observation) -> None:
    """Write an observation so that `read_observation` reads it.

    Args:
        path: File to write.
        found: The observation.

    Raises:
        OSError: If the file cannot be written.
    """
    datasets = {"x": (found.x, {})} | ({} if found.truth is None else {"truth": (found.truth, {})})
    hdf5.write(path, "observation for inference", FORMAT_VERSION, datasets, {})


def is_simulations(path: str | os.PathLike) -> bool:
    """Whether a file or folder says which parameters its data were made from.

    Args:
        path: File or folder.

    Returns:
        False for an observation.

    Raises:
        ValueError: If it is neither there nor HDF5, NumPy or text.
    """
    path = pathlib.Path(path)
    checks.require(path.exists(), "DATA", "be a file or a folder of maps", str(path))
    if path.is_dir() or path.suffix in (".npy", ".txt"):
        return path.is_dir()
    with opened(path, LAYOUT) as file:
        return "theta" in file


def opened(path: pathlib.Path, layout: str) -> h5py.File:
    """A file of the user's, for reading.

    Args:
        path: The file.
        layout: What it should hold, for those whose file is no HDF5 file.

    Returns:
        The file.

    Raises:
        ValueError: If it is absent or no HDF5 file.
    """
    checks.require(path.is_file(), "DATA", "be a file", str(path))
    try:
        return h5py.File(path, "r")
    except OSError:
        checks.require(False, "DATA", "be an HDF5 file", str(path), layout)


def _numbers(file: h5py.File, name: str) -> np.ndarray:
    """A dataset of real numbers, float32."""
    found = file[name]
    is_real = isinstance(found, h5py.Dataset) and found.dtype.kind in "biuf"
    checks.require(is_real, name, "be an array of real numbers", str(found))
    return found[()].astype(np.float32)


def _texts(file: h5py.File, name: str) -> Sequence[str] | None:
    """Texts in an array, or in an attribute of the file or of `theta`, as a list or JSON."""
    attribute = file.attrs.get(name, file["theta"].attrs.get(name))
    found = file[name][()] if name in file else attribute
    if found is None:
        return None
    if isinstance(found, str | bytes):
        found = json.loads(found)
    return [one.decode() if isinstance(one, bytes) else str(one) for one in found]


def _read_maps(folder: pathlib.Path) -> Simulations:
    """All maps of a folder, with the box that their cosmologies were drawn from."""
    from flowpm_ext.lensing import reading, shards

    maps = reading.MapDataset(folder)
    x, theta = maps.read(maps.members())
    kind = shards.KIND, shards.FORMAT_VERSION, shards.FIX
    with hdf5.opened(maps.paths[0], *kind) as file:
        prior = json.loads(file.attrs["identity"])["prior"]
    low, high = np.array([prior[name] for name in maps.names], np.float32).reshape(-1, 2).T
    checks.require(theta.shape[1] > 0, "DATA", "hold maps of several cosmologies", str(folder))
    return Simulations(theta, x, tuple(maps.names), low, high)
