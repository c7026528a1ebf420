"""Heads and lines of modes: ranges, seeds, statistics, refusals."""

import numpy as np
import pytest

from priors import phantoms
from priors.operators import MaskedFourier

SIDE = 64


@pytest.fixture(scope="module")
def heads():
    return phantoms.brain_phantoms(300, SIDE, 3)


def test_heads_are_images_from_air_to_about_one(heads):
    assert heads.shape == (300, SIDE, SIDE) and heads.dtype == np.float32
    assert heads.min() == 0
    # The skull is .70 to .95 and shading exp(+-.2) at the most; texture adds a little.
    assert 0.95 < np.quantile(heads.max(axis=(1, 2)), 0.5) < 1.3 and heads.max() < 2
    for edge in (heads[:, 0], heads[:, -1], heads[:, :, 0], heads[:, :, -1]):
        assert not edge.any()  # heads end inside of the field of view


def test_seeds_name_heads(heads):
    np.testing.assert_array_equal(phantoms.brain_phantoms(300, SIDE, 3), heads)
    np.testing.assert_array_equal(phantoms.brain_phantoms(7, SIDE, 3), heads[:7])
    other = phantoms.brain_phantoms(7, SIDE, 4)
    assert np.all(np.mean((other - heads[:7]) ** 2, axis=(1, 2)) > 1e-3)


def test_no_two_heads_are_alike(heads):
    flat = heads.reshape(len(heads), -1)
    distance = np.sum((flat[:, None, ::7] - flat[None, :, ::7]) ** 2, axis=-1)
    assert np.min(distance[~np.eye(len(flat), dtype=bool)]) > 1


def test_skull_is_bright_ventricles_dark_and_sides_alike(heads):
    mean = heads.mean(axis=0)
    assert 0.45 < heads[heads > 0.05].mean() < 0.6
    # Left and right are drawn alike; 300 heads of scatter .2 in a pixel agree to .2 / sqrt(150),
    # and of all pixels the rms stays below twice that.
    assert np.sqrt(np.mean((mean - mean[:, ::-1]) ** 2)) < 0.033
    centre, skull = mean[28:36, 28:36].mean(), np.quantile(heads, 0.99, axis=(1, 2)).mean()
    assert centre < 0.5 < 0.75 < skull


def test_texture_and_shading_are_there(monkeypatch):
    heads, strength = phantoms.brain_phantoms(60, SIDE, 5), phantoms.SHADING
    monkeypatch.setattr(phantoms, "SHADING", 0.0)
    flat = phantoms.brain_phantoms(60, SIDE, 5)
    inside = flat > 0.05
    shading = np.where(inside, heads / np.where(inside, flat, 1), 1)
    # Three waves of mean square 1/2, or less where they are long: .2 / sqrt(6) = .08.
    assert 0.04 < np.log(shading[inside]).std() < 0.1
    step = np.abs(np.diff(shading, axis=-1))[inside[..., 1:] & inside[..., :-1]]
    # Smooth: no steeper than a wave as long as the image, times the shading itself.
    assert step.max() < strength * np.pi * 2 / SIDE * np.exp(strength)
    monkeypatch.setattr(phantoms, "_texture", np.zeros_like)
    plain = phantoms.brain_phantoms(60, SIDE, 5)
    difference = (flat - plain)[inside]
    assert 0.01 < difference.std() < 0.1 and abs(difference.mean()) < 0.005
    # Without both much of the inside is flat, beside edges: a fifth of the steps is none.
    steps = [np.quantile(np.abs(np.diff(x, axis=-1))[inside[..., 1:]], 0.2) for x in (plain, heads)]
    assert steps[0] < 1e-6 < 1e-3 < steps[1]


def test_texture_has_variance_one():
    white = np.random.default_rng(0).normal(size=(100, SIDE, SIDE))
    # Some 400 independent patches in each of 100 fields.
    assert abs(phantoms._texture(white).std() - 1) < 0.02


