"""Seeds: one integer is one draw, and draws inside it differ."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.core.seeds import fold, standard_uniform, stateless_seed


def test_integers_of_any_kind_are_one_seed():
    np.testing.assert_array_equal(stateless_seed(5), [0, 5])
    for same in (np.int64(5), tf.constant(5), np.array(5), tf.constant([0, 5])):
        np.testing.assert_array_equal(stateless_seed(same), [0, 5])
    assert stateless_seed(5).dtype == tf.int32


def test_different_integers_are_different_seeds():
    numbers = [0, 1, -1, 2**31, 2**31 - 1, -(2**31), 2**40]
    assert len({tuple(stateless_seed(n).numpy()) for n in numbers}) == len(numbers)


def test_folded_seeds_differ_and_repeat():
    seeds = [tuple(fold(seed, n).numpy()) for seed in (0, 1) for n in range(50)]
    assert len(set(seeds)) == 100
    inside = tf.function(lambda n: fold(0, n), jit_compile=True)(tf.constant(7))
    np.testing.assert_array_equal(inside, seeds[7])


@pytest.mark.parametrize("seed", [1.5, "a", None, tf.constant(1.0), [1, 2]])
def test_what_is_no_integer_is_refused(seed):
    with pytest.raises(TypeError, match=r"`seed` must be an integer or two. Received:"):
        stateless_seed(seed)


@pytest.mark.parametrize("seed", [np.array([1, 2, 3]), tf.zeros([2, 2], tf.int32)])
def test_too_many_integers_are_refused(seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer or two. Received:"):
        stateless_seed(seed)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("bits", [0, 2**32 - 1])
def test_no_uniform_number_is_zero_or_one(monkeypatch, bits, dtype):
    monkeypatch.setattr(
        tf.random, "stateless_uniform", lambda *_, **__: tf.constant([bits], tf.uint32)
    )
    # The seed is a pair already, which draws nothing.
    assert 0 < float(standard_uniform([1], tf.constant([1, 2]), dtype)[0]) < 1


def test_uniform_numbers_are_the_same_in_every_kind_of_call():
    @tf.function(jit_compile=True)
    def compiled(seed):
        return standard_uniform([1000], seed, tf.float64)

    seed = tf.constant([3, 4])
    eager = standard_uniform([1000], seed, tf.float64)
    np.testing.assert_array_equal(compiled(seed), eager)
    np.testing.assert_array_equal(standard_uniform([1000], seed), eager)
    # A mean of 1000 scatters by 1 / sqrt(12000), and a variance about as much.
    assert abs(np.mean(eager) - 0.5) < 0.037 and abs(np.var(eager) - 1 / 12) < 0.012
