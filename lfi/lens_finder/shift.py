"""Whether stamps are like those that a network was trained on."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from flowpm_ext.core import checks
from lfi.diagnostics import Misspecification, MisspecificationWarning, misspecification
from lfi.diagnostics.misspecification import least_usual
from lfi.lens_finder.finder import LensFinder

NUM_COMPONENTS = 8


class Shift(NamedTuple):
    """Whether sets of stamps are like simulated ones."""

    p_value: float
    """Of all new stamps together: twice the mean over groups, which holds however the groups go
    together (Vovk & Wang 2020, arXiv:1212.4966)."""
    groups: Misspecification
    """What was found for each group of new stamps."""


def shift_test(
    finder: LensFinder, usual: Any, new: Any, group: int = 100, seed: int = 0, level: float = 0.05
) -> Shift:
    """Compare what a network sees of new stamps with what it sees of simulated ones.

    One stamp says little about the seeing. So groups of stamps are compared by the means of
    the principal components of the features, by `misspecification`; a warning is raised where they
    are not alike. The mix of lenses and others must be the same on both sides: simulate it, or
    take stamps without a lens.

    Args:
        finder: The network, trained.
        usual: `Stamps` or images like those it was trained on, but others: at least 80 groups.
        new: `Stamps` or images, at least one group; what is left of the last one is not used.
        group: Stamps in a group.
        seed: Of the order of stamps, so that groups are alike however stamps come.
        level: p-value below which to warn.

    Returns:
        `Shift`.

    Raises:
        ValueError: If stamps do not fit or are not finite, or are too few.

    References:
        Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World.
    """
    checks.positive_integers(group=group)
    least = 2 * least_usual(NUM_COMPONENTS) * group
    for name, value, number in (("usual", usual, least), ("new", new, group)):
        rule = f"hold at least {number} stamps for groups of {group}"
        checks.require(len(value) >= number, name, rule, len(value))
    both, rng = [finder.features(x) for x in (usual, new)], np.random.default_rng(seed)
    components = _principal(both[0])
    means = [_means(rng.permutation(x) @ components, group) for x in both]
    names = [f"component {i}" for i in range(components.shape[1])]
    found = misspecification(*means, seed=seed, names=names)
    p_value = min(1.0, 2 * float(np.mean(found.p_value)))
    if p_value < level:
        text = f"Stamps are not like the simulated ones (p = {p_value:.2g}): {found.message}"
        warnings.warn(text, MisspecificationWarning, stacklevel=2)
    return Shift(p_value, found)


def _principal(features: np.ndarray) -> np.ndarray:
    """Directions of most variance, of features in units of their scatter, [num_features, num]."""
    scatter = np.std(features, axis=0)
    scatter = np.where(scatter > 0, scatter, 1.0)
    _, _, axes = np.linalg.svd(np.cov((features / scatter).T), hermitian=True)
    return (axes[:NUM_COMPONENTS] / scatter).T


def _means(x: np.ndarray, group: int) -> np.ndarray:
    num = len(x) // group
    return x[: num * group].reshape(num, group, -1).mean(axis=1)
