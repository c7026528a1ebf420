"""Figure of the power spectrum of a simulation."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from flowpm_ext.snapshot_spectrum import SnapshotSpectrum

MEASURED, LINEAR, HALOFIT = "#1b1b1b", "#3b7dd8", "#d1495b"


def spectrum_figure(spectrum: SnapshotSpectrum) -> Figure:
    """Power measured beside linear theory and halofit, and its ratios to them below.

    Bars are the scatter of Gaussian fields; with a fixed amplitude there are none. Grey marks
    what the mesh of the forces, or that of the measurement, does not resolve: k above half of its
    Nyquist frequency.

    Args:
        spectrum: What to show.

    Returns:
        The figure; `figure.savefig(path)` writes it.
    """
    figure = Figure(figsize=(8.0, 7.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    config = spectrum.config
    figure.suptitle(
        f"Matter power spectrum at a = {spectrum.a:.4g} (z = {1 / spectrum.a - 1:.3g})", fontsize=15
    )
    top.set_title(
        f"box {config.box_size:g} Mpc/h, {config.mesh}³ particles, measured on a {spectrum.mesh}³ "
        f"mesh; {config.integrator}",
        fontsize=11,
    )
    k = np.geomspace(spectrum.k[0] / 1.15, spectrum.k[-1] * 1.08, 300)
    theories = [("linear theory", LINEAR, "--", spectrum.linear)]
    if spectrum.table is None:
        theories.append(("halofit", HALOFIT, "-", spectrum.halofit))
    else:
        theories[0] = ("linear theory (table; no halofit)", *theories[0][1:])
    for name, colour, style, theory in theories:
        top.plot(k, theory(k), color=colour, linestyle=style, linewidth=1.8, label=name)
        _ratio(bottom, spectrum, theory(spectrum.k), colour, name.partition(" (")[0])
    _points(top, spectrum.k, spectrum.power, _scatter(spectrum), MEASURED, "simulation")
    _dress(top, bottom, spectrum, k)
    return figure


def _scatter(spectrum: SnapshotSpectrum) -> np.ndarray:
    """Scatter of the power of Gaussian fields, relative to it."""
    is_free = not spectrum.config.fixed_amplitude
    return is_free * np.sqrt(2 / spectrum.num_modes)


def _points(
    axes: Axes, k: np.ndarray, value: np.ndarray, scatter: np.ndarray, colour: str, label: str
) -> None:
    bars = value * scatter if scatter.any() else None
    style = {"markersize": 4, "linewidth": 1.0, "elinewidth": 0.9, "color": colour}
    axes.errorbar(k, value, bars, fmt="o", label=label, zorder=3, **style)


def _ratio(
    axes: Axes, spectrum: SnapshotSpectrum, theory: np.ndarray, colour: str, name: str
) -> None:
    scatter = _scatter(spectrum)
    _points(axes, spectrum.k, spectrum.power / theory, scatter, colour, f"simulation / {name}")


def _dress(top: Axes, bottom: Axes, spectrum: SnapshotSpectrum, k: np.ndarray) -> None:
    """Scales, labels and legends."""
    top.set(xscale="log", yscale="log", xlim=(k[0], k[-1]))
    top.set_ylabel(r"$P(k)$  [(Mpc/$h$)$^3$]", fontsize=13)
    bottom.set_ylabel("ratio", fontsize=13)
    bottom.set_xlabel(r"$k$  [$h$/Mpc]", fontsize=13)
    bottom.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bottom.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bottom.xaxis.set_minor_formatter(NullFormatter())
    bottom.axhline(1.0, color="0.4", linewidth=0.9, zorder=1)
    ratio = spectrum.power / spectrum.linear(spectrum.k)
    bottom.set_ylim(0.0, min(3.0, max(1.6, 1.15 * float(np.max(ratio)))))
    config = spectrum.config
    # A finer force mesh takes it no further than the Nyquist frequency of the particles.
    resolution = min(config.mesh * min(config.force_mesh_factor, 2), spectrum.mesh)
    half_nyquist = np.pi * resolution / config.box_size / 2
    for axes in (top, bottom):
        axes.axvspan(half_nyquist, k[-1], color="0.92", zorder=0, label="_")
        axes.tick_params(labelsize=11)
        axes.grid(alpha=0.25, which="major")
    top.legend(fontsize=11, loc="lower left", frameon=False)
    bottom.legend(fontsize=11, loc="upper left", frameon=False, ncols=2)
    top.text(
        half_nyquist * 1.03, 0.97, "above half\nof Nyquist", fontsize=9, color="0.35", va="top",
        transform=top.get_xaxis_transform(), clip_on=True,
    )  # fmt: skip
