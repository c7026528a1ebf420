"""What a survey adds to a convergence map, against NumPy and against moments."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import CubicSpline

import flowpm_ext as fpm
from flowpm_ext.cosmology import background, power, redshift
from flowpm_ext.lensing import LensPlanes, born, convergence, observe, shear

SURVEY = {"pixel_size_arcmin": 2.0, "gals_per_arcmin2": 10.0}
KAPPA = tf.constant(0.02 * np.random.default_rng(0).normal(size=[4, 32, 32, 2]))
BINS = tf.constant(0.02 * np.random.default_rng(5).normal(size=[2, 16, 16, 3]))
MEAN = [0.3, 0.5, 1.0]


def test_noise_has_the_deviation_of_a_pixel():
    empty = tf.zeros([20, 32, 32, 2], tf.float64)
    noise = observe(empty, 0, sigma_e=[0.26, 0.3], **SURVEY)
    # 40,960 draws: deviations to half a per cent.
    expected = np.array([0.26, 0.3]) / np.sqrt(10 * 4)
    np.testing.assert_allclose(np.std(noise, axis=(0, 1, 2)), expected, rtol=0.02)
    together = np.corrcoef(noise.numpy().reshape(-1, 2).T)[0, 1]
    assert abs(together) < 0.02


def test_seed_decides():
    first, again, other = (observe(KAPPA, seed, **SURVEY) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.std(first - other) > 0.01


def test_calibration_and_mask():
    mask = np.ones([32, 32])
    mask[:8] = 0
    seen = observe(KAPPA, 0, sigma_e=0.0, multiplicative_bias=[0.1, -0.1], mask=mask, **SURVEY)
    expected = KAPPA * np.array([1.1, 0.9]) * mask[..., None]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    bias = 0.1 * np.arange(8).reshape(4, 2)
    each = observe(KAPPA, 0, sigma_e=0.0, multiplicative_bias=bias, **SURVEY)
    np.testing.assert_allclose(each[3, ..., 1], 1.7 * KAPPA[3, ..., 1], rtol=1e-12)


def test_path_of_a_survey_without_noise():
    mask = (np.random.default_rng(1).uniform(size=[32, 32]) > 0.2).astype(float)
    seen = observe(KAPPA, 0, sigma_e=0.0, mask=mask, through_shear=True, **SURVEY).numpy()
    l2, l1 = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32), indexing="ij")
    angle = (l1 + 1j * l2) ** 2 / np.where(l1**2 + l2**2 == 0, 1, l1**2 + l2**2)
    is_inner = (np.abs(l1) < 0.5) & (np.abs(l2) < 0.5)
    kappa = KAPPA[0, ..., 0].numpy()
    kappa = np.fft.ifft2(np.fft.fft2(kappa) * is_inner).real  # without the Nyquist lines
    maps = tf.constant(np.tile(kappa[None, ..., None], [1, 1, 1, 1]))
    seen = observe(maps, 0, sigma_e=0.0, mask=mask, through_shear=True, **SURVEY)[0, ..., 0]
    gamma = np.fft.ifft2(angle * np.fft.fft2(kappa))
    data = mask * gamma / (1 - kappa)
    expected = np.fft.ifft2(angle.conj() * np.fft.fft2(data)).real
    modes = np.fft.fft2(seen - expected) * is_inner
    assert np.abs(modes).max() < 1e-10 * np.abs(np.fft.fft2(expected)).max()


def test_noise_of_shear_has_the_same_deviation_in_convergence():
    empty = tf.zeros([20, 32, 32, 1], tf.float64)
    noise = observe(empty, 3, sigma_e=0.26, through_shear=True, **SURVEY)
    np.testing.assert_allclose(np.std(noise), 0.26 / np.sqrt(40), rtol=0.02)


def test_turns_are_the_eight_and_equally_likely():
    one = np.random.default_rng(2).normal(size=[5, 5, 1])
    maps = tf.constant(np.tile(one, [800, 1, 1, 1]))
    maps = observe(maps, 0, sigma_e=0.0, is_turned=True, **SURVEY).numpy()
    eight = [np.rot90(x, k) for x in (one, one[::-1]) for k in range(4)]
    counts = [sum(np.array_equal(m, x) for m in maps) for x in eight]
    assert sum(counts) == 800
    assert min(counts) > 60  # 100 of each, give or take four times ten


def test_inside_a_pipeline_noise_is_fresh_in_every_epoch():
    seeds = tf.data.Dataset.random(seed=0, rerandomize_each_iteration=True)
    seeds = seeds.batch(2, drop_remainder=True)
    maps = tf.data.Dataset.from_tensors(tf.cast(KAPPA, tf.float32)).repeat(3)

    def noisy(kappa, seed):
        return observe(kappa, tf.cast(seed, tf.int32), is_turned=True, **SURVEY)

    pipeline = tf.data.Dataset.zip(maps, seeds).map(noisy)
    first, second = (np.stack(list(pipeline.as_numpy_iterator())) for _ in range(2))
    assert first.shape == (3, 4, 32, 32, 2) and first.dtype == np.float32
    assert min(np.std(first[0] - first[1]), np.std(first - second)) > 0.01


def test_number_of_maps_may_be_unknown():
    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1])])
    def noisy(kappa):
        return observe(kappa, 0, **SURVEY)

    assert noisy(tf.zeros([3, 16, 16, 1])).shape == (3, 16, 16, 1)


def linear_planes(cosmo, num=46, n=128, side=256.0, thickness=64.0):
    """Gaussian planes with the linear power of their time, each without memory of the others."""
    chi = thickness * (np.arange(num) + 0.5)
    k = 2 * np.pi * np.fft.fftfreq(n, side / n)
    k = np.hypot(k[:, None], k[: n // 2 + 1])
    pk = np.asarray(power.linear_matter_power(cosmo, np.maximum(k, k[0, 1]).ravel()))
    scale = np.sqrt(pk.reshape(k.shape) / thickness) * n / side * (k > 0)
    growth = np.asarray(background.growth_factor(cosmo, background.a_of_chi(cosmo, chi)))
    white = np.fft.rfft2(np.random.default_rng(0).normal(size=[num, 1, n, n]))
    density = np.fft.irfft2(white * scale * growth[:, None, None, None], (n, n))
    return LensPlanes(density, chi, thickness, side)


@pytest.mark.parametrize(
    ("width", "error"), [(0.1, [0.21, 0.12, 0.12, 0.27]), (0.05, [0.39, 0.27, 0.25, 0.41])]
)
def test_shift_is_nearly_that_of_the_redshift_distribution(width, error):
    cosmo, dz = fpm.Planck15(), 0.02
    bins = [redshift.gaussian_nz(z, width) for z in (0.4, 0.6, 0.8, 1.0)]
    moved = [redshift.systematic_shift(nz, dz) for nz in bins]
    maps = born(cosmo, linear_planes(cosmo), bins + moved, 5.0, 64, max_repeats=2.0).numpy()
    before, after = np.split(maps, 2, axis=-1)
    mean = [float(nz.mean()) for nz in bins]
    about = observe(before, 0, sigma_e=0.0, redshift_shift=dz, mean_redshift=mean, **SURVEY)

    def deviation(x):
        return np.sqrt(np.mean(x**2, axis=(0, 1, 2)))

    # The errors that the docstring of `observe` states, of a simulated light cone; from one
    # small field to the next they scatter by a tenth.
    found = deviation(about - after) / deviation(after - before)
    assert np.all(found < 1.2 * np.array(error)), found
    change = np.var(after, axis=(0, 1, 2)) / np.var(before, axis=(0, 1, 2)) - 1
    found = np.var(about, axis=(0, 1, 2)) / np.var(before, axis=(0, 1, 2)) - 1
    # A quarter: what was measured, an eighth, and as much again for one small field.
    np.testing.assert_allclose(found, change, rtol=0.25)


def test_slope_by_redshift_is_that_of_a_spline():
    dz = np.array([[0.01, -0.02, 0.03], [0.02, 0.0, -0.01]])
    seen = observe(BINS, 0, sigma_e=0.0, redshift_shift=dz, mean_redshift=MEAN, **SURVEY)
    values = np.concatenate([np.zeros([2, 16, 16, 1]), BINS], axis=-1)
    spline = CubicSpline([0.0, *MEAN], values, axis=-1, bc_type="natural")
    expected = BINS + dz[:, None, None] * spline(MEAN, 1)
    np.testing.assert_allclose(seen, expected, rtol=1e-10, atol=1e-14)  # machine precision


def test_shift_is_exact_where_convergence_grows_in_proportion_to_redshift():
    kappa = BINS[..., :1] * np.array(MEAN)
    seen = observe(kappa, 0, sigma_e=0.0, redshift_shift=0.02, mean_redshift=MEAN, **SURVEY)
    expected = BINS[..., :1] * (np.array(MEAN) + 0.02)
    np.testing.assert_allclose(seen, expected, rtol=1e-10)  # machine precision


def test_no_shift_changes_nothing():
    for dtype in (tf.float32, tf.float64):
        kappa = tf.cast(BINS, dtype)
        plain = observe(kappa, 0, **SURVEY)
        for shift in (0.0, np.zeros(3), tf.zeros([2, 3])):
            seen = observe(kappa, 0, redshift_shift=shift, mean_redshift=MEAN, **SURVEY)
            assert seen.dtype == dtype
            np.testing.assert_array_equal(seen, plain)


@pytest.mark.parametrize("through_shear", [False, True])
def test_shift_comes_before_all_but_the_turns(through_shear):
    shift = {"redshift_shift": [0.01, 0.02, -0.03], "mean_redshift": MEAN}
    moved = observe(BINS, 0, sigma_e=0.0, **shift, **SURVEY)
    rest = {"multiplicative_bias": [0.1, 0.0, -0.1], "mask": np.eye(16), "is_turned": True}
    rest |= {"through_shear": through_shear} | SURVEY
    # Turned first or last, a map has the same slope in redshift, but for rounding.
    np.testing.assert_allclose(
        observe(BINS, 1, **shift, **rest), observe(moved, 1, **rest), rtol=1e-10, atol=1e-14
    )


def test_gradients_through_a_shift():
    rng = np.random.default_rng(6)
    upstream = rng.normal(size=BINS.shape)
    inputs = (BINS, tf.constant([[0.01, 0.02, -0.01], [0.0, 0.01, 0.03]], tf.float64))
    directions = [rng.normal(size=x.shape) for x in inputs]

    def statistic(kappa, dz):
        seen = observe(
            kappa, 0, redshift_shift=dz, mean_redshift=MEAN, through_shear=True, **SURVEY
        )
        return tf.reduce_sum(seen * upstream)

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = statistic(*inputs)
    for i, (slope, direction) in enumerate(
        zip(tape.gradient(loss, inputs), directions, strict=True)
    ):
        h = 1e-6 * np.eye(2)[i]
        ends = (
            statistic(*(x + sign * h[j] * directions[j] for j, x in enumerate(inputs)))
            for sign in (1, -1)
        )
        difference = np.subtract(*ends) / 2e-6
        # Central differences keep ten digits of the step, less what cancels in the sum.
        np.testing.assert_allclose(np.sum(slope * direction), difference, rtol=1e-6)


def test_shift_compiles_within_a_graph():
    @tf.function(jit_compile=True)
    def shifted(kappa, dz):
        return observe(kappa, 0, redshift_shift=dz, mean_redshift=MEAN, **SURVEY)

    kappa, dz = tf.cast(BINS, tf.float32), tf.constant([0.01, 0.02, -0.03])
    plain = observe(kappa, 0, redshift_shift=dz, mean_redshift=MEAN, **SURVEY)
    np.testing.assert_allclose(shifted(kappa, dz), plain, atol=1e-6)  # float32, of noise of 0.04


@pytest.mark.parametrize("shape", [(32, 32), (31, 24)])
def test_shear_and_back(shape):
    kappa = np.random.default_rng(4).normal(size=[3, *shape])
    modes = convergence(shear(kappa))
    np.testing.assert_allclose(modes.e, kappa - kappa.mean((1, 2), keepdims=True), atol=1e-12)
    np.testing.assert_allclose(modes.b, 0, atol=1e-12)  # machine precision


def test_shear_of_a_wave():
    """A wave along x has gamma1 = kappa; one along the diagonal has gamma2 = kappa."""
    y, x = np.meshgrid(np.arange(16), np.arange(16), indexing="ij")
    along, diagonal = np.cos(2 * np.pi * 2 * x / 16), np.cos(2 * np.pi * 2 * (x + y) / 16)
    np.testing.assert_allclose(shear(along), along, atol=1e-12)
    np.testing.assert_allclose(shear(diagonal), 1j * diagonal, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kappa": np.zeros([4, 4])}, "`kappa` must"),
        ({"gals_per_arcmin2": 0.0}, "`gals_per_arcmin2` must be positive"),
        ({"sigma_e": -1.0}, "`sigma_e` must not be negative|`sigma_e` must be"),
        ({"mask": np.ones([3, 3])}, "`mask` must have shape"),
        ({"mask": 2 * np.ones([32, 32])}, "`mask` must"),
        ({"kappa": np.zeros([1, 4, 8, 1]), "is_turned": True}, "`kappa` must be square"),
        ({"redshift_shift": 0.01}, "`mean_redshift` must be given for a shift"),
        ({"redshift_shift": np.nan}, "`redshift_shift` must be finite"),
        ({"mean_redshift": [0.5, 0.4]}, "`mean_redshift` must increase"),
        ({"mean_redshift": [0.0, 0.4]}, "`mean_redshift` must be positive"),
        ({"mean_redshift": [0.5]}, r"`mean_redshift` must have shape \(2,\)"),
        (
            {"kappa": np.zeros([1, 4, 4, 1]), "mean_redshift": [0.5]},
            "`kappa` must hold at least two bins, for a shift",
        ),
        (
            {"redshift_shift": np.zeros([3]), "mean_redshift": [0.4, 0.5]},
            "`redshift_shift` must be a number, or have the shape",
        ),
    ],
)
def test_bad_input_to_observe(change, words):
    arguments = {"kappa": KAPPA, "seed": 0, **SURVEY} | change
    with pytest.raises(ValueError, match=words):
        observe(**arguments)


def test_shift_of_a_graph_needs_mean_redshifts_known_before():
    @tf.function
    def shifted(dz, mean):
        return observe(KAPPA, 0, redshift_shift=dz, mean_redshift=mean, **SURVEY)

    with pytest.raises(ValueError, match="`mean_redshift` must be known when the graph is built"):
        shifted(0.01, tf.constant([0.4, 0.5]))
    with pytest.raises(ValueError, match="`mean_redshift` must be given for a shift"):
        shifted(tf.constant(0.01), None)
