"""Whether a classifier can tell two sets of draws apart."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike


def c2st(a: TensorLike, b: TensorLike, seed: int = 1, num_folds: int = 5) -> float:
    """Accuracy of a network that was trained to tell draws of `a` from draws of `b`.

    0.5 where they cannot be told apart, 1 where they always can. As the benchmark sbibm defines
    it: two hidden layers of ten units for each component, rectified, on draws standardised by
    those of `a`, and the mean over folds that were not trained on.

    Args:
        a: Reference draws, shape [num, num_dims].
        b: Draws to judge, of the same shape.
        seed: Of the folds and the network.
        num_folds: Folds.

    Returns:
        A number from about 0.5 to 1.

    Raises:
        ValueError: If shapes differ or a value is not finite.

    References:
        Lopez-Paz & Oquab 2017, arXiv:1610.06545; Lueckmann et al. 2021, arXiv:2101.04653.
    """
    a, b = (np.asarray(part, np.float64) for part in (a, b))
    checks.require(a.ndim == 2, "a", "have shape [num, num_dims]", a.shape)
    checks.require(a.shape == b.shape, "b", f"have the shape of `a`, {a.shape}", b.shape)
    checks.finite(a, "a")
    checks.finite(b, "b")
    checks.require(len(a) >= num_folds, "a", f"have at least {num_folds} draws", len(a))
    mean, scale = a.mean(axis=0), a.std(axis=0)
    checks.require(bool(np.all(scale > 0)), "a", "vary in every component", scale)
    draws = np.concatenate([(a - mean) / scale, (b - mean) / scale])
    label = np.repeat([0, 1], len(a))
    units = 10 * a.shape[1]
    network = MLPClassifier(
        (units, units), activation="relu", solver="adam", max_iter=10_000, random_state=seed
    )
    folds = KFold(num_folds, shuffle=True, random_state=seed)
    # Matrices this small take longer on many threads, much longer where these are busy.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(cross_val_score(network, draws, label, cv=folds, scoring="accuracy").mean())
