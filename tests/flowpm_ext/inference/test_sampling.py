"""The door to all samplers: structures, bounds, scales that warm-up learns, refusals."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.inference import Normal, Parameter, Space, fit_variational, laplace, sample
from flowpm_ext.inference.coordinates import learned
from flowpm_ext.inference.sampling import windows

SPACE = Space({
    "share": Parameter((), 0.0, 1.0), "rate": Parameter((2,), low=0.0), "x": Parameter((3,)),
})  # fmt: skip
SCALES = np.array([0.03, 1.0, 30.0])
CORRELATION = 0.95


def log_prob(values):
    """Beta(3, 5), Gamma(3) and normal numbers of different scales."""
    share, rate, x = values["share"], values["rate"], values["x"]
    beta = 2 * tf.math.log(share) + 4 * tf.math.log(1 - share)
    gamma = tf.reduce_sum(2 * tf.math.log(rate) - rate, axis=-1)
    return beta + gamma - 0.5 * tf.reduce_sum((x / SCALES) ** 2, axis=-1)


def pair(values):
    """Two numbers of strong correlation."""
    x, y = tf.unstack(values["x"], axis=1)
    return -0.5 * (x**2 + y**2 - 2 * CORRELATION * x * y) / (1 - CORRELATION**2)


@pytest.mark.parametrize("method", ["nuts", "hmc", "mclmc", "mams"])
def test_known_moments(method):
    found = sample(
        log_prob, SPACE, 400, method, num_chains=8, num_warmup=300, seed=1, progress=False
    )
    values, ess = found.values, found.ess
    assert values["x"].shape == (400, 8, 3) and values["share"].shape == (400, 8)
    assert found.vectors.shape == (400, 8, 6)
    assert all(np.all(part < 1.02) for part in found.r_hat.values())
    # Variances come out 3 % too small where nothing tests the energy, and scatter by 5 %.
    bias = 0.03 if method == "mclmc" else 0.0
    for name, mean, var in (
        ("share", 3 / 8, 15 / 64 / 9), ("rate", 3.0, 3.0), ("x", 0.0, SCALES**2)
    ):  # fmt: skip
        error = np.sqrt(var / ess[name])
        assert np.all(np.abs(values[name].mean((0, 1)) - mean) < 4 * error + bias * np.sqrt(var))
        np.testing.assert_allclose(values[name].var((0, 1)), var, rtol=0.2 + bias)
    assert np.all(values["rate"] > 0) and np.all((values["share"] > 0) & (values["share"] < 1))


def test_warm_up_learns_scales_and_correlations():
    space = Space({"x": Parameter((2,))})
    options = {"num_chains": 8, "num_warmup": 300, "seed": 2, "progress": False}
    dense, diagonal = (
        sample(pair, space, 200, "hmc", metric=metric, **options)
        for metric in ("dense", "diagonal")
    )
    expected = np.array([[1, CORRELATION], [CORRELATION, 1]])
    np.testing.assert_allclose(dense.coordinates.covariance, expected, rtol=0.2)
    assert diagonal.coordinates.root.shape == (2,)
    assert dense.gradients_per_draw < 0.7 * diagonal.gradients_per_draw
    # Where coordinates are round, a quarter of a turn forgets most: half of the draws count.
    assert np.all(dense.ess["x"] > 0.3 * 1600)


def test_a_normal_start_is_used():
    fit = laplace(log_prob, SPACE)
    options = {"start": fit.normal, "metric": "unit", "num_warmup": 30, "progress": False}
    found, again = (sample(log_prob, SPACE, 50, "hmc", **options) for _ in range(2))
    np.testing.assert_array_equal(found.coordinates.root, fit.normal.root)
    np.testing.assert_array_equal(found.vectors, again.vectors)


def test_normal_densities():
    rng = np.random.default_rng(1)
    root = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    mean = rng.normal(size=4)
    from scipy.stats import multivariate_normal

    points = rng.normal(size=(5, 4))
    for matrix, covariance in ((root, root @ root.T), (np.diag(root), np.diag(np.diag(root)) ** 2)):
        normal = Normal(tf.constant(mean), tf.constant(matrix))
        exact = multivariate_normal(mean, covariance)
        np.testing.assert_allclose(normal.log_prob(points), exact.logpdf(points), rtol=1e-10)
        np.testing.assert_allclose(normal.covariance, covariance, rtol=1e-12)
        np.testing.assert_allclose(normal.std, np.sqrt(np.diag(covariance)), rtol=1e-12)
        np.testing.assert_allclose(normal.stretched(normal.shrunk(points)), points, atol=1e-12)
    found = learned(normal.sample(4000, seed=1), "dense")
    np.testing.assert_allclose(found.std, normal.std, rtol=0.06)  # scatter of 1.1 %


def test_windows_double_and_leave_time_for_the_step():
    assert windows(500) == [20, 40, 80, 298]
    assert windows(0) == windows(10) == []
    for num in (25, 77, 200, 1000):
        assert 0.5 * num < sum(windows(num)) <= num - num // 8


def test_refusals():
    run = {"progress": False}
    with pytest.raises(ValueError, match=r"`log_prob\(start\)` must be finite.*Start every chain"):
        sample(lambda values: values["share"] * np.nan, SPACE, 5, **run)
    with pytest.raises(ValueError, match="`method` must be"):
        sample(log_prob, SPACE, 5, "gibbs", **run)
    with pytest.raises(ValueError, match="`metric` must be"):
        sample(log_prob, SPACE, 5, metric="round", **run)
    with pytest.raises(ValueError, match="`start` must be of one point, or of one for each of 4"):
        start = {"share": np.full(3, 0.5), "rate": np.ones((3, 2)), "x": np.zeros((3, 3))}
        sample(log_prob, SPACE, 5, start=start, **run)
    start = {"share": 0.5, "rate": np.array([1.0, np.nan]), "x": np.zeros(3)}
    with pytest.raises(ValueError, match=r"`start\['rate'\]` must be finite"):
        sample(log_prob, SPACE, 5, start=start, **run)
    del start["x"]
    with pytest.raises(ValueError, match=r"`start` must have the parts \['rate'\], \['share'\], "):
        sample(log_prob, SPACE, 5, start=start, **run)
    with pytest.raises(ValueError, match="`draws` must vary in every parameter"):
        learned(np.zeros((5, 2)))


@pytest.mark.parametrize("fit", [
    lambda start: sample(log_prob, SPACE, 5, start=start, progress=False),
    lambda start: fit_variational(log_prob, SPACE, start=start, progress=False),
])  # fmt: skip
def test_normal_starts_are_checked(fit):
    with pytest.raises(ValueError, match="`start` must be a normal density of 6 parameters"):
        fit(Normal(np.zeros(5), np.ones(5)))
    with pytest.raises(ValueError, match="`start` must be finite"):
        fit(Normal(np.zeros(6), np.full(6, np.nan)))


def test_a_normal_start_of_arrays_or_another_type():
    for dtype in (np.float32, np.float64):
        start = Normal(np.zeros(6, dtype), np.full(6, 0.1, dtype))
        found = sample(log_prob, SPACE, 2, "hmc", start=start, num_warmup=0, num_leapfrog=1,
                       progress=False)  # fmt: skip
        assert found.vectors.dtype == np.float64 and np.all(found.coordinates.std == start.root)


@pytest.mark.parametrize("method, options, said", [
    ("hmc", {"keep": lambda x: x[:, :1]}, "step_size, .* for 'hmc'. Received: 'keep'"),
    ("hmc", {"num_groups": 2}, "Received: 'num_groups'"),
    ("mclmc", {"args": ()}, "Received: 'args'"),
    ("nuts", {"num_leapfrog": 3, "depth": 2}, "max_depth, thin for 'nuts'. Received: 'num_leapf"),
])  # fmt: skip
def test_options_that_a_sampler_does_not_know(method, options, said):
    with pytest.raises(ValueError, match=f"`options` must be among .*{said}"):
        sample(log_prob, SPACE, 5, method, progress=False, **options)


@pytest.mark.parametrize("method, options, longest", [
    ("hmc", {"trajectory": None, "num_leapfrog": 1}, 1),
    ("nuts", {"max_depth": 1}, 2),
    ("mams", {"length": 0.1}, 2),
])  # fmt: skip
def test_thinning_costs_no_warm_up(method, options, longest):
    def log_prob(values):
        return -0.5 * tf.reduce_sum(values["x"] ** 2, axis=-1)

    costs = [
        sample(log_prob, Space({"x": Parameter((3,))}), 1, method, num_warmup=80, thin=thin,
               progress=False, **options).num_gradients
        for thin in (1, 11)
    ]  # fmt: skip
    assert 10 <= costs[1] - costs[0] <= 10 * longest  # ten more steps for the draw itself
