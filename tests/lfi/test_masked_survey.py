"""Maps of a survey with holes: its own path there and back, windows, and noise."""

import numpy as np
import pytest

from flowpm_ext.lensing import shear
from lfi.masked_survey import MaskedSurvey

RNG = np.random.default_rng(0)
KAPPA = 0.02 * RNG.normal(size=(3, 16, 16)).astype(np.float32)


def test_whole_field_without_noise_comes_back():
    survey = MaskedSurvey(np.full((16, 16), 0.3), np.ones((16, 16)))
    weak = 1e-3 * (KAPPA - KAPPA.mean(axis=(1, 2), keepdims=True))  # no second order
    found = survey.observed(weak, has_noise=False).numpy()
    assert found.shape == (3, 16, 16, 1) and found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], weak, atol=1e-3 * np.abs(weak).max())


def test_window_is_reduced_shear_of_the_whole_field_with_its_holes():
    mask = RNG.uniform(size=(6, 8)) < 0.8
    survey = MaskedSurvey(np.zeros((6, 8)), mask)
    gamma = (shear(KAPPA).numpy() / (1 - KAPPA))[:, 3:9, 5:13]
    expected = survey.mapped(gamma).numpy()
    np.testing.assert_allclose(survey.observed(KAPPA, corner=(3, 5)), expected, atol=1e-6)
    gamma[:, ~mask] = 9.0  # nobody knows what is in a hole
    np.testing.assert_allclose(survey.mapped(gamma), expected, atol=1e-6)


def test_noise_is_that_of_each_pixel():
    std = np.linspace(0.1, 0.5, 36).reshape(6, 6)
    survey = MaskedSurvey(std, np.ones((6, 6)))
    found = survey.windows(np.zeros((2000, 6, 6)), [(0, 0)], seed=1)
    # All power of E and B together is that of both components; half of it is seen.
    assert np.mean(found**2) == pytest.approx(np.mean(std**2), rel=0.05)


def test_windows_differ_and_come_again():
    survey = MaskedSurvey(np.full((4, 4), 0.1), np.ones((4, 4)))
    corners = [(0, 0), (8, 12)]
    found = survey.windows(KAPPA, corners, seed=1)
    assert found.shape == (6, 4, 4, 1)
    np.testing.assert_array_equal(found, survey.windows(KAPPA, corners, seed=1))
    assert np.abs(found - survey.windows(KAPPA, corners, seed=2)).max() > 0.05
    quiet = survey.windows(KAPPA, corners, has_noise=False)
    for number, corner in enumerate(corners):
        expected = survey.observed(KAPPA, corner=corner, has_noise=False)
        np.testing.assert_allclose(quiet[3 * number : 3 * number + 3], expected, atol=1e-6)
    noise = (found - quiet)[..., 0]
    assert abs(np.corrcoef(noise[:3].ravel(), noise[3:].ravel())[0, 1]) < 0.5


@pytest.mark.parametrize(
    ("noise_std", "mask", "words"),
    [
        (np.ones((3, 3)), np.ones((3, 4)), "`mask` must have the shape"),
        (-np.ones((3, 3)), np.ones((3, 3)), "`noise_std` must"),
        (np.ones((3, 3)), np.zeros((3, 3)), "`mask` must hold a pixel"),
    ],
)
def test_bad_survey(noise_std, mask, words):
    with pytest.raises(ValueError, match=words):
        MaskedSurvey(noise_std, mask)


def test_window_beyond_the_field():
    survey = MaskedSurvey(np.ones((4, 4)), np.ones((4, 4)))
    with pytest.raises(ValueError, match="`corner` must leave room for 4 x 4 pixels"):
        survey.observed(KAPPA, corner=(13, 0))
