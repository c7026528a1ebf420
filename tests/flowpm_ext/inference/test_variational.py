"""Variational fits of densities that their families hold, and of one that they do not."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from flowpm_ext.inference import (
    CouplingFlow,
    FullRank,
    MeanField,
    Normal,
    Parameter,
    Space,
    fit_variational,
    importance,
)
from flowpm_ext.inference.variational import _drift

SIZE = 5
RNG = np.random.default_rng(0)
FACTOR = RNG.normal(size=(SIZE, SIZE))
PRECISION = FACTOR @ FACTOR.T / SIZE + np.eye(SIZE)
MEAN = RNG.normal(size=SIZE)
SPACE = Space({"x": Parameter((SIZE,))})
EVIDENCE = 0.5 * SIZE * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(PRECISION)[1]


def gaussian(values):
    offset = values["x"] - MEAN
    return -0.5 * tf.einsum("ci,ij,cj->c", offset, PRECISION, offset)


def banana(values):
    x = values["x"]
    return -0.5 * x[:, 0] ** 2 - 0.5 * ((x[:, 1] - x[:, 0] ** 2 + 1) / 0.5) ** 2


def test_full_rank_finds_a_normal_density_exactly():
    found = fit_variational(gaussian, SPACE, num_steps=1500, progress=False)
    # The gradient has no noise at the solution, so that nothing but the steps limits it.
    np.testing.assert_allclose(found.normal.mean, MEAN, atol=1e-6)
    np.testing.assert_allclose(found.normal.covariance, np.linalg.inv(PRECISION), atol=1e-6)
    np.testing.assert_allclose(found.elbo, EVIDENCE, atol=1e-9)
    np.testing.assert_allclose(found.importance.log_mean, EVIDENCE, atol=1e-9)
    assert found.importance.ess > 1999 and found.importance.k_hat < 0.5
    points = tf.constant(RNG.normal(size=(4, SIZE)))
    np.testing.assert_allclose(
        found.log_prob(points), gaussian({"x": points}) - EVIDENCE, atol=1e-5
    )


def test_mean_field_has_the_widths_of_the_conditionals():
    found = fit_variational(gaussian, SPACE, "mean_field", num_steps=1500, progress=False)
    # The best independent numbers have the inverse diagonal of the precision.
    np.testing.assert_allclose(found.normal.std, np.diag(PRECISION) ** -0.5, rtol=0.05)
    # And the bound falls short by half the logarithm of the determinant of the correlations.
    gap = 0.5 * (np.sum(np.log(np.diag(PRECISION))) - np.linalg.slogdet(PRECISION)[1])
    assert abs(EVIDENCE - found.elbo - gap) < 4 * found.elbo_error + 0.02
    assert abs(found.importance.log_mean - EVIDENCE) < 5 * found.importance.log_mean_error


def test_a_flow_follows_a_banana_that_normal_densities_do_not():
    space = Space({"x": Parameter((2,))})
    evidence = np.log(2 * np.pi * 0.5)
    fits = {
        family: fit_variational(banana, space, family, num_steps=steps, progress=False)
        for family, steps in (("full_rank", 1000), ("flow", 2000))
    }
    assert fits["full_rank"].elbo < evidence - 0.3
    # Its two layers each way bend a plane about as much as is needed.
    assert evidence - 0.08 < fits["flow"].elbo < evidence + 0.02
    assert abs(fits["flow"].importance.log_mean - evidence) < 0.06
    assert fits["flow"].importance.ess > 2 * fits["full_rank"].importance.ess
    assert fits["flow"].normal is None


def test_bounds_and_coordinates_of_the_start():
    space = Space({"share": Parameter((), 0.0, 1.0)})

    def beta(values):
        return 299 * tf.math.log(values["share"]) + 499 * tf.math.log(1 - values["share"])

    first = Normal(tf.constant([-0.5], tf.float64), tf.constant([0.1], tf.float64))
    found = fit_variational(beta, space, "mean_field", start=first, num_steps=500, progress=False)
    draws = found.sample(10000)["share"].numpy()
    np.testing.assert_allclose(draws.mean(), 3 / 8, atol=1e-3)
    np.testing.assert_allclose(draws.std(), np.sqrt(0.375 * 0.625 / 801), rtol=0.04)
    from scipy.special import betaln

    assert abs(found.importance.log_mean - betaln(300, 500)) < 1e-3
    assert found.num_gradients == 500 * 32 and len(found.history) == 10


@pytest.mark.parametrize("family", [MeanField(), FullRank(), CouplingFlow(3, 8)])
def test_families_are_invertible_and_normalised(family):
    weights = family.initial(SIZE, tf.float64, 1)
    flat = [v + tf.constant(0.3 * RNG.normal(size=v.shape)) for v in tf.nest.flatten(weights)]
    weights = tf.nest.pack_sequence_as(weights, flat)
    z = tf.constant(RNG.normal(size=(3, SIZE)))
    with tf.GradientTape() as tape:
        tape.watch(z)
        x, log_volume = family.forward(weights, z)
    slope = tape.batch_jacobian(x, z)
    np.testing.assert_allclose(np.linalg.slogdet(slope)[1], log_volume, atol=1e-10)
    back, same = family.inverse(weights, x)
    np.testing.assert_allclose(back, z, atol=1e-10)
    np.testing.assert_allclose(same, log_volume, atol=1e-10)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_tails_of_known_shape(shape):
    weight = stats.genpareto(shape).rvs(100_000, random_state=1)
    # 949 weights are in the tail: (1 + k) / sqrt(949) is .03 to .06.
    assert abs(importance(np.log(weight)).k_hat - shape) < 0.15


def test_drift_is_in_standard_errors_and_waits_for_enough_blocks():
    assert _drift(np.zeros(9)) == np.inf
    # Two means of five numbers each, and the unbiased scatter: Student's t of eight degrees.
    many = np.array([_drift(RNG.normal(size=10)) for _ in range(4000)])
    share = np.mean(many > 2)
    expected = 2 * stats.t(8).sf(2)
    assert abs(share - expected) < 4 * np.sqrt(expected / 4000)
    assert _drift(np.repeat([0.0, 1.0], 20) + 0.1 * RNG.normal(size=40)) < 5
    assert _drift(np.arange(40.0)) > 4


def test_sums_of_weights():
    x = RNG.normal(size=40_000)
    # From the unit normal to one of mean .5: E w = 1 and E w^2 = exp(.25).
    found = importance(0.5 * x - 0.125 + 3.0)
    assert abs(found.log_mean - 3) < 4 * found.log_mean_error < 0.02
    np.testing.assert_allclose(found.ess / len(x), np.exp(-0.25), rtol=0.02)
    assert importance(np.zeros(100)).ess == 100


def test_refusals():
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite"):
        fit_variational(lambda v: v["x"][:, 0] * np.nan, SPACE, progress=False)
    with pytest.raises(ValueError, match="Give a `start` around which"):
        fit_variational(lambda v: v["x"][:, 0] * np.nan, SPACE, progress=False)
    with pytest.raises(ValueError, match="`num_draws` must be 25 or more"):
        fit_variational(None, SPACE, num_draws=24)
    with pytest.raises(ValueError, match="`start` must be one point"):
        fit_variational(gaussian, SPACE, start={"x": np.zeros((2, SIZE))})
    with pytest.raises(ValueError, match="`family` must be"):
        fit_variational(gaussian, SPACE, "student")
    with pytest.raises(ValueError, match=r"`log_weight` must have shape \[num\] with 25 or more"):
        importance(np.zeros(10))
    with pytest.raises(ValueError, match="`log_weight` must be finite"):
        importance(np.full(100, np.nan))
