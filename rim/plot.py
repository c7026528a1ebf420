"""Figures of reconstructions."""

import csv
import os
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from rim.annealed_map import SCALES
from rim.reconstruction import Reconstruction

COLOURS = {"rim": "#d1495b", "map": "#3b7dd8", "hmc": "#2a9d6f"}
BASELINES = ("#8a8a8a", "#c9a227", "#7d5ba6", "#1b1b1b")
NAMES = {"rim": "CosmicRIM", "map": "annealed MAP", "hmc": "posterior mean (HMC)"}
SLAB = 25.0  # Mpc/h, thickness of the slices


def slices_figure(found: Reconstruction) -> Figure:
    """Slabs of what was observed, found and, where it is known, true.

    Above the initial conditions, below what they became.

    Args:
        found: The reconstruction; its first example is shown.

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    top = [("reconstruction of the initial conditions", found.x)]
    if found.truth is not None:
        top.insert(0, ("truth", found.truth))
        top.append(("reconstruction - truth", found.x - found.truth))
    else:
        top.append(("spread of the draws", _spread(found)))
    bottom = [("observation", found.problem.overdensity(found.y)), ("model of it", found.final)]
    bottom.append(("observation - model", bottom[0][1] - found.final))
    top = [(name, field) for name, field in top if field is not None]
    if len(top) < 2:
        top.insert(0, ("first entry of its trajectory", found.trajectory[:, 0]))
        top.append(("last - first", found.x - found.trajectory[:, 0]))
    figure = Figure(figsize=(4.4 * 3, 8.8), layout="constrained")
    axes = figure.subplots(2, 3)
    title = f"{NAMES[found.method]}: {found.num_gradients} gradients, {found.seconds:.1f} s"
    figure.suptitle(title, fontsize=15)
    for row, fields in zip(axes, (top, bottom), strict=True):
        images = [_slab(found, field) for _, field in fields]
        limit = np.quantile(np.abs(images[0]), 0.995)
        for ax, (name, _), image in zip(row, fields, images, strict=False):
            shown = _show(ax, found, image, name, limit)
        for ax in row[len(fields) :]:
            ax.set_axis_off()
        figure.colorbar(shown, ax=list(row), label="overdensity", shrink=0.85)
    return figure


def agreement_figure(
    found: Reconstruction, baselines: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """r(k) and T(k) of a reconstruction beside those of others.

    Args:
        found: The reconstruction, with a truth.
        baselines: Other estimates of the same truth by name, [batch, nx, ny, nz] each.

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    figure = Figure(figsize=(11.0, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    others = zip((baselines or {}).items(), BASELINES, strict=False)
    curves = [(name, found.agreement(x), colour, 1.5) for (name, x), colour in others]
    curves.append((NAMES[found.method], found.agreement(), COLOURS[found.method], 2.5))
    for name, curve, colour, width in curves:
        # What one filter makes of the other has the same r.
        style = "--" if name == "Wiener filter" else "-"
        left.plot(curve["k"], curve["r"], style, color=colour, linewidth=width, label=name)
        right.plot(curve["k"], curve["T"], color=colour, linewidth=width)
    nyquist = np.pi / found.problem.cell_size
    left.set(ylabel="r(k)", ylim=(0, 1.02), title="correlation with the truth")
    right.set(ylabel="T(k)", ylim=(0, 1.6), title="amplitude over that of the truth")
    right.axhline(1.0, color="#bbbbbb", linewidth=0.8, zorder=0)
    for ax in (left, right):
        ax.set(xscale="log", xlabel="k [h/Mpc]", xlim=(None, nyquist))
        ticks = [k for k in (0.02, 0.05, 0.1, 0.2, 0.4) if curve["k"][0] <= k <= nyquist]
        ax.set_xticks(ticks, [f"{k:g}" for k in ticks])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(alpha=0.3)
    left.legend(frameon=False, fontsize=9)
    return figure


def trajectory_figure(found: Reconstruction) -> Figure:
    """A strip of the steps of an estimate, with its error where the truth is known.

    Args:
        found: The reconstruction; its first example is shown.

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    steps, names = found.trajectory[0], _names(found)
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    panels = [(names[step], steps[step]) for step in chosen]
    if found.samples is not None:
        panels = [("the start", steps[-1]), ("a draw", found.samples[-1, 0])]
        panels.append(("mean of the draws", found.x[0]))
    if found.truth is not None:
        panels = [
            (f"{name}\nrms error {np.sqrt(np.mean((field - found.truth[0]) ** 2)):.3f}", field)
            for name, field in panels
        ]
        panels.append(("truth", found.truth[0]))
    figure = Figure(figsize=(2.7 * len(panels) + 0.8, 3.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    limit = np.quantile(np.abs(_slab(found, panels[-1][1][None])), 0.995)
    for ax, (name, field) in zip(axes, panels, strict=True):
        shown = _show(ax, found, _slab(found, field[None]), name, limit)
    figure.colorbar(shown, ax=list(axes), label="overdensity", shrink=0.8)
    return figure


def _names(found: Reconstruction) -> list[str]:
    """What the entries of a trajectory are."""
    if found.method == "map":
        return [f"data smoothed by {scale:g} cells" for scale in SCALES]
    return [f"step {step + 1}" for step in range(found.trajectory.shape[1])]


def _spread(found: Reconstruction) -> np.ndarray | None:
    return None if found.samples is None else found.samples.std(axis=(0, 1))[None]


def _slab(found: Reconstruction, field: np.ndarray) -> np.ndarray:
    """Mean over a slab of the first example."""
    cells = max(1, round(SLAB / found.problem.cell_size))
    return np.asarray(field)[0, :, :, :cells].mean(axis=-1)


def _show(ax: object, found: Reconstruction, image: np.ndarray, name: str, limit: float) -> object:
    """One slab, in Mpc/h."""
    x, y = found.problem.box_size[:2]
    shown = ax.imshow(
        image.T, origin="lower", extent=(0, x, 0, y), cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("x [Mpc/h]", fontsize=8)
    if ax.get_subplotspec().is_first_col():
        ax.set_ylabel("y [Mpc/h]", fontsize=8)
    ax.tick_params(labelsize=7)
    return shown


def history_figure(path: str | os.PathLike) -> Figure:
    """How a training went.

    Args:
        path: `history.csv` of the run.

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(11.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    epochs = [int(row["epoch"]) + 1 for row in rows]
    for name, label in (("loss", "training"), ("val_loss", "mocks never trained on")):
        left.plot(epochs, [float(row[name]) for row in rows], label=label)
    left.set(xlabel="epoch", ylabel="squared error of the trajectory")
    left.legend(frameon=False)
    for name in sorted(name for name in rows[0] if name.startswith("val_r(")):
        right.plot(epochs, [float(row[name]) for row in rows], label=name.removeprefix("val_"))
    right.set(xlabel="epoch", ylabel="correlation with the truth")
    right.legend(frameon=False)
    return figure
