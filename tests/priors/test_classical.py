"""Sparse maps and maps of little total variation against closed forms and plain NumPy."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

import priors
from flowpm_ext.fields.lognormal import lognormal_map
from flowpm_ext.stats.starlet import starlet_noise
from priors import operators
from priors.classical import sparse_map, total_variation_map
from priors.convergence import NotConvergedWarning
from priors.penalties import StarletNorm, TotalVariation, wavelet_information
from priors.proximal import largest_curvature

SIDE = 16
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
EXACT = {"tolerance": 1e-7, "max_iterations": 5000}


def seen(data, noise_std=0.5, mask=None):
    """Data that are the image itself."""
    op = operators.Mask(np.ones(np.shape(data)[-2:]))
    return priors.GaussianLikelihood(op, data, noise_std, mask)


def survey(dtype=np.complex128, num=None, side=SIDE):
    """Shear with holes and uneven noise of a lognormal convergence, and that convergence."""
    rng = np.random.default_rng(3)
    l2, l1 = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    power = 1 / (0.03 + np.hypot(l1, l2)) ** 2
    power[0, 0] = 0.0
    power *= 0.02**2 / power.mean()
    kappa = lognormal_map(power, 0.02, seed=5, batch_size=num or 1).numpy()
    kappa = kappa if num else kappa[0]
    op = operators.KaiserSquires((side, side))
    noise_std = 0.036 * rng.uniform(0.8, 1.3, (side, side))
    noise = rng.normal(size=kappa.shape) + 1j * rng.normal(size=kappa.shape)
    mask = rng.uniform(size=(side, side)) > 0.1
    mask[: side // 4, : side // 4] = False
    data = (op(kappa).numpy() + noise_std * noise).astype(dtype)
    return priors.GaussianLikelihood(op, data, noise_std, mask), kappa, power


def plain_starlet(x, num_scales):
    """Wavelets of a periodic map by one sum over all pixels of the filter."""
    found = []
    for scale in range(num_scales):
        smooth = np.zeros_like(x)
        for i, a in enumerate((1, 4, 6, 4, 1)):
            for j, b in enumerate((1, 4, 6, 4, 1)):
                shift = ((i - 2) * 2**scale, (j - 2) * 2**scale)
                smooth += a * b / 256 * np.roll(x, shift, (0, 1))
        found.append(x - smooth)
        x = smooth
    return np.array(found)


def plain_matrix(function, shape):
    """The matrix of a linear function of maps."""
    size = np.prod(shape)
    return np.stack([np.ravel(function(e.reshape(shape))) for e in np.eye(size)], axis=1)


def test_checkerboard_is_soft_thresholded():
    # Alternating pixels are one wavelet of scale one everywhere, which no smoothing keeps.
    alternating = (-1.0) ** (ROWS + COLUMNS)
    likelihood = seen(3.0 * alternating + 1.5)
    weight = 0.7 * np.sqrt(np.mean(wavelet_information(likelihood, 1, "periodic")))
    # The weights differ a little from place to place; their lengths are set equal here.
    result = sparse_map(likelihood, threshold=0.7, num_scales=1, **EXACT)
    found = np.mean(alternating * result.map)
    np.testing.assert_allclose(found, 3.0 - 0.5**2 * weight, rtol=0.01)
    # What remains on the coarsest scale is not penalised: the mean is kept.
    np.testing.assert_allclose(np.mean(result.map), 1.5, rtol=1e-6)


@pytest.mark.parametrize("boundary", ["periodic", "mirror"])
def test_box_of_total_variation(boundary):
    # The taut string of a box: each plateau moves by strength · variance · edges / length.
    box = np.where((COLUMNS >= 4) & (COLUMNS < 12), 1.0, 0.0)
    result = total_variation_map(seen(box), 0.8, boundary=boundary, **EXACT)
    move = 0.8 * 0.5**2 * np.array([2 / 8, (2 / 8 if boundary == "periodic" else 1 / 4)])
    expected = np.where(box > 0, 1 - move[0], move[1])
    # Errors of the map are about the residual times the signal.
    np.testing.assert_allclose(result.map, expected, atol=1e-5)


def test_a_strong_prior_leaves_the_mean():
    rng = np.random.default_rng(1)
    data = rng.normal(size=(SIDE, SIDE))
    flat = total_variation_map(seen(data), 100.0, **EXACT)
    np.testing.assert_allclose(flat.map, data.mean(), atol=1e-5)
    free = sparse_map(seen(data), threshold=0.0, **EXACT)
    np.testing.assert_allclose(free.map, data, atol=1e-5)


def test_conditions_of_a_sparse_minimum():
    likelihood, _, _ = survey(side=8)
    result = sparse_map(likelihood, num_scales=2, threshold=1.0, **EXACT)
    assert result.residual <= 1e-7 and result.converged
    x, shape = result.map.numpy(), (8, 8)
    shear = plain_matrix(lambda e: operators.KaiserSquires(shape)(e).numpy(), shape)
    precision = np.ravel(likelihood.precision)
    misfit = np.ravel(likelihood.data) - shear @ np.ravel(x)
    slope = -np.real(np.conj(shear.T) @ (precision * misfit))
    wavelets = plain_matrix(lambda e: plain_starlet(e, 2), shape)
    weights = np.ravel(np.sqrt(wavelet_information(likelihood, 2, "periodic")))
    coefficients = wavelets @ np.ravel(x)
    # Forces: the sign where a wavelet is large, and what a bounded least squares finds elsewhere.
    forces = weights * np.sign(coefficients)
    free = np.abs(coefficients) < 1e-4 * np.abs(coefficients).max()
    held = slope + wavelets[~free].T @ forces[~free]
    left = scipy.optimize.lsq_linear(wavelets[free].T, -held, (-weights[free], weights[free]))
    # Wavelets that are nearly zero are taken as zero, which leaves about that of their forces.
    assert 0.2 < free.mean() < 0.99
    assert np.sqrt(2 * left.cost) < 1e-3 * np.linalg.norm(slope)
    objective = 0.5 * np.sum(precision * np.abs(misfit) ** 2) + weights @ np.abs(coefficients)
    np.testing.assert_allclose(result.objective, objective, rtol=1e-6)


def test_total_variation_is_as_low_as_scipy_finds():
    rng = np.random.default_rng(2)
    psf = np.outer([1, 2, 1], [1, 2, 1]) / 16
    op = operators.Convolution(psf, (5, 5))
    data = rng.normal(size=(5, 5))
    result = total_variation_map(priors.GaussianLikelihood(op, data, 0.5), 0.6, **EXACT)

    def blurred(x):
        return sum(
            psf[i, j] * np.roll(x, (i - 1, j - 1), (0, 1)) for i in range(3) for j in range(3)
        )

    def objective(x, softness=1e-12):
        x = x.reshape(5, 5)
        steps = np.sqrt((np.roll(x, -1, 0) - x) ** 2 + (np.roll(x, -1, 1) - x) ** 2 + softness)
        return 0.5 * np.sum((data - blurred(x)) ** 2) / 0.5**2 + 0.6 * steps.sum()

    x = np.zeros(25)
    for softness in (1e-2, 1e-5, 1e-8):
        x = scipy.optimize.minimize(objective, x, softness, options={"maxiter": 150}).x
    # Softness raises the sum of 25 lengths by at most 25 · 0.6 · 1e-4.
    np.testing.assert_allclose(result.objective, objective(np.ravel(result.map), 0.0), rtol=1e-6)
    assert result.objective < objective(x, 0.0) + 1e-6
    np.testing.assert_allclose(result.objective, objective(x, 0.0), atol=2e-3)


def test_non_negative_maps_meet_their_conditions():
    data = np.random.default_rng(4).normal(size=(SIDE, SIDE))
    free = total_variation_map(seen(data), 0.2, **EXACT).map.numpy()
    result = total_variation_map(seen(data), 0.2, non_negative=True, **EXACT)
    assert free.min() < -0.1 and result.map.numpy().min() == 0.0
    # With a weak prior most pixels are the data, or zero where these are negative.
    assert (
        result.converged
        and np.corrcoef(np.ravel(result.map), np.maximum(data, 0).ravel())[0, 1] > 0.9
    )


def test_reweighting_gives_a_peak_back():
    likelihood = seen(20.0 * np.exp(-((ROWS - 8) ** 2 + (COLUMNS - 8) ** 2) / 4.0), 1.0)
    once, again = (
        sparse_map(likelihood, threshold=3.0, num_reweightings=n, tolerance=1e-5).map[8, 8]
        for n in (0, 1)
    )
    # Data without noise, so that what is missing is the bias of the prior.
    assert 20.0 - once > 0.5
    assert abs(20.0 - again) < 0.5 * (20.0 - once)


def test_masked_shear_is_recovered_better_than_by_inversion():
    likelihood, kappa, _ = survey(np.complex64, num=2, side=32)
    maps = {
        "zero": np.zeros_like(kappa), "inversion": likelihood.op.adjoint(likelihood.data),
        "sparse": sparse_map(likelihood).map,
        "variation": total_variation_map(likelihood, 20.0, tolerance=1e-3).map,
    }  # fmt: skip
    assert maps["sparse"].dtype == tf.float32
    errors = {name: np.sqrt(np.mean((np.asarray(m) - kappa) ** 2)) for name, m in maps.items()}
    assert max(errors["sparse"], errors["variation"]) < 0.9 * errors["zero"]
    assert max(errors["sparse"], errors["variation"]) < 0.6 * errors["inversion"]


def test_data_sets_are_solved_side_by_side():
    likelihood, _, _ = survey(num=2)
    options = {"num_scales": 2, "threshold": 1.0, "tolerance": 1e-6, "max_iterations": 5000}
    both = sparse_map(likelihood, **options)
    assert both.residual.shape == both.objective.shape == both.converged.shape == (2,)
    alone = sparse_map(likelihood.replace(data=likelihood.data[1]), **options)
    # A residual of 1e-6 leaves some 1e-4 in places where the data say little.
    np.testing.assert_allclose(both.map[1], alone.map, atol=1e-3 * np.abs(alone.map).max())
    np.testing.assert_allclose(both.objective[1], alone.objective, rtol=1e-6)


def test_nothing_seen_is_an_empty_map():
    result = sparse_map(seen(np.zeros((SIDE, SIDE))), num_scales=1)
    np.testing.assert_array_equal(result.map, 0.0)
    assert result.residual == 0.0 and result.converged and result.iterations == 1


@pytest.mark.parametrize("boundary", ["periodic", "mirror"])
@pytest.mark.parametrize("kind", ["wavelets", "steps"])
def test_adjoint_and_bound_of_norms(kind, boundary):
    weight = tf.constant(2.0, tf.float64)
    norm = (
        StarletNorm(weight * tf.ones([1, 2, 1, 1], tf.float64), boundary)
        if kind == "wavelets"
        else TotalVariation(weight, boundary)
    )
    eye = tf.reshape(tf.eye(64, dtype=tf.float64), [64, 8, 8])
    matrix = np.reshape(norm.analyse(eye), (64, -1)).T
    forces = np.random.default_rng(6).normal(size=(1, 2, 8, 8))
    np.testing.assert_allclose(
        np.ravel(norm.adjoint(tf.constant(forces))), matrix.T @ forces.ravel(), atol=1e-12
    )
    largest = np.linalg.eigvalsh(matrix.T @ matrix).max()
    assert 0.5 * norm.bound < largest <= norm.bound * (1 + 1e-12)
    # Allowed forces reach the norm, and none is above it.
    limited = norm.limited(tf.constant(1e3 * forces))
    np.testing.assert_allclose(
        np.sum(limited * forces), norm.value(tf.constant(forces))[0], rtol=1e-12
    )


def test_information_and_curvature_of_even_noise():
    mask = np.ones((64, 64), bool)
    mask[:, 40:] = False
    likelihood = seen(np.zeros((64, 64)), 0.5, mask)
    information = wavelet_information(likelihood, 3, "periodic").numpy()[0]
    expected = starlet_noise(3)[:3] ** 2 / 0.5**2
    # Eight draws of some 2000 places, of which wavelets of the third scale cover about 60 each.
    np.testing.assert_allclose(information[:, :, 15:25].mean((1, 2)), expected, rtol=0.15)
    # The hole is treated like what was seen.
    assert np.all(information[:, :, 45:60].mean((1, 2)) > 0.8 * expected)
    likelihood, _, _ = survey(side=8)
    shear = plain_matrix(lambda e: likelihood.op(e).numpy(), (8, 8))
    normal = np.real(np.conj(shear.T) @ (np.ravel(likelihood.precision)[:, None] * shear))
    largest = np.linalg.eigvalsh(normal).max()
    assert largest / 1.1 < largest_curvature(likelihood) <= largest * (1 + 1e-12)


def test_in_a_graph_with_gradients():
    likelihood, _, _ = survey(side=8)
    rng = np.random.default_rng(7)
    weights = tf.constant(rng.normal(size=(8, 8)))
    direction = rng.normal(size=(8, 8)) + 1j * rng.normal(size=(8, 8))

    def total(data, strength):
        model = priors.GaussianLikelihood(
            likelihood.op, data, likelihood.noise_std, likelihood.mask
        )
        found = total_variation_map(model, strength, tolerance=1e-12, max_iterations=600)
        return tf.reduce_sum(weights * found.map)

    @lambda f: tf.function(f, jit_compile=True, autograph=False)
    def value_and_gradients(data, strength):
        with tf.GradientTape() as tape:
            tape.watch([data, strength])
            value = total(data, strength)
        return value, tape.gradient(value, [data, strength])

    def value(sign, step=1e-6):
        moved = likelihood.data + sign * step * direction
        return value_and_gradients(moved, tf.constant(20.0 + sign * step, tf.float64))[0]

    _, (by_data, by_strength) = value_and_gradients(likelihood.data, tf.constant(20.0, tf.float64))
    expected = (value(1) - value(-1)) / 2e-6
    found = np.sum(np.real(np.conj(by_data) * direction)) + by_strength
    # The maps are minima to about 1e-7 of themselves, over steps of 1e-6 of some 1e-2.
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_warning_tells_the_residual():
    likelihood, _, _ = survey()
    message = r"The sparse map stopped after 2 iterations at a relative residual of \d\.\de-0\d"
    with pytest.warns(NotConvergedWarning, match=message):
        result = sparse_map(likelihood, max_iterations=2)
    assert not result.converged and 0 < result.change < 2
    with pytest.warns(NotConvergedWarning, match="The total-variation map stopped after 2"):
        total_variation_map(likelihood, 1.0, max_iterations=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: sparse_map(m, threshold=-1.0), "`threshold` must be non-negative"),
        (lambda m: sparse_map(m, threshold=np.nan), "`threshold` must be non-negative"),
        (lambda m: sparse_map(m, threshold=[1.0, 2.0]), "`threshold` must be one number, or one"),
        (lambda m: sparse_map(m, num_scales=5), "`num_scales` must be at most 4 for maps of 16"),
        (lambda m: sparse_map(m, num_scales=0), "`num_scales` must be a positive integer"),
        (lambda m: sparse_map(m, boundary="zero"), "`boundary` must be one of"),
        (lambda m: sparse_map(m, num_reweightings=-1), "`num_reweightings` must be non-neg"),
        (lambda m: sparse_map(m, tolerance=0.0), "`tolerance` must be positive"),
        (lambda m: sparse_map(m, max_iterations=0), "`max_iterations` must be a positive"),
        (lambda m: total_variation_map(m, -1.0), "`strength` must be non-negative"),
        (lambda m: total_variation_map(m, np.inf), "`strength` must be non-negative"),
        (lambda m: total_variation_map(m, [1.0]), "`strength` must be one number"),
        (lambda m: total_variation_map(m, 1.0, boundary="x"), "`boundary` must be one of"),
        (lambda m: sparse_map(seen(np.zeros((2, 2)))), "`likelihood` must be of maps of at"),
        (lambda m: seen(np.full((4, 4), np.nan)), "`data` must be finite"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call(seen(np.zeros((SIDE, SIDE))))
