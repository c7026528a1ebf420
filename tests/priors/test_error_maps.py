"""Correlations of errors with standard deviations, where errors are drawn from these."""

import numpy as np
import pytest

from benchmarks.priors.error_maps import by_window, fair_by_window, over_scans

INSIDE = np.ones((64, 64), bool)
RNG = np.random.default_rng(0)
STD = np.exp(0.4 * np.repeat(np.repeat(RNG.normal(size=(8, 8)), 8, 0), 8, 1))


def test_chance_leaves_a_pixel_what_the_half_normal_says():
    found = by_window(STD * RNG.normal(size=STD.shape), STD, INSIDE)
    spread = STD.std() / STD.mean()
    share = 2 / np.pi
    expected = np.sqrt(share) * spread / np.sqrt(1 + spread**2 - share)
    assert found["1 x 1 pixels"] == pytest.approx(expected, abs=0.04)
    assert found["1 x 1 pixels"] + 0.1 < found["3 x 3 pixels"] < found["5 x 5 pixels"]
    draws = STD * RNG.normal(size=(200, 64, 64))
    fair = fair_by_window(draws, INSIDE)["1 x 1 pixels"]
    assert fair == pytest.approx(expected, abs=0.03)  # 200 draws know the deviation to 5 %


def test_scans_average_away_all_but_what_they_share():
    shared, own = RNG.normal(size=STD.shape), RNG.normal(size=(12, 64, 64))
    stds = np.broadcast_to(STD, own.shape)
    for share in (0.0, 0.8):
        errors = STD * (np.sqrt(share) * shared + np.sqrt(1 - share) * own)
        found = over_scans(errors, stds, INSIDE, 1)
        in_common = found["share of the square that scans have in common"]
        assert in_common == pytest.approx(share, abs=0.05)
        assert found["correlation"] == pytest.approx(found["of fair errors"], abs=0.05)
        assert (found["correlation"] > 0.8) == (share == 0.0)
