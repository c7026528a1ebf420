"""Initial conditions as an inverse problem: densities, noise, coordinates, files, refusals."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
import rim
from flowpm_ext.stats import power_spectrum

COSMO = fpm.Planck15()
SIDE, BOX = 16, 100.0
CASES = {
    "matter": {},
    "zeldovich": {"dynamics": "1lpt", "a": 0.6},
    "tracers": {"bias": (0.11, -0.32), "noise_power": 1000.0},
    "without unity": {"bias": (1.11, -0.32, 0.2), "has_unity": False},
    "redshift space": {"redshift_space": True, "bias": (0.5, 0.1)},
    "linear in redshift space": {"dynamics": "linear", "redshift_space": True, "a": 0.5},
    "particle mesh": {"dynamics": "pm", "num_steps": 3},
    "coloured noise": {"noise_power": lambda k: 300 * (1 + k**2)},
    "counts": {"likelihood": "poisson", "mean_count": 2.0, "bias": (0.3, 0.1)},
}


def problem(**options):
    return rim.InitialConditions(COSMO, SIDE, BOX, **options)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_slopes(name):
    case = problem(**CASES[name])
    x, y = (tf.cast(part, tf.float64) for part in case.simulate(3, 1))
    rng = np.random.default_rng(0)
    direction = tf.constant(rng.standard_normal(x.shape) / 10)
    # Beside the truth, where particles are where they are and not at corners of cells.
    x = 0.9 * x
    scale = tf.constant(0.5, tf.float64)
    gradients = case.gradients(x, y, scale)
    for function, gradient in zip(
        (lambda x: case.log_likelihood(x, y, scale), case.log_prior), gradients, strict=True
    ):
        function = tf.function(function, jit_compile=True)
        h = 1e-6
        slope = (function(x + h * direction) - function(x - h * direction)) / (2 * h)
        # Rounding of a sum of 4096 terms over h, and particles that cross into other cells.
        along = float(tf.reduce_sum(gradient * direction))
        np.testing.assert_allclose(float(slope[0]), along, rtol=1e-5, atol=1e-4)


def test_prior_and_likelihood_of_the_truth():
    for name in ("matter", "tracers", "without unity", "redshift space", "coloured noise"):
        case = problem(**CASES[name])
        x, y = case.simulate(5, 8)
        modes = 8 * case.num_modes
        total = float(-2 * tf.reduce_sum(case.log_prior(x)))
        assert abs(total - modes) < 4 * np.sqrt(2 * modes)
        # 8 x 4096 cells: one sigma is 0.008.
        assert abs(float(tf.reduce_mean(case.chi2(x, y))) - 1) < 0.025
        np.testing.assert_allclose(
            case.chi2(x, y) * case.num_data, -2 * case.log_likelihood(x, y), rtol=1e-4
        )


def test_counts_have_their_variance():
    case = problem(**CASES["counts"])
    x, y = case.simulate(5, 8)
    assert float(tf.reduce_min(y)) == 0 and np.all(y.numpy() == np.round(y.numpy()))
    np.testing.assert_allclose(tf.reduce_mean(y), 2.0, rtol=0.03)
    # Negative intensities of the expansion, which are not drawn, cost little.
    assert abs(float(tf.reduce_mean(case.chi2(x, y))) - 1) < 0.15


def test_model_is_what_the_engine_gives():
    x, _ = problem().simulate(2, 2)
    state = fpm.lpt_init(COSMO, x, 1.0)
    density = fpm.cic_paint(tf.zeros_like(x), state.position) - 1
    np.testing.assert_allclose(problem().model(x), density, atol=2e-5)
    # The mean of x is no unknown.
    np.testing.assert_allclose(problem().model(x + 3.0), density, atol=2e-4)


def test_small_fields_follow_the_linear_model():
    """Growth, bias and redshift space of `linear` against perturbation theory at low amplitude."""
    options = {"a": 0.7, "bias": (0.8, 0.0), "redshift_space": True}
    exact, linear = problem(**options), problem(dynamics="linear", **options)
    x = tf.cast(exact.simulate(1, 1)[0], tf.float64)
    k = 2 * np.pi * np.fft.fftfreq(SIDE)
    is_large = np.sqrt(sum(q**2 for q in np.meshgrid(k, k, k))) < 0.6  # the window is flat here
    amplitude = 1e-5
    got, expected = (
        np.fft.fftn(case.model(amplitude * x)[0].numpy())[is_large] for case in (exact, linear)
    )
    # The window of clouds in cells takes up to k**2 / 12 of each axis.
    error = np.linalg.norm(got - expected) / np.linalg.norm(expected)
    assert error < 0.05
    wrong = problem(dynamics="linear", **(options | {"redshift_space": False}))
    other = np.fft.fftn(wrong.model(amplitude * x)[0].numpy())[is_large]
    assert np.linalg.norm(got - other) / np.linalg.norm(expected) > 2 * error


def test_noise_has_the_power_asked_for():
    for power in (1000.0, lambda k: 1000.0 + 0 * k):
        case = problem(noise_power=power, dynamics="linear")
        x, y = case.simulate(0, 16)
        noise = y - case.model(x)
        _, found, num = power_spectrum(noise, BOX, np.array([0.05, 0.3, 0.5]))
        sigma = 1000 * np.sqrt(2 / (16 * num.numpy()))
        assert np.all(np.abs(found.numpy().mean(0) - 1000) < 4 * sigma)


@pytest.mark.parametrize("name", ["tracers", "coloured noise", "counts"])
def test_coordinates_lead_back(name):
    case = problem(**CASES[name])
    x = tf.cast(case.simulate(1, 1)[0], tf.float64)
    for coordinates in case.coordinates:
        u = case.to_coordinates(x, coordinates)
        np.testing.assert_allclose(case.to_unknown(u, coordinates), x, atol=1e-6)
    white = case.to_coordinates(x, "white")
    np.testing.assert_allclose(
        tf.reduce_sum(white**2), -2 * case.log_prior(x)[0], rtol=1e-6
    )  # white noise is what the prior says it is
    assert np.all(case.spread(tf.float64, "wiener") <= case.spread(tf.float64, "white"))


def test_wiener_coordinates_make_a_linear_posterior_round():
    case = problem(dynamics="linear", bias=(0.7, 0.0), noise_power=2000.0, redshift_space=True)
    rng = np.random.default_rng(1)
    u = tf.constant(rng.standard_normal((1, SIDE, SIDE, SIDE)))
    y = tf.zeros_like(u)
    loss = case.loss_in("wiener")
    _, gradient = loss(u, y, tf.constant(0.0, tf.float64))
    # But for the mean, which is no unknown, and half of the Nyquist modes none is stretched.
    np.testing.assert_allclose(gradient, u - tf.reduce_mean(u), atol=1e-6)


def test_masked_cells_have_no_say():
    mask = np.ones((SIDE,) * 3)
    mask[:, :, 10:] = 0
    case = problem(mask=mask)
    x, y = case.simulate(2, 1)
    assert not np.any(y[..., 10:]) and case.num_data == mask.sum()
    other = y + tf.constant(5.0 * (1 - mask), y.dtype)
    np.testing.assert_allclose(case.log_likelihood(x, y), case.log_likelihood(x, other), rtol=1e-6)
    assert abs(float(case.chi2(x, y)[0]) - 1) < 4 * np.sqrt(2 / case.num_data)


@pytest.mark.parametrize("name", CASES)
def test_configuration_makes_the_same_problem(name):
    case = problem(**CASES[name])
    again = rim.InitialConditions.from_config(case.get_config())
    one, other = case.simulate(4, 1), again.simulate(4, 1)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_larger_box_has_the_same_cells():
    case = problem(**CASES["tracers"]).with_mesh((16, 16, 32))
    assert case.mesh.shape == (16, 16, 32) and case.box_size == (BOX, BOX, 2 * BOX)
    np.testing.assert_allclose(case.noise_std, problem(**CASES["tracers"]).noise_std)
    with pytest.raises(ValueError, match="`problem` must be the same in every cell"):
        problem(mask=np.ones((SIDE,) * 3)).with_mesh(32)


def test_refusals():
    for match, options in {
        "`dynamics` must be": {"dynamics": "3lpt"},
        "`bias` must be": {"bias": (1.0,)},
        "`noise_std` must be positive": {"noise_std": 0.0},
        "`noise_std` must be a number or": {"noise_std": np.ones(3)},
        "`mask` must have shape": {"mask": np.ones(3)},
        "`mask` must hold zeros and ones": {"mask": np.full((SIDE,) * 3, 0.5)},
        "`mean_count` must be given": {"likelihood": "poisson"},
        "`noise_power` must be a number": {
            "noise_power": lambda k: k, "mask": np.ones((SIDE,) * 3)
        },
        "`a` must lie in": {"a": 2.0},
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=match):
            problem(**options)
    with pytest.raises(TypeError, match="cosmo"):
        rim.InitialConditions(SIDE, SIDE, BOX)
    with pytest.raises(ValueError, match="`y` must have the mesh"):
        problem().check(np.zeros((1, 8, 8, 8)))
    with pytest.raises(ValueError, match="`y` must be finite"):
        problem().check(np.full((SIDE,) * 3, np.nan))
    with pytest.raises(ValueError, match=r"`y` must be non-negative.*counts"):
        problem(**CASES["counts"]).check(np.full((SIDE,) * 3, -1.0))
