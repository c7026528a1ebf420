"""Simulated galaxies and blends against profiles and sums written out."""

import numpy as np
import pytest
from astropy.modeling.models import Moffat2D, Sersic2D

from priors import GaussianLikelihood, galaxies
from priors.blends import blend, blend_likelihood, blend_operator, overlapping_pairs
from priors.galaxies import galaxy_denoiser, galaxy_images, galaxy_psf


def test_images_are_reproducible_centred_and_of_the_flux_asked_for():
    few, many = galaxy_images(3, 16, seed=4), galaxy_images(300, 16, seed=4)
    assert many.shape == (300, 16, 16)
    assert many.dtype == np.float32
    np.testing.assert_array_equal(few, many[:3])
    assert not np.allclose(galaxy_images(3, 16, seed=5), few)
    assert many.min() >= 0
    flux = galaxy_images(5, 16, flux=7.0, flux_scatter=0.0).sum(axis=(1, 2))
    np.testing.assert_allclose(flux, 7.0, rtol=1e-5)  # rounding of float32 sums


def test_fluxes_are_lognormal():
    log_flux = np.log(galaxy_images(1000, 8, flux=50.0, flux_scatter=0.3).sum(axis=(1, 2)))
    # Five times the standard error of a mean, and of a standard deviation.
    np.testing.assert_allclose(log_flux.mean(), np.log(50.0), atol=5 * 0.3 / 1000**0.5)
    np.testing.assert_allclose(log_flux.std(), 0.3, atol=5 * 0.3 / 2000**0.5)


def test_smooth_galaxies_look_the_same_upside_down_and_irregular_ones_do_not():
    def asymmetry(images):
        inside = images[:, 1:, 1:]  # the centre of 16 pixels is the ninth
        turned = inside[:, ::-1, ::-1]
        return np.abs(inside - turned).sum(axis=(1, 2)) / inside.sum(axis=(1, 2))

    # The telescope's blur is periodic: a little light of the widest galaxies comes in again.
    assert asymmetry(galaxy_images(20, 16, irregularity=0.0)).max() < 1e-3
    assert np.median(asymmetry(galaxy_images(20, 16))) > 0.02


@pytest.mark.parametrize("index", [1.0, 4.0])
def test_profile_is_that_of_sersic(index):
    side = 32
    lowest, highest = galaxies.INDEX
    drawn = np.zeros((9, 1, 1, 1))
    drawn[:4, 0, 0, 0] = ((index - lowest) / (highest - lowest), 0.5, 0.4, 0.2)
    found = galaxies._profile(drawn, side, irregularity=0.0)[0]
    radius, ratio = side * np.mean(galaxies.HALF_LIGHT), 0.3 + 0.7 * 0.4
    y, x = np.mgrid[:side, :side]
    expected = Sersic2D(
        amplitude=1.0, r_eff=radius, n=index, x_0=16, y_0=16, ellip=1 - ratio, theta=0.2 * np.pi
    )(x, y)
    # Light ends at five half-light radii along both axes of the ellipse.
    turned = np.hypot(
        np.cos(0.2 * np.pi) * (x - 16) + np.sin(0.2 * np.pi) * (y - 16),
        (np.cos(0.2 * np.pi) * (y - 16) - np.sin(0.2 * np.pi) * (x - 16)) / ratio,
    )
    expected *= np.cos(np.pi / 2 * np.clip(turned / (5 * radius), 0, 1)) ** 2
    scale = found[16, 20] / expected[16, 20]
    away = turned > 3  # nearer the mean over a pixel is not its middle
    # Curvature within a pixel, three pixels out: a few per cent.
    np.testing.assert_allclose(found[away], scale * expected[away], rtol=0.06, atol=1e-4 * scale)


def test_psf_is_a_moffat_profile_of_the_width_asked_for():
    psf = galaxy_psf(33, fwhm=6.0, beta=2.5)
    np.testing.assert_allclose(psf.sum(), 1.0, rtol=1e-5)
    assert np.unravel_index(psf.argmax(), psf.shape) == (16, 16)
    width = 6.0 / (2 * np.sqrt(2 ** (1 / 2.5) - 1))
    y, x = np.mgrid[:33, :33]
    expected = Moffat2D(1.0, 16, 16, gamma=width, alpha=2.5)(x, y)
    # Means over pixels, a sixth of the width: 1 % of the peak.
    np.testing.assert_allclose(psf / psf.max(), expected, atol=0.02)
    np.testing.assert_allclose(psf[16, 19] / psf[16, 16], 0.5, atol=0.02)
    even = galaxy_psf(8, 3.0)
    assert np.unravel_index(even.argmax(), even.shape) == (4, 4)


