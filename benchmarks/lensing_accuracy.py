"""Lensing maps beside theory: `python -m benchmarks.lensing_accuracy`.

Prints the tables of docs/lensing.md and draws its figures. Maps are kept in a folder as they are
made, so that an interrupted run goes on; 100 maps of 128**3 particles, raw and sharpened, take
most of an hour on two cores.
"""

import argparse
import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import flowpm_ext as fpm
from flowpm_ext.cosmology import angular_cl, background, power, probes, redshift
from flowpm_ext.fields import resample_white_noise
from flowpm_ext.lensing import LensPlanes, born, convergence_maps, light_cone, multiplane
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.pm import Sharpening, fit_sharpening
from flowpm_ext.stats import angular_power, moments, peak_counts

COSMO = fpm.Planck15()
NZ = [redshift.delta_nz(1.0)]
BOX, FIELD_DEG, NUM_PIXELS = 205.0, 5.0, 128
# Found by fit_sharpening(COSMO, 64, 102.5, k_max=1.5, force_mesh_factor=2).
SHARPENING = Sharpening(alpha=0.00387, k_long=0.506, k_short=2.934, exponent=-2.06)
ELL_EDGES = np.array([150, 250, 350, 450, 550, 650, 700, 800, 1000, 1300, 1700, 2200.0])
WIDE_EDGES = np.array([150, 350, 700, 1000, 2200.0])
PEAK_HEIGHT = 0.05  # convergence
FINE_PIXELS, NUM_FINE, NUM_FINEST = 512, 12, 2


class Simulated(NamedTuple):
    """Maps of one kind of simulation."""

    name: str
    mesh_shape: int
    force_mesh_factor: int
    sharpening: Sharpening | None

    @property
    def cell(self) -> float:
        """Side of a cell of the force (Mpc/h)."""
        return BOX / self.mesh_shape / self.force_mesh_factor

    def planes(self, seed: int, is_resampled: bool = False) -> LensPlanes:
        """Lens planes to z = 1."""
        n, k = self.mesh_shape, np.geomspace(1e-3, 30, 400)
        table = (k, power.linear_matter_power(COSMO, k).numpy())
        white = None
        if is_resampled:  # the same structure on every mesh
            white = resample_white_noise(LocalMesh(128).white_noise(seed), n)
        field = fpm.linear_field(n, BOX, table, seed=seed, white_noise=white)
        far = float(background.radial_comoving_distance(COSMO, 0.5))
        return light_cone(
            COSMO, field, BOX, int(np.ceil(far / BOX)), seed=seed,
            force_mesh_factor=self.force_mesh_factor, sharpening=self.sharpening,
        )  # fmt: skip

    def coarse(self, seed: int) -> np.ndarray:
        """A map of 128 pixels."""
        return born(COSMO, self.planes(seed), NZ, FIELD_DEG, NUM_PIXELS).numpy()[0]

    def fine(self, seed: int) -> np.ndarray:
        """A map of 512 pixels, of the same sky for all meshes."""
        return born(COSMO, self.planes(seed, True), NZ, FIELD_DEG, FINE_PIXELS).numpy()[0]


def kept(path: pathlib.Path, make: Callable[[int], np.ndarray], num: int) -> np.ndarray:
    """Maps [num, ny, nx, 1] of seeds 0, 1, ..., of which those in the file are not made again."""
    maps = list(np.load(path)) if path.exists() else []
    for seed in tqdm(range(len(maps), num), desc=path.stem, unit="map", leave=False):
        maps.append(make(seed))
        np.save(path, np.array(maps))
    return np.array(maps[:num])


