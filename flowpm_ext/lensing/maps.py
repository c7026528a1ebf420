"""Convergence maps of a survey in one call."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.seeds import fold
from flowpm_ext.core.types import TensorLike
from flowpm_ext.cosmology import power
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.redshift.base import RedshiftDistribution
from flowpm_ext.fields import linear_field
from flowpm_ext.lensing.born import born
from flowpm_ext.lensing.lightcone import light_cone
from flowpm_ext.lensing.rays import box_around
from flowpm_ext.lensing.raytracing import multiplane
from flowpm_ext.lensing.sources import check_bins, depth, kernel_peak, sources_of
from flowpm_ext.lensing.theory_maps import gaussian_maps, lognormal_maps, number_of_maps


class FinePixelWarning(UserWarning):
    """Pixels are finer than what the simulation resolves."""


METHODS = ("born", "multiplane", "lognormal", "gaussian")


def convergence_maps(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    field_size_deg: float = 5.0,
    num_pixels: int = 128,
    method: str = "born",
    batch_size: int = 1,
    seed: int | tf.Tensor = 0,
    *,
    ia_bias: TensorLike | None = None,
    shift: TensorLike | None = None,
    mesh_shape: int | None = None,
    box_size: float | None = None,
    num_planes: int | None = None,
    num_boxes: int = 1,
    supersampling: int = 1,
    max_repeats: float = 1.0,
    dtype: tf.DType = tf.float32,
    **simulation: Any,
) -> tf.Tensor:
    """Convergence maps of all tomographic bins, for one cosmology or a batch.

    "born" and "multiplane" run a particle-mesh simulation, and look through it along straight
    or bent rays; "lognormal" and "gaussian" draw maps from the theory C_ell in a hundredth of
    the time. An eager call compiles itself once for each shape. Differentiable with respect to
    the cosmology and n(z).

    Args:
        cosmo: Cosmology, or a batch: one map for each.
        nz: n(z) of each bin; `delta_nz` for sources at one redshift.
        field_size_deg: Side of the field (degrees).
        num_pixels: Pixels along a side.
        method: "born", "multiplane", "lognormal" or "gaussian".
        batch_size: Number of maps; that of the cosmologies where they are a batch.
        seed: An integer, or a stateless seed of shape [2].
        ia_bias: Intrinsic alignments, as for `WeakLensing`.
        shift: Of lognormal maps, as for `lognormal_maps`.
        mesh_shape: Particles along a side of the simulated box, 64 by default.
        box_size: Side of the box (Mpc/h); by default the least that the field fits into at the
            distance of the last sources.
        num_planes: Lens planes; by default as many as reach the sources. To be given where
            nothing is known of the cosmology because a graph is being built.
        num_boxes: Independent boxes for each light cone, before structure repeats.
        supersampling: Points along the side of a pixel, whose mean it holds; see `born`.
        max_repeats: How often the side of a box may fit into the field, where sources are behind.
        dtype: Of the simulation and the maps, float32 or float64.
        **simulation: Options of `light_cone`: stages, integrator, force_mesh_factor,
            sharpening, ... Without a sharpening, pixels finer than a cell of the force where
            lensing is strongest raise a `FinePixelWarning`.

    Returns:
        Convergence, shape [batch_size, num_pixels, num_pixels, num_bins].

    Raises:
        ValueError: If an option is unknown or does not fit the method, batches do not fit, or the
            field does not fit into the box.
        TypeError: If `cosmo` is no Cosmology, or a bin no redshift distribution.

    References:
        Lanzieri et al. 2023, arXiv:2305.07531, for maps of differentiable simulations.
    """
    require_cosmology(cosmo)
    check_bins(nz)
    checks.one_of(method, "method", METHODS)
    checks.positive(field_size_deg, "field_size_deg")
    geometry = {"mesh_shape": mesh_shape, "box_size": box_size, "num_planes": num_planes}
    _require_fitting(method, {"shift": shift}, geometry | simulation)
    mesh_shape = mesh_shape or 64
    checks.positive_integers(num_pixels=num_pixels, batch_size=batch_size, mesh_shape=mesh_shape)
    if method == "gaussian":
        return gaussian_maps(
            cosmo, nz, field_size_deg, num_pixels, batch_size, seed, ia_bias=ia_bias, dtype=dtype
        )
    if method == "lognormal":
        return lognormal_maps(
            cosmo, nz, field_size_deg, num_pixels, batch_size, seed,
            shift=shift, ia_bias=ia_bias, dtype=dtype,
        )  # fmt: skip
    size = number_of_maps(cosmo, batch_size)
    box_size, num_planes = _geometry(
        cosmo, nz, box_size, num_planes, field_size_deg=field_size_deg, max_repeats=max_repeats,
        num_slabs=simulation.get("num_slabs", 1),
    )  # fmt: skip
    if simulation.get("sharpening") is None:
        cell = box_size / (mesh_shape * simulation.get("force_mesh_factor", 1))
        _warn_of_fine_pixels(cosmo, nz, np.deg2rad(field_size_deg) / num_pixels, cell)
    field = linear_field(
        mesh_shape, box_size, lambda k: _spectra(cosmo, k, num_boxes), size * num_boxes,
        fold(seed, 0), dtype=dtype,
    )  # fmt: skip
    planes = light_cone(
        cosmo, field, box_size, num_planes, num_boxes=num_boxes, seed=fold(seed, 1), **simulation
    )
    options = {"supersampling": supersampling, "max_repeats": max_repeats, "ia_bias": ia_bias}
    if method == "multiplane":
        return multiplane(cosmo, planes, nz, field_size_deg, num_pixels, **options).convergence
    return born(cosmo, planes, nz, field_size_deg, num_pixels, **options)


def _require_fitting(
    method: str, of_lognormal: dict[str, Any], of_simulation: dict[str, Any]
) -> None:
    """Refuse options that the method has no use for."""
    served = ((of_lognormal, ("lognormal",)), (of_simulation, ("born", "multiplane")))
    for options, methods in served:
        for name, value in options.items():
            rule = f'be left out with method="{method}"'
            checks.require(value is None or method in methods, name, rule, value)


def _geometry(
    cosmo: Cosmology,
    nz: Sequence[RedshiftDistribution],
    box_size: float | None,
    num_planes: int | None,
    **field: Any,
) -> tuple[float, int]:
    """Side of the box (Mpc/h) and number of planes."""
    if box_size is not None:
        checks.positive(box_size, "box_size")
    is_given = bool(box_size and num_planes)
    far = None if is_given else depth(sources_of(cosmo, nz))
    checks.require(
        is_given or far is not None, "num_planes",
        "be given, with `box_size`, where nothing is known of the cosmology", num_planes,
    )  # fmt: skip
    return box_around(far, box_size=box_size, num_planes=num_planes, **field)


def _warn_of_fine_pixels(
    cosmo: Cosmology, nz: Sequence[RedshiftDistribution], pixel: float, cell: float
) -> None:
    """Say where maps are smoother than their pixels (radians), for cells of the force (Mpc/h)."""
    for number, sources in enumerate(sources_of(cosmo, nz)):
        peak = kernel_peak(sources)
        if peak is not None and pixel * peak < cell:
            warnings.warn(
                f"A pixel of {np.rad2deg(pixel) * 60:.2g} arcmin is finer than a cell of the force "
                f"({cell:.2g} Mpc/h) where nz[{number}] is lensed most: maps are smooth "
                "there. Take a larger `mesh_shape` or `force_mesh_factor`, or make up for it with "
                "`sharpening` (see `flowpm_ext.pm.fit_sharpening`).",
                FinePixelWarning, stacklevel=3,
            )  # fmt: skip
            return


@compiled
def _linear(cosmo: Cosmology, k: tf.Tensor) -> tf.Tensor:
    return power.linear_matter_power(cosmo, k)


def _spectra(cosmo: Cosmology, k: np.ndarray, num_boxes: int) -> tf.Tensor:
    """Linear spectrum at k [nk], with a row for each box where cosmologies are a batch."""
    found = _linear(cosmo, k)
    return tf.repeat(found, num_boxes, axis=0) if found.shape.rank == 2 else found
