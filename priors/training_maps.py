"""Convergence maps that a prior is learned from: many views through a few simulations."""

import json
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from astropy.io import fits
from tqdm import tqdm

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.core.seeds import fold
from flowpm_ext.cosmology import Cosmology, Planck18, power
from flowpm_ext.cosmology.redshift import RedshiftDistribution, histogram_nz
from flowpm_ext.fields import linear_field
from flowpm_ext.io import claimed_folder
from flowpm_ext.lensing import LensPlanes, MapDataset, born, light_cone, recombined
from flowpm_ext.lensing.rays import box_around
from flowpm_ext.lensing.sources import depth, sources_of
from flowpm_ext.pm import Sharpening
from priors.catalogue import Source, read_nz

TRAINING, HELD_OUT, PLANES = "training.h5", "held_out.h5", "planes_{:03d}.h5"
KIND, KIND_OF_PLANES, FORMAT_VERSION = "convergence maps", "lens planes", 1
FIX = "Make it anew with `python -m priors train --simulate`."
# Cells of the force are .38 Mpc/h: a pixel of an arcminute where lensing of galaxies at z = 1 to
# 1.5 is strongest. For cells of twice that `fit_sharpening(Planck18(), 64, 80.0,
# force_mesh_factor=2)` finds this sharpening, and spectra of maps keep within some 15 % of theory.
SIMULATION = {
    "mesh_shape": 128,
    "box_size": 96.0,
    "force_mesh_factor": 2,
    "sharpening": Sharpening(alpha=0.0032, k_long=0.278, k_short=7.81, exponent=-1.75),
}
VIEWS = 8  # made at once
MAX_REPEATS = 4.0  # boxes side by side in the field at the farthest sources


class TrainingMaps(NamedTuple):
    """Maps without noise, and the side of their pixels."""

    kappa: np.ndarray  # [num, ny, nx], float32, each of mean zero
    pixel_size_arcmin: float
    about: dict[str, Any]  # what is known of how they were made


