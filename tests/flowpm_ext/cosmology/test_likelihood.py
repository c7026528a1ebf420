"""The Gaussian likelihood against scipy, in every form of the covariance."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import linalg, stats

from flowpm_ext.cosmology.likelihood import gaussian_log_likelihood

RNG = np.random.default_rng(3)
NUM_CL, NUM_ELL = 3, 4
SIZE = NUM_CL * NUM_ELL


def random_covariance(*shape):
    factor = RNG.normal(size=[*shape, 2 * shape[-1]])
    return factor @ np.swapaxes(factor, -1, -2) / shape[-1]


MEAN = RNG.normal(size=[NUM_CL, NUM_ELL])
DATA = MEAN + RNG.normal(size=[NUM_CL, NUM_ELL])
BLOCKS = random_covariance(NUM_ELL, NUM_CL)
# The blocks as one matrix for data flattened row by row.
BLOCKS_DENSE = (BLOCKS.transpose(1, 2, 0)[..., None] * np.eye(NUM_ELL)).transpose(0, 2, 1, 3)
DENSE = random_covariance(SIZE)
VARIANCES = RNG.uniform(0.5, 2.0, SIZE)
FORMS = {
    "matrix": (DENSE, DENSE),
    "variances": (VARIANCES, np.diag(VARIANCES)),
    "blocks": (BLOCKS, BLOCKS_DENSE.reshape(SIZE, SIZE)),
}
forms = pytest.mark.parametrize("covariance, dense", FORMS.values(), ids=FORMS.keys())


def scipy_value(dense, mean=MEAN):
    return stats.multivariate_normal(np.ravel(mean), dense).logpdf(DATA.ravel())


@forms
@pytest.mark.parametrize("is_compiled", [False, True])
def test_value_matches_scipy(covariance, dense, is_compiled):
    call = tf.function(gaussian_log_likelihood, jit_compile=True)
    found = (call if is_compiled else gaussian_log_likelihood)(DATA, MEAN, covariance)
    assert float(found) == pytest.approx(scipy_value(dense), rel=1e-10)  # rounding


@forms
def test_batch_of_means_leads(covariance, dense):
    means = MEAN + RNG.normal(size=[5, 2, 1, 1])
    expected = [[scipy_value(dense, mean) for mean in row] for row in means]
    np.testing.assert_allclose(gaussian_log_likelihood(DATA, means, covariance), expected, 1e-10)


def test_batch_of_covariances_leads():
    scale = np.array([0.5, 1.0, 2.0])
    expected = [scipy_value(factor * DENSE) for factor in scale]
    found = gaussian_log_likelihood(DATA, MEAN, scale[:, None, None] * DENSE)
    np.testing.assert_allclose(found, expected, 1e-10)
    blocks = scale[:, None, None, None] * BLOCKS
    means = np.broadcast_to(MEAN, [3, NUM_CL, NUM_ELL])
    expected = [scipy_value(factor * FORMS["blocks"][1]) for factor in scale]
    np.testing.assert_allclose(gaussian_log_likelihood(DATA, means, blocks), expected, 1e-10)


def test_vector_of_data_and_single_precision():
    found = gaussian_log_likelihood(
        DATA.ravel().astype(np.float32), MEAN.ravel(), DENSE.astype(np.float32)
    )
    assert found.dtype == tf.float32
    # Float32 rounding, times the condition of the covariance, about 100.
    assert float(found) == pytest.approx(scipy_value(DENSE), rel=1e-4)


@forms
def test_gradients_match_finite_differences(covariance, dense):
    del dense
    mean, covariance = tf.constant(MEAN), tf.constant(covariance)
    bumps = tf.constant(RNG.normal(size=MEAN.shape)), 0.1 * covariance
    with tf.GradientTape() as tape:
        tape.watch([mean, covariance])
        value = gaussian_log_likelihood(DATA, mean, covariance)
    for which, (gradient, bump) in enumerate(
        zip(tape.gradient(value, [mean, covariance]), bumps, strict=True)
    ):
        step = 1e-5
        ends = []
        for sign in (1, -1):
            moved = [mean, covariance]
            moved[which] += sign * step * bump
            ends.append(gaussian_log_likelihood(DATA, *moved))
        finite = float(ends[0] - ends[1]) / (2 * step)
        # Truncation of order step**2 = 1e-10, rounding of 1e-15 * 30 / step.
        assert float(tf.reduce_sum(gradient * bump)) == pytest.approx(finite, rel=1e-7)


def test_blocks_of_the_data_do_not_mix_multipoles():
    """With unit blocks the likelihood is a sum over all entries."""
    unit = np.broadcast_to(np.eye(NUM_CL), [NUM_ELL, NUM_CL, NUM_CL])
    expected = stats.norm.logpdf(DATA - MEAN).sum()
    assert float(gaussian_log_likelihood(DATA, MEAN, unit)) == pytest.approx(expected, rel=1e-13)
    assert BLOCKS_DENSE.reshape(SIZE, SIZE)[0, NUM_ELL] == BLOCKS[0, 0, 1]
    assert linalg.bandwidth(BLOCKS_DENSE[0, :, 0]) == (0, 0)


BAD = {
    "`data` must be finite": (np.full([NUM_CL, NUM_ELL], np.nan), MEAN, DENSE),
    "`mean` must end in the shape of the data": (DATA, MEAN[:, 1:], DENSE),
    "`covariance` must be finite": (DATA, MEAN, np.inf * DENSE),
    "`covariance` must fit the data. Received: 'shape (4, 4) for": (DATA, MEAN, np.eye(4)),
    "`covariance` must fit the data. Received: 'shape (3, 4, 4) for": (
        DATA,
        MEAN,
        np.ones([3, 4, 4]),
    ),
    "`covariance` must be positive. Received": (DATA, MEAN, -VARIANCES),
    "`covariance` must be positive definite": (DATA, MEAN, -DENSE),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused(message):
    with pytest.raises(ValueError) as refusal:
        gaussian_log_likelihood(*BAD[message])
    assert str(refusal.value).startswith(message)
