"""Scores and learned information against the linear and Gaussian problems they come from."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from lfi.compressors import (
    InformationNetwork,
    ScoreCompressor,
    central_differences,
    information_report,
)

RNG = np.random.default_rng(0)
NUM_DATA = 8
SLOPES = RNG.normal(size=(3, NUM_DATA))
ROOT = np.tril(RNG.normal(size=(NUM_DATA, NUM_DATA)), -1) / 3 + np.diag(np.linspace(1, 2, NUM_DATA))
COVARIANCE = ROOT @ ROOT.T
FISHER = SLOPES @ np.linalg.solve(COVARIANCE, SLOPES.T)
FIDUCIAL = np.array([1.0, -2.0, 0.5])


def mean(theta):
    return tf.linalg.matvec(tf.constant(SLOPES.T), theta) + 3.0


def data(theta, num, seed=1):
    noise = np.random.default_rng(seed).normal(size=(num, NUM_DATA))
    return theta @ SLOPES + 3.0 + noise @ ROOT.T


def test_variance_of_summaries_is_the_inverse_fisher_matrix():
    compressor = ScoreCompressor(FIDUCIAL, mean, COVARIANCE)
    np.testing.assert_allclose(compressor.fisher, FISHER, rtol=1e-10)
    found = compressor.compress(data(FIDUCIAL, 40_000)).numpy()
    inverse = np.linalg.inv(FISHER)
    # 40,000 draws know a variance to 0.7 per cent and a mean to a 200th of its width.
    np.testing.assert_allclose(np.cov(found.T), inverse, atol=0.03 * inverse.max())
    np.testing.assert_allclose(found.mean(0), FIDUCIAL, atol=0.02 * np.sqrt(inverse.max()))


def test_estimates_are_those_of_maximum_likelihood_anywhere():
    """In a linear model the point of expansion does not matter, and least squares are exact."""
    truth = np.array([4.0, 1.0, -6.0])
    d = data(truth, 20)
    found = ScoreCompressor(FIDUCIAL, mean, COVARIANCE).compress(d)
    white = np.linalg.solve(ROOT, SLOPES.T)
    expected = np.linalg.lstsq(white, np.linalg.solve(ROOT, (d - 3.0).T), rcond=None)[0].T
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_posterior_of_summaries_is_that_of_the_data():
    compressor = ScoreCompressor(FIDUCIAL, mean, COVARIANCE)
    d = data(np.array([1.3, -1.8, 0.4]), 1)
    t = compressor.compress(d).numpy()[0]
    inverse = np.linalg.inv(FISHER)
    points = FIDUCIAL + RNG.normal(size=(50, 3))
    by_data = [stats.multivariate_normal(p @ SLOPES + 3.0, COVARIANCE).logpdf(d[0]) for p in points]
    by_summary = [stats.multivariate_normal(p, inverse).logpdf(t) for p in points]
    difference = np.array(by_data) - by_summary
    # One number for all parameters: what the evidence differs by.
    np.testing.assert_allclose(difference, difference[0], atol=1e-8)


@pytest.mark.parametrize("nuisances", [(1,), (2, 0)])
def test_projected_summaries_do_not_respond_to_nuisances(nuisances):
    options = {"derivatives": SLOPES, "nuisances": nuisances}
    compressor = ScoreCompressor(FIDUCIAL, mean(FIDUCIAL).numpy(), COVARIANCE, **options)
    kept = [i for i in range(3) if i not in nuisances]
    quiet = FIDUCIAL @ SLOPES + 3.0
    before = compressor.compress(quiet)
    np.testing.assert_allclose(before, FIDUCIAL[kept], rtol=1e-10)
    for i in range(3):
        response = compressor.compress(quiet + SLOPES[i]) - before
        np.testing.assert_allclose(response, [float(i == k) for k in kept], atol=1e-10)
    expected = np.linalg.inv(np.linalg.inv(FISHER)[np.ix_(kept, kept)])
    np.testing.assert_allclose(compressor.projected_fisher, expected, rtol=1e-9)
    # The projection as it is written down for scores.
    there = list(nuisances)
    mix = FISHER[np.ix_(kept, there)] @ np.linalg.inv(FISHER[np.ix_(there, there)])
    d = data(FIDUCIAL, 5)
    score = compressor.score(d).numpy()
    projected = score[:, kept] - score[:, there] @ mix.T
    written = FIDUCIAL[kept] + projected @ np.linalg.inv(expected)
    np.testing.assert_allclose(compressor.compress(d), written, rtol=1e-8)


def test_score_of_a_covariance_that_moves_is_the_slope_of_the_likelihood():
    rise = RNG.normal(size=(3, NUM_DATA, NUM_DATA)) / 10
    rise = rise + rise.swapaxes(1, 2)
    compressor = ScoreCompressor(FIDUCIAL, mean, COVARIANCE, covariance_derivatives=rise)
    d = data(FIDUCIAL, 1)[0]

    def log_likelihood(theta):
        moved = COVARIANCE + np.tensordot(theta - FIDUCIAL, rise, 1)
        return stats.multivariate_normal(theta @ SLOPES + 3.0, moved).logpdf(d)

    step = 1e-5
    slope = [
        (log_likelihood(FIDUCIAL + e) - log_likelihood(FIDUCIAL - e)) / (2 * step)
        for e in step * np.eye(3)
    ]
    # Central differences of a float64 number of order ten.
    np.testing.assert_allclose(compressor.score(d), slope, rtol=1e-5, atol=1e-6)
    inverse = np.linalg.inv(COVARIANCE)
    bends = np.array([[np.trace(inverse @ a @ inverse @ b) for a in rise] for b in rise]) / 2
    np.testing.assert_allclose(compressor.fisher, FISHER + bends, rtol=1e-9)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_variances_stand_for_a_diagonal_matrix_in_either_precision(jit_compile):
    variances = np.linspace(1, 2, NUM_DATA)
    d = data(FIDUCIAL, 4)
    expected = ScoreCompressor(FIDUCIAL, mean, np.diag(variances)).compress(d)
    for dtype, tolerance in ((np.float32, 1e-4), (np.float64, 1e-10)):
        centre = mean(FIDUCIAL).numpy().astype(dtype)
        compressor = ScoreCompressor(FIDUCIAL.astype(dtype), centre, variances, SLOPES)
        found = tf.function(compressor.compress, jit_compile=jit_compile)(d)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def simulations(num, seed):
    """Ten draws of N(0, 1), and what they do when the mean or the variance moves."""
    x = np.random.default_rng(seed).normal(size=(num, 10)).astype(np.float32)
    return x, np.stack([np.ones_like(x), x / 2], axis=1)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = InformationNetwork(keras.Sequential([keras.layers.Dense(64, activation="swish")]), 2)
    history = model.fit(
        *simulations(80_000, 0),
        epochs=40,
        batch_size=2000,
        learning_rate=2e-2,
        validation_split=0.1,
    )
    return model, history


def test_network_finds_all_information_of_ten_normal_numbers(trained):
    model, history = trained
    found = model.fisher(*simulations(50_000, 1)).numpy()
    # Charnock, Lavaux & Wandelt: ten draws hold diag(10, 5). Simulations that were not trained on.
    np.testing.assert_allclose(np.diag(found), [10.0, 5.0], rtol=0.05)
    assert abs(found[0, 1]) < 0.02 * np.sqrt(50)
    assert min(history["val_loss"]) == pytest.approx(-np.log(50), abs=0.1)
    # The second term of the loss holds the covariance of the summaries.
    covariance = model.moments(*simulations(50_000, 1))[1]
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.1)


def test_estimates_of_the_network_are_those_of_maximum_likelihood(trained):
    model, _ = trained
    estimator = model.estimator([0.0, 1.0], *simulations(50_000, 1))
    x, _ = simulations(4000, 2)
    found = estimator.compress(model(x)).numpy()
    # With the mean known at the point of expansion the best estimate of the variance is <x**2>.
    for estimate, expected in zip(found.T, (x.mean(1), (x**2).mean(1)), strict=True):
        # Five per cent of information lost is a correlation of sqrt(0.95).
        assert np.corrcoef(estimate, expected)[0, 1] > 0.97
    np.testing.assert_allclose(found.mean(0), [0, 1], atol=0.03)


def test_information_network_comes_back_from_a_file(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    x, _ = simulations(5, 3)
    np.testing.assert_array_equal(again(x), model(x))


def test_fisher_matrix_of_a_linear_network_is_known():
    """Summaries x W have slopes dx W and covariance W^T C W."""
    model = InformationNetwork(keras.layers.Dense(3, use_bias=False), 2, 3)
    x = np.random.default_rng(0).normal(size=(10, 4))
    derivatives = np.random.default_rng(1).normal(size=(6, 2, 4))
    found = model.fisher(x, derivatives)
    kernel = model.headed.network.kernel.numpy()
    slopes = derivatives.mean(0) @ kernel
    expected = slopes @ np.linalg.solve(kernel.T @ np.cov(x.T) @ kernel, slopes.T)
    # A 3 x 3 matrix inverted in float32.
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_simulations_without_derivatives_count_in_the_covariance():
    x, derivatives = simulations(3000, 0)
    keras.utils.set_random_seed(0)
    model = InformationNetwork(keras.layers.Dense(2), 2)
    history = model.fit(x, derivatives[:1000], epochs=2, batch_size=400)
    assert len(history["loss"]) == 2 and np.isfinite(history["val_loss"]).all()
    more = model.moments(x, derivatives[:1000])[1]
    np.testing.assert_allclose(more, np.cov(model(x).numpy().T), rtol=1e-4)


def test_central_differences_are_exact_for_parabolas():
    step = np.array([0.1, 0.2])
    base = RNG.normal(size=(5, 2, 3, 4))
    shift = step[:, None, None]
    found = central_differences((base + shift) ** 2, (base - shift) ** 2, step)
    np.testing.assert_allclose(found, 2 * base, rtol=1e-5, atol=1e-6)


def draws(widths, num_observations, seed=0):
    """Normal posteriors of three parameters with these widths; their sizes scatter, in one way."""
    size = np.exp(0.1 * np.random.default_rng(0).normal(size=(num_observations, 1)))
    noise = np.random.default_rng(seed).normal(size=(20_000, num_observations, 3))
    return size * np.array(widths) * noise


def test_report_has_figures_of_merit_and_their_ratios():
    posteriors = {
        "maps": draws([1.0, 0.5, 2.0], 12),
        "spectra": draws([2.0, 1.0, 2.0], 12, seed=1),
        "forecast": np.diag([1.0, 4.0, 0.25]),
    }
    report = information_report(
        posteriors, [(0, 1), (2, 0)], names=["a", "b", "c"], reference="spectra",
        mutual_information={"maps": (2.5, 0.1)},
    )  # fmt: skip
    rows = {(row.name, row.pair): row for row in report.rows}
    assert len(rows) == 6
    assert rows["forecast", ("a", "b")].figure_of_merit == pytest.approx(2.0)
    assert rows["forecast", ("a", "b")].error is None
    exact = 1 / np.sqrt(np.linalg.det(np.cov(posteriors["maps"][:, 3, [0, 1]].T)))
    alone = information_report({"one": posteriors["maps"][:, 3:4]}).rows[0]
    assert alone.figure_of_merit == pytest.approx(exact) and alone.error is None
    first = rows["maps", ("a", "b")]
    # Sizes scatter by a tenth, so figures of merit by a fifth, and twelve are averaged.
    assert first.figure_of_merit == pytest.approx(2.0, abs=4 * first.error)
    assert first.error == pytest.approx(2.0 * 0.2 / np.sqrt(12), rel=0.6)
    # The same sizes in both: the ratio of paired observations is far better known.
    assert first.ratio == pytest.approx(4.0, rel=0.02)
    assert 0 < first.ratio_error < 0.2 * first.error * first.ratio
    assert rows["maps", ("c", "a")].ratio == pytest.approx(2.0, rel=0.02)
    assert rows["spectra", ("a", "b")].ratio is None
    assert (first.information, first.information_error) == (2.5, 0.1)


def test_report_is_a_table_and_json():
    posteriors = {"long name": np.diag([1.0, 4.0]), "x": np.diag([4.0, 4.0])}
    report = information_report(posteriors, reference="x")
    lines = str(report).splitlines()
    assert lines[0].split() == ["posterior", "parameters", "FoM", "ratio", "information", "(nats)"]
    assert lines[1].split() == ["long", "name", "theta_0,", "theta_1", "2", "0.5", "-"]
    assert len({line.index("theta_0") for line in lines[1:]} | {lines[0].index("param")}) == 1
    again = json.loads(json.dumps(report.to_dict()))
    assert again["reference"] == "x"
    assert again["rows"][0]["figure_of_merit"] == 2.0
    assert again["rows"][0]["pair"] == ["theta_0", "theta_1"]


MOMENTS = (mean(FIDUCIAL).numpy(), COVARIANCE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ScoreCompressor(FIDUCIAL, *MOMENTS), "`mean` must be a function"),
        (
            lambda: ScoreCompressor(FIDUCIAL, *MOMENTS, SLOPES.T),
            r"`derivatives` must have shape \[3, 8\]",
        ),
        (
            lambda: ScoreCompressor(FIDUCIAL, *MOMENTS, SLOPES, SLOPES),
            r"`covariance_derivatives` must have shape \[3, 8, 8\]",
        ),
        (lambda: ScoreCompressor(FIDUCIAL, mean, np.eye(3)), "`covariance` must fit the data"),
        (
            lambda: ScoreCompressor(FIDUCIAL, *MOMENTS, SLOPES, nuisances=(3,)),
            "`nuisances` must be different integers from 0 to 2",
        ),
        (
            lambda: ScoreCompressor(FIDUCIAL, *MOMENTS, SLOPES, nuisances=(0, 1, 2)),
            "`nuisances` must be .* leave one parameter",
        ),
        (
            lambda: ScoreCompressor(FIDUCIAL, *MOMENTS, SLOPES[[0, 1, 1]]),
            "`fisher` must be positive definite",
        ),
        (
            lambda: ScoreCompressor(FIDUCIAL, mean, COVARIANCE).compress(np.ones([2, 7])),
            "`d` must have 8 components",
        ),
        (lambda: InformationNetwork(keras.layers.Dense(2), 3, 2), "`num_summaries` must be at le"),
        (
            lambda: InformationNetwork(keras.layers.Dense(2), 2).fit(np.ones([9, 4]), np.ones(9)),
            r"`derivatives` must have shape \[num_derived, 2, 4\] with at most 9",
        ),
        (
            lambda: InformationNetwork(keras.layers.Dense(2), 1).fit(
                np.ones([9, 4]), np.full([9, 1, 4], np.nan)
            ),
            "`derivatives` must be finite",
        ),
        (
            lambda: InformationNetwork(keras.layers.Dense(2), 1).fit(
                np.ones([4, 4]), np.ones([4, 1, 4])
            ),
            "`derivatives` must be enough to train and to validate with",
        ),
        (
            lambda: central_differences(np.ones([2, 2]), np.ones([2, 3]), [1, 1]),
            r"`minus` must have shape \(2, 2\)",
        ),
        (
            lambda: central_differences(np.ones([2, 2]), np.ones([2, 2]), [1, 0]),
            "`step` must be positive",
        ),
        (
            lambda: central_differences(np.ones([2, 2]), np.ones([2, 2]), [1]),
            r"`step` must have shape \(2,\)",
        ),
        (lambda: information_report({"a": np.eye(2)}, reference="b"), "`name` must be one of 'a'"),
        (lambda: information_report({"a": np.ones(2)}), r"`posteriors\['a'\]` must be draws"),
        (
            lambda: information_report({"a": np.full([9, 2, 2], np.nan)}),
            r"`posteriors\['a'\]` must be finite",
        ),
        (
            lambda: information_report({"a": draws([1, 1, 1], 2)}, [(0, 3)]),
            "`pairs` must be of different indices below 3",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
