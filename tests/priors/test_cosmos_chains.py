"""Chains under a Gaussian prior, with the shear, mask and noise of COSMOS, against exact draws."""

import itertools

import numpy as np
import pytest

import priors
from priors.catalogue import read_shear_catalogue
from priors.shear_map import bin_shear, survey_grid
from priors.theory_power import theory_power

NUM_CHAINS, NUM_DRAWS, NUM_EXACT, CHUNK = 16, 1600, 2000, 100
BAND_EDGES = (0.008, 0.025, 0.044, 0.08, 0.14, 0.25, 0.45, 0.71)  # cycles per pixel


@pytest.fixture(scope="module")
def survey(data_folder):
    """The likelihood of the catalogue in pixels of an arcminute, and the power of theory."""
    folder = data_folder / "cosmos"
    if not folder.is_dir():
        pytest.skip("FLOWPM_EXT_DATA holds no folder `cosmos`")
    catalogue = read_shear_catalogue(folder / "shear_catalogue.fits")
    grid = survey_grid(catalogue, 1.0)
    seen, op = bin_shear(catalogue, grid), priors.operators.KaiserSquires(grid.shape)
    noise_std = np.where(seen.mask, seen.noise_std, 1).astype(np.float32)
    data = seen.shear.astype(np.complex64)
    likelihood = priors.GaussianLikelihood(op, data, noise_std, seen.mask)
    return likelihood, theory_power(folder / "nz.txt", grid).astype(np.float32)


@pytest.fixture(scope="module")
def exact(survey):
    """Mean, draws and their standard deviation, by constrained realisations."""
    parts = range(NUM_EXACT // CHUNK)
    draws = np.concatenate([priors.wiener_samples(*survey, CHUNK, seed) for seed in parts])
    return priors.wiener_filter(*survey).numpy(), draws, draws.std(axis=0, ddof=1)


def band_power(maps):
    """Power in bands of the frequency, from the lowest mode to the corner."""
    shape = maps.shape[1:]
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij"))
    power = np.mean(np.abs(np.fft.fft2(maps)) ** 2, axis=0)
    return np.array([power[(frequency >= low) & (frequency < high)].sum()
                     for low, high in itertools.pairwise(BAND_EDGES)])  # fmt: skip


@pytest.mark.slow
def test_annealed_chains_draw_what_constrained_realisations_do(survey, exact):
    """From ten root mean squares of noise on the prior down to none."""
    likelihood, power = survey
    score = priors.GaussianScore(power)
    levels = [*np.geomspace(10 * score.scale, 0.1 * score.scale, 8), 0.0]
    found = priors.sample_posterior(
        likelihood, score, NUM_DRAWS, 1, num_chains=NUM_CHAINS, sigmas=levels, steps_per_level=3,
        num_warmup=15, thin=3, progress=False,
    )  # fmt: skip
    mean, draws, std = exact
    # The bars of the method. Draws, nearly independent, scatter by .026 in the mean, by 2.4 % in
    # the deviation of a pixel (with that of the exact ones), by 1 % in the lowest band of power.
    assert np.sqrt(np.mean(((found.mean - mean) / std) ** 2)) < 0.1
    assert np.sqrt(np.mean((found.std / std - 1) ** 2)) < 0.05
    np.testing.assert_allclose(band_power(found.samples), band_power(draws), rtol=0.03)
    assert found.r_hat.max() < 1.05
