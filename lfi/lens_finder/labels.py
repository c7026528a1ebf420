"""Labels of stamps, after checks."""

from typing import Any

import numpy as np

from flowpm_ext.core import checks
from lfi.lens_finder.stamps import Stamps


def checked_labels(x: Any, y: Any = None) -> np.ndarray:
    """Labels of stamps.

    Args:
        x: `Stamps`, which have their own, or images [num, ...].
        y: 0 or 1 for each, [num] or [num, 1].

    Returns:
        float32 [num, 1].

    Raises:
        ValueError: If there is not one for each, or they are not 0 and 1.
    """
    y = np.asarray(x.is_lens if isinstance(x, Stamps) else y, np.float32)
    fits = y.size == len(x) and y.shape in ((len(x),), (len(x), 1))
    checks.require(fits, "y", f"be one label for each of {len(x)} stamps", f"shape {y.shape}")
    both = set(np.unique(y)) == {0.0, 1.0}
    checks.require(both, "y", "be 0 and 1, with some of both", np.unique(y))
    return y.reshape(-1, 1)
