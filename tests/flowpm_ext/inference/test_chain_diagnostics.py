"""R-hat and effective sample size on chains whose correlations are known."""

import numpy as np
import pytest

from flowpm_ext.inference import effective_sample_size, r_hat


def autoregressive(phi, num=20000, chains=4, seed=0):
    """x_t = phi x_(t-1) + noise, of unit variance: worth (1 - phi) / (1 + phi) of its draws."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, chains))
    for t in range(1, num):
        x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * x[t]
    return x


@pytest.mark.parametrize("phi", [-0.3, 0.0, 0.5, 0.9])
def test_effective_size_of_autoregressive_chains(phi):
    x = autoregressive(phi)
    expected = x.size * (1 - phi) / (1 + phi)
    # The scatter of the estimate over seeds is 2 to 4 %.
    np.testing.assert_allclose(effective_sample_size(x), expected, rtol=0.12)


def test_r_hat_of_chains_that_agree_and_of_those_that_do_not():
    x = autoregressive(0.5)
    assert abs(r_hat(x) - 1) < 0.003
    shift = np.array([0, 0, 0, 1.0])
    # Between-chain variance of the shift: 1/4 over the 8 halves, times 8/7.
    between = np.var(np.repeat(shift, 2), ddof=1)
    np.testing.assert_allclose(r_hat(x + shift), np.sqrt(1 + between), rtol=0.02)
    drift = np.linspace(0, 2, len(x))[:, None]
    assert r_hat(x + drift) > 1.1
    assert effective_sample_size(x + drift) < 0.1 * effective_sample_size(x)


def test_components_are_judged_one_by_one():
    x = np.stack([autoregressive(0.0, 2000), autoregressive(0.9, 2000)], axis=-1)
    ess = effective_sample_size(x)
    assert ess.shape == (2,) and ess[0] > 5 * ess[1]
    for i in range(2):
        np.testing.assert_allclose(ess[i], effective_sample_size(x[..., i]))
        np.testing.assert_allclose(r_hat(x)[i], r_hat(x[..., i]))


@pytest.mark.parametrize("function", [r_hat, effective_sample_size])
def test_refusals(function):
    with pytest.raises(ValueError, match="`samples` must have shape"):
        function(np.zeros(10))
    with pytest.raises(ValueError, match="`samples` must be finite"):
        function(np.full((10, 2), np.nan))
