"""Figures of merit with galaxy bias, redshift shifts and shear calibration of each bin free."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import Structure, cast, static
from flowpm_ext.cosmology.tomography.bins import Bins
from flowpm_ext.cosmology.tomography.metrics import (
    METRICS,
    PAIRS,
    BinnedSpectra,
    Survey,
    binned_spectra,
    figure_of_merit,
    fisher_of_binned,
)
from flowpm_ext.cosmology.tomography.slices import ALIGNMENT_PARAMETER, SliceSpectra


@dataclasses.dataclass(frozen=True)
class Nuisance(Structure):
    """What is not known about each bin: the width of Gaussian priors.

    The amplitude of intrinsic alignments is no property of a bin: it is free where the spectra were
    differentiated by it, `slice_spectra(..., parameters=(*PARAMETERS, "alignment"))`.

    Args:
        galaxy_bias: Of the bias of counts, relative to the fiducial one; infinite for no prior,
            None where it is known.
        shift: Of the mean redshift of each bin, sources and lenses alike; its derivative is good to
            3 % where a bin is four slices wide, and to a quarter of that where it is eight.
        multiplicative: Of the calibration of shear.
        alignment: Of the amplitude of alignments; finite only where the spectra know it.

    Raises:
        ValueError: If a width is not positive.
    """

    galaxy_bias: float | None = static(default=math.inf)
    shift: float | None = static(default=0.01)
    multiplicative: float | None = static(default=0.01)
    alignment: float = static(default=math.inf)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            width = getattr(self, field.name)
            positive = width is None or width > 0
            checks.require(positive, field.name, "be positive, or None", width)


def marginal_fisher_matrix(
    spectra: SliceSpectra, bins: Bins, survey: Survey, nuisance: Nuisance, probes: str = "3x2"
) -> tf.Tensor:
    """Fisher information with the nuisances of each bin as more parameters, and their priors.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.
        nuisance: What is not known, and the priors.
        probes: "ww", "gg" or "3x2".

    Returns:
        Fisher matrix: first the parameters of the spectra, then bias, shift and calibration of each
        bin as far as they are free, [num_parameters + num_nuisances] twice.

    Raises:
        ValueError: If `probes` is unknown, the bins have other slices than the spectra, or there is
            a prior of alignments that the spectra do not know.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 6 (that these were left out); Amara &
        Refregier 2008, arXiv:0710.5171.
    """
    binned = binned_spectra(spectra, bins, survey)
    rows, widths = _changed_rows(spectra, bins, binned, nuisance)
    is_aligned = [name == ALIGNMENT_PARAMETER for name in spectra.parameters]
    checks.require(
        any(is_aligned) or nuisance.alignment == math.inf, "alignment",
        "be infinite for spectra that were not differentiated by it", nuisance.alignment,
        f"Make them with `parameters=(*PARAMETERS, {ALIGNMENT_PARAMETER!r})`.",
    )  # fmt: skip
    priors = np.where(is_aligned, nuisance.alignment**-2.0, 0.0)
    if rows:
        slopes = tf.concat(rows, axis=0)
        slopes += tf.linalg.matrix_transpose(slopes)
        binned = binned._replace(signal=tf.concat([binned.signal, slopes], axis=0))
    fisher = fisher_of_binned(binned, probes)
    priors = np.concatenate([priors, np.repeat(np.array(widths, float) ** -2.0, bins[0].shape[0])])
    return fisher + tf.linalg.diag(tf.constant(priors, fisher.dtype))


def marginal_metric(
    spectra: SliceSpectra,
    bins: Bins,
    survey: Survey,
    nuisance: Nuisance,
    kind: str = "detf",
    probes: str = "3x2",
) -> tf.Tensor:
    """Figure of merit with the nuisances of each bin free.

    Args:
        spectra: Spectra between slices.
        bins: The bins.
        survey: The survey.
        nuisance: What is not known, and the priors.
        kind: "fom" for Omega_c and sigma8, or "detf" for w0 and wa.
        probes: "ww", "gg" or "3x2".

    Returns:
        Figure of merit, a scalar.

    Raises:
        ValueError: If an option is unknown, or as `marginal_fisher_matrix`.

    References:
        Albrecht et al. 2006, arXiv:astro-ph/0609591; Zuntz et al. 2021, arXiv:2108.13418.
    """
    checks.one_of(kind, "kind", METRICS[1:])
    fisher = marginal_fisher_matrix(spectra, bins, survey, nuisance, probes)
    return figure_of_merit(fisher, spectra.parameters, PAIRS[kind])


def _changed_rows(
    spectra: SliceSpectra, bins: Bins, binned: BinnedSpectra, nuisance: Nuisance
) -> tuple[list[tf.Tensor], list[float]]:
    """Half of the derivatives, which have one row each, [num_bins, num_ell, t, t], and priors."""
    signal, num_bins = binned.signal[0], bins.counts.shape[0]
    unit = tf.eye(2 * num_bins, dtype=signal.dtype)
    shear, counts = unit[:num_bins], unit[num_bins:]  # [num_bins, t]
    rows, widths = [], []
    if nuisance.galaxy_bias is not None:
        rows.append(counts[:, None, :, None] * signal)
        widths.append(nuisance.galaxy_bias)
    if nuisance.shift is not None:
        both = (shear + counts)[:, None, :, None]
        rows.append(both * _shifted(spectra, bins.counts))
        widths.append(nuisance.shift)
    if nuisance.multiplicative is not None:
        rows.append(shear[:, None, :, None] * signal)
        widths.append(nuisance.multiplicative)
    return rows, widths


def _shifted(spectra: SliceSpectra, n: tf.Tensor) -> tf.Tensor:
    """Spectra of bins whose galaxies move by one in redshift with the bins, [num_ell, t, t]."""
    blocks = spectra.shear, spectra.cross, spectra.counts
    shear, cross, counts = (cast(x, n.dtype)[0] for x in blocks)
    moved, n_t = _flow(n, cast(spectra.edges, n.dtype)), tf.transpose(n)
    shear = tf.matmul(moved, tf.matmul(shear, n_t))
    lens = tf.matmul(moved, tf.matmul(cross, n_t))  # counts move
    source = tf.matmul(moved, tf.matmul(cross, n_t, transpose_a=True))
    counts = tf.matmul(moved * counts[:, None, :], n_t)
    return tf.concat(
        [tf.concat([shear, source], axis=-1), tf.concat([lens, counts], axis=-1)], axis=-2
    )


def _flow(n: tf.Tensor, edges: tf.Tensor) -> tf.Tensor:
    """Derivative of the galaxies in slices by a shift: what flows in below less what leaves above.

    The density at an edge is that between the middles of its slices; nothing passes the outer two.
    """
    width = edges[1:] - edges[:-1]
    density = n / width
    part = width[:-1] / (width[:-1] + width[1:])
    at_edges = density[:, :-1] + part * (density[:, 1:] - density[:, :-1])
    through = tf.pad(at_edges, [[0, 0], [1, 1]])
    return through[:, :-1] - through[:, 1:]
