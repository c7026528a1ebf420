"""Draws of a posterior with their names: in files, for getdist, and with derived parameters."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.cosmology import Planck15
from lfi.arguments import checked_summaries

KIND, FORMAT_VERSION = "draws of a posterior", 1
FIX = "Make it with `python -m lfi sample`."
# In LaTeX, without the dollars.
LABELS = {
    "Omega_c": r"\Omega_\mathrm{c}",
    "Omega_b": r"\Omega_\mathrm{b}",
    "Omega_m": r"\Omega_\mathrm{m}",
    "Omega_k": r"\Omega_k",
    "sigma8": r"\sigma_8",
    "S8": r"S_8",
    "A_s": r"A_\mathrm{s}",
    "n_s": r"n_\mathrm{s}",
    "h": "h",
    "w0": r"w_0",
    "wa": r"w_a",
}
LABELS |= {name.lower(): label for name, label in LABELS.items() if name.startswith("Omega")}


@dataclasses.dataclass(frozen=True)
class Chains:
    """Draws of parameters, perhaps weighted, and what the parameters are called.

    Args:
        samples: Draws, shape [num, num_parameters].
        names: Of the parameters.
        labels: In LaTeX without dollars; by default those of known names.
        log_prob: Log density of each draw, up to a number, shape [num].
        weights: Of the draws, shape [num]; None where all count alike.
        bounds: Lowest and highest value that the prior allows, shape [num_parameters, 2]; NaN
            for none.
        num_derived: How many of the last parameters were derived from others.

    Raises:
        ValueError: If shapes do not fit each other, or a value is not finite.
    """

    samples: np.ndarray
    names: Sequence[str]
    labels: Sequence[str] | None = None
    log_prob: np.ndarray | None = None
    weights: np.ndarray | None = None
    bounds: np.ndarray | None = None
    num_derived: int = 0

    def __post_init__(self) -> None:
        samples, names = checked_summaries(self.samples, "samples"), tuple(self.names)
        num, num_parameters = samples.shape
        is_list = len(names) == len(set(names)) == num_parameters
        checks.require(is_list, "names", f"be {num_parameters} different texts", names)
        labels = tuple(map(default_label, names) if self.labels is None else self.labels)
        checks.require(len(labels) == len(names), "labels", f"be {len(names)} texts", labels)
        found = {"samples": samples, "names": names, "labels": labels}
        shapes = {"log_prob": (num,), "weights": (num,), "bounds": (num_parameters, 2)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None:
                array = found[name] = np.asarray(getattr(self, name), np.float64)
                checks.require(array.shape == shape, name, f"have shape {shape}", array.shape)
        if self.weights is not None:
            checks.non_negative(found["weights"], "weights")
            checks.positive(np.sum(found["weights"]), "sum of weights")
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of each parameter, [num_parameters]."""
        return np.average(self.samples, axis=0, weights=self.weights)

    @property
    def std(self) -> np.ndarray:
        """Weighted standard deviation of each parameter, [num_parameters]."""
        square = (self.samples - self.mean) ** 2
        return np.sqrt(np.average(square, axis=0, weights=self.weights))

    def table(self) -> str:
        """Mean and standard deviation of each parameter.

        Returns:
            A line for each.
        """
        width = max(map(len, self.names))
        rows = zip(self.names, self.mean, self.std, strict=True)
        return "\n".join(f"{n:<{width}}  {mean:10.5g} +- {std:.3g}" for n, mean, std in rows)

    def with_derived(self, omega_b: float | None = None) -> "Chains":
        """The same draws, with S8 beside sigma8, or sigma8 beside S8, where matter is known.

        S8 = sigma8 (Omega_m / 0.3)^0.5, with densities in units of the critical one.

        Args:
            omega_b: Density of baryons where none was sampled; that of Planck15 by default,
                with which `lfi.LensingTask` simulates.

        Returns:
            Chains with one parameter more, or these where there is nothing to derive.

        References:
            Jain & Seljak 1997, arXiv:astro-ph/9611077; Planck 2015 XIII,
            arXiv:1502.01589.
        """
        names = [name.lower() for name in self.names]
        columns = dict(zip(names, self.samples.T, strict=True))
        if "omega_m" in columns:
            matter = columns["omega_m"]
        elif "omega_c" in columns:
            baryons = float(Planck15().Omega_b) if omega_b is None else omega_b
            matter = columns["omega_c"] + columns.get("omega_b", baryons)
        else:
            return self
        if np.any(matter <= 0):
            return self  # no densities, whatever their name
        growth = np.sqrt(matter / 0.3)
        if "sigma8" in columns and "s8" not in columns:
            return self._with_column("S8", columns["sigma8"] * growth)
        if "s8" in columns and "sigma8" not in columns:
            return self._with_column("sigma8", columns["s8"] / growth)
        return self

    def _with_column(self, name: str, values: np.ndarray) -> "Chains":
        bounds = self.bounds
        if bounds is not None:
            bounds = np.concatenate([bounds, np.full([1, 2], np.nan)])
        return dataclasses.replace(
            self,
            samples=np.concatenate([self.samples, values[:, None]], axis=1),
            names=(*self.names, name), labels=(*self.labels, default_label(name)),
            bounds=bounds, num_derived=self.num_derived + 1,
        )  # fmt: skip

    def to_getdist(self) -> Any:
        """The draws as getdist takes them.

        Returns:
            `getdist.MCSamples`.

        Raises:
            ImportError: If getdist is not installed.

        References:
            Lewis 2019, arXiv:1910.13970.
        """
        try:
            from getdist import MCSamples
        except ImportError:
            text = "getdist is not installed. Install it with `pip install flowpm-ext[plot]`."
            raise ImportError(text) from None
        return MCSamples(
            samples=self.samples, weights=self.weights,
            loglikes=None if self.log_prob is None else -self.log_prob,
            names=self._starred(), labels=list(self.labels), ranges=self._ranges(),
        )  # fmt: skip

    def write_getdist(self, root: str | os.PathLike) -> list[pathlib.Path]:
        """Text files as CosmoMC, Cobaya and getdist read them; getdist is not needed.

        Args:
            root: Start of the names root.txt (weight, minus log density, parameters),
                root.paramnames and, where bounds are known, root.ranges.

        Returns:
            The files.

        Raises:
            OSError: If a file cannot be written.
        """
        num = len(self.samples)
        weights = np.ones(num) if self.weights is None else self.weights
        minus_log = np.zeros(num) if self.log_prob is None else -self.log_prob
        files = [with_suffix(root, suffix) for suffix in (".txt", ".paramnames", ".ranges")]
        rows = np.column_stack([weights, minus_log, self.samples])
        np.savetxt(files[0], rows, fmt="%.8e")
        pairs = zip(self._starred(), self.labels, strict=True)
        files[1].write_text("".join(f"{name}\t{label}\n" for name, label in pairs), "utf-8")
        if self.bounds is None:
            files.pop().unlink(missing_ok=True)  # of other draws
            return files
        lines = (
            f"{name} {' '.join('N' if end is None else repr(end) for end in ends)}\n"
            for name, ends in self._ranges().items()
        )
        files[2].write_text("".join(lines), "utf-8")
        return files

    def write_hdf5(self, path: str | os.PathLike) -> None:
        """Write everything to one file.

        Args:
            path: File to write.

        Raises:
            OSError: If the file cannot be written.
        """
        arrays = {
            name: getattr(self, name) for name in ("samples", "log_prob", "weights", "bounds")
        }
        about = {"axes": "draw, parameter"}
        datasets = {name: (array, about if name == "samples" else {})
                    for name, array in arrays.items() if array is not None}  # fmt: skip
        texts = {name: json.dumps(getattr(self, name)) for name in ("names", "labels")}
        hdf5.write(path, KIND, FORMAT_VERSION, datasets, texts | {"num_derived": self.num_derived})

    @classmethod
    def read_hdf5(cls, path: str | os.PathLike) -> "Chains":
        """Read what `write_hdf5` wrote.

        Args:
            path: The file.

        Returns:
            The chains.

        Raises:
            ValueError: If it is no such file.
        """
        with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
            arrays = {name: file[name][()] for name in file}
            texts = {name: tuple(json.loads(file.attrs[name])) for name in ("names", "labels")}
            return cls(**arrays, **texts, num_derived=int(file.attrs["num_derived"]))

    def _starred(self) -> list[str]:
        """Names, with the star by which getdist knows derived parameters."""
        first = len(self.names) - self.num_derived
        return [name + "*" * (number >= first) for number, name in enumerate(self.names)]

    def _ranges(self) -> dict[str, list[float]]:
        """Bounds by name, of parameters that have any; None where there is none on a side."""
        if self.bounds is None:
            return {}
        pairs = zip(self.names, self.bounds.tolist(), strict=True)
        ends = {name: [x if np.isfinite(x) else None for x in pair] for name, pair in pairs}
        return {name: pair for name, pair in ends.items() if pair != [None, None]}


def default_label(name: str) -> str:
    """What a parameter is called in a figure.

    Args:
        name: Of the parameter.

    Returns:
        LaTeX without dollars.
    """
    if name in LABELS:
        return LABELS[name]
    stem, _, number = name.rpartition("_")
    if stem == "theta" and number.isdigit():
        return rf"\theta_{{{number}}}"
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def with_suffix(root: str | os.PathLike, suffix: str) -> pathlib.Path:
    """A file beside others of the same root, whose name may hold dots.

    Args:
        root: Start of the name.
        suffix: End of the name.

    Returns:
        The file.
    """
    root = pathlib.Path(root)
    return root.with_name(root.name + suffix)
