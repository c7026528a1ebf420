"""White noise at several resolutions: the same large scales, and white at all of them."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.fields import linear_field, resample_white_noise
from flowpm_ext.mesh import LocalMesh

CASES = [((16, 16, 16), (32, 32, 32)), ((16, 16, 16), (8, 8, 8)), ((6, 8, 5), (9, 4, 8))]
cases = pytest.mark.parametrize(("old", "new"), CASES, ids=str)


def pk(k):
    return 5e3 * (k / 0.1) ** 0.3 / (1 + (k / 0.2) ** 2)


def noise(shape, batch=2, dtype=np.float64):
    return np.random.default_rng(0).normal(size=(batch, *shape)).astype(dtype)


def shared_modes(field, old, new):
    """delta_k for waves slower than the Nyquist frequencies of both meshes."""
    modes = np.fft.fftn(field, axes=(1, 2, 3)) / field[0].size
    for axis, sides in enumerate(zip(old, new, strict=True)):
        most = (min(sides) - 1) // 2
        modes = np.take(modes, np.arange(-most, most + 1) % field.shape[axis + 1], axis + 1)
    return modes


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(("old", "new"), CASES[:2], ids=str)
def test_linear_fields_agree_below_the_nyquist_frequency(old, new, dtype, tolerance):
    white = noise(old, dtype=dtype)
    first = linear_field(old, 100.0, pk, white_noise=white).numpy()
    other = resample_white_noise(white, new, seed=0)
    assert other.dtype == dtype
    second = linear_field(new, 100.0, pk, white_noise=other).numpy()
    expected, found = (shared_modes(field, old, new) for field in (first, second))
    # The bar set for each precision, relative to the largest mode.
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


@cases
def test_shared_modes_are_kept_and_the_rest_is_fresh(old, new):
    white = noise(old)
    found = resample_white_noise(white, new, seed=4).numpy()
    expected = shared_modes(white, old, new) * np.sqrt(np.prod(old) / np.prod(new))
    np.testing.assert_allclose(shared_modes(found, old, new), expected, atol=1e-15)
    other = resample_white_noise(white, new, seed=5).numpy()
    same = np.isclose(*(np.fft.fftn(x, axes=(1, 2, 3)) for x in (found, other)), atol=1e-9)
    assert np.count_nonzero(same) == expected.size


@cases
def test_resampled_noise_is_white(old, new):
    num = 500
    found = resample_white_noise(noise(old, num), new, seed=1).numpy()
    power = np.mean(np.abs(np.fft.fftn(found, axes=(1, 2, 3))) ** 2, axis=0) / np.prod(new)
    # Chance moves each by 1 / sqrt(500), sqrt(2) more where a mode is real.
    assert np.abs(power - 1).max() < 6.5 / np.sqrt(num)
    np.testing.assert_allclose(found.var(), 1, rtol=5 * np.sqrt(2 / found.size))


def test_finer_and_back_keeps_all_but_the_nyquist_frequency():
    white = noise((5, 7, 5))  # odd sides have none
    finer = resample_white_noise(white, (10, 9, 6))
    np.testing.assert_allclose(resample_white_noise(finer, (5, 7, 5)), white, atol=1e-14)
    np.testing.assert_allclose(resample_white_noise(white, (5, 7, 5)), white, atol=1e-14)


def test_fresh_noise_is_not_that_of_the_same_seed():
    white = LocalMesh(8).white_noise(3, 1, tf.float64)
    found = resample_white_noise(white, 16, seed=3).numpy()
    drawn = LocalMesh(16).white_noise(3, 1, tf.float64).numpy()
    # 4096 cells: chance makes 0.016, and using the seed again seven eighths.
    assert abs(np.corrcoef(found.ravel(), drawn.ravel())[0, 1]) < 0.08


@pytest.mark.parametrize("jit", [False, True])
def test_graph_and_gradient(jit):
    white, weights = tf.constant(noise((4, 6, 5))), noise((6, 4, 8))

    def total(white):
        return tf.reduce_sum(weights * resample_white_noise(white, (6, 4, 8), 2))

    function = tf.function(total, jit_compile=jit, autograph=False)
    with tf.GradientTape() as tape:
        tape.watch(white)
        value = function(white)
    np.testing.assert_allclose(value, total(white), rtol=1e-12)
    direction = noise((4, 6, 5))[::-1]
    # The map is affine: a difference of any step is exact up to rounding.
    expected = total(white + direction) - total(white)
    found = np.sum(tape.gradient(value, white) * direction)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resample_white_noise(noise((4, 4, 4)), 0), "`mesh_shape` must be a positive"),
        (lambda: resample_white_noise(noise((4, 4, 4))[0], 8), "`white` must have 4 axes"),
        (lambda: resample_white_noise(noise((4, 4, 4)) * np.nan, 8), "`white` must be finite"),
    ],
)
def test_messages(call, message):
    with pytest.raises(ValueError, match=message):
        call()
