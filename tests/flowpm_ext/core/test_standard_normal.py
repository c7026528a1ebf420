"""Normal numbers: their distribution, and that one seed is one draw however it is run."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from flowpm_ext.core.seeds import standard_normal


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_one_seed_is_one_draw(dtype):
    def draw(seed):
        return standard_normal([7, 5, 3], seed, dtype)

    seed = tf.constant([3, 4])
    eager = draw(seed)
    assert eager.dtype == dtype
    assert eager.shape == (7, 5, 3)
    tight = 4e-6 if dtype == tf.float32 else 1e-14  # rounding of numbers up to 6.7
    for jit in (False, True):
        function = tf.function(draw, jit_compile=jit, autograph=False)
        np.testing.assert_allclose(function(seed), eager, atol=tight)
    np.testing.assert_allclose(eager, standard_normal([7, 5, 3], seed, tf.float64), atol=4e-6)
    assert np.abs(eager - draw(5)).min() > 0


def test_numbers_are_normal_and_independent():
    draws = standard_normal([2, 100000], 1, tf.float64).numpy()
    assert scipy.stats.kstest(draws.ravel(), "norm").pvalue > 0.01
    tail = scipy.stats.norm.sf(4.0) * draws.size * 2  # 13 expected beyond 4
    assert abs(np.sum(np.abs(draws) > 4) - tail) < 4 * np.sqrt(tail)
    # Correlations of neighbours, of the two halves of a pair and of their squares: 3 sigma.
    first, second = draws
    for a, b in ((first, second), (first[1:], first[:-1]), (first**2, second**2)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 3 / np.sqrt(1e5)
    other = standard_normal([2, 100000], 2, tf.float64).numpy()
    assert abs(np.corrcoef(other.ravel(), draws.ravel())[0, 1]) < 3 / np.sqrt(2e5)


def test_odd_and_scalar_sizes():
    assert standard_normal([], 0).shape == ()
    assert standard_normal([3], 0).shape == (3,)
    assert standard_normal([0, 4], 0).shape == (0, 4)
