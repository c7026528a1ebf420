"""Priors: where their bounds are, and what lies on them."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lfi
from lfi.density import CouplingFlow
from lfi.prior import bounds, check_prior, inside

tfd = tfp.distributions
INF = np.inf


@pytest.mark.parametrize(
    ("prior", "low", "high"),
    [
        (lfi.BoxPrior([1, 2], [3, 5]), [1, 2], [3, 5]),
        (tfd.Sample(tfd.Uniform(-2.0, 3.0), 2), [-2, -2], [3, 3]),
        (tfd.Independent(tfd.Uniform([0.0, 0.0], 1.0), 1), [0, 0], [1, 1]),
        (tfd.Independent(tfd.TruncatedNormal([0.0, 1.0], 1.0, -1.0, 2.0), 1), [-1, -1], [2, 2]),
        (tfd.Sample(tfd.Beta(2.0, 3.0), 1), [0], [1]),
        (tfd.Sample(tfd.Gamma(2.0, 3.0), 2), [0, 0], [INF, INF]),
        (tfd.Sample(tfd.LogNormal(0.0, 1.0), 1), [0], [INF]),
        (tfd.MultivariateNormalDiag([0.0, 0.0, 1.0]), [-INF] * 3, [INF] * 3),
    ],
)
def test_bounds_are_those_of_draws(prior, low, high):
    found = bounds(prior)
    np.testing.assert_allclose(found, [low, high], rtol=1e-6)
    assert check_prior(prior) == len(low)
    draws = inside(prior.sample(1000, seed=tf.constant([0, 1])), *found)
    assert np.all((draws > found[0]) & (draws < found[1]))


def test_priors_without_bounds_for_each_parameter_are_refused():
    """Parts of a whole, say, are one fewer on the real line."""

    class OneFewer:
        def inverse(self, theta):
            return theta[:, 1:]

    class OnSimplex(tfd.MultivariateNormalDiag):
        def experimental_default_event_space_bijector(self):
            return OneFewer()

    with pytest.raises(ValueError, match="`prior` must live where each parameter has its own"):
        lfi.NPE(OnSimplex([0.0, 0.0]))


def test_what_lies_on_a_bound_is_moved_in_and_the_rest_stays():
    """In float32 the next number to 100 is 8e-6 away."""
    low, high = np.array([100.0, 0.0], np.float32), np.array([101.0, INF], np.float32)
    theta = np.array([[100.0, 0.0], [100.5, 3.0], [101.0, 1e6]], np.float32)
    moved = inside(theta, low, high)
    assert np.all((moved > low) & (moved < high))
    np.testing.assert_allclose(moved, theta, atol=5e-5)
    np.testing.assert_array_equal(moved[1], theta[1])


@pytest.mark.parametrize(("low", "high"), [(2.0, INF), (-INF, 2.0)])
def test_density_with_one_bound(low, high):
    model = CouplingFlow(1, 1, low=[low], high=[high], seed=1)
    model.y_mean.assign([0.3])
    context = np.zeros([1, 1], np.float32)
    distance = np.geomspace(1e-6, 1e3, 200_001)
    y = 2 + (distance if low == 2 else -distance)
    density = np.exp(model.log_prob_of_each(y[:, None], context).numpy().astype(np.float64))
    assert np.trapezoid(density, distance) == pytest.approx(1, abs=1e-4)
    assert np.isneginf(model.log_prob([[2 - np.sign(y[0] - 2)]], context))[0]
    draws = model.sample(20_000, context, seed=1).numpy().ravel()
    assert np.all((draws > low) & (draws < high))
    # log |y - 2| is normal about 0.3 in an untrained flow, to either side.
    log = np.log(np.abs(draws - 2)) * (1 if low == 2 else -1)
    assert log.mean() == pytest.approx(0.3, abs=0.03) and log.std() == pytest.approx(1, abs=0.03)
    again = CouplingFlow.from_config(model.get_config())
    np.testing.assert_array_equal([again.low, again.high], [[low], [high]])
