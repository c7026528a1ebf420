"""Gaussian covariance of spectra against loops, and against simulated fields."""

import numpy as np
import pytest
import tensorflow as tf
from reference.knox import knox_covariance

from flowpm_ext.cosmology import probes, redshift
from flowpm_ext.cosmology.covariance import gaussian_cl_covariance, gaussian_cl_covariance_blocks

RNG = np.random.default_rng(5)
ELL = np.array([10.0, 30.0, 70.0, 150.0])
WIDTHS = np.array([20.0, 30.0, 60.0, 80.0])  # edges 0 20 50 110 190
BINS = [redshift.gaussian_nz(z0, 0.1) for z0 in (0.5, 1.0)]
PROBES = [probes.WeakLensing(BINS), probes.NumberCounts(BINS[1:], 1.5)]
NUM_TRACERS, NUM_CL = 3, 6
PAIRS = np.triu_indices(NUM_TRACERS)


def random_spectra(scale):
    """Spectra of correlated tracers, [num_cl, num_ell]."""
    factor = RNG.normal(size=[ELL.size, NUM_TRACERS, 5])
    matrices = scale * factor @ np.swapaxes(factor, 1, 2)
    return matrices[:, *PAIRS].T


SIGNAL, NOISE = random_spectra(1.0), random_spectra(0.3)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_matrix_matches_loops(is_compiled):
    def covariance(signal, noise):
        return gaussian_cl_covariance(ELL, PROBES, signal, noise, 0.3)

    call = tf.function(covariance, jit_compile=True) if is_compiled else covariance
    expected = knox_covariance(ELL, SIGNAL + NOISE, NUM_TRACERS, 0.3, WIDTHS)
    np.testing.assert_allclose(call(SIGNAL, NOISE), expected, rtol=1e-13)  # rounding
    widths = np.array([1.0, 2.0, 3.0, 4.0])
    given = gaussian_cl_covariance(ELL, PROBES, SIGNAL, NOISE, 0.3, widths)
    expected = knox_covariance(ELL, SIGNAL + NOISE, NUM_TRACERS, 0.3, widths)
    np.testing.assert_allclose(given, expected, rtol=1e-13)


def test_blocks_are_the_blocks_of_the_matrix():
    dense = gaussian_cl_covariance(ELL, PROBES, SIGNAL, NOISE).numpy()
    dense = dense.reshape(NUM_CL, ELL.size, NUM_CL, ELL.size)
    blocks = gaussian_cl_covariance_blocks(ELL, PROBES, SIGNAL, NOISE).numpy()
    for at in range(ELL.size):
        np.testing.assert_array_equal(blocks[at], dense[:, at, :, at])
        np.testing.assert_array_equal(np.delete(dense[:, at], at, axis=-1), 0.0)
    assert np.all(np.linalg.eigvalsh(blocks) > 0)


def test_covariance_matches_simulated_spectra():
    """Spectra of Gaussian modes scatter as the formula says."""
    ell, num_draws = 10, 20_000
    matrix = np.zeros([NUM_TRACERS, NUM_TRACERS])
    matrix[PAIRS] = (SIGNAL + NOISE)[:, 0]
    matrix = matrix + np.triu(matrix, 1).T
    modes = RNG.normal(size=[num_draws, 2 * ell + 1, NUM_TRACERS]) @ np.linalg.cholesky(matrix).T
    spectra = (np.swapaxes(modes, 1, 2) @ modes / (2 * ell + 1))[:, *PAIRS]
    blocks = gaussian_cl_covariance_blocks(ELL, PROBES, SIGNAL, NOISE, 1.0, 1.0).numpy()
    # The scatter of a sample covariance; its own fluctuations are nearly Gaussian here.
    expected = blocks[0]
    variances = np.diag(expected)
    scatter = np.sqrt((np.outer(variances, variances) + expected**2) / num_draws)
    # Three sigma; the fourth moment of spectra of 21 modes widens it by sqrt(1 + 6 / 21).
    assert np.max(np.abs(np.cov(spectra.T) - expected) / scatter) < 3 * 1.13


def test_gradient_in_the_spectra_matches_finite_differences():
    signal, bump = tf.constant(SIGNAL), tf.constant(RNG.normal(size=SIGNAL.shape))
    weights = RNG.normal(size=[ELL.size, NUM_CL, NUM_CL])

    def projected(signal):
        blocks = gaussian_cl_covariance_blocks(ELL, PROBES, signal, NOISE)
        return tf.reduce_sum(weights * blocks)

    with tf.GradientTape() as tape:
        tape.watch(signal)
        value = projected(signal)
    slope = tf.reduce_sum(tape.gradient(value, signal) * bump)
    # Quadratic in the spectra, so that central differences are exact to rounding.
    finite = (projected(signal + 0.1 * bump) - projected(signal - 0.1 * bump)) / 0.2
    assert float(slope) == pytest.approx(float(finite), rel=1e-11)


def test_single_precision_agrees_with_double():
    single = gaussian_cl_covariance_blocks(
        ELL, PROBES, SIGNAL.astype(np.float32), NOISE.astype(np.float32)
    )
    assert single.dtype == tf.float32
    double = gaussian_cl_covariance_blocks(ELL, PROBES, SIGNAL, NOISE)
    scale = np.sqrt(np.einsum("lii,ljj->lij", double, double))
    # A few roundings of 6e-8, relative to the variances.
    assert np.max(np.abs(single.numpy() - double.numpy()) / scale) < 1e-6


BAD = {
    "`ell` must increase": {"ell": ELL[::-1]},
    "`ell` must be positive": {"ell": ELL - 10},
    "`cl_signal` must have shape (6, 4) for 3 tracers": {"cl_signal": SIGNAL[:3]},
    "`cl_noise` must have shape (6, 4) for 3 tracers": {"cl_noise": NOISE[:, :2]},
    "`f_sky` must be positive": {"f_sky": 0.0},
    "`f_sky` must be at most 1": {"f_sky": 1.5},
    "`delta_ell` must be positive": {"delta_ell": -1.0},
    "`delta_ell` must be given for a single": {
        "ell": ELL[:1], "cl_signal": SIGNAL[:, :1], "cl_noise": NOISE[:, :1]
    },
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused(message):
    good = {"ell": ELL, "probes": PROBES, "cl_signal": SIGNAL, "cl_noise": NOISE}
    with pytest.raises(ValueError) as refusal:
        gaussian_cl_covariance_blocks(**{**good, **BAD[message]})
    assert str(refusal.value).startswith(message)
