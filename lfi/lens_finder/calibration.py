"""Whether probabilities are what they say, and how to make them so."""

from typing import NamedTuple

import numpy as np

from flowpm_ext.core import checks
from lfi.lens_finder.scores import checked_scores


class Reliability(NamedTuple):
    """Stated probabilities beside frequencies, in bins of as many stamps."""

    probability: np.ndarray
    """Mean of those that were stated, [num_bins]."""
    frequency: np.ndarray
    """Part that are lenses, [num_bins]."""
    error: np.ndarray
    """Standard error of the frequency were the probabilities true, [num_bins]."""
    expected_calibration_error: float
    """Mean distance of frequencies from probabilities."""


def platt_scaling(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the likeliest logistic law, by Newton's method.

    Args:
        logits: Log odds of stamps that were not trained on, [num].
        labels: 0 or 1, [num] or [num, 1].

    Returns:
        Slope and offset.

    Raises:
        ValueError: If values are not finite, or labels are of one class.

    References:
        Platt 1999, Advances in Large Margin Classifiers, 61, with the targets of its section 2.2.
    """
    logits, is_lens = checked_scores(logits, labels)
    # Not 0 and 1, so that classes that do not overlap have a finite slope.
    high, low = (is_lens.sum() + 1) / (is_lens.sum() + 2), 1 / ((~is_lens).sum() + 2)
    target = np.where(is_lens, high, low)
    scale = max(np.std(logits), 1e-12)
    design = np.stack([logits / scale, np.ones_like(logits)], axis=1)
    found = np.zeros(2)
    for _ in range(100):
        p = _sigmoid(design @ found)
        slope = design.T @ (p - target)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        found -= step * min(1.0, 2.0 / np.abs(step).max())  # far from the minimum it is too long
        if np.abs(step).max() < 1e-10:
            break
    return float(found[0] / scale), float(found[1])


def reliability(probability: np.ndarray, labels: np.ndarray, num_bins: int = 15) -> Reliability:
    """Probabilities that were stated beside frequencies of lenses.

    Args:
        probability: [num] or [num, 1].
        labels: 0 or 1, [num] or [num, 1].
        num_bins: Bins, which hold as many stamps each.

    Returns:
        `Reliability`.

    Raises:
        ValueError: If a probability is not in [0, 1], or labels are of one class.

    References:
        Naeini, Cooper & Hauskrecht 2015, AAAI, 2901; Guo et al. 2017, arXiv:1706.04599.
    """
    checks.positive_integers(num_bins=num_bins)
    probability, is_lens = checked_scores(probability, labels, "probability")
    checks.in_range(probability, "probability", 0, 1)
    rule = f"be at most the number of stamps, {len(is_lens)}"
    checks.require(num_bins <= len(is_lens), "num_bins", rule, num_bins)
    parts = np.array_split(np.argsort(probability, kind="stable"), num_bins)
    stated = np.array([probability[part].mean() for part in parts])
    found = np.array([is_lens[part].mean() for part in parts])
    sizes = np.array([len(part) for part in parts])
    spread = [np.sqrt(np.sum(probability[p] * (1 - probability[p]))) / len(p) for p in parts]
    distance = float(np.sum(sizes * np.abs(found - stated)) / len(is_lens))
    return Reliability(stated, found, np.array(spread), distance)


def at_prevalence(probability: np.ndarray, prevalence: float, trained: float = 0.5) -> np.ndarray:
    """Probabilities where lenses are rarer than among the stamps of the calibration.

    Args:
        probability: In [0, 1], any shape.
        prevalence: Part of the new stamps that are lenses, in (0, 1).
        trained: The same for those of the calibration.

    Returns:
        float64, the same shape.

    Raises:
        ValueError: If a number is not in its range.

    References:
        Saerens, Latinne & Decaestecker 2002, Neural Computation 14, 21.
    """
    checks.in_range(probability, "probability", 0, 1)
    for name, value in {"prevalence": prevalence, "trained": trained}.items():
        checks.require(0 < value < 1, name, "lie between 0 and 1", value)
    p = np.asarray(probability, np.float64)
    lens = p * prevalence / trained
    return lens / (lens + (1 - p) * (1 - prevalence) / (1 - trained))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
