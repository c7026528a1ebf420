"""What a survey adds to a convergence map, against NumPy and against moments."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.lensing import convergence, observe, shear

SURVEY = {"pixel_size_arcmin": 2.0, "gals_per_arcmin2": 10.0}
KAPPA = tf.constant(0.02 * np.random.default_rng(0).normal(size=[4, 32, 32, 2]))


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
    ],
)
def test_bad_input_to_observe(change, words):
    arguments = {"kappa": KAPPA, "seed": 0, **SURVEY} | change
    with pytest.raises(ValueError, match=words):
        observe(**arguments)
