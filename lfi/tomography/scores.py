"""What bins of galaxies are worth, and edges in redshift to begin with."""

import functools

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.cosmology import background
from flowpm_ext.cosmology.tomography import (
    CHALLENGE,
    PAIRS,
    SliceSpectra,
    Survey,
    bins_of_weights,
    figure_of_merit,
    fisher_matrix,
    signal_to_noise,
    slices_of_redshifts,
)

EDGES = ("number", "distance")
OUTER = 0.005  # part of the galaxies beyond each of the outer edges of bins of equal distance


def score(
    assigned: np.ndarray,
    redshift: np.ndarray,
    num_bins: int,
    spectra: SliceSpectra,
    survey: Survey | None = None,
    probes: str = "3x2",
) -> dict[str, float]:
    """All metrics of the challenge for galaxies whose redshifts are known.

    Args:
        assigned: Bin of each galaxy, int [num_galaxies]; negative for those in none.
        redshift: True redshifts, shape [num_galaxies].
        num_bins: Number of bins.
        spectra: Spectra between slices.
        survey: The survey; that of the challenge by default.
        probes: "ww", "gg" or "3x2".

    Returns:
        "snr", "fom" and "detf". Finite, where a bin is empty too.

    Raises:
        ValueError: If there is not a bin for each redshift, or one that is not among `num_bins`.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 2.
    """
    assigned, redshift = np.asarray(assigned), np.asarray(redshift)
    rule = f"be one bin for each of {len(redshift)} galaxies"
    fits = assigned.shape == redshift.shape and assigned.dtype.kind in "iu"
    checks.require(fits, "assigned", rule, assigned)
    rule = f"be below `num_bins`, {num_bins}"
    checks.require(assigned.size > 0 and assigned.max() < num_bins, "assigned", rule, assigned)
    weights = tf.one_hot(assigned, num_bins, dtype=tf.float64)
    slice_of = slices_of_redshifts(redshift, spectra.edges)
    bins = bins_of_weights(weights, slice_of, spectra.num_slices)
    survey = Survey() if survey is None else survey
    # Once each for other sizes: not worth a compilation.
    fisher = fisher_matrix(spectra, bins, survey, probes)
    found = {"snr": float(signal_to_noise(spectra, bins, survey, probes))}
    for kind, pair in PAIRS.items():
        found[kind] = float(figure_of_merit(fisher, spectra.parameters, pair))
    return found


def redshift_edges(redshift: np.ndarray, num_bins: int, kind: str = "distance") -> np.ndarray:
    """Edges of bins in redshift, without the outer two.

    Args:
        redshift: Redshifts of galaxies, shape [num_galaxies].
        num_bins: Number of bins.
        kind: "number" for equally many galaxies in each, or "distance" for bins as wide in comoving
            distance, from the half percent of nearest galaxies to that of the farthest.

    Returns:
        Redshifts, float64 [num_bins - 1].

    Raises:
        ValueError: If there are fewer galaxies than bins, a redshift is not finite and
            non-negative, all are the same, or `kind` is unknown.

    References:
        Zuntz et al. 2021, arXiv:2108.13418, section 4 (the method FunBins).
    """
    checks.one_of(kind, "kind", EDGES)
    check_redshifts(redshift, num_bins)
    z = np.asarray(redshift, np.float64)
    if kind == "number":
        return np.quantile(z, np.arange(1, num_bins) / num_bins)
    low, high = np.quantile(z, [OUTER, 1 - OUTER])
    grid, chi = _distances()
    ends = np.interp([low, high], grid, chi)
    return np.interp(np.linspace(*ends, num_bins + 1)[1:-1], chi, grid)


def check_redshifts(redshift: TensorLike, num_bins: int) -> None:
    """Refuse redshifts that cannot be divided into bins.

    Args:
        redshift: What was received.
        num_bins: Number of bins.

    Raises:
        ValueError: If there are fewer galaxies than bins, a redshift is not finite and
            non-negative, or all are the same.
    """
    checks.positive_integers(num_bins=num_bins)
    checks.rank(redshift, "redshift", 1)
    checks.non_negative(redshift, "redshift")
    num = len(redshift)
    rule = f"be at most the number of galaxies, {num}"
    checks.require(num_bins <= num, "num_bins", rule, num_bins)
    varies = num_bins == 1 or np.ptp(np.asarray(redshift)) > 0
    checks.require(varies, "redshift", "differ between galaxies", f"{redshift[0]:g} for all")


@functools.cache
def _distances() -> tuple[np.ndarray, np.ndarray]:
    """Redshifts, and their comoving distances in the cosmology of the challenge."""
    z = np.linspace(0.0, 10.0, 2001)
    return z, background.radial_comoving_distance(CHALLENGE, 1 / (1 + z)).numpy()
