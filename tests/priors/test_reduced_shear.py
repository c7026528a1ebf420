"""Reduced shear as data: against numbers, its gradient, and the limit of weak lensing."""

import numpy as np
import pytest
import tensorflow as tf

import priors
from priors.operators import KaiserSquires
from priors.reduced_shear import ReducedShearLikelihood

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


def test_wiener_filter_refuses_it_and_takes_its_linear_form(kappa):
    one, power = likelihood(KaiserSquires((SIDE, SIDE))(kappa)), np.full((SIDE, SIDE), 0.01)
    with pytest.raises(ValueError, match="`likelihood` must be linear"):
        priors.wiener_filter(one, power)
    assert np.isfinite(priors.wiener_filter(one.linearised(), power)).all()
