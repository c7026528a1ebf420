"""Labels of stamps, after checks."""

from typing import Any

import numpy as np

from flowpm_ext.core import checks
from lfi.lens_finder.stamps import Stamps


def labels_of(x: Any, y: Any = None) -> np.ndarray:
    """Labels that a network is trained on.

    Args:
        x: `Stamps`, which have their own, or images [num, ...].
        y: 0 or 1 for each, [num] or [num, 1].

    Returns:
        float32 [num, 1].

    Raises:
        ValueError: If there is not one for each, or they are not 0 and 1.
    """
    y = x.is_lens if isinstance(x, Stamps) else y
    return checked_labels(y, len(x), "y").astype(np.float32)[:, None]


def checked_labels(labels: Any, num: int, name: str = "labels") -> np.ndarray:
    """Labels of so many stamps.

    Args:
        labels: 0 or 1, [num] or [num, 1].
        num: How many there must be.
        name: For the message.

    Returns:
        bool [num].

    Raises:
        ValueError: If there is not one for each, or they are not 0 and 1, with some of both.
    """
    labels = np.asarray(labels, np.float64)
    rule = f"be one label for each of {num} stamps"
    checks.require(labels.shape in ((num,), (num, 1)), name, rule, f"shape {labels.shape}")
    both = set(np.unique(labels)) == {0.0, 1.0}
    checks.require(both, name, "be 0 and 1, with some of both", np.unique(labels))
    return labels.ravel() > 0