def test_blend_is_a_sum_of_moved_and_blurred_sources():
    sources, offset = galaxy_images(2, 8), np.array([[1.0, -1.0], [0.0, 2.0]])
    sed, psf = np.array([[1.0, 2.0], [0.5, 3.0]]), np.zeros((2, 12, 12))
    psf[0, 6, 6] = 1.0  # as it is
    psf[1, 7, 6] = 1.0  # one pixel up
    found = blend_operator(sed, psf, offset, 8)(sources.astype(np.float64))
    framed = np.pad(sources, ((0, 0), (2, 2), (2, 2)))
    moved = [np.roll(framed[0], (1, -1), (0, 1)), np.roll(framed[1], (0, 2), (0, 1))]
    expected = [moved[0] + 2 * moved[1], np.roll(0.5 * moved[0] + 3 * moved[1], 1, 0)]
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_blend_holds_its_truth_and_its_noise():
    made = blend(3, num_sources=3, side=16, margin=4, noise_std=0.2)
    assert made.data.shape == (5, 24, 24)
    assert made.op.shape == (3, 16, 16)
    np.testing.assert_array_equal(made.data, blend(3, num_sources=3, side=16, margin=4,
                                                   noise_std=0.2).data)  # fmt: skip
    noise = (made.data - made.op(made.sources).numpy()) / made.noise_std
    # Five standard errors of 2880 normal numbers.
    np.testing.assert_allclose(noise.std(), 1.0, atol=5 / (2 * noise.size) ** 0.5)
    np.testing.assert_allclose(noise.mean(), 0.0, atol=5 / noise.size**0.5)
    np.testing.assert_allclose(made.sed.mean(axis=0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(made.psf.sum(axis=(1, 2)), 1.0, rtol=1e-5)
    assert np.abs(made.offset[0]).max() <= 0.5
    mine = np.ones((2, 16, 16))
    np.testing.assert_array_equal(blend(side=16, margin=4, sources=mine).sources, mine)


def test_likelihood_of_a_blend_is_that_of_all_bands():
    made = blend(5, num_sources=3, side=10, margin=3, fwhm=(3.0, 2.0))
    made = made._replace(data=made.data.astype(np.float64))
    bands = GaussianLikelihood(made.op, made.data, made.noise_std)
    few = blend_likelihood(made)
    assert few.op.data_shape == (3, 16, 16)
    x = made.sources + np.random.default_rng(0).normal(size=(4, 3, 10, 10))
    expected, found = bands.log_prob(x), few.log_prob(x)
    # Constants cancel; spectra, seeing and places are float32, and differences are thousands.
    np.testing.assert_allclose(found[1:] - found[0], expected[1:] - expected[0], rtol=1e-5)
    np.testing.assert_allclose(few.gradient(x), bands.gradient(x), atol=1e-4)


def test_pairs_have_the_same_flux():
    isolated, blended = overlapping_pairs(8, 32, seed=1)
    assert isolated.shape == blended.shape == (8, 32, 32)
    fluxes = [images.sum(axis=(1, 2)) for images in (isolated, blended)]
    np.testing.assert_allclose(*fluxes, rtol=1e-5)
    # Another galaxy, not the same one: most of the light of the first is still in its place.
    assert np.all(np.abs(isolated - blended).sum(axis=(1, 2)) > 0.2 * fluxes[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: galaxy_images(0), "`num` must be a positive integer"),
        (lambda: galaxy_images(1, flux=-1.0), "`flux` must be positive"),
        (lambda: galaxy_images(1, flux_scatter=-1.0), "`flux_scatter` must be non-negative"),
        (lambda: galaxy_images(1, irregularity=np.nan), "`irregularity` must be non-negative"),
        (lambda: galaxy_psf(8, 0.0), "`fwhm` must be positive"),
        (lambda: galaxy_psf(8, 3.0, beta=1.0), "`beta` must be above 1"),
        (lambda: galaxy_denoiser(num_steps=0), "`num_steps` must be a positive integer"),
        (lambda: blend(noise_std=0.0), "`noise_std` must be positive"),
        (lambda: blend(num_sources=0), "`num_sources` must be a positive integer"),
        (lambda: blend(sources=np.ones((3, 32, 32))), "`sources` must have shape"),
        (lambda: blend_likelihood(blend(num_sources=6)), "`blend` must have at least 6 bands"),
        (
            lambda: blend_operator(np.ones((2, 1)), np.ones((2, 9, 9)), np.zeros((1, 2)), 8),
            "`psf` must be wider than 8 by an even number",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("seed", [-1, 1, 2**40])
def test_any_integer_is_a_seed_of_the_network(seed):
    model = galaxy_denoiser(16, 1, seed, num_images=16, filters=(4,))
    assert np.isfinite(model(galaxy_images(2, 16, seed), 1.0)).all()
    assert np.isfinite(blend(seed, side=16, margin=4).data).all()
