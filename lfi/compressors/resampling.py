"""Errors of means from the scatter of what they are means of."""

import numpy as np

from flowpm_ext.core import checks


def bootstrap(values: np.ndarray, num: int = 200, seed: int = 0) -> np.ndarray:
    """Means of values that were drawn again with replacement.

    Args:
        values: Shape [num_values, size]; rows are drawn together.
        num: Resamplings.
        seed: Seed.

    Returns:
        Means, shape [num, size]; their scatter is the error of the mean.

    Raises:
        ValueError: If `num` is not a positive integer.

    References:
        Efron 1979, Ann. Statist. 7, 1.
    """
    checks.positive_integers(num=num)
    size = len(values)
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), num)
    return counts @ values / size
