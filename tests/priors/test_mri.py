"""Scans of a quarter of the lines, end to end: a prior learned in seconds against others."""

import keras
import numpy as np
import pytest

import priors
from priors.classical import total_variation_map
from priors.phantoms import brain_phantoms, cartesian_mask, scan

SIDE, NOISE = 32, 0.0255  # a twentieth of the mean of a head


@pytest.fixture(scope="module")
def denoiser():
    """A small network that has seen two thousand heads for some seconds."""
    keras.utils.set_random_seed(0)
    heads = brain_phantoms(2000, SIDE, 1)
    model = priors.Denoiser(
        (12, 24), sigma_min=0.015, sigma_max=2.0, padding="zero", ema_momentum=0.98
    )
    model.adapt(heads)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 500)))
    model.fit(heads, batch_size=16, epochs=4, verbose=0)
    return model


def problems(num, seed):
    """Heads and scans of them."""
    for number, head in enumerate(brain_phantoms(num, SIDE, seed)):
        mask = cartesian_mask(head.shape, 4, 0.08, seed=10 * seed + number)
        yield head, scan(head, mask, NOISE, seed=number)


def psnr(image, head):
    return 20 * np.log10(head.max() / np.sqrt(np.mean((image - head) ** 2)))


def smooth(likelihood, strength):
    found = total_variation_map(likelihood, strength, non_negative=True, max_iterations=3000)
    return found.map.numpy()


def sample(likelihood, model, seed=0):
    return priors.sample_posterior(
        likelihood, priors.LearnedScore(model), 32, seed, num_chains=8,
        method="predictor_corrector", progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def draws(denoiser):
    """Heads, scans of them, and draws of their posteriors."""
    return [(head, data, sample(data, denoiser)) for head, data in problems(2, 3)]


def test_posterior_mean_beats_zero_filled_and_total_variation(draws):
    tuning = list(problems(4, 2))
    strengths = np.geomspace(2, 50, 5)
    tuned = [np.mean([psnr(smooth(data, s), head) for head, data in tuning]) for s in strengths]
    best = strengths[np.argmax(tuned)]
    gains = []
    for head, data, found in draws:
        mean = psnr(found.mean, head)
        assert mean > psnr(data.op.adjoint(data.data).numpy(), head) + 1
        gains.append(mean - psnr(smooth(data, best), head))
    assert np.mean(gains) > 1


def test_draws_fit_the_data(draws):
    for _, data, found in draws:
        measured = data.op.mask.numpy() > 0
        residual = data.residual(found.samples).numpy()[:, measured]
        # One for each real component where the network is right about all; this one, which saw
        # heads for seconds, leaves three times as much. An empty image leaves hundreds.
        assert 0.3 < np.mean(np.abs(residual) ** 2) / (2 * NOISE**2) < 6


def test_standard_deviation_knows_where_errors_are(draws):
    of_heads = []
    for head, _, found in draws:
        inside = head > 0.05
        error = np.abs(found.mean - head)[inside]
        of_heads.append(np.corrcoef(error, found.std[inside])[0, 1])
        # Most of the truth within two standard deviations, though the network is small.
        assert np.mean(error < 2 * found.std[inside]) > 0.7
    assert np.mean(of_heads) > 0.25


def test_more_lines_leave_less_uncertainty(denoiser, draws):
    head, _, quarter = draws[0]
    full = scan(head, np.ones_like(head, bool), NOISE, seed=0)
    found = sample(full, denoiser)
    assert psnr(found.mean, head) > psnr(quarter.mean, head) + 3
    assert found.std.mean() < 0.7 * quarter.std.mean()


def test_bad_input_is_refused(denoiser):
    head, data = next(problems(1, 3))
    with pytest.raises(ValueError, match="`mask` must hold a non-zero pixel"):
        scan(head, np.zeros_like(head, bool), NOISE)
    with pytest.raises(ValueError, match=r"`sigmas` must lie in \[0.015, 2\]"):
        priors.sample_posterior(data, priors.LearnedScore(denoiser), sigmas=[1.0, 0.001])
    small = scan(head[:1], np.ones((1, SIDE), bool), NOISE)
    with pytest.raises(ValueError, match="`y` must have sides"):
        priors.sample_posterior(small, priors.LearnedScore(denoiser), 4, progress=False)
