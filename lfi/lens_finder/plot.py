"""Figures of stamps, and of what a lens finder finds among them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import generator
from lfi.lens_finder.completeness import completeness
from lfi.lens_finder.galaxies import KINDS
from lfi.lens_finder.scores import roc_area, roc_curve, threshold_at
from lfi.lens_finder.stamps import Stamps

PER_KIND = 6  # stamps that are shown
FALSE_RATE = 0.01  # at which completeness is shown
RADIUS, NOISE = [0.5, 0.7, 1.0, 1.3, 1.8], [10, 50, 100, 200, 1000]


def colour_images(stamps: Stamps) -> np.ndarray:
    """Stamps as a screen shows them: red first, faint light next to bright.

    Args:
        stamps: The stamps, in one band or more.

    Returns:
        Numbers in [0, 1], [num, side, side, 3].

    References:
        Lupton et al. 2004, astro-ph/0312483.
    """
    num_bands = stamps.images.shape[-1]
    chosen = np.round(np.linspace(min(num_bands, 3) - 1, 0, 3)).astype(int)
    images = stamps.images[..., chosen]
    # The sky of each band has the same grey, at two levels of a scale of about a hundred.
    sky = np.median(np.abs(images), axis=(0, 1, 2)) / 0.6745
    weight = np.linspace(0.7, 1.4, 3) if num_bands > 1 else np.ones(3)
    images = np.maximum(images * weight / sky.mean(), 0)
    total = images.mean(axis=-1, keepdims=True)
    return np.clip(images / np.maximum(total, 1e-9) * np.arcsinh(total / 3) / 4.5, 0, 1)


def finder_figure(
    stamps: Stamps,
    logits: np.ndarray,
    skies: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    seed: int = 0,
) -> Figure:
    """Stamps of each kind, the ROC with a bootstrap band, completeness, and scores under shift.

    Args:
        stamps: Stamps that were not trained on.
        logits: Their scores, [num].
        skies: Scores and labels of stamps under other skies, by what is shown as their name.
        seed: Of the bootstrap.

    Returns:
        The figure; `figure.savefig(path)` writes it.

    Raises:
        ValueError: If there is not a score for each stamp, or stamps are of one class.
    """
    rule = f"be one for each of {len(stamps)} stamps"
    checks.require(np.shape(logits) == (len(stamps),), "logits", rule, logits)
    figure = Figure(figsize=(13, 7.6 if skies else 7.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    _show_stamps(top, stamps)
    axes = bottom.subplots(1, 3 if skies else 2)
    _show_roc(axes[0], logits, stamps.is_lens, seed)
    _show_completeness(axes[1], stamps, logits)
    if skies:
        _show_skies(axes[2], skies)
    return figure


def _show_stamps(figure: Figure, stamps: Stamps) -> None:
    for row, kind in zip(figure.subplots(len(KINDS), 2 * PER_KIND), range(len(KINDS)), strict=True):
        chosen = stamps[np.flatnonzero(stamps.kind == kind)[: 2 * PER_KIND]]
        images = colour_images(chosen) if len(chosen) else []
        for number, axes in enumerate(row):
            axes.set(xticks=[], yticks=[])
            if number < len(images):
                axes.imshow(images[number], origin="lower")
            else:
                axes.set_visible(number == 0)
        row[0].set_ylabel(KINDS[kind], rotation=0, ha="right", va="center")


def _show_roc(axes: Axes, logits: np.ndarray, is_lens: np.ndarray, seed: int) -> None:
    rates, rng = np.geomspace(1 / np.sum(~is_lens), 1, 60), generator(seed)
    lenses, others = logits[is_lens], logits[~is_lens]
    drawn = []
    for _ in range(50):
        both = [rng.choice(part, len(part)) for part in (lenses, others)]
        labels = np.arange(len(logits)) < len(lenses)
        drawn.append(roc_curve(np.concatenate(both), labels, rates))
    axes.fill_between(rates, *np.quantile(drawn, [0.16, 0.84], axis=0), alpha=0.3, lw=0)
    axes.plot(rates, roc_curve(logits, is_lens, rates))
    axes.set(xscale="log", xlabel="False positive rate", ylabel="True positive rate", ylim=(0, 1),
             title=f"ROC area {roc_area(logits, is_lens):.3f}; 68 % band")  # fmt: skip


def _show_completeness(axes: Axes, stamps: Stamps, logits: np.ndarray) -> None:
    lens = stamps.is_lens
    found = logits[lens] > threshold_at(logits, lens, FALSE_RATE)
    table = completeness(
        found, stamps.einstein_radius[lens], stamps.signal_to_noise[lens], RADIUS, NOISE
    )
    axes.imshow(table.found.T, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(table.found):
        if table.count[i, j]:
            text = f"{value:.2f}\n± {table.error[i, j]:.2f}"
            axes.text(i, j, text, ha="center", va="center", fontsize=8,
                      color="white" if value < 0.6 else "black")  # fmt: skip
    axes.set_xticks(np.arange(len(RADIUS)) - 0.5, RADIUS)
    axes.set_yticks(np.arange(len(NOISE)) - 0.5, NOISE)
    axes.set(xlabel="Einstein radius (arcsec)", ylabel="Signal to noise of the arcs",
             title=f"Completeness at {FALSE_RATE:.0%} false positives")  # fmt: skip


def _show_skies(axes: Axes, skies: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    areas = [roc_area(*pair) for pair in skies.values()]
    axes.barh(list(skies), areas, color=["C0"] + ["C1"] * (len(areas) - 1))
    for number, area in enumerate(areas):
        axes.text(area, number, f" {area:.3f}", va="center")
    axes.set(xlabel="ROC area", xlim=(0.5, 1.1), title="Under another sky")
    axes.invert_yaxis()
