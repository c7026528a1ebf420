"""Kernels that stretch no more than they may."""

import keras
import numpy as np
import pytest

from flowpm_ext.nn import LevelUNet, SpectralNorm


def norm(kernel):
    return np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), 2)


@pytest.mark.parametrize("kernel", [np.eye(64), np.ones((9, 3)), np.diag([1.0, 1e-3, 0.0])])
def test_flat_and_degenerate_spectra_stay_below_the_limit_too(kernel):
    kernel = 1e3 * kernel.astype(np.float32)
    limited = SpectralNorm(0.7)(kernel)
    assert 0.7 * 64 ** (-1 / 1024) * 0.999 < norm(limited) < 0.7 * (1 + 1e-5)  # float32 rounding


@pytest.mark.parametrize("shape", [(3, 3, 8, 16), (64, 4), (5, 5, 1, 1), (3, 3, 1, 32)])
def test_largest_singular_value_is_the_limit(shape):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    limited = norm(SpectralNorm(0.5)(kernel))
    assert 0.5 * shape[-1] ** (-1 / 1024) * 0.999 < limited < 0.5 * (1 + 1e-5)  # rounding
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
    assert 0.7 * 0.99 < max(norms) < 0.7 * (1 + 1e-5) and len(kernels) > 5
    again = LevelUNet.from_config(net.get_config())
    assert again.kernel_constraint.limit == 0.7
