"""What a mass map leaves on disk: maps, figure and numbers, written whole or not at all."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits

from flowpm_ext.version import __version__
from priors import plot, sample_plot, simulated_survey, stacking
from priors.catalogue import Clusters
from priors.mass_mapping import MassMap

MAPS, FIGURE, REPORT = "mass_map.fits", "mass_map.png", "report.json"
SAMPLES_FIGURE, CLUSTERS_FIGURE = "samples.png", "clusters.png"
NUM_PEAKS = 10


def write_products(
    folder: str | os.PathLike,
    mass_map: MassMap,
    config: Mapping[str, Any],
    clusters: Clusters | None = None,
    truth: np.ndarray | None = None,
) -> dict[str, Any]:
    """Maps (FITS), figures (PNG) and report (JSON) of a mass map.

    Args:
        folder: Where to write `mass_map.fits`, `mass_map.png` and `report.json`, with draws
            `samples.png`, with clusters `clusters.png`; see
            `flowpm_ext.io.staged_folder` to have all of them or none.
        mass_map: The map.
        config: What the map was made with, in words and numbers; it goes into the files.
        clusters: Positions to stack on and to mark; those off the map are left out.
        truth: Convergence that a simulated survey was made from, shape [ny, nx].

    Returns:
        The report.

    Raises:
        ValueError: If no cluster lies on the map.
        OSError: If a file cannot be written.
    """
    folder = pathlib.Path(folder)
    marked = None if clusters is None else stacking.on_grid(mass_map.grid, clusters)
    peaks = stacking.find_peaks(mass_map, NUM_PEAKS)
    report = {"version": __version__, "config": dict(config), "survey": _survey(mass_map)}
    if marked is not None:
        report["clusters"] = {"given": clusters.ra.size} | _stack(mass_map, marked)
    report["peaks"] = _peaks(mass_map, peaks, marked)
    if truth is not None:
        report["truth"] = simulated_survey.compare_with_truth(mass_map, truth)
    write_maps(folder / MAPS, mass_map, config, truth)
    figures = {FIGURE: plot.map_figure(mass_map, _title(report), marked, peaks, truth)}
    if len(mass_map.samples):
        figures[SAMPLES_FIGURE] = sample_plot.samples_figure(mass_map, truth)
    if marked is not None:
        names = [entry["id"] for entry in report["clusters"]["apertures"]]
        figures[CLUSTERS_FIGURE] = sample_plot.clusters_figure(mass_map, marked, names)
    about = {"Software": f"flowpm-ext {__version__}"}
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=150 if name == FIGURE else 110, metadata=about)
    (folder / REPORT).write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def write_maps(
    path: str | os.PathLike,
    mass_map: MassMap,
    config: Mapping[str, Any],
    truth: np.ndarray | None = None,
) -> None:
    """FITS file with an extension for each map, all with the same World Coordinate System.

    Args:
        path: File to write.
        mass_map: The map.
        config: What the map was made with; it goes into the header as JSON.
        truth: Convergence that a simulated survey was made from, shape [ny, nx].

    Raises:
        OSError: If the file cannot be written.
    """
    primary = fits.PrimaryHDU()
    primary.header["ORIGIN"] = (f"flowpm-ext {__version__}", "software and its version")
    primary.header["SEED"] = (config.get("seed", 0), "seed of every random draw")
    primary.header["SIGMA_E"] = (mass_map.shear_map.sigma_e, "ellipticity, std of a component")
    primary.header["SOLVITER"] = (mass_map.iterations, "iterations of the solver")
    primary.header["SOLVRES"] = (mass_map.residual, "relative residual of the solver")
    primary.header["CONFIG"] = json.dumps(dict(config))
    maps = {
        "KAPPA_E": mass_map.kappa_e, "KAPPA_B": mass_map.kappa_b, "STD": mass_map.std,
        "GAMMA1": mass_map.shear.real, "GAMMA2": mass_map.shear.imag,
        "NOISE": mass_map.noise_std, "COUNTS": mass_map.counts, "MASK": mass_map.mask,
    }  # fmt: skip
    if truth is not None:
        maps["TRUTH"] = truth
    if len(mass_map.samples):
        maps["SAMPLES"] = mass_map.samples
    stored = {"COUNTS": np.int32, "MASK": np.uint8}
    header = mass_map.wcs.to_header()
    images = [
        fits.ImageHDU(values.astype(stored.get(name, np.float32)), header, name)
        for name, values in maps.items()
    ]
    fits.HDUList([primary, *images]).writeto(path)


def summary(report: Mapping[str, Any]) -> str:
    """The report in a few lines of words.

    Args:
        report: What `write_products` returned.

    Returns:
        Lines of text.
    """
    survey = report["survey"]
    lines = [
        f"{survey['galaxies']} galaxies, {survey['galaxies_per_arcmin2']:.1f} per square "
        f"arcminute; {survey['observed_fraction']:.1%} of {survey['num_pixels']} pixels observed."
    ]
    if survey["iterations"]:
        solved = "Solved" if survey["converged"] else "NOT converged"
        lines[0] += f" {solved} in {survey['iterations']} iterations to {survey['residual']:.0e}."
    if survey["diagnostics"]:
        values = (f"{name} {value:.3g}" for name, value in survey["diagnostics"].items())
        lines.append(f"Chains: {'; '.join(values)}.")
    if "clusters" in report:
        found = report["clusters"]
        lines.append(
            f"Stack on {found['stacked']} of {found['given']} clusters, "
            f"{found['on_observed_pixels']} of them on observed pixels: E {found['kappa_e']:+.4f} "
            f"({found['e_signal_to_noise']:.1f} sigma), B {found['kappa_b']:+.4f} "
            f"({found['b_signal_to_noise']:.1f} sigma); null scatter {found['null_std']:.4f}."
        )
    if report["peaks"]:
        peak = report["peaks"][0]
        nearest = peak.get("nearest_cluster")
        beside = "" if nearest is None else f", {nearest['arcmin']:.1f}' from {nearest['id']}"
        lines.append(
            f"Highest peak: kappa {peak['kappa']:.3f} ({peak['signal_to_noise']:.1f} sigma) at "
            f"RA {peak['ra']:.4f}, Dec {peak['dec']:.4f}{beside}."
        )
    if "truth" in report:
        truth = report["truth"]
        lines.append(
            f"Against the truth: correlation {truth['correlation']:.2f} (Kaiser-Squires smoothed "
            f"{truth['correlation_kaiser_squires_smoothed']:.2f}); rms error "
            f"{truth['rms_error']:.4f} ({truth['rms_error_kaiser_squires_smoothed']:.4f}; an "
            f"empty map {truth['rms_of_truth']:.4f}); {truth['fraction_within_1_std']:.0%} of "
            f"pixels within 1 std, {truth['fraction_within_2_std']:.0%} within 2."
        )
    return "\n".join(lines)


def _survey(mass_map: MassMap) -> dict[str, Any]:
    """What was observed, and how the map was solved for."""
    observed = float(np.mean(mass_map.mask))
    return {
        "galaxies": int(mass_map.counts.sum()),
        "galaxies_per_arcmin2": mass_map.shear_map.galaxies_per_arcmin2,
        "sigma_e": mass_map.shear_map.sigma_e,
        "shape": list(mass_map.grid.shape),
        "num_pixels": mass_map.mask.size,
        "center_ra_dec": list(mass_map.grid.center),
        "observed_fraction": observed,
        "masked_fraction": 1.0 - observed,
        "iterations": mass_map.iterations,
        "residual": mass_map.residual,
        "converged": mass_map.converged,
        "diagnostics": dict(mass_map.diagnostics),
    }


def _stack(mass_map: MassMap, marked: Clusters) -> dict[str, Any]:
    """Means on the clusters in units of their null scatter."""
    found = stacking.stack(mass_map, marked)
    pixels = mass_map.grid.flat_index(marked.ra, marked.dec)
    return {
        "stacked": found.num_clusters,
        "on_observed_pixels": int(np.count_nonzero(mass_map.mask.ravel()[pixels])),
        "kappa_e": found.kappa_e,
        "kappa_b": found.kappa_b,
        "null_std": found.null_std,
        "e_signal_to_noise": found.kappa_e / found.null_std,
        "b_signal_to_noise": found.kappa_b / found.null_std,
        "apertures": _apertures(mass_map, marked),
    }


def _apertures(mass_map: MassMap, marked: Clusters) -> list[dict[str, Any]]:
    """Means around each cluster, the clearest first."""
    found = stacking.aperture_means(mass_map, marked)
    return [
        {
            "id": str(found.name[i]), "kappa": float(found.kappa[i]),
            "signal_to_noise": float(found.signal_to_noise[i]),
        }
        for i in np.argsort(-found.signal_to_noise)
    ]  # fmt: skip


def _peaks(
    mass_map: MassMap, peaks: stacking.Peaks, clusters: Clusters | None
) -> list[dict[str, Any]]:
    """One entry for each peak, with the cluster nearest to it."""
    listed = []
    for i in range(peaks.row.size):
        entry = {
            "ra": float(peaks.ra[i]), "dec": float(peaks.dec[i]),
            "row": int(peaks.row[i]), "column": int(peaks.column[i]),
            "kappa": float(peaks.kappa[i]),
            "signal_to_noise": float(peaks.signal_to_noise[i]),
        }  # fmt: skip
        if clusters is not None:
            row, column = mass_map.grid.pixel_coordinates(clusters.ra, clusters.dec)
            pixels = np.hypot(row - peaks.row[i], column - peaks.column[i])
            nearest = int(np.argmin(pixels))
            entry["nearest_cluster"] = {
                "id": str(clusters.name[nearest]),
                "arcmin": float(pixels[nearest] * mass_map.grid.pixel_size_arcmin),
            }
        listed.append(entry)
    return listed


def _title(report: Mapping[str, Any]) -> str:
    """Title of the figure: how much was seen, and how well the clusters stand out."""
    survey = report["survey"]
    density = survey["galaxies_per_arcmin2"]
    title = f"Mass map of {survey['galaxies']:,} galaxies ({density:.1f} per square arcminute)"
    if "clusters" in report:
        found = report["clusters"]
        title += (
            f"; mean of {found['stacked']} clusters: E {found['e_signal_to_noise']:.1f}$\\sigma$, "
            f"B {found['b_signal_to_noise']:.1f}$\\sigma$"
        )
    return title
