"""Draws of posteriors: each parameter, and each pair of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_names, checked_summaries

COLOURS = ("#3b7dd8", "#d1495b", "#2e8b57", "#e08e1b", "#7d5ba6", "#5f6b76", "#17a2b0", "#9c6b30")
TRUTH = "#1b1b1b"
NUM_CELLS, SMOOTHING = 40, 1.5  # of histograms, and the smoothing in their cells


def corner_figure(
    samples: TensorLike | Sequence[TensorLike],
    names: Sequence[str] | None = None,
    truth: TensorLike | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Draws of a posterior, or of several: each parameter, and each pair by contours.

    Contours hold 68 and 95 % of the draws; histograms are smoothed.

    Args:
        samples: Draws, shape [num_samples, num_parameters], or a list of such.
        names: Of the parameters; theta_0, theta_1, ... by default.
        truth: True parameters, shape [num_parameters], drawn as lines.
        labels: Of the sets of draws, for the legend.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If shapes do not fit, a value is not finite, or a parameter never varies.
    """
    sets, names, truth, labels = _checked_sets(samples, names, truth, labels)
    num = len(names)
    ranges = _ranges(sets)
    figure = Figure(figsize=(1.2 + 2.1 * num,) * 2, layout="constrained")
    panels = figure.subplots(num, num, squeeze=False, sharex="col")
    for i, row in enumerate(panels):
        for j, axes in enumerate(row):
            if j > i:
                axes.set_axis_off()
                continue
            for number, draws in enumerate(sets):
                colour = COLOURS[number % len(COLOURS)]
                if i == j:
                    _marginal(axes, draws[:, i], ranges[i], colour)
                else:
                    _contours(axes, draws[:, [j, i]], ranges[[j, i]], colour)
            _dress_corner(axes, i, j, names, ranges, truth)
    figure.align_labels()
    handles = [
        Line2D([], [], color=COLOURS[n % len(COLOURS)], linewidth=3) for n in range(len(labels))
    ]
    if truth is not None:
        handles.append(Line2D([], [], color=TRUTH, linewidth=1.2, linestyle="--"))
        labels = [*labels, "truth"]
    if handles:
        place = panels[0, -1] if num > 1 else panels[0, 0]
        where = "upper right"
        place.legend(handles, labels, fontsize=12, loc=where, frameon=False)
    return figure


def _checked_sets(
    samples: TensorLike | Sequence[TensorLike],
    names: Sequence[str] | None,
    truth: TensorLike | None,
    labels: Sequence[str] | None,
) -> tuple[list[np.ndarray], list[str], np.ndarray | None, list[str]]:
    """Sets of draws, names, truth and labels, all known to fit each other."""
    is_one = not isinstance(samples, list | tuple) or np.ndim(samples[0]) == 1
    sets = [checked_summaries(x, "samples") for x in ([samples] if is_one else samples)]
    num = sets[0].shape[1]
    for draws in sets:
        rule = f"have {num} parameters in each set"
        checks.require(draws.shape[1] == num, "samples", rule, draws.shape)
        spread = np.ptp(draws, axis=0)
        checks.require(bool(np.all(spread > 0)), "samples", "vary in every parameter", spread)
    if truth is not None:
        truth = np.asarray(truth, np.float64)
        checks.require(truth.shape == (num,), "truth", f"have shape [{num}]", truth.shape)
        checks.finite(truth, "truth")
    labels = [] if labels is None else list(labels)
    rule = f"be {len(sets)} texts"
    checks.require(len(labels) in (0, len(sets)), "labels", rule, labels)
    return sets, checked_names(names, num, "theta"), truth, labels


def _ranges(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Where nearly all draws are, and no further than the last of them, [num_parameters, 2]."""
    inner = np.array([np.quantile(draws, [0.001, 0.999], axis=0) for draws in sets])
    low, high = inner[:, 0].min(axis=0), inner[:, 1].max(axis=0)
    margin = 0.1 * (high - low)
    first = np.min([draws.min(axis=0) for draws in sets], axis=0)
    last = np.max([draws.max(axis=0) for draws in sets], axis=0)
    return np.stack([np.maximum(low - margin, first), np.minimum(high + margin, last)], axis=-1)


def _smoothed(draws: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Part of draws [num, num_dims] in each cell, and centres of cells along each axis."""
    counts, edges = np.histogramdd(draws, NUM_CELLS, ranges)
    # Reflected, so that a posterior that ends at a side of its prior does not fade there.
    part = gaussian_filter(counts / len(draws), SMOOTHING, mode="reflect")
    return part, [(edge[1:] + edge[:-1]) / 2 for edge in edges]


def _marginal(axes: Axes, draws: np.ndarray, limits: np.ndarray, colour: str) -> None:
    part, (centre,) = _smoothed(draws[:, None], limits[None])
    height = part / part.max()
    axes.plot(centre, height, color=colour, linewidth=1.8)
    axes.fill_between(centre, height, color=colour, alpha=0.15, linewidth=0)


def _contours(axes: Axes, draws: np.ndarray, ranges: np.ndarray, colour: str) -> None:
    part, centres = _smoothed(draws, ranges)
    # A frame of nothing closes contours that reach the end of the draws.
    part = np.pad(part, 1)
    x, y = (np.pad(c, 1, constant_values=(2 * c[0] - c[1], 2 * c[-1] - c[-2])) for c in centres)
    outer, inner = _density_that_holds(part, (0.95, 0.68))
    axes.contourf(x, y, part.T, [outer, inner], colors=[colour], alpha=0.25)
    axes.contourf(x, y, part.T, [inner, 2 * part.max()], colors=[colour], alpha=0.55)
    axes.contour(x, y, part.T, [outer, inner], colors=[colour], linewidths=1.2)


def _density_that_holds(part: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Densities above which cells hold these parts of all draws."""
    falling = np.sort(part.ravel())[::-1]
    held = np.cumsum(falling) / falling.sum()
    return falling[np.searchsorted(held, levels)]


def _dress_corner(
    axes: Axes, i: int, j: int, names: Sequence[str], ranges: np.ndarray, truth: np.ndarray | None
) -> None:
    """Limits, ticks and labels of the panel of parameter j against parameter i."""
    margin = 0.05 * np.diff(ranges, axis=1) * [-1, 1]
    if truth is not None:
        ranges = np.stack([np.minimum(ranges[:, 0], truth), np.maximum(ranges[:, 1], truth)], -1)
    limits, style = ranges + margin, {"color": TRUTH, "linewidth": 1.1, "linestyle": "--"}
    axes.set_xlim(limits[j])
    axes.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.tick_params(labelsize=10.5, labelbottom=i == len(names) - 1, labelleft=0 == j < i)
    axes.tick_params(axis="x", rotation=45)
    if i == j:
        axes.set_ylim(0, 1.12)
        axes.set_yticks([])
    else:
        axes.set_ylim(limits[i])
        axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    if truth is not None:
        axes.axvline(truth[j], **style)
        if i != j:
            axes.axhline(truth[i], **style)
    if i == len(names) - 1:
        axes.set_xlabel(names[j], fontsize=13)
    if j == 0 < i:
        axes.set_ylabel(names[i], fontsize=13)
