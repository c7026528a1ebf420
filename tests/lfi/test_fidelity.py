"""Cheap simulations moved to costly ones, in a problem where both are known."""

import numpy as np
import pytest

import lfi
from lfi.fidelity import moved_summaries

ROOT = np.array([[0.3, 0.0], [0.1, 0.2]])
COSTLY = np.array([[0.45, 0.0], [-0.2, 0.3]])


def cheap(theta, rng, root=ROOT):
    a, b = theta.T  # no polynomials
    mean = np.stack([np.sin(2 * a) + b**2, np.exp(b) - 0.3 * a**3], axis=1)
    return mean + rng.normal(size=(len(theta), 2)) @ root.T


def costly(theta, rng):
    return cheap(theta, rng, COSTLY) + 0.5 + theta @ np.array([[0.3, -0.1], [0.2, 0.4]])


def simulations(num=2000, num_few=400, seed=0):
    rng = np.random.default_rng(seed)
    theta, few = rng.uniform(-1, 1, (num, 2)), rng.uniform(-0.5, 0.7, (num_few, 2))
    return theta, cheap(theta, rng), few, costly(few, rng)


def test_mean_and_scatter_are_those_of_costly_simulations():
    theta, x, few, few_x = simulations()
    moved = moved_summaries(theta, x, few, few_x)
    rest = moved - costly(theta, np.random.default_rng(1))
    # Of both kinds the noise is left, and of its mean nothing, in each half of the prior.
    noise = COSTLY @ COSTLY.T
    np.testing.assert_allclose(np.cov(rest.T), 2 * noise, atol=0.06)
    for side in (theta[:, 0] < 0, theta[:, 0] > 0):
        np.testing.assert_allclose(rest[side].mean(axis=0), 0, atol=0.1)


def test_simulations_of_one_kind_stay_where_they_are():
    rng = np.random.default_rng(2)
    theta, few = rng.uniform(-1, 1, (4000, 2)), rng.uniform(-1, 1, (2000, 2))
    x = cheap(theta, rng)
    moved = moved_summaries(theta, x, few, cheap(few, rng))
    assert np.std(moved - x) < 0.1 * np.std(x)


def test_posterior_learned_from_moved_simulations_is_calibrated():
    theta, x, few, few_x = simulations(seed=3)
    rng = np.random.default_rng(4)
    truth = rng.uniform(-0.5, 0.5, (300, 2))
    seen = costly(truth, rng)
    away = []
    for summaries in (x, moved_summaries(theta, x, few, few_x)):
        estimator = lfi.NPE(lfi.BoxPrior([-1, -1], [1, 1]), "mdn", num_members=1, seed=1)
        estimator.append_simulations(theta, summaries).fit(epochs=12, verbose=0)
        draws = estimator.posterior(seen, check=False).sample(200, seed=1)
        away.append(np.mean((draws.mean(axis=0) - truth) / draws.std(axis=0), axis=0))
    assert np.abs(away[0]).max() > 1 and np.abs(away[1]).max() < 0.25


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros((3, 2))}, "`x` must have 100 rows"),
        ({"few_theta": np.zeros((50, 3))}, "`few_theta` must have 2 columns"),
        ({"few_x": np.full((50, 2), np.nan)}, "`few_x` must"),
        ({"theta": np.ones((100, 2))}, "`theta` must vary"),
        ({"few_theta": np.zeros((4, 2)), "few_x": np.zeros((4, 2))}, "`few_theta` must hold more"),
        ({"few_theta": np.full((50, 2), 9.0)}, "`theta` must hold 8 among few_theta"),
    ],
)
def test_bad_input_to_moved_summaries(change, words):
    rng = np.random.default_rng(5)
    sizes = {"theta": 100, "x": 100, "few_theta": 50, "few_x": 50}
    arguments = {name: rng.normal(size=(num, 2)) for name, num in sizes.items()}
    with pytest.raises(ValueError, match=words):
        moved_summaries(**arguments | change)
