"""Figures of mass maps, on the sky: North up, East left."""

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from priors.catalogue import Clusters
from priors.mass_mapping import MassMap
from priors.stacking import Peaks

# Sky around the galaxies that the figure still shows.
FRAME_ARCMIN = 3.5
# Part of the width of a panel that a label may take.
LABEL_FRACTION = 0.06
# Labels stay readable on any colour.
HALO = [patheffects.withStroke(linewidth=2.0, foreground="white")]


def map_figure(
    mass_map: MassMap,
    title: str,
    clusters: Clusters | None = None,
    peaks: Peaks | None = None,
    truth: np.ndarray | None = None,
) -> Figure:
    """Figure of a mass map: E mode, B mode and uncertainty, and the truth where it is known.

    The E mode carries the clusters, labelled with their redshift (or their name where that is
    unknown), and its highest peaks, numbered.

    Args:
        mass_map: The map.
        title: Line above the figure.
        clusters: Positions to mark.
        peaks: Peaks to mark.
        truth: Convergence that a simulated survey was made from, shape [ny, nx].

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    figure = Figure(figsize=(15.5, 9.0) if truth is None else (14.0, 12.6), layout="constrained")
    figure.suptitle(title, fontsize=15)
    axes = _axes(figure, mass_map, has_truth=truth is not None)
    kappa = mass_map.kappa_e
    limit = float(np.quantile(np.abs(kappa[mass_map.mask]), 0.9995))
    signed = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    label = r"convergence $\kappa$"
    if truth is not None:
        # As fine as the map can be; pixel by pixel the truth is too rough to compare by eye.
        smooth = gaussian_filter(truth, 1.0 / mass_map.grid.pixel_size_arcmin, mode="wrap")
        _show(axes["truth"], smooth, mass_map, "Truth, smoothed by 1 arcmin", label, **signed)
    _show(axes["e"], kappa, mass_map, "E mode: the mass", label, **signed)
    _show(axes["b"], mass_map.kappa_b, mass_map, "B mode: should be empty", label, **signed)
    label = r"standard deviation of $\kappa$"
    _show(axes["std"], mass_map.std, mass_map, "Uncertainty", label, cmap="viridis", vmin=0.0)
    footprint = mass_map.shear_map.footprint
    for key in set(axes) - {"std"}:
        _veil(axes[key], footprint)
    axes["std"].contour(footprint, levels=[0.5], colors="white", linewidths=0.8)
    if clusters is not None:
        for key in {"e", "truth"} & set(axes):
            _mark_clusters(axes[key], mass_map, clusters)
    if peaks is not None:
        _mark_peaks(axes["e"], peaks)
    if axes["e"].get_legend_handles_labels()[0]:
        axes["e"].legend(loc="lower right", fontsize=9, framealpha=0.9)
    return figure


def _axes(figure: Figure, mass_map: MassMap, has_truth: bool) -> dict[str, Axes]:
    """Panels on the sky: a large one for the E mode, or four equal ones with the truth."""
    if has_truth:
        cells = dict(zip(("truth", "e", "b", "std"), figure.add_gridspec(2, 2), strict=True))
    else:
        grid = figure.add_gridspec(2, 3)
        cells = {"e": grid[:, :2], "b": grid[0, 2], "std": grid[1, 2]}
    return {key: figure.add_subplot(cell, projection=mass_map.wcs) for key, cell in cells.items()}


def _show(
    axes: Axes, values: np.ndarray, mass_map: MassMap, title: str, label: str, **colours: object
) -> None:
    """One map with its colour bar, cut to the survey with a frame around it."""
    image = axes.imshow(values, origin="lower", interpolation="nearest", **colours)
    extend = _beyond(values[mass_map.mask], *image.get_clim())
    axes.figure.colorbar(image, ax=axes, label=label, shrink=0.8, pad=0.01, extend=extend)
    frame = FRAME_ARCMIN / mass_map.grid.pixel_size_arcmin
    rows, columns = (np.flatnonzero(mass_map.mask.any(axis)) for axis in (1, 0))
    axes.set_xlim(columns[0] - frame, columns[-1] + frame)
    axes.set_ylim(rows[0] - frame, rows[-1] + frame)
    axes.set_title(title)
    right_ascension, declination = axes.coords
    right_ascension.set_axislabel("right ascension (degrees)")
    declination.set_axislabel("declination (degrees)", minpad=0.4)
    for coordinate in axes.coords:
        coordinate.set_major_formatter("d.d")
        coordinate.set_ticks(number=4)


def _beyond(values: np.ndarray, low: float, high: float) -> str:
    """On which ends of the colour bar values go beyond the colours, as matplotlib calls it."""
    below, above = np.min(values) < low, np.max(values) > high
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def _veil(axes: Axes, footprint: np.ndarray) -> None:
    """Grey over sky that was not observed, where the prior fills in."""
    veil = np.zeros((*footprint.shape, 4))
    veil[~footprint] = (0.62, 0.62, 0.62, 0.72)
    axes.imshow(veil, origin="lower", interpolation="nearest")


def _mark_clusters(axes: Axes, mass_map: MassMap, clusters: Clusters) -> None:
    """A ring for each cluster, with its redshift or its name."""
    row, column = mass_map.grid.pixel_coordinates(clusters.ra, clusters.dec)
    has_z = np.isfinite(clusters.z)
    label = "clusters, with redshift" if has_z.all() else "clusters"
    style = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.9}
    axes.scatter(column, row, s=55, label=label, **style)
    names = np.where(has_z, np.char.mod("%.2f", clusters.z), clusters.name)
    left, right = axes.get_xlim()
    for x, y, name in zip(column, row, names, strict=True):
        # Near the right edge, labels stand left of their ring.
        side = -1 if x > right - LABEL_FRACTION * (right - left) else 1
        axes.annotate(
            name, (x, y), xytext=(4.5 * side, 3.5), textcoords="offset points", fontsize=7,
            ha="left" if side > 0 else "right", path_effects=HALO, annotation_clip=True,
            clip_on=True,
        )  # fmt: skip


def _mark_peaks(axes: Axes, peaks: Peaks) -> None:
    """A numbered cross for each peak."""
    axes.scatter(
        peaks.column, peaks.row, marker="x", s=40, c="black", linewidths=1.3, label="highest peaks"
    )
    for number, (x, y) in enumerate(zip(peaks.column, peaks.row, strict=True), start=1):
        axes.annotate(
            str(number), (x, y), xytext=(-5, -5), textcoords="offset points", fontsize=10,
            fontweight="bold", ha="right", va="top", path_effects=HALO,
        )  # fmt: skip
