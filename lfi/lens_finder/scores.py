"""What a ranking of stamps is worth."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from flowpm_ext.core import checks
from flowpm_ext.core.seeds import generator
from lfi.lens_finder.labels import checked_labels


class Score(NamedTuple):
    """What the lens-finding challenge ranks by, with bootstrap errors."""

    roc_area: float
    """Probability that a lens is ranked above another stamp."""
    tpr_0: float
    """Part of the lenses ranked above all other stamps."""
    tpr_10: float
    """Part of the lenses found before the tenth other stamp."""
    tpr_percent: float
    """Part of the lenses found where one percent of other stamps are."""
    errors: dict[str, float]
    """Standard deviation of each under resampling of stamps."""
    num_lenses: int
    """Lenses among the stamps."""
    num_others: int
    """Other stamps, which `tpr_0` and `tpr_10` depend on."""


def roc_area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the receiver operating characteristic; ties count as half.

    Args:
        scores: Higher for what is more like a lens, [num].
        labels: 0 or 1, [num].

    Returns:
        The area.

    Raises:
        ValueError: If values are not finite, or labels are of one class.

    References:
        Hanley & McNeil 1982, Radiology 143, 29.
    """
    scores, is_lens = checked_scores(scores, labels)
    ranks, num = stats.rankdata(scores), int(is_lens.sum())
    pairs = ranks[is_lens].sum() - num * (num + 1) / 2
    return float(pairs / (num * (len(scores) - num)))


def completeness_before(scores: np.ndarray, labels: np.ndarray, num_false: int = 1) -> float:
    """Part of the lenses found before so many other stamps are: TPR0 for 1, TPR10 for 10.

    Args:
        scores: Higher for what is more like a lens, [num].
        labels: 0 or 1, [num].
        num_false: Which false positive is not reached any more.

    Returns:
        The part. Lenses whose score is that of the other stamp are not found.

    Raises:
        ValueError: If values are not finite, labels are of one class, or other stamps are fewer.

    References:
        Metcalf et al. 2019, arXiv:1802.03609, section 5.
    """
    scores, is_lens = checked_scores(scores, labels)
    return _found(scores[is_lens], _threshold(scores[~is_lens], num_false))


def threshold_at(scores: np.ndarray, labels: np.ndarray, false_rate: float = 0.01) -> float:
    """Score above which at most this part of stamps without a lens are.

    Args:
        scores: Higher for what is more like a lens, [num].
        labels: 0 or 1, [num].
        false_rate: Part of the others that may be taken for lenses, in (0, 1).

    Returns:
        The threshold.

    Raises:
        ValueError: If values are not finite, labels are of one class, or the rate is not in (0, 1).

    References:
        Lanusse et al. 2018, arXiv:1703.02642, section 5.
    """
    scores, is_lens = checked_scores(scores, labels)
    checks.require(0 < false_rate < 1, "false_rate", "lie between 0 and 1", false_rate)
    return _threshold(scores[~is_lens], 1 + int(false_rate * np.sum(~is_lens)))


def score(scores: np.ndarray, labels: np.ndarray, num_bootstrap: int = 200, seed: int = 0) -> Score:
    """What the challenge ranks by, with errors.

    Lenses and others are resampled apart. The errors of `tpr_0` are rough: it hangs on the one
    highest score, which resamplings draw or do not.

    Args:
        scores: Higher for what is more like a lens, [num].
        labels: 0 or 1, [num].
        num_bootstrap: Resamplings.
        seed: Of those.

    Returns:
        `Score`.

    Raises:
        ValueError: If values are not finite, labels are of one class, or there are fewer than ten
            others.

    References:
        Metcalf et al. 2019, arXiv:1802.03609, section 5; Efron 1979, Ann. Stat. 7, 1.
    """
    scores, is_lens = checked_scores(scores, labels)
    checks.require(num_bootstrap > 1, "num_bootstrap", "be at least 2", num_bootstrap)
    lenses, others = scores[is_lens], scores[~is_lens]
    rng = generator(seed)
    drawn = [
        list(_ranked(*(rng.choice(part, len(part)) for part in (lenses, others))).values())
        for _ in range(num_bootstrap)
    ]
    values = _ranked(lenses, others)
    errors = dict(zip(values, np.std(drawn, axis=0, ddof=1).tolist(), strict=True))
    return Score(**values, errors=errors, num_lenses=len(lenses), num_others=len(others))


def roc_curve(scores: np.ndarray, labels: np.ndarray, false_rates: np.ndarray) -> np.ndarray:
    """Part of the lenses found at given parts of others.

    Args:
        scores: Higher for what is more like a lens, [num].
        labels: 0 or 1, [num].
        false_rates: Parts of the others, in (0, 1), [num_rates].

    Returns:
        float64 [num_rates].

    Raises:
        ValueError: If values are not finite, labels are of one class, or a rate is not in [0, 1].

    References:
        Hanley & McNeil 1982, Radiology 143, 29.
    """
    scores, is_lens = checked_scores(scores, labels)
    checks.in_range(false_rates, "false_rates", 0, 1)
    others = np.sort(scores[~is_lens])[::-1]
    allowed = (np.asarray(false_rates) * len(others)).astype(int)
    threshold = np.append(others, -np.inf)[allowed]
    lenses = np.sort(scores[is_lens])
    return 1 - np.searchsorted(lenses, threshold, side="right") / len(lenses)


def checked_scores(
    scores: np.ndarray, labels: np.ndarray, name: str = "scores"
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels of stamps, after checks.

    Args:
        scores: [num] or [num, 1].
        labels: 0 or 1, [num] or [num, 1].
        name: Of the first, for the message.

    Returns:
        float64 and bool, both [num].

    Raises:
        ValueError: If values are not finite, there is not a label for each, or labels are of one
            class.

    References:
        None: checks alone.
    """
    checks.finite(scores, name)
    scores = np.asarray(scores, np.float64)
    column = scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1)
    checks.require(column, name, "have shape [num] or [num, 1]", f"shape {scores.shape}")
    return scores.ravel(), checked_labels(labels, scores.size)


def _ranked(lenses: np.ndarray, others: np.ndarray) -> dict[str, float]:
    both = np.concatenate([lenses, others])
    is_lens = np.arange(len(both)) < len(lenses)
    percent = 1 + int(0.01 * len(others))
    return {
        "roc_area": roc_area(both, is_lens),
        "tpr_0": _found(lenses, _threshold(others, 1)),
        "tpr_10": _found(lenses, _threshold(others, 10)),
        "tpr_percent": _found(lenses, _threshold(others, percent)),
    }


def _threshold(others: np.ndarray, number: int) -> float:
    """The highest score but so many: its number counts from one."""
    checks.positive_integers(num_false=number)
    rule = f"be at most the number of other stamps, {len(others)}"
    checks.require(number <= len(others), "num_false", rule, number)
    return float(np.partition(others, len(others) - number)[len(others) - number])


def _found(lenses: np.ndarray, threshold: float) -> float:
    return float(np.mean(lenses > threshold))
