"""Whether chains agree, and how many independent draws they are worth."""

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike


def r_hat(samples: TensorLike) -> np.ndarray:
    """Potential scale reduction of split chains: 1 where they agree, above 1.01 where not.

    Args:
        samples: Draws of any unit, shape [num_samples, num_chains, ...], at least 4 of them.

    Returns:
        One number for each component, shape [...].

    Raises:
        ValueError: If the draws are too few or not finite.

    References:
        Gelman & Rubin 1992, Statistical Science 7, 457; Vehtari et al. 2021, arXiv:1903.08008.
    """
    x = _halves(samples)
    num = x.shape[0]
    within = np.mean(np.var(x, axis=0, ddof=1), axis=0)
    between = np.var(np.mean(x, axis=0), axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt((num - 1) / num + between / within)


def effective_sample_size(samples: TensorLike) -> np.ndarray:
    """Number of independent draws that would know the mean as well as all chains together.

    Autocorrelations are summed in pairs, as long as the sum of a pair is positive.

    Args:
        samples: Draws of any unit, shape [num_samples, num_chains, ...], at least 4 of them.

    Returns:
        One number for each component, shape [...].

    Raises:
        ValueError: If the draws are too few or not finite.

    References:
        Geyer 1992, Statistical Science 7, 473; Vehtari et al. 2021, arXiv:1903.08008.
    """
    x = _halves(samples)
    num, chains = x.shape[:2]
    covariance = np.mean(_autocovariance(x), axis=1)
    within = covariance[0] * num / (num - 1)
    total = (num - 1) / num * within + np.var(np.mean(x, axis=0), axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - covariance * num / (num - 1)) / total
    rho[0] = 1.0
    pairs = rho[: num - num % 2].reshape(num // 2, 2, *rho.shape[1:]).sum(axis=1)
    is_kept = np.cumprod(pairs > 0, axis=0)
    # The sums of pairs decrease in theory.
    pairs = np.minimum.accumulate(pairs, axis=0)
    time = -1 + 2 * np.sum(pairs * is_kept, axis=0)
    size = num * chains
    # Draws that avoid each other are worth more than their number, but not without bound.
    return size / np.maximum(time, 1 / np.log10(size))


def _halves(samples: TensorLike) -> np.ndarray:
    """Each chain as two, [num // 2, 2 * num_chains, ...], so that a drift shows."""
    x = np.asarray(samples, np.float64)
    checks.require(
        x.ndim >= 2 and x.shape[0] >= 4,
        "samples", "have shape [num_samples, num_chains, ...] with at least 4 samples", x.shape,
    )  # fmt: skip
    checks.finite(x, "samples")
    half = x.shape[0] // 2
    return np.concatenate([x[:half], x[-half:]], axis=1)


def _autocovariance(x: np.ndarray) -> np.ndarray:
    """Of each chain along the first axis, divided by the number of draws, same shape."""
    num = x.shape[0]
    centred = x - np.mean(x, axis=0)
    modes = np.fft.rfft(centred, 2 * num, axis=0)
    return np.fft.irfft(np.abs(modes) ** 2, axis=0)[:num] / num
