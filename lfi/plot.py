"""Figures of posteriors, of their training, and of whether they deserve belief."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from lfi.arguments import checked_names, checked_summaries
from lfi.corner import COLOURS, TRUTH, corner_figure
from lfi.diagnostics.coverage import Coverage, binomial_band
from lfi.diagnostics.tarp import TarpCoverage

__all__ = ["corner_figure", "coverage_figure", "loss_figure", "rank_figure"]


def coverage_figure(
    results: Coverage | TarpCoverage | Sequence[Coverage | TarpCoverage],
    names: Sequence[str] | None = None,
) -> Figure:
    """How often regions hold the truth against how often they claim to, a panel for each result.

    An exact posterior follows the diagonal and leaves the grey band at one level in twenty.
    Below the diagonal a posterior claims to know too much.

    Args:
        results: From `expected_coverage` or `tarp_coverage`, one or several.
        names: Of the parameters; theta_0, theta_1, ... by default.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If there are no results, or names are not as many as parameters.
    """
    results = [results] if hasattr(results, "levels") else list(results)
    checks.require(len(results) > 0, "results", "hold a result", results)
    figure = Figure(figsize=(0.6 + 4.4 * len(results), 5.3), layout="constrained")
    panels = np.ravel(figure.subplots(1, len(results), sharey=True, squeeze=False))
    for number, (axes, result) in enumerate(zip(panels, results, strict=True)):
        axes.fill_between(result.levels, result.low, result.high, color="0.88", label="95 % band")
        axes.plot([0, 1], [0, 1], color="0.4", linewidth=0.9, linestyle="--")
        _coverage_lines(axes, result, names)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("probability claimed", fontsize=12)
        axes.legend(fontsize=9.5, loc="upper left", frameon=False)
        _dress(axes)
        if number == 0:
            axes.set_ylabel("part of truths inside", fontsize=12)
    return figure


def rank_figure(
    ranks: TensorLike,
    num_samples: int,
    names: Sequence[str] | None = None,
    num_bins: int | None = None,
) -> Figure:
    """Histograms of the ranks of true parameters, which are flat for an exact posterior.

    The grey band holds 19 of 20 bars of an exact posterior.

    Args:
        ranks: From `sbc_ranks`, shape [num_obs, num_parameters].
        num_samples: Draws that they are ranks among.
        names: Of the parameters; theta_0, theta_1, ... by default.
        num_bins: Bars; by default so many that each holds 20 ranks or more, up to 20.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If ranks do not lie between 0 and `num_samples`, or shapes do not fit.
    """
    ranks = checked_summaries(ranks, "ranks")
    checks.positive_integers(num_samples=num_samples)
    checks.in_range(ranks, "ranks", 0, num_samples)
    num_obs, num = ranks.shape
    num_bins = max(2, min(20, num_obs // 20)) if num_bins is None else num_bins
    checks.positive_integers(num_bins=num_bins)
    names = checked_names(names, num, "theta")
    # Bars of whole ranks, so that none holds more of them than the band knows of.
    edges = np.unique(np.round(np.linspace(0, num_samples + 1, num_bins + 1)))
    low, high = binomial_band(np.diff(edges) / (num_samples + 1), num_obs)
    columns = min(num, 4)
    rows = -(-num // columns)
    figure = Figure(figsize=(0.8 + 3.0 * columns, 0.6 + 2.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    counts = np.array([np.histogram(column, edges)[0] for column in ranks.T])
    for number, (axes, name, bars) in enumerate(zip(panels, names, counts, strict=False)):
        axes.stairs(num_obs * high, edges, baseline=num_obs * low, fill=True, color="0.85")
        axes.stairs(bars, edges, color=COLOURS[0], linewidth=1.6)
        axes.set(xlim=(0, num_samples + 1), ylim=(0, 1.1 * max(counts.max(), num_obs * high.max())))
        axes.set_title(name, fontsize=12)
        _dress(axes)
        # The lowest of its column, which need not be in the lowest row.
        axes.tick_params(labelbottom=number + columns >= num)
    for axes in panels[num:]:
        axes.set_axis_off()
    figure.supxlabel(f"rank of the truth among {num_samples} draws", fontsize=12)
    figure.supylabel("observations", fontsize=12)
    return figure


def loss_figure(
    histories: Sequence[Mapping[str, Sequence[float]]],
    label: str = "loss, minus log density (nats)",
) -> Figure:
    """Loss of each member of an ensemble while it was trained, and where it was best.

    Args:
        histories: `Ensemble.histories`, or `history` of what `fit` of Keras returns: for each
            member a dictionary with "loss" and, where a part was held out, "val_loss".
        label: Of the axis of losses.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If there are none, or one has no "loss".
    """
    checks.require(len(histories) > 0, "histories", "hold a history", histories)
    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, history in enumerate(histories):
        checks.require("loss" in history, "histories", 'have a "loss" each', sorted(history))
        colour = COLOURS[number % len(COLOURS)]
        epochs = np.arange(1, len(history["loss"]) + 1)
        axes.plot(epochs, history["loss"], color=colour, linewidth=1.0, alpha=0.55)
        held = np.asarray(history.get("val_loss", ()))
        if held.size:
            axes.plot(epochs, held, color=colour, linewidth=1.8)
            best = int(np.argmin(held))
            axes.plot(epochs[best], held[best], "o", color=colour, markersize=6)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(histories))]
    lines = [Line2D([], [], color=colour, linewidth=1.8) for colour in colours]
    lines += [Line2D([], [], color="0.3", linewidth=width) for width in (1.0, 1.8)]
    lines.append(Line2D([], [], color="0.3", marker="o", linestyle="none"))
    members = [f"member {number}" for number in range(len(histories))]
    labels = [*members, "trained on", "held out", "best"]
    axes.legend(lines, labels, fontsize=10, frameon=False, ncols=2)
    # The first epochs are far above all others, and would hide what matters.
    axes.set_ylim(*_range_of_losses(histories))
    axes.set_xlabel("epoch", fontsize=12)
    axes.set_ylabel(label, fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _dress(axes)
    return figure


def _coverage_lines(
    axes: Axes, result: Coverage | TarpCoverage, names: Sequence[str] | None
) -> None:
    if isinstance(result, TarpCoverage):
        text = f"ATC {result.atc:+.3f}, p = {result.p_value:.2g}"
        axes.plot(result.levels, result.coverage, color=COLOURS[0], linewidth=1.8, label=text)
        axes.set_title("balls around random points (TARP)", fontsize=12)
        return
    names = checked_names(names, result.coverage.shape[1], "theta")
    for number, (name, line) in enumerate(zip(names, result.coverage.T, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(result.levels, line, color=colour, linewidth=1.8, label=name)
    if result.joint is not None:
        style = {"color": TRUTH, "linewidth": 1.8, "linestyle": ":"}
        axes.plot(result.levels, result.joint, label="highest density", **style)
    axes.set_title("central intervals", fontsize=12)


def _dress(axes: Axes) -> None:
    axes.tick_params(labelsize=10.5)
    axes.grid(alpha=0.25)


def _range_of_losses(histories: Sequence[Mapping[str, Sequence[float]]]) -> tuple[float, float]:
    """From the lowest loss to what nine tenths of epochs are below, with a margin."""
    every = [
        history[key] for history in histories for key in ("loss", "val_loss") if key in history
    ]
    losses = np.concatenate([np.asarray(part, np.float64) for part in every])
    losses = losses[np.isfinite(losses)]
    low, high = np.min(losses, initial=np.inf), np.quantile(losses, 0.95)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + 2 * margin