def over_theory(maps: np.ndarray, edges: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Multipoles, mean power over that of halofit, and its standard error."""
    edges = ELL_EDGES if edges is None else edges
    found = angular_power(maps, 60 * FIELD_DEG / maps.shape[1], edges)
    knots = np.geomspace(30, 4e4, 400)
    theory = angular_cl.angular_cl(COSMO, knots, [probes.WeakLensing(NZ)]).numpy()[0]
    # Of the same modes: a spectrum is steep over a bin.
    frequency = 2 * np.pi * np.fft.fftfreq(maps.shape[1], np.deg2rad(FIELD_DEG) / maps.shape[1])
    ell = np.hypot(frequency[:, None], frequency).ravel()
    of_modes, bins = np.interp(ell, knots, theory), np.digitize(ell, edges)
    expected = [np.mean(of_modes[bins == i]) for i in range(1, len(edges))]
    ratio = found.cl[:, 0] / np.array(expected)
    return found.ell.numpy(), np.mean(ratio, 0), np.std(ratio, 0) / np.sqrt(len(maps))


def of_theory(method: str, num: int) -> np.ndarray:
    """Maps drawn from theory."""
    batch = 100
    parts = [
        convergence_maps(COSMO, NZ, FIELD_DEG, NUM_PIXELS, method, batch, seed)
        for seed in range(num // batch)
    ]
    return np.concatenate(parts)


def bent_over_straight(num: int) -> np.ndarray:
    """Power along bent rays over that along straight ones, for each bin of ell."""
    bent, straight = [], []
    for seed in range(num):
        planes = Simulated("", 128, 2, None).planes(seed)
        maps = multiplane(COSMO, planes, NZ, FIELD_DEG, NUM_PIXELS).convergence
        bent.append(maps[0])
        straight.append(born(COSMO, planes, NZ, FIELD_DEG, NUM_PIXELS)[0])
    pixel = 60 * FIELD_DEG / NUM_PIXELS
    both = [angular_power(np.array(maps), pixel, WIDE_EDGES).cl for maps in (bent, straight)]
    return np.mean(both[0], axis=0)[0] / np.mean(both[1], axis=0)[0]


def draw_power(curves: dict[str, tuple[np.ndarray, ...]], path: pathlib.Path) -> None:
    """Ratios of power to theory."""
    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axis.axhspan(0.9, 1.1, color="0.93")
    axis.axhline(1, color="0.6", lw=0.8)
    for number, (name, (ell, ratio, error)) in enumerate(curves.items()):
        axis.errorbar(ell * 1.012**number, ratio, error, fmt="o-", ms=3.5, lw=1, label=name)
    axis.set(xscale="log", xlabel=r"multipole $\ell$", ylim=(0.45, 1.2),
             ylabel=r"mean $C_\ell$ of maps / halofit")  # fmt: skip
    axis.set_xticks([200, 500, 1000, 2000], ["200", "500", "1000", "2000"])
    axis.minorticks_off()
    axis.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_resolution(maps: dict[Simulated, np.ndarray], path: pathlib.Path) -> None:
    """Power, kurtosis and peaks against the sides of cells and pixels."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    edges = np.geomspace(150, 8000, 15)
    colors: dict[float, str] = {}
    for kind, fine in maps.items():
        is_sharp = kind.sharpening is not None
        color = colors.setdefault(kind.cell, f"C{len(colors)}")
        style = {"color": color, "ls": "-" if is_sharp else "--", "marker": "o", "ms": 3}
        label = f"cell {kind.cell:.1f} Mpc/h" + (", sharpened" if is_sharp else "")
        ell, ratio, _ = over_theory(fine, edges)
        axes[0].plot(ell, ratio, **style)
        rows = np.array(pixel_statistics(fine))
        axes[1].errorbar(rows[:, 0], rows[:, 1], rows[:, 2], **style)
        axes[2].errorbar(rows[:, 0], rows[:, 3], rows[:, 4], **style, label=label)
    axes[0].set(xlabel=r"multipole $\ell$", ylabel=r"$C_\ell$ / halofit", ylim=(0, 1.3))
    axes[0].axhline(1, color="0.6", lw=0.8)
    axes[2].legend(frameon=False, fontsize=8)
    axes[1].set(xlabel="pixel (arcmin)", ylabel="excess kurtosis of the convergence")
    axes[2].set(
        xlabel="pixel (arcmin)", ylabel=rf"peaks with $\kappa$ > {PEAK_HEIGHT} (1 / deg$^2$)",
        yscale="symlog",
    )  # fmt: skip
    ticks = [[200, 500, 1000, 2000, 5000]] + 2 * [[0.6, 1.2, 2.3, 4.7]]
    for axis, places in zip(axes, ticks, strict=True):
        axis.set_xscale("log")
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def pixel_statistics(fine: np.ndarray) -> list[tuple[float, ...]]:
    """For each side of a pixel (arcmin): kurtosis, its error, peaks per deg**2, their error."""
    rows = []
    for factor in (1, 2, 4, 8):
        n = FINE_PIXELS // factor
        maps = fine.reshape(len(fine), n, factor, n, factor, 1).mean(axis=(2, 4))
        kurtosis = moments(maps).kurtosis.numpy()[:, 0]
        peaks = peak_counts(maps, [PEAK_HEIGHT, 10.0]).numpy()[:, 0, 0] / FIELD_DEG**2
        spread = [x for v in (kurtosis, peaks) for x in (v.mean(), v.std() / np.sqrt(len(v)))]
        rows.append((60 * FIELD_DEG / n, *spread))
    return rows


@functools.cache
def fitted(mesh_shape: int, force_mesh_factor: int) -> Sharpening:
    """The sharpening for a mesh, fitted in a box of half the side with cells as large."""
    fit = fit_sharpening(COSMO, mesh_shape // 2, BOX / 2, force_mesh_factor=force_mesh_factor)
    return fit.sharpening


def main() -> None:
    """Make what is missing, and print and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("lensing_accuracy"))
    parser.add_argument("--figures", type=pathlib.Path, default=pathlib.Path("docs/images"))
    parser.add_argument("--maps", type=int, default=100, help="of each simulation")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    tf.get_logger().setLevel("ERROR")
    raw = Simulated("particle mesh", 128, 2, None)
    sharp = Simulated("particle mesh, sharpened", 128, 2, SHARPENING)
    curves = {}
    for file, kind in (("raw", raw), ("sharpened", sharp)):
        curves[kind.name] = over_theory(
            kept(options.folder / f"{file}.npy", kind.coarse, options.maps)
        )
    for method in ("gaussian", "lognormal"):
        curves[method] = over_theory(of_theory(method, 2000))
    print("| ell | " + " | ".join(curves) + " |\n|---|" + "---|" * len(curves))
    for i, (low, high) in enumerate(itertools.pairwise(ELL_EDGES)):
        cells = (f"{100 * (r[i] - 1):+.1f} ± {100 * e[i]:.1f} %" for _, r, e in curves.values())
        print(f"| {low:.0f} to {high:.0f} | " + " | ".join(cells) + " |")
    draw_power(curves, options.figures / "lensing_power.png")
    bent = bent_over_straight(12)
    print(f"\nBent over straight rays: {np.array2string(100 * (bent - 1), precision=2)} %")
    kinds = [Simulated("", n, factor, None) for n, factor in ((64, 1), (64, 2), (128, 2))]
    kinds += [
        Simulated("", 64, 1, fitted(64, 1)), Simulated("", 64, 2, fitted(64, 2)),
        sharp._replace(name=""), Simulated("", 256, 2, None),
    ]  # fmt: skip
    maps = {}
    for i, kind in enumerate(kinds):
        num = NUM_FINE if kind.mesh_shape <= 128 else NUM_FINEST
        maps[kind] = kept(options.folder / f"fine_{i}.npy", kind.fine, num)
        for pixel, kurtosis, _, peaks, _ in pixel_statistics(maps[kind]):
            print(f"cell {kind.cell:.1f}, sharpened {kind.sharpening is not None}, "
                  f"pixel {pixel:.2f}: kurtosis {kurtosis:.2f}, peaks {peaks:.2f}")  # fmt: skip
    draw_resolution(maps, options.figures / "lensing_resolution.png")


if __name__ == "__main__":
    main()
