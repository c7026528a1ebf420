"""Which lenses are found."""

from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks


class Completeness(NamedTuple):
    """Part of the lenses that are found, by Einstein radius and signal to noise."""

    radius_edges: np.ndarray
    """Edges of bins in Einstein radius (arcsec), [num_radii + 1]."""
    noise_edges: np.ndarray
    """Edges of bins in signal to noise, [num_levels + 1]."""
    found: np.ndarray
    """Part that is found, [num_radii, num_levels]; NaN where there is no lens."""
    error: np.ndarray
    """Standard error, [num_radii, num_levels]; NaN where there is no lens."""
    count: np.ndarray
    """Lenses, [num_radii, num_levels]."""


def completeness(
    found: np.ndarray,
    einstein_radius: np.ndarray,
    signal_to_noise: np.ndarray,
    radius_edges: np.ndarray,
    noise_edges: np.ndarray,
) -> Completeness:
    """Part of lenses that are found, by Einstein radius and signal to noise of the arcs.

    Args:
        found: Whether each is, bool [num].
        einstein_radius: arcsec, [num].
        signal_to_noise: Of the lensed images, [num].
        radius_edges: Edges of bins (arcsec), increasing, [num_radii + 1].
        noise_edges: Edges of bins, increasing, [num_levels + 1].

    Returns:
        `Completeness`; errors are those of the mean of a Beta(k + 1/2, n - k + 1/2) law.

    Raises:
        ValueError: If lengths differ, or edges do not increase.

    References:
        Lanusse et al. 2018, arXiv:1703.02642, figure 8; Cameron 2011, arXiv:1012.0566 (errors).
    """
    found = np.asarray(found, bool)
    for name, value in {"einstein_radius": einstein_radius, "signal_to_noise": signal_to_noise,
                        }.items():  # fmt: skip
        checks.finite(value, name)
        rule = f"be one for each of {len(found)} lenses"
        checks.require(np.shape(value) == found.shape, name, rule, f"shape {np.shape(value)}")
    edges = [np.asarray(x, np.float64) for x in (radius_edges, noise_edges)]
    for name, value in zip(("radius_edges", "noise_edges"), edges, strict=True):
        checks.increasing(value, name)
    place = np.stack([einstein_radius, signal_to_noise], axis=1)
    count, _ = np.histogramdd(place, edges)
    hits, _ = np.histogramdd(place[found], edges)
    empty = count == 0
    a, b = hits + 0.5, count - hits + 0.5
    error = np.where(empty, np.nan, np.sqrt(a * b / (a + b) ** 2 / (a + b + 1)))
    part = np.where(empty, np.nan, hits / np.maximum(count, 1))
    return Completeness(*edges, part, error, count.astype(int))
