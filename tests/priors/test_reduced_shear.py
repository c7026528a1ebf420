"""Reduced shear as data: against numbers, its gradient, and the limit of weak lensing."""

import numpy as np
import pytest
import tensorflow as tf

import priors
from priors.catalogue import ShearCatalogue
from priors.operators import KaiserSquires
from priors.reduced_shear import ReducedShearLikelihood
from priors.sky_grid import SkyGrid

SIDE = 16


@pytest.fixture
def kappa():
    return 0.1 * np.random.default_rng(0).normal(size=(SIDE, SIDE))


def likelihood(data, kind=ReducedShearLikelihood):
    mask = np.ones((SIDE, SIDE), bool)
    mask[3:6, 4:9] = False
    return kind(KaiserSquires((SIDE, SIDE)), data, 0.1, mask)


def test_residual_of_the_truth_is_zero(kappa):
    shear = KaiserSquires((SIDE, SIDE))(kappa).numpy()
    one = likelihood(shear / (1 - kappa))
    np.testing.assert_allclose(one.residual(kappa), 0, atol=1e-12)
    linear = likelihood(shear / (1 - kappa), priors.GaussianLikelihood)
    assert np.abs(linear.residual(kappa)).max() > 1e-3
    assert one.log_prob(kappa) > linear.log_prob(kappa)


def test_gradient_is_that_of_the_log_density(kappa):
    rng = np.random.default_rng(1)
    data = rng.normal(size=(SIDE, SIDE, 2)) @ [0.1, 0.1j]
    one, x = likelihood(data), tf.constant(np.stack([kappa, -kappa]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(one.log_prob(x))
    np.testing.assert_allclose(one.gradient(x), tape.gradient(value, x), rtol=1e-9, atol=1e-9)
    way = rng.normal(size=x.shape)
    step = 1e-5
    change = [tf.reduce_sum(one.log_prob(x + sign * step * way)) for sign in (1, -1)]
    slope = float(change[0] - change[1]) / (2 * step)
    # Central differences are exact to the square of the step.
    assert slope == pytest.approx(float(tf.reduce_sum(way * one.gradient(x))), rel=1e-6)


def test_weak_lensing_is_linear(kappa):
    data = KaiserSquires((SIDE, SIDE))(kappa)
    one = likelihood(data)
    weak = 1e-4 * kappa
    np.testing.assert_allclose(
        one.gradient(weak), one.linearised().gradient(weak), atol=1e-3 * 0.1 / 0.1**2
    )
    assert not one.is_linear and one.linearised().is_linear


def power():
    k = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(SIDE) * SIDE], indexing="ij"))
    found = 1 / (1 + k**2)
    found[0, 0] = 0
    return (1e-4 * found / found.mean()).astype(np.float32)


def test_chains_of_weak_shear_draw_what_the_linear_posterior_holds():
    rng = np.random.default_rng(2)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIDE, SIDE))) * np.sqrt(power())).real
    noise = 0.01 * rng.normal(size=(SIDE, SIDE, 2)) @ [1, 1j]
    data = (KaiserSquires((SIDE, SIDE))(field).numpy() + noise).astype(np.complex64)
    one = ReducedShearLikelihood(KaiserSquires((SIDE, SIDE)), data, 0.01)
    found = priors.sample_posterior(
        one, priors.GaussianScore(power()), 160, num_chains=8, num_warmup=10, progress=False
    )
    exact = priors.wiener_samples(one.linearised(), power(), 2000, 3).numpy()
    # A convergence of one in a hundred: nearly linear; draws scatter by a tenth.
    assert np.sqrt(np.mean(((found.mean - exact.mean(0)) / exact.std(0)) ** 2)) < 0.15
    assert np.mean(found.std / exact.std(0)) == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("method", ["flow", "predictor_corrector"])
def test_samplers_that_need_linear_data_refuse_it(kappa, method):
    one = likelihood(KaiserSquires((SIDE, SIDE))(kappa))
    message = "`method` must be one of 'hmc', 'langevin', 'guided' for data not linear"
    with pytest.raises(ValueError, match=message):
        priors.sample_posterior(one, priors.GaussianScore(power()), method=method)


def test_wiener_filter_refuses_it_and_takes_its_linear_form(kappa):
    one = likelihood(KaiserSquires((SIDE, SIDE))(kappa))
    with pytest.raises(ValueError, match="`likelihood` must be linear"):
        priors.wiener_filter(one, power())
    assert np.isfinite(priors.wiener_filter(one.linearised(), power())).all()


def clusters(side=32):
    """Convergence of three massive clusters on a quiet field, of mean zero, and their places."""
    rows, columns = np.mgrid[:side, :side]
    places = [(9, 9), (22, 12), (16, 24)]
    kappa = sum(0.5 * np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 4) for y, x in places)
    kappa = kappa + 0.01 * np.random.default_rng(0).normal(size=kappa.shape)
    return kappa - kappa.mean(), tuple(np.transpose(places))


class ClusterPrior:
    """A Gaussian prior of the spectrum of the clusters, in the place of a network."""

    pixel_size_arcmin, multiple = 1.0, 1

    def score(self, grid, nz, cosmo):
        modes = np.abs(np.fft.fft2(clusters()[0])) ** 2 / np.prod(grid.shape)
        return priors.GaussianScore(modes.astype(np.float32))


def test_peaks_of_a_mass_map_are_less_biased_with_reduced_shear():
    kappa, places = clusters()
    grid = SkyGrid((150.0, 0.0), kappa.shape, 1.0)
    rows, columns = (np.repeat(part.ravel(), 60) for part in np.indices(kappa.shape))
    ra, dec = grid.sky_coordinates(rows, columns)
    g = KaiserSquires(kappa.shape)(kappa).numpy() / (1 - kappa)
    shapes = 0.05 * np.random.default_rng(1).normal(size=(len(ra), 2)) @ [1, 1j]
    seen = g[rows, columns] + shapes
    catalogue = ShearCatalogue(ra, dec, seen / grid.turn(ra), np.ones(len(ra)))
    bias = {}
    for reduced_shear in (False, True):
        made = priors.mass_map(
            catalogue, prior="learned", weights=ClusterPrior(), grid=grid, num_samples=48,
            reduced_shear=reduced_shear,
            sampling={"num_chains": 8, "num_warmup": 10, "num_leapfrog": 10},
        )  # fmt: skip
        bias[reduced_shear] = np.mean(made.kappa_e[places] - kappa[places])
    # Measured: .058 and -.004, of .46.
    assert abs(bias[True]) < 0.5 * bias[False], bias