def simulate_training_maps(
    out: str | os.PathLike,
    nz: Source | Sequence,
    *,
    cosmo: Cosmology | None = None,
    num_pixels: int = 128,
    pixel_size_arcmin: float = 1.0,
    num_simulations: int = 20,
    num_held_out: int = 6,
    num_maps: int = 1600,
    seed: int = 0,
    progress: bool = True,
    simulation: Mapping[str, Any] | None = None,
) -> None:
    """Simulate light cones, and look through them many times.

    The lens planes of all simulations are drawn anew for each map, turned and shifted; those
    that were held out serve maps of their own. Pixels hold the mean over their area, maps have the
    mean zero. Planes that are in the folder already are not simulated again.

    Args:
        out: Folder for `training.h5` and `held_out.h5`, and for the planes.
        nz: Redshift distribution of the galaxies: see `priors.catalogue.read_nz`.
        cosmo: Cosmology; Planck18 if None.
        num_pixels: Pixels along a side of a map.
        pixel_size_arcmin: Side of a pixel (arcmin).
        num_simulations: Boxes for training.
        num_held_out: Boxes for maps to test with.
        num_maps: Maps for training; those held out are as many for each box, 64 at the most.
        seed: Of everything that is drawn.
        progress: Whether to show progress bars.
        simulation: Instead of the default, mesh_shape, box_size, force_mesh_factor, sharpening and
            other options of `light_cone`.

    Raises:
        ValueError: If an option cannot be used, or the folder serves another run.
        OSError: If a file cannot be written.

    References:
        Petri, Haiman & May 2016, arXiv:1601.06792, for many views of one simulation.
    """
    checks.positive_integers(
        num_pixels=num_pixels, num_simulations=num_simulations, num_held_out=num_held_out,
        num_maps=num_maps,
    )  # fmt: skip
    checks.positive(pixel_size_arcmin, "pixel_size_arcmin")
    cosmo, options = cosmo or Planck18(), dict(simulation or SIMULATION)
    edges, counts = read_nz(nz)
    bins = [histogram_nz(edges, counts)]
    about = {
        "cosmology": {name: value and float(value) for name, value in vars(cosmo).items()},
        "nz": {"edges": edges.tolist(), "counts": counts.tolist()},
        "simulation": {name: _plain(value) for name, value in options.items()}, "seed": seed,
    }  # fmt: skip
    total = num_simulations + num_held_out
    share = -(-num_maps // num_simulations)
    with claimed_folder(out) as folder:
        files = [folder / PLANES.format(number) for number in range(total)]
        for number, path in enumerate(tqdm(files, "simulations", disable=not progress)):
            if not path.exists():
                planes = _planes(cosmo, bins, options, fold(seed, number))
                _write_planes(path, planes, about)
        parts = (
            (TRAINING, files[:num_simulations], num_maps),
            (HELD_OUT, files[num_simulations:], num_held_out * min(share, 64)),
        )
        for place, (name, paths, num) in enumerate(parts):
            planes = _read_planes(paths, about)
            kappa = _views(
                cosmo, planes, bins, num_pixels, pixel_size_arcmin, num, fold(seed, -1 - place),
                progress,
            )  # fmt: skip
            size = {"pixel_size_arcmin": pixel_size_arcmin, "about": json.dumps(about)}
            hdf5.write(folder / name, KIND, FORMAT_VERSION, {"kappa": (kappa, {})}, size)


def read_maps(source: str | os.PathLike, pixel_size_arcmin: float | None = None) -> TrainingMaps:
    """Convergence maps of a file or a folder.

    Args:
        source: File that `python -m priors train --simulate` wrote; folder that
            `python -m flowpm_ext lightcone` wrote, of whose maps the first tomographic bin is
            read; or a FITS file of images or cubes of one shape, in any of its extensions.
        pixel_size_arcmin: Side of a pixel (arcmin), where the file does not tell.

    Returns:
        The maps, less the mean of each.

    Raises:
        ValueError: If the source cannot be read, holds no maps or some that are not finite, or
            the side of a pixel is not known or another one.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        kappa, size, about = _of_folder(path)
    elif path.suffix.lower() in (".fits", ".fit", ".gz"):
        kappa, size, about = _of_fits(path)
    else:
        with hdf5.opened(path, KIND, FORMAT_VERSION, FIX) as file:
            kappa, size = file["kappa"][:], float(file.attrs["pixel_size_arcmin"])
            about = json.loads(file.attrs["about"])
    checks.finite(kappa, "maps", f"Look at {path}.")
    fix = "Give it: `--pixel-size-arcmin`."
    checks.require(size or pixel_size_arcmin, "pixel_size_arcmin", f"be known of {path}", None, fix)
    if pixel_size_arcmin is not None:
        checks.positive(pixel_size_arcmin, "pixel_size_arcmin")
        same = size is None or abs(size / pixel_size_arcmin - 1) < 1e-3
        checks.require(
            same, "pixel_size_arcmin", f"be that of the maps, {size or 0:.4g}", pixel_size_arcmin
        )
    kappa = kappa - kappa.mean(axis=(1, 2), keepdims=True)
    return TrainingMaps(kappa.astype(np.float32), size or pixel_size_arcmin, about)


def _planes(
    cosmo: Cosmology, nz: Sequence[RedshiftDistribution], options: Mapping[str, Any], seed: Any
) -> LensPlanes:
    """The light cone of one simulation."""
    options = dict(options)
    mesh_shape, box_size = options.pop("mesh_shape"), options.pop("box_size")
    far = depth(sources_of(cosmo, nz))
    _, num_planes = box_around(
        far, box_size=box_size, num_planes=None, field_size_deg=1.0, max_repeats=MAX_REPEATS,
        num_slabs=1,
    )  # fmt: skip
    spectrum = tf.function(lambda k: power.linear_matter_power(cosmo, k), jit_compile=True)
    field = linear_field(mesh_shape, box_size, spectrum, 1, fold(seed, 0))
    return light_cone(cosmo, field, box_size, num_planes, seed=fold(seed, 1), **options)


def _write_planes(path: pathlib.Path, planes: LensPlanes, about: Mapping[str, Any]) -> None:
    # Half precision: an error of 5e-4 of the density, far below its own.
    density = planes.overdensity.numpy()[:, 0].astype(np.float16)
    shape = {name: float(getattr(planes, name)) for name in ("thickness", "side")}
    hdf5.write(
        path, KIND_OF_PLANES, FORMAT_VERSION,
        {"overdensity": (density, {}), "chi": (np.asarray(planes.chi), {})},
        shape | {"about": json.dumps(about)},
    )  # fmt: skip


def _read_planes(paths: Sequence[pathlib.Path], about: Mapping[str, Any]) -> LensPlanes:
    """The planes of several simulations."""
    found = []
    for path in paths:
        with hdf5.opened(path, KIND_OF_PLANES, FORMAT_VERSION, FIX) as file:
            same = json.loads(file.attrs["about"]) == json.loads(json.dumps(about))
            rule, fix = "hold planes of this run", "Choose another folder, or remove it."
            checks.require(same, "out", rule, str(path), fix)
            found.append(file["overdensity"][:])
            chi, shape = file["chi"][:], (file.attrs["thickness"], file.attrs["side"])
    return LensPlanes(np.stack(found, axis=1).astype(np.float32), chi, *shape)


def _views(
    cosmo: Cosmology,
    planes: LensPlanes,
    nz: Sequence[RedshiftDistribution],
    num_pixels: int,
    pixel_size_arcmin: float,
    num: int,
    seed: tf.Tensor,
    progress: bool,
) -> np.ndarray:
    """Maps [num, num_pixels, num_pixels], each of mean zero."""
    side, maps = num_pixels * pixel_size_arcmin / 60, []
    for first in tqdm(range(0, num, VIEWS), "views", disable=not progress):
        drawn = recombined(planes, VIEWS, fold(seed, first))
        kappa = born(
            cosmo, drawn, nz, side, num_pixels, supersampling=2, max_repeats=MAX_REPEATS
        )[..., 0].numpy()  # fmt: skip
        maps.append(kappa - kappa.mean(axis=(1, 2), keepdims=True))
    return np.concatenate(maps)[:num]


def _of_folder(path: pathlib.Path) -> tuple[np.ndarray, float | None, dict[str, Any]]:
    maps = MapDataset(path)
    kappa, _ = maps.read(maps.members())
    return np.asarray(kappa)[..., 0], maps.pixel_size_arcmin, {"folder": str(path.name)}


def _of_fits(path: pathlib.Path) -> tuple[np.ndarray, float | None, dict[str, Any]]:
    found, size = [], None
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("error")  # what astropy warns of is a broken file
            for image in fits.open(stream, lazy_load_hdus=False, memmap=False):
                if image.data is not None and image.is_image and image.data.ndim in (2, 3):
                    sides = image.data.shape[-2:]
                    found.append(np.asarray(image.data, np.float32).reshape(-1, *sides))
                    size = size or _pixel_size(image.header)
    except (OSError, TypeError, ValueError, Warning) as error:
        checks.require(False, "maps", "be a whole FITS file", f"{path} ({error})")
    alike = len({maps.shape[1:] for maps in found}) == 1
    checks.require(alike, "maps", "hold images of one shape", f"{path}, {len(found)} of them")
    return np.concatenate(found), size, {"file": path.name}


def _pixel_size(header: fits.Header) -> float | None:
    """Side of a pixel (arcmin) by the World Coordinate System, where there is one in degrees."""
    step, unit = header.get("CDELT1", header.get("CD1_1")), header.get("CUNIT1", "deg")
    return abs(float(step)) * 60 if step and unit.strip().lower().startswith("deg") else None


def _plain(value: Any) -> Any:
    """A setting as it goes into a file."""
    return {k: float(v) for k, v in vars(value).items()} if isinstance(value, Sharpening) else value
