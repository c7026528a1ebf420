"""Kernels that stretch no more than they may."""

import keras
import numpy as np
import pytest

from flowpm_ext.nn import LevelUNet, SpectralNorm


def norm(kernel):
    return np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), 2)


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (64, 4), (5, 5, 1, 1)])
def test_largest_singular_value_is_the_limit(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    # The power method ends a little below the norm; the worst case is a flat spectrum.
    assert norm(SpectralNorm(0.5)(kernel)) == pytest.approx(0.5, rel=0.03)
    small = kernel / norm(kernel)
    np.testing.assert_array_equal(SpectralNorm(1.5)(small), small)


def test_zeros_stay_and_bad_limits_are_refused():
    np.testing.assert_array_equal(SpectralNorm()(np.zeros((3, 2), np.float32)), 0)
    with pytest.raises(ValueError, match="`limit` must be positive"):
        SpectralNorm(0.0)


def test_training_keeps_the_limit_and_files_keep_the_constraint():
    net = LevelUNet((4, 8), kernel_constraint=SpectralNorm(0.7))
    net.build((None, 8, 8, 1))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
    level = np.zeros((4, 1), np.float32)
    inputs = keras.Input((8, 8, 1)), keras.Input((1,))
    model = keras.Model(inputs, net(*inputs))
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.train_on_batch([x, level], 100 * x)
    kernels = [w for w in net.trainable_variables if w.path.endswith("kernel") and w.ndim == 4]
    norms = [norm(w.numpy()) for w in kernels]
    assert max(norms) == pytest.approx(0.7, rel=0.03) and len(kernels) > 5
    again = LevelUNet.from_config(net.get_config())
    assert again.kernel_constraint.limit == 0.7
