"""Maps drawn from a learned prior beside those that it was learned from."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flowpm_ext.stats import one_point, peak_counts
from priors.map_prior import MapPrior
from priors.map_spectrum import spectrum
from priors.posterior import sample_prior
from priors.sky_grid import SkyGrid

NUM_DRAWS, NUM_SHOWN = 24, 3


def prior_figure(prior: MapPrior, kappa: np.ndarray, seed: int = 0) -> Figure:
    """Draws, maps, and their spectra, distributions and peaks.

    Args:
        prior: The prior.
        kappa: Maps like those that it was trained on, [num, ny, nx].
        seed: Of the draws.

    Returns:
        The figure.
    """
    shape = kappa.shape[1:]
    score = prior.score(SkyGrid((0.0, 0.0), shape, prior.pixel_size_arcmin))
    draws = sample_prior(score, shape, NUM_DRAWS, seed, method="flow", progress=False).samples
    figure = Figure(figsize=(15, 10.5), layout="constrained")
    grid = figure.add_gridspec(3, NUM_SHOWN)
    limit = float(np.quantile(np.abs(kappa), 0.999))
    for row, (name, maps) in enumerate((("Simulated", kappa), ("Drawn", draws))):
        for column in range(NUM_SHOWN):
            axes = figure.add_subplot(grid[row, column])
            _show(axes, maps[column], prior.pixel_size_arcmin, limit)
            axes.set_title(f"{name} map {column + 1}")
    sets = {"simulated": kappa, "drawn": draws}
    _spectra(figure.add_subplot(grid[2, 0]), sets, prior.pixel_size_arcmin)
    _distributions(figure.add_subplot(grid[2, 1]), sets)
    _peaks(figure.add_subplot(grid[2, 2]), sets)
    return figure


def _show(axes: Axes, kappa: np.ndarray, pixel_size_arcmin: float, limit: float) -> None:
    side = kappa.shape[0] * pixel_size_arcmin / 60
    image = axes.imshow(
        kappa, cmap="magma", vmin=-limit / 3, vmax=limit, origin="lower", extent=(0, side, 0, side)
    )
    axes.set_xlabel("degrees")
    axes.figure.colorbar(image, ax=axes, label=r"convergence $\kappa$", shrink=0.85, extend="both")


def _spectra(axes: Axes, sets: dict[str, np.ndarray], pixel_size_arcmin: float) -> None:
    for name, maps in sets.items():
        ell, cl = spectrum(maps, pixel_size_arcmin)
        axes.loglog(ell, ell * (ell + 1) * cl / (2 * np.pi), label=name)
    axes.set(xlabel=r"multipole $\ell$", ylabel=r"$\ell(\ell+1)C_\ell/2\pi$")
    axes.set_title("Power spectra")
    axes.legend()


def _distributions(axes: Axes, sets: dict[str, np.ndarray]) -> None:
    edges = _range(sets, 60)
    for name, maps in sets.items():
        axes.stairs(np.mean(one_point(maps[..., None], edges)[:, 0], axis=0), edges, label=name)
    axes.set(xlabel=r"convergence $\kappa$", ylabel="density", yscale="log", title="Pixels")
    axes.legend()


def _peaks(axes: Axes, sets: dict[str, np.ndarray]) -> None:
    edges = _range(sets, 30)
    for name, maps in sets.items():
        axes.stairs(np.mean(peak_counts(maps[..., None], edges)[:, 0], axis=0), edges, label=name)
    axes.set(xlabel=r"height $\kappa$", ylabel="peaks in a map", yscale="log", title="Peaks")
    axes.legend()


def _range(sets: dict[str, np.ndarray], num_bins: int) -> np.ndarray:
    """Edges of bins between rare values."""
    both = np.concatenate([maps.ravel() for maps in sets.values()])
    return np.linspace(*np.quantile(both, [1e-4, 0.9999]), num_bins + 1, dtype=np.float32)
