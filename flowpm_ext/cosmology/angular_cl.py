"""Angular power spectra of projected fields, C_ell, in the Limber approximation."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks, units
from flowpm_ext.core.compile import compiled
from flowpm_ext.core.types import TensorLike, cast
from flowpm_ext.cosmology.covariance import (
    gaussian_cl_covariance,
    gaussian_cl_covariance_blocks,
)
from flowpm_ext.cosmology.growth import GrowthTable
from flowpm_ext.cosmology.halofit import Halofit
from flowpm_ext.cosmology.kernels import Kernels
from flowpm_ext.cosmology.line_of_sight import LineOfSight
from flowpm_ext.cosmology.parameters import Cosmology, require_cosmology
from flowpm_ext.cosmology.probes import AbstractProbe
from flowpm_ext.cosmology.spectrum import LinearSpectrum, TabulatedPower

__all__ = [
    "angular_cl",
    "gaussian_cl_covariance",
    "gaussian_cl_covariance_blocks",
    "noise_cl",
    "tracer_pairs",
]


def angular_cl(
    cosmo: Cosmology,
    ell: TensorLike,
    probes: Sequence[AbstractProbe],
    transfer: str | TabulatedPower = "eisenstein_hu",
    nonlinear: str = "halofit",
    effective_w: bool = True,
) -> tf.Tensor:
    """Auto and cross spectra of all tracers of some probes.

    C_ij(ell) = int dchi q_i(chi) q_j(chi) / f_K(chi)**2 P((ell + 1/2) / f_K(chi), a(chi)), by
    Gauss-Legendre quadrature in redshift on panels that follow the n(z). An eager call
    compiles itself once for each set of shapes.

    Args:
        cosmo: Cosmology, or a batch, with `sigma8` or `A_s`.
        ell: Multipoles, shape [num_ell].
        probes: Probes, whose tracers are numbered in the order they come.
        transfer: Transfer function or table, as for `power.linear_matter_power`.
        nonlinear: "halofit" or "linear".
        effective_w: As for `power.nonlinear_matter_power`.

    Returns:
        Spectra, shape [batch..., num_cl, num_ell], of the pairs (0, 0), (0, 1), ..., (1, 1), ...

    Raises:
        ValueError: If `ell` is not positive or not of one axis, an option is unknown, or
            there is no probe.
        TypeError: If `probes` holds anything else.

    References:
        Limber 1953, ApJ 117, 134; LoVerde & Afshordi 2008, arXiv:0809.5112 (ell + 1/2);
        Chisari et al. 2019, arXiv:1812.05995.
    """
    require_cosmology(cosmo)
    _check_probes(probes)
    checks.one_of(nonlinear, "nonlinear", ("halofit", "linear"))
    cosmo = cosmo.tensors()
    return _angular_cl(
        cosmo, _multipoles(ell, cosmo.dtype), tuple(probes), transfer, nonlinear, effective_w
    )


def noise_cl(ell: TensorLike, probes: Sequence[AbstractProbe]) -> tf.Tensor:
    """White noise in the spectra of `angular_cl`: shape noise, shot noise, and none in crosses.

    Args:
        ell: Multipoles, shape [num_ell].
        probes: Probes, in the order of `angular_cl`.

    Returns:
        Noise spectra (steradian), shape [num_cl, num_ell].

    Raises:
        ValueError: If `ell` is not positive or not of one axis, or there is no probe.
        TypeError: If `probes` holds anything else.

    References:
        Kaiser 1992, ApJ 388, 272.
    """
    _check_probes(probes)
    is_tensor = isinstance(ell, tf.Tensor)
    ell = _multipoles(ell, ell.dtype if is_tensor else tf.float64)
    noise = tf.linalg.diag(tf.concat([probe.noise(ell.dtype) for probe in probes], axis=0))
    rows, columns = tracer_pairs(noise.shape[0])
    pairs = tf.gather_nd(noise, np.stack([rows, columns], axis=1))  # [num_cl]
    return pairs[:, None] * tf.ones_like(ell)


def tracer_pairs(num_tracers: int) -> tuple[np.ndarray, np.ndarray]:
    """The tracers i <= j of each spectrum, in the order of `angular_cl`.

    Args:
        num_tracers: Number of tracers of all probes.

    Returns:
        Indices i and j, int [num_cl] each.
    """
    return np.triu_indices(num_tracers)


@compiled
def _angular_cl(
    cosmo: Cosmology,
    ell: tf.Tensor,
    probes: tuple[AbstractProbe, ...],
    transfer: str | TabulatedPower,
    nonlinear: str,
    effective_w: bool,
) -> tf.Tensor:
    p = cosmo.columns()
    growth = GrowthTable.of(p)
    linear = LinearSpectrum.of(p, growth, transfer)
    sight = _line_of_sight(p, growth, probes)
    k = (ell + 0.5) / sight.transverse[..., None]  # [..., n, num_ell]
    if nonlinear == "halofit":
        power = Halofit.of(linear, growth, sight.a, effective_w)(k)
    else:
        power = growth.factor(sight.a)[..., None] ** 2 * linear.on_grid(k)
    kernels = _together([probe.kernels(sight, ell) for probe in probes], ell.shape[0])
    power *= sight.limber_measure[..., None]
    spectra = _project(kernels, power)  # [..., tracer, tracer, num_ell]
    num_tracers = spectra.shape[-2]
    rows, columns = tracer_pairs(num_tracers)
    flat = tf.reshape(spectra, [*spectra.shape[:-3], num_tracers**2, spectra.shape[-1]])
    return tf.gather(flat, rows * num_tracers + columns, axis=-2)


def _project(kernels: Kernels, power: tf.Tensor) -> tf.Tensor:
    """Limber integrals of all pairs of tracers over power [..., n, num_ell].

    Functions of distance alone need one matrix product for all pairs and multipoles; the
    functions of ell multiply the result. Only kernels that mix the two pay for it.
    """
    owner = np.eye(max(kernels.owner) + 1)[list(kernels.owner)]  # [rows, tracers]
    if kernels.rest is None:
        radial, size = kernels.radial, len(kernels.owner)
        pairs = radial[..., :, None, :] * radial[..., None, :, :]  # [..., rows, rows, n]
        pairs = tf.reshape(pairs, [*pairs.shape[:-3], size**2, pairs.shape[-1]])
        spectra = pairs @ power  # either may be without the batch of the other
        spectra = tf.reshape(spectra, [*spectra.shape[:-2], size, size, power.shape[-1]])
        spectra *= kernels.factor[:, None, :] * kernels.factor
        if size == owner.shape[1]:
            return spectra
        owner = tf.constant(owner, power.dtype)
        return tf.einsum("...rsl,rt,su->...tul", spectra, owner, owner)
    rows = kernels.radial[..., None, :] * kernels.factor[:, :, None]
    owner = tf.constant(owner, power.dtype)
    full = kernels.rest + tf.einsum("...rln,rt->...tln", rows, owner)
    weighted = full * tf.linalg.matrix_transpose(power)[..., None, :, :]
    return tf.einsum("...tln,...uln->...tul", full, weighted)


def _together(kernels: Sequence[Kernels], num_ell: int) -> Kernels:
    """Kernels of several probes, with their tracers numbered on."""
    owner, rests, count = [], [], 0
    for each in kernels:
        num_tracers = max(each.owner) + 1
        owner += [count + tracer for tracer in each.owner]
        count += num_tracers
        shape = [*each.radial.shape[:-2], num_tracers, num_ell, each.radial.shape[-1]]
        rests.append(tf.zeros(shape, each.radial.dtype) if each.rest is None else each.rest)
    return Kernels(
        tf.concat([each.radial for each in kernels], axis=-2),
        tf.concat([each.factor for each in kernels], axis=0),
        tuple(owner),
        tf.concat(rests, axis=-3) if any(each.rest is not None for each in kernels) else None,
    )


def _line_of_sight(
    p: Cosmology, growth: GrowthTable, probes: Sequence[AbstractProbe]
) -> LineOfSight:
    """Nodes that suit all probes."""
    dtype = p.h.dtype
    bends = [edge for probe in probes for edge in probe.bends(dtype)]
    sources = [edge for probe in probes for edge in probe.sources(dtype)]
    planes = [plane for probe in probes for plane in probe.planes(dtype)]
    return LineOfSight.of(p, growth, bends, sources, planes)


def _multipoles(ell: TensorLike, dtype: tf.DType) -> tf.Tensor:
    ell = units.to_value(ell, "", "ell")
    checks.rank(ell, "ell", 1)
    checks.positive(ell, "ell")
    return cast(ell, dtype)


def _check_probes(probes: Sequence[AbstractProbe]) -> None:
    checks.require(
        isinstance(probes, list | tuple) and len(probes) > 0, "probes", "be a list of probes",
        probes, "Write [probe] for one.",
    )  # fmt: skip
    for probe in probes:
        checks.require(
            isinstance(probe, AbstractProbe), "probes", "hold probes", probe,
            "See `probes.WeakLensing`, `NumberCounts` and `CMBLensing`.", error=TypeError,
        )  # fmt: skip
