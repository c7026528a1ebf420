"""What a reconstruction leaves on disk: an HDF5 file, figures and a report."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.version import __version__
from rim import plot
from rim.baselines import SMOOTHING, standard_reconstruction, wiener_filter
from rim.reconstruction import Reconstruction
from rim.training import agreement_metrics

FORMAT = "reconstruction of initial conditions"
VERSION = 1
FIX = "Make it with `python -m rim reconstruct`."
FILE, REPORT = "reconstruction.h5", "report.json"


def write(found: Reconstruction, folder: str | os.PathLike) -> dict[str, Any]:
    """Write all there is to know about a reconstruction.

    Args:
        found: The reconstruction.
        folder: Where `reconstruction.h5`, `slices.png`, `trajectory.png`, `report.json` and,
            where the truth is known, `agreement.png` shall be. Checkpoints of this
            reconstruction are removed.

    Returns:
        The report.

    Raises:
        OSError: If a file cannot be written.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = _report(found)
    hdf5.write(
        folder / FILE, FORMAT, VERSION, _datasets(found),
        {"box_size": found.problem.box_size, "report": json.dumps(report),
         "problem": json.dumps(found.problem.get_config())},
    )  # fmt: skip
    plot.slices_figure(found).savefig(folder / "slices.png", dpi=110)
    plot.trajectory_figure(found).savefig(folder / "trajectory.png", dpi=110)
    if found.truth is not None:
        y = found.y
        baselines = {
            "the observation itself": found.problem.overdensity(y),
            "Wiener filter": wiener_filter(found.problem, y),
            f"standard reconstruction, {SMOOTHING:g} Mpc/h": standard_reconstruction(
                found.problem, y
            ),
        }
        figure = plot.agreement_figure(found, {k: np.asarray(x) for k, x in baselines.items()})
        figure.savefig(folder / "agreement.png", dpi=110)
    else:
        (folder / "agreement.png").unlink(missing_ok=True)  # of another product
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for checkpoint in found.checkpoints:
        checkpoint.clear()
    return report


def read(path: str | os.PathLike) -> dict[str, Any]:
    """The arrays and the report of a product.

    Args:
        path: `reconstruction.h5`.

    Returns:
        Datasets by name, "report" and "problem".

    Raises:
        ValueError: If it is no such file.
    """
    with hdf5.opened(path, FORMAT, VERSION, FIX) as file:
        arrays: dict[str, Any] = {name: file[name][()] for name in file}
        for name in ("report", "problem"):
            arrays[name] = json.loads(file.attrs[name])
    return arrays


def summary(report: dict[str, Any]) -> str:
    """A few lines for people.

    Args:
        report: What `write` gave.

    Returns:
        Text.
    """
    lines = [
        f"method {report['method']}: {report['num_gradients']} gradients of the forward model, "
        f"{report['seconds']:.1f} s",
        f"chi^2 per observed cell {report['chi2'][0]:.3f}",
    ]
    if report.get("bands"):
        at = ", ".join(f"{k:.2g}" for k in report["bands"]["k"])
        for letter in "rT":
            numbers = "  ".join(f"{value:.3f}" for value in report["bands"][letter])
            lines.append(f"{letter}(k) around {at} h/Mpc: {numbers}")
    if "convergence" in report:
        numbers = report["convergence"]
        lines.append(
            f"R-hat over cells: worst {numbers['worst_r_hat']:.3f}, median "
            f"{numbers['median_r_hat']:.3f}; effective sample size: median "
            f"{numbers['median_ess']:.0f}, least {numbers['least_ess']:.0f}"
        )
    return "\n".join(lines)


def _report(found: Reconstruction) -> dict[str, Any]:
    report: dict[str, Any] = {
        "package_version": __version__,
        "method": found.method,
        "mesh_shape": list(found.problem.mesh.shape),
        "box_size": list(found.problem.box_size),
        "num_gradients": found.num_gradients,
        "seconds": found.seconds,
        "chi2": found.chi2.tolist(),
    }
    if found.truth is not None:
        report |= {name: np.asarray(v).tolist() for name, v in found.agreement().items()}
        report["bands"] = _bands(found)
    if found.samples is not None:
        report["convergence"] = found.convergence()
    return report


def _bands(found: Reconstruction) -> dict[str, list[float]] | None:
    """r(k) and T(k) in the bands of `evaluate`; None where the mesh holds none."""
    metrics = agreement_metrics(found.problem)
    if not metrics:
        return None
    metrics[0].update_state(found.truth, found.x[:, None])
    values = [float(value) for value in metrics[0].result().values()]
    half = len(values) // 2
    return {"k": metrics[0].centres, "r": values[:half], "T": values[half:]}


def _datasets(found: Reconstruction) -> dict[str, tuple[np.ndarray, dict[str, str]]]:
    dimensionless = {"unit": "1"}
    fields = {
        "observation": (found.y, dimensionless),
        "initial": (found.x, dimensionless | {"about": "linear overdensity at a = 1"}),
        "final": (found.final, dimensionless | {"about": "overdensity of the tracers"}),
        "displacement": (found.displacement, {"unit": "Mpc/h"}),
        "trajectory": (found.trajectory, dimensionless),
        "chi2": (found.chi2, {"about": "per observed cell"}),
    }
    if found.truth is not None:
        fields["truth"] = (found.truth, dimensionless)
        for name, values in found.agreement().items():
            fields[name] = (values, {"unit": "h/Mpc" if name == "k" else "1"})
    if found.samples is not None:
        fields["samples"] = (found.samples, dimensionless)
    return fields
