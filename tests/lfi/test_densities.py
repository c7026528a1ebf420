"""Conditional densities: they integrate to one, invert, and find densities that are known."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from lfi.density import CouplingFlow, MaskedAutoregressiveFlow, MixtureDensity, spline
from lfi.density.autoregressive import MADE

KINDS = {
    "mixture": MixtureDensity,
    "autoregressive": MaskedAutoregressiveFlow,
    "spline autoregressive": lambda *args, **options: MaskedAutoregressiveFlow(
        *args, transform="spline", **options
    ),
    "affine coupling": lambda *args, **options: CouplingFlow(*args, "affine", **options),
    "spline coupling": CouplingFlow,
}
FLOWS = [kind for kind in KINDS if kind != "mixture"]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def perturbed(kind, num_dims, num_context, **options):
    """A density that is far from its start, with inputs of other means and scales."""
    keras.utils.set_random_seed(0)
    model = KINDS[kind](num_dims, num_context, **options)
    for number, weight in enumerate(model.trainable_variables):
        # As small as keeps what wide layers give of order one, else nothing inverts in float32.
        scale = min(0.15, 1 / np.sqrt(weight.shape[0]))
        weight.assign_add(scale * noise(*weight.shape, seed=number))
    model.y_mean.assign(noise(num_dims, seed=98))
    model.y_scale.assign(np.linspace(0.7, 1.3, num_dims))
    model.context_mean.assign(noise(num_context, seed=99))
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_bounded", [False, True])
def test_density_integrates_to_one(kind, is_bounded):
    bounds = {"low": [-1.0, 2.0], "high": [1.0, 5.0]} if is_bounded else {}
    model = perturbed(kind, 2, 3, **bounds)
    edges = tf.constant(np.linspace(-14, 14, 401)[:, None] * np.ones(2), tf.float64)
    if is_bounded:
        # Steep at its bounds, where the logit stretches it.
        edges = np.array(bounds["low"]) + [2.0, 3.0] * tf.sigmoid(edges)
    edges = np.array(edges)
    middles, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges, axis=0)
    y = np.stack(np.meshgrid(*middles.T, indexing="ij"), -1).reshape(-1, 2)
    context = np.repeat(noise(1, 3), len(y), axis=0)
    density = np.exp(model.log_prob(y, context).numpy().astype(np.float64)).reshape(400, 400)
    # Cells of 0.07, and float32 next to the bounds.
    assert widths[:, 0] @ density @ widths[:, 1] == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("num_dims", [1, 2, 5])
def test_steps_invert_and_know_their_volume(kind, num_dims):
    model = perturbed(kind, num_dims, 2)
    z, seen = tf.constant(2 * noise(6, num_dims)), tf.constant(noise(6, 2, seed=1))
    with tf.GradientTape() as tape:
        tape.watch(z)
        normal, growth = model.to_normal(z, seen)
    back = normal
    for step in reversed(model.steps):
        back = step.inverse(back, seen)
    np.testing.assert_allclose(back, z, atol=2e-4)
    jacobian = tape.batch_jacobian(normal, z)
    np.testing.assert_allclose(tf.linalg.slogdet(jacobian)[1], growth, atol=2e-3)


@pytest.mark.parametrize("kind", FLOWS)
def test_linear_gaussian_needs_no_training(kind, tmp_path):
    """Least squares know it: a flow that starts as the identity is the density at once."""
    rng = np.random.default_rng(0)
    slope, root = rng.normal(size=(3, 2)), np.array([[0.1, 0.0], [0.3, 0.05]])
    context = rng.normal(size=(4000, 3)).astype(np.float32)
    y = context @ slope + 5 + rng.normal(size=(4000, 2)) @ root.T
    model = KINDS[kind](2, 3, linear=True)
    model.adapt(context, y)
    covariance = root @ root.T
    exact = stats.multivariate_normal([0, 0], covariance).logpdf(y - context @ slope - 5)
    # 11 numbers from 4,000 pairs cost 11 / 8000 nats.
    assert np.mean(exact - model.log_prob(y, context)) == pytest.approx(0, abs=5e-3)
    draws = model.sample(20_000, context[:1], seed=1).numpy()[:, 0]
    # Four errors of 4,000 pairs, along the short axis too.
    error = np.linalg.solve(root, (draws - context[:1] @ slope - 5).T)
    np.testing.assert_allclose(np.cov(error), np.eye(2), atol=4 * np.sqrt(2 / 4000))
    np.testing.assert_allclose(error.mean(axis=1), 0, atol=0.15)
    model.save(tmp_path / "density.keras")
    again = keras.models.load_model(tmp_path / "density.keras")
    np.testing.assert_allclose(again.log_prob(y, context), model.log_prob(y, context), atol=1e-6)


def test_density_that_begins_linear_stays_within_bounds():
    model = perturbed("spline coupling", 1, 1, low=[0.0], high=[1.0], linear=True)
    context = noise(500, 1)
    model.adapt(context, tf.sigmoid(3 * context + noise(500, 1, seed=1)))
    # In double precision, fine where bounds are near.
    edges = 1 / (1 + np.exp(-np.linspace(-15, 15, 4001)))
    middles = (edges[1:] + edges[:-1]) / 2
    for seen in ([[0.3]], [[-2.0]], [[2.0]]):  # where a line leaves the bounds, too
        density = np.exp(model.log_prob(middles[:, None], np.repeat(seen, middles.size, 0)))
        assert np.sum(density * np.diff(edges)) == pytest.approx(1.0, abs=5e-3)
        draws = model.sample(1000, np.array(seen, np.float32), seed=0).numpy()
        assert np.all((draws >= 0) & (draws <= 1))


def test_linear_prediction_bends_at_bounds_as_a_cut_normal_does():
    """Far inside it is the line; on a bound the mean of a normal distribution cut there."""
    low, high = [0.0, 0.0, -np.inf], [1.0, np.inf, 1.0]
    model = perturbed("mixture", 3, 1, low=low, high=high, linear=True)
    prediction, error = model.prediction, 0.01
    prediction.kernel.assign([[1.0, 1.0, 1.0]])
    prediction.error.assign([error] * 3)
    places = np.linspace(-0.2, 1.2, 281, dtype=np.float32)
    found = model.from_line(model._predicted(places[:, None])).numpy()
    # What is cut off moves the mean by about error^2 over the distance.
    np.testing.assert_allclose(found[140], places[140], atol=2 * error**2 / 0.5)
    np.testing.assert_allclose(found[-1, 1], 1.2, atol=1e-4)
    np.testing.assert_allclose(found[0, 2], -0.2, atol=1e-3)
    cut = stats.truncnorm.mean((0 - places) / error, np.inf, places, error)
    np.testing.assert_allclose(found[:, 1], cut, rtol=0.45)  # ten orders of magnitude of density
    np.testing.assert_allclose(found[40, :2], cut[40], rtol=0.02)
    np.testing.assert_allclose(found[-41, [0, 2]], 1 - cut[40], atol=0.02 * cut[40])
    on_line = model._predicted(places[:, None]).numpy()
    assert np.all(np.isfinite(on_line))
    assert np.all(np.diff(on_line, axis=0) > 0)


def test_posterior_that_touches_a_bound_keeps_its_limit():
    """theta uniform and x = theta + noise: a cut normal distribution, also for x beyond."""
    rng = np.random.default_rng(0)
    y = rng.uniform(size=(5000, 1))
    context = (y + 0.1 * rng.normal(size=y.shape)).astype(np.float32)
    keras.utils.set_random_seed(0)
    model = CouplingFlow(1, 1, low=[0.0], high=[1.0], linear=True)
    model.adapt(context, y)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 1500)))
    model.fit(context, y, batch_size=100, epochs=30, verbose=0)
    for x in (-0.1, -0.05, 0.0, 0.05, 0.5):
        draws = model.sample(20_000, np.array([[x]], np.float32), seed=1).numpy().ravel()
        exact = stats.truncnorm(-x / 0.1, (1 - x) / 0.1, x, 0.1)
        # In standard deviations of the posterior: some 200 simulations lie within one of a bound.
        error = (np.quantile(draws, [0.5, 0.95]) - exact.ppf([0.5, 0.95])) / exact.std()
        np.testing.assert_allclose(error, 0, atol=0.3, err_msg=str(x))


def test_autoregressive_step_knows_only_what_came_before():
    model = perturbed("autoregressive", 4, 2)
    z, seen = tf.constant(noise(3, 4)), tf.constant(noise(3, 2))
    for step in model.steps[:2]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([z, seen])
            shift = step.network(z, seen)[..., 0]
        slopes = np.abs(tape.batch_jacobian(shift, z)).sum(0)
        later = step.order[:, None] <= step.order[None, :]
        assert np.all(slopes[later] == 0)
        assert np.all(slopes[~later] > 0)
        assert np.all(np.abs(tape.batch_jacobian(shift, seen)).sum(0) > 0)


def test_a_narrow_autoregressive_step_forgets_no_component():
    made = MADE(np.arange(30), 1, hidden=(8, 8), num_outputs=1)
    reached = functools.reduce(np.matmul, [layer.mask for layer in made.layers])
    assert np.all(np.tril(reached[:30]) == 0)  # nothing of what comes later, or of themselves
    assert np.all(np.any(reached[:29] > 0, axis=1))  # each is known by one that comes later


def test_mixture_is_that_of_scipy():
    model = perturbed("mixture", 3, 2, num_components=2)
    y, context = noise(5, 3), noise(5, 2, seed=1)
    weights, means, triangles = (part.numpy() for part in model.parameters(model(context)))
    expected = []
    for i in range(5):
        terms = []
        for w, mean, triangle in zip(weights[i], means[i], triangles[i], strict=True):
            inverse = np.linalg.inv(triangle) * model.y_scale.numpy()[:, None]
            centre = mean * model.y_scale.numpy() + model.y_mean.numpy()
            normal = stats.multivariate_normal(centre, inverse @ inverse.T)
            terms.append(w + normal.logpdf(y[i]))
        expected.append(np.logaddexp(*terms))
    np.testing.assert_allclose(model.log_prob(y, context), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_density(kind):
    """The entropy of draws is the mean of minus their log density, and moments agree."""
    model = perturbed(kind, 1, 1)
    context = noise(1, 1)
    draws = model.sample(40_000, context, seed=3).numpy()[:, 0, 0]
    grid = np.linspace(-15, 15, 6001)
    density = np.exp(model.log_prob(grid[:, None], np.repeat(context, grid.size, 0)).numpy())
    cumulative = np.cumsum(density) * (grid[1] - grid[0])
    distance = np.abs(np.interp(np.sort(draws), grid, cumulative) - np.linspace(0, 1, draws.size))
    # Kolmogorov: 1.95 / sqrt(n) is passed by one of a thousand.
    assert distance.max() < 1.95 / np.sqrt(draws.size) + 2e-3
    np.testing.assert_array_equal(draws, model.sample(40_000, context, seed=3).numpy()[:, 0, 0])
    assert np.abs(draws - model.sample(40_000, context, seed=4).numpy()[:, 0, 0]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_training_finds_a_gaussian_that_moves_with_its_context(kind):
    rng = np.random.default_rng(0)
    context = rng.normal(size=(10_000, 2)).astype(np.float32)
    root = np.array([[1.0, 0.0], [0.8, 0.5]])
    y = 3 * context + 10 + rng.normal(size=(10_000, 2)) @ root.T
    keras.utils.set_random_seed(0)
    model = KINDS[kind](2, 2)
    model.adapt(context, y)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 900)))
    model.fit(context[:9000], y[:9000], batch_size=150, epochs=15, verbose=0)
    held, seen = y[9000:], context[9000:]
    best = stats.multivariate_normal([0, 0], root @ root.T).logpdf(held - 3 * seen - 10).mean()
    # In nats: what is lost to the true density on 1,000 held-out pairs.
    assert best - model.log_prob(held, seen).numpy().mean() < 0.06
    assert model.evaluate(seen, held, verbose=0) == pytest.approx(
        -model.log_prob(held, seen).numpy().mean(), rel=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_density_comes_back_from_a_file(kind, tmp_path):
    embedding = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    embedding.build((None, 2, 2))
    model = perturbed(kind, 2, 2, low=[0, 0], high=[1, 2], embedding=embedding)
    model.compile()
    y, context = np.random.default_rng(0).uniform(0.1, 0.9, [7, 2]), noise(7, 2, 2)
    model.fit(context, y, verbose=0)
    model.save(tmp_path / "density.keras")
    again = keras.models.load_model(tmp_path / "density.keras")
    np.testing.assert_allclose(again.log_prob(y, context), model.log_prob(y, context), atol=1e-6)
    draws = again.sample(5, context, seed=1)
    np.testing.assert_allclose(draws, model.sample(5, context, seed=1), atol=1e-6)
    assert draws.shape == (5, 7, 2)
    assert np.all((draws > 0) & (draws < [1, 2]))


def test_outside_of_the_bounds_there_is_nothing():
    model = perturbed("spline coupling", 2, 1, low=[0, 0], high=[1, 1])
    y = tf.constant([[0.5, 1.5], [0.5, 0.5], [-0.1, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch(y)
        value = model.log_prob(y, noise(3, 1))
    assert np.isinf(value.numpy()).tolist() == [True, False, True]
    assert np.all(np.isfinite(tape.gradient(value, y)))


@pytest.mark.parametrize("kind", KINDS)
def test_density_is_the_same_under_xla(kind):
    model = perturbed(kind, 2, 2)
    y, context = noise(4, 2), noise(4, 2, seed=1)
    compiled = tf.function(model.log_prob, jit_compile=True)
    np.testing.assert_allclose(compiled(y, context), model.log_prob(y, context), rtol=1e-4)


def test_zeros_make_the_identity_of_a_spline():
    x = tf.linspace(-6.0, 6.0, 25)
    value, log_slope = spline.forward(x, tf.zeros([25, spline.num_parameters(5)]), 4.0)
    np.testing.assert_allclose(value, x, atol=1e-5)
    np.testing.assert_allclose(log_slope, np.zeros(25), atol=1e-5)


def test_spline_is_continuous_with_its_slope():
    parameters = tf.repeat(tf.constant(noise(1, spline.num_parameters(4))), 4001, 0)
    x = tf.linspace(-5.0, 5.0, 4001)
    value, log_slope = spline.forward(x, parameters, 4.0)
    differences = np.diff(value) / np.diff(x)
    middle = np.exp((log_slope[1:] + log_slope[:-1]) / 2)
    # Second differences of 0.0025, in float32.
    np.testing.assert_allclose(differences, middle, rtol=0.03)
    assert np.all(np.diff(value) > 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MixtureDensity(0, 1), "`num_dims` must be"),
        (
            lambda: CouplingFlow(1, 1, linear=True, embedding=keras.layers.Dense(1)),
            "`linear` must be without",
        ),
        (lambda: MixtureDensity(1, 1, num_components=0), "`num_components` must be"),
        (lambda: MaskedAutoregressiveFlow(1, 1, num_steps=0), "`num_steps` must be"),
        (lambda: CouplingFlow(1, 1, "quadratic"), "`transform` must be one of"),
        (
            lambda: MaskedAutoregressiveFlow(1, 1, transform="quadratic"),
            "`transform` must be one of",
        ),
        (lambda: MaskedAutoregressiveFlow(1, 1, bound=0.0), "`bound` must be positive"),
        (lambda: CouplingFlow(1, 1, bound=-1.0), "`bound` must be positive"),
        (lambda: CouplingFlow(1, 1, low=[0.0]), "`low` must come with `high`"),
        (lambda: CouplingFlow(2, 1, low=[0.0], high=[1.0]), r"`low` must have shape \[2\]"),
        (lambda: CouplingFlow(1, 1, low=[1.0], high=[0.0]), "`low` must be below"),
        (lambda: CouplingFlow(2, 1).log_prob(noise(3, 1), noise(3, 1)), "`y` must have 2"),
        (lambda: CouplingFlow(2, 1).sample(0, noise(3, 1)), "`num` must be"),
        (lambda: CouplingFlow(1, 1).adapt(np.ones([5, 1]), noise(5, 1)), "`context` must vary"),
        (lambda: CouplingFlow(1, 1).adapt(noise(5, 1), np.ones([5, 1])), "`y` must vary"),
        (lambda: CouplingFlow(1, 1).adapt(noise(5, 1), np.full([5, 1], np.nan)), "`y` must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
