"""Scores against lists made by hand, and against other codes."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lfi.lens_finder import (
    at_prevalence,
    completeness,
    completeness_before,
    reliability,
    roc_area,
    roc_curve,
    score,
    threshold_at,
)
from lfi.lens_finder.calibration import platt_scaling

# Ranked: lens, lens, other, lens, then nine others, a lens, and two others.
LABELS = np.array([1, 1, 0, 1, *([0] * 9), 1, 0, 0])
SCORES = np.arange(len(LABELS), 0, -1.0)


@pytest.fixture(scope="module")
def overlapping():
    """Scores of two classes, half of them rounded so that there are ties."""
    rng = np.random.default_rng(4)
    labels = rng.uniform(size=3000) < 0.3
    scores = rng.normal(size=3000) + 1.5 * labels
    scores[::2] = np.round(scores[::2])
    return scores, labels


def test_area_is_that_of_scikit_learn_and_of_pairs(overlapping):
    scores, labels = overlapping
    assert np.isclose(roc_area(scores, labels), roc_auc_score(labels, scores), rtol=1e-12)
    lenses, others = scores[labels], scores[~labels]
    pairs = np.sign(lenses[:, None] - others)
    assert np.isclose(roc_area(scores, labels), 0.5 + 0.5 * pairs.mean(), rtol=1e-12)


def test_lenses_before_the_first_and_the_tenth_other():
    assert completeness_before(SCORES, LABELS) == 2 / 4
    assert completeness_before(SCORES, LABELS, 2) == 3 / 4
    assert completeness_before(SCORES, LABELS, 10) == 3 / 4
    assert completeness_before(SCORES, LABELS, 11) == 4 / 4
    mixed = np.random.default_rng(0).permutation(len(LABELS))
    assert completeness_before(SCORES[mixed], LABELS[mixed], 11) == 4 / 4
    # A lens that ties with the first other is not found before it.
    assert completeness_before(np.ones(4), np.array([1, 1, 0, 0])) == 0
    found = score(SCORES, LABELS, num_bootstrap=3)
    assert (found.tpr_0, found.tpr_10) == (2 / 4, 3 / 4)
    assert (found.num_lenses, found.num_others) == (4, 12)


def test_curve_and_threshold():
    # None, one and all of the twelve others are allowed.
    np.testing.assert_array_equal(roc_curve(SCORES, LABELS, [0, 0.1, 1.0]), [0.5, 0.75, 1.0])
    # One of twelve others may be above, so the threshold is the second.
    assert threshold_at(SCORES, LABELS, 0.1) == SCORES[4]
    assert np.sum(SCORES[LABELS == 0] > threshold_at(SCORES, LABELS, 0.25)) == 3


def test_bootstrap_error_is_the_scatter_of_new_samples():
    rng = np.random.default_rng(1)
    labels = np.arange(1500) < 500
    drawn = [rng.normal(size=1500) + labels for _ in range(60)]
    scatter = np.std([roc_area(x, labels) for x in drawn])
    # 60 samples know a standard deviation to 9 %, and a bootstrap scatters as well.
    assert np.isclose(score(drawn[0], labels).errors["roc_area"], scatter, rtol=0.35)


def test_calibration_recovers_slope_and_offset():
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=3.0, size=40_000)
    truth = 0.5 * logits - 1.0
    labels = rng.uniform(size=logits.size) < 1 / (1 + np.exp(-truth))
    slope, offset = platt_scaling(logits, labels)
    # Errors of the fit are 0.006 and 0.015.
    assert abs(slope - 0.5) < 0.03 and abs(offset + 1) < 0.07
    other = LogisticRegression(C=1e9, tol=1e-10).fit(logits[:, None], labels)
    np.testing.assert_allclose([slope, offset], [other.coef_[0, 0], other.intercept_[0]], atol=1e-3)
    stated = 1 / (1 + np.exp(-logits))
    before, after = (
        reliability(p, labels) for p in (stated, 1 / (1 + np.exp(-slope * logits - offset)))
    )
    assert before.expected_calibration_error > 0.1 > 0.02 > after.expected_calibration_error
    assert np.all(np.abs(after.frequency - after.probability) < 5 * after.error)
    # Classes that do not overlap still give finite numbers.
    assert np.all(np.isfinite(platt_scaling(np.array([-9.0, -8, 8, 9]), np.array([0, 0, 1, 1]))))


def test_rarer_lenses():
    rng = np.random.default_rng(3)
    labels = rng.uniform(size=200_000) < 0.5
    x = rng.normal(size=labels.size) + 2 * labels
    probability = 1 / (1 + np.exp(-(2 * x - 2)))
    kept = ~labels | (rng.uniform(size=labels.size) < 0.02 / 0.98)
    found = reliability(at_prevalence(probability, 0.02)[kept], labels[kept], 5)
    assert np.all(np.abs(found.frequency - found.probability) < 4 * found.error)


def test_completeness_counts_lenses_in_bins():
    found = [True, False, True, True]
    radius, noise = [0.5, 0.6, 1.5, 1.6], [10, 20, 10, 90]
    table = completeness(found, radius, noise, [0, 1, 2], [0, 50, 100])
    np.testing.assert_array_equal(table.count, [[2, 0], [1, 1]])
    np.testing.assert_array_equal(table.found, [[0.5, np.nan], [1, 1]])
    # The variance of Beta(1.5, 1.5) is a sixteenth.
    np.testing.assert_allclose(table.error[0, 0], 0.25)
    assert np.isnan(table.error[0, 1])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: roc_area([1.0, np.nan], [0, 1]), "`scores` must be finite"),
        (lambda: roc_area([1.0, 2.0], [1, 1]), "`labels` must be 0 and 1, with some of both"),
        (lambda: roc_area([1.0, 2.0], [0, 2]), "`labels` must be 0 and 1"),
        (lambda: roc_area([1.0, 2.0], [0, 1, 1]), "`labels` must be one label for each of 2"),
        (lambda: score([1.0, 2.0], [0, 1]), "`num_false` must be at most the number of other"),
        (lambda: reliability([1.5, 0.0], [0, 1], 2), r"`probability` must lie in \[0, 1\]"),
        (lambda: at_prevalence([0.5], 0.0), "`prevalence` must lie between 0 and 1"),
        (lambda: threshold_at([1.0, 2.0], [0, 1], 1.5), "`false_rate` must lie between"),
        (lambda: completeness([True], [1.0, 2.0], [1.0], [0, 1], [0, 1]), "`einstein_radius` must"),
        (lambda: completeness([True], [1.0], [1.0], [1, 0], [0, 1]), "`radius_edges` must inc"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