def test_edges_are_soft():
    heads = phantoms.brain_phantoms(10, 128, 1)
    # An edge of 1.5 pixels takes at least two steps; the skull rises by .95 exp(.2) at most.
    assert np.abs(np.diff(heads, axis=-1)).max() < 0.95 * np.exp(0.2) / 1.4


@pytest.mark.parametrize("ny, acceleration, fraction", [(64, 4, 0.08), (63, 3, 0.1), (32, 2, 0.0)])
def test_mask_has_its_lines_and_its_centre(ny, acceleration, fraction):
    mask = phantoms.cartesian_mask((ny, 20), acceleration, fraction, 1)
    assert mask.shape == (ny, 20) and mask.dtype == bool
    lines = mask[:, 0]
    np.testing.assert_array_equal(mask, np.repeat(lines[:, None], 20, axis=1))
    assert lines.sum() == round(ny / acceleration)
    frequency = np.abs(np.fft.fftfreq(ny, 1 / ny))
    num_center = round(ny * fraction)
    assert np.all(lines[np.sort(np.argsort(frequency, kind="stable")[:num_center])])
    assert np.all(lines[frequency < num_center / 2 - 0.5])


def test_lines_are_drawn_evenly_and_named_by_seeds():
    masks = np.stack([phantoms.cartesian_mask((64, 1), seed=seed)[:, 0] for seed in range(600)])
    centre = np.abs(np.fft.fftfreq(64, 1 / 64)) <= 2
    assert np.all(masks[:, centre])
    chance = masks[:, ~centre].mean(axis=0)
    # 11 of 59 lines; 600 draws scatter by .016.
    np.testing.assert_allclose(chance, 11 / 59, atol=5 * 0.016)
    np.testing.assert_array_equal(phantoms.cartesian_mask((64, 1), seed=7)[:, 0], masks[7])
    assert len(np.unique(masks, axis=0)) == 600


def test_scan_measures_the_modes_of_the_mask_with_noise():
    image = phantoms.brain_phantoms(1, SIDE, 0)[0]
    mask = phantoms.cartesian_mask((SIDE, SIDE), seed=2)
    likelihood = phantoms.scan(image, mask, 0.02, seed=1)
    modes = np.fft.fft2(image) / SIDE
    noise = likelihood.data.numpy() - modes * mask
    assert not noise[~mask].any()
    # 2048 numbers: 1.6 % of scatter each.
    for part in (noise[mask].real, noise[mask].imag):
        assert abs(part.std() / 0.02 - 1) < 0.08
    assert isinstance(likelihood.op, MaskedFourier)
    again = phantoms.scan(image, mask, 0.02, seed=1)
    np.testing.assert_array_equal(again.data, likelihood.data)


def test_bad_input_is_refused():
    for num, side, name in ((0, 8, "num"), (1, 0, "side"), (1, 2.5, "side")):
        with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
            phantoms.brain_phantoms(num, side)
    with pytest.raises(ValueError, match="`shape` must be two positive integers"):
        phantoms.cartesian_mask((8,))
    with pytest.raises(ValueError, match="`acceleration` must lie in"):
        phantoms.cartesian_mask((8, 8), 0.5)
    with pytest.raises(ValueError, match="It cannot leave less than one line"):
        phantoms.cartesian_mask((8, 8), 9)
    with pytest.raises(ValueError, match=r"`center_fraction` must lie in \[0, 1\]"):
        phantoms.cartesian_mask((8, 8), 1, 1.5)
    with pytest.raises(ValueError, match="`center_fraction` must leave at most the 2 lines"):
        phantoms.cartesian_mask((8, 8), 4, 0.5)
    image, mask = np.zeros((8, 8), np.float32), phantoms.cartesian_mask((8, 8), 2)
    with pytest.raises(ValueError, match="`noise_std` must be positive"):
        phantoms.scan(image, mask, 0.0)
    with pytest.raises(ValueError, match="`image` must be finite"):
        phantoms.scan(np.full((8, 8), np.nan, np.float32), mask, 0.1)
    with pytest.raises(ValueError, match="`x` must end in axes"):
        phantoms.scan(image[:4], mask, 0.1)
