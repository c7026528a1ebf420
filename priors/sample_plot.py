"""Figures of draws from a posterior, and of a mass map around clusters."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import map_coordinates

from priors.catalogue import Clusters
from priors.mass_mapping import MassMap

NUM_DRAWN = 4
NUM_CLUSTERS = 8
CUT_ARCMIN, CUT_PIXELS = 12.0, 96  # side of a cut-out


def samples_figure(mass_map: MassMap, truth: np.ndarray | None = None) -> Figure:
    """The mean, its spread and some draws, North up and East left.

    Args:
        mass_map: A map with samples.
        truth: Convergence that a simulated survey was made from, shape [ny, nx].

    Returns:
        The figure.
    """
    panels = {"Mean of the draws": mass_map.kappa_e, "Their standard deviation": mass_map.std}
    if truth is not None:
        panels["Truth"] = truth
    for number, draw in enumerate(mass_map.samples[:NUM_DRAWN]):
        panels[f"Draw {number + 1}"] = draw
    figure = Figure(figsize=(15, 4.4 * -(-len(panels) // 3)), layout="constrained")
    limit = float(np.quantile(np.abs(mass_map.samples), 0.999))
    for number, (title, values) in enumerate(panels.items()):
        axes = figure.add_subplot(-(-len(panels) // 3), 3, number + 1)
        signed = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        colours = {"cmap": "viridis", "vmin": 0.0} if "deviation" in title else signed
        half = np.array(values.shape[::-1]) * mass_map.grid.pixel_size_arcmin / 2
        image = axes.imshow(
            values, origin="lower", extent=(half[0], -half[0], -half[1], half[1]), **colours
        )
        footprint = mass_map.shear_map.footprint
        axes.contour(footprint, [0.5], colors="black", linewidths=0.5, extent=image.get_extent())
        axes.set(title=title, xlabel="East (arcmin)", ylabel="North (arcmin)")
        figure.colorbar(image, ax=axes, label=r"$\kappa$", shrink=0.85)
    return figure


def clusters_figure(mass_map: MassMap, clusters: Clusters, names: Sequence[str]) -> Figure:
    """The mass map around some clusters.

    Args:
        mass_map: The map.
        clusters: Positions on the map.
        names: Clusters to show, of which the first eight are.

    Returns:
        The figure.
    """
    names = list(names)[:NUM_CLUSTERS]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns + 1, 3.5 * rows), layout="constrained")
    limit = float(np.quantile(np.abs(mass_map.kappa_e[mass_map.mask]), 0.9995))
    labels = clusters.name.astype(str)
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        image = _cut(axes, mass_map, clusters[labels == name][:1], limit)
    figure.colorbar(image, ax=figure.axes, label=r"convergence $\kappa$", extend="both")
    return figure


def _cut(axes: Axes, mass_map: MassMap, cluster: Clusters, limit: float) -> object:
    """The map around one cluster, and where others would be seen."""
    row, column = mass_map.grid.pixel_coordinates(cluster.ra, cluster.dec)
    offset = np.linspace(-CUT_ARCMIN / 2, CUT_ARCMIN / 2, CUT_PIXELS)
    pixels = offset / mass_map.grid.pixel_size_arcmin
    places = np.meshgrid(row[0] + pixels, column[0] + pixels, indexing="ij")
    values = map_coordinates(mass_map.kappa_e, places, order=1, mode="grid-wrap")
    half = CUT_ARCMIN / 2
    image = axes.imshow(
        values, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit,
        extent=(half, -half, -half, half),
    )  # fmt: skip
    axes.plot(0, 0, "k+", markersize=10)
    redshift = "" if np.isnan(cluster.z[0]) else f", z = {cluster.z[0]:.2f}"
    axes.set(title=f"{cluster.name[0]}{redshift}", xlabel="East (arcmin)", ylabel="North (arcmin)")
    return image
