"""How well the standard deviation of a posterior tells where errors are, and how well it could.

The error of one scan is one draw: even where the standard deviation is exactly right, |error| in
single pixels follows it only loosely. What chance leaves is less where |error| is averaged over
windows of pixels, or squared and averaged over scans. Each number stands beside that of fair
errors, which have the posterior's own size and, for windows, its own correlations.
"""

import numpy as np
from scipy.ndimage import uniform_filter

WINDOWS = (1, 3, 5)  # pixels


def correlation(error: np.ndarray, std: np.ndarray, inside: np.ndarray) -> float:
    """Of two maps [ny, nx], over the pixels inside."""
    return float(np.corrcoef(error[inside], std[inside])[0, 1])


def averaged(maps: np.ndarray, inside: np.ndarray, width: int) -> np.ndarray:
    """Means over windows of `width` pixels squared, of those pixels that are inside, [ny, nx]."""
    total = uniform_filter(np.where(inside, maps, 0.0), width, mode="constant")
    count = uniform_filter(inside.astype(float), width, mode="constant")
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def by_window(error: np.ndarray, std: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Correlation of |error| and standard deviation [ny, nx], averaged over windows of pixels."""
    return {
        f"{width} x {width} pixels": correlation(
            averaged(np.abs(error), inside, width), averaged(std, inside, width), inside
        )
        for width in WINDOWS
    }


def fair_by_window(samples: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """The same for draws of the posterior [num, ny, nx], each in turn in the truth's place."""
    found = []
    for number, draw in enumerate(samples):
        rest = np.delete(samples, number, axis=0)
        found.append(by_window(draw - rest.mean(axis=0), rest.std(axis=0, ddof=1), inside))
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def over_scans(
    errors: np.ndarray, stds: np.ndarray, inside: np.ndarray, seed: int
) -> dict[str, float]:
    """Root mean square error over scans of one image, beside that of the standard deviations.

    Args:
        errors: Of the posterior mean of each scan, [num_scans, ny, nx].
        stds: Of each posterior, the same shape.
        inside: Pixels that count, [ny, nx].
        seed: Of fair errors.

    Returns:
        The correlation; the share of the mean square error that all scans have in common, which
        no number of scans averages away; and the correlation of fair errors with this share.
    """
    num, square = len(errors), np.mean(errors[:, inside] ** 2)
    # Of pairs of different scans, so that what each has of its own does not count.
    common = np.mean(np.sum(errors, axis=0)[inside] ** 2) - num * square
    share = float(np.clip(common / (num * (num - 1)) / square, 0.0, 1.0))
    expected, fair = np.sqrt(np.mean(stds**2, axis=0)), []
    rng = np.random.default_rng(seed)
    for _ in range(20):
        shared, own = rng.normal(size=stds.shape[1:]), rng.normal(size=stds.shape)
        drawn = stds * (np.sqrt(share) * shared + np.sqrt(1 - share) * own)
        fair.append(correlation(np.sqrt(np.mean(drawn**2, axis=0)), expected, inside))
    found = np.sqrt(np.mean(errors**2, axis=0))
    return {
        "correlation": correlation(found, expected, inside), "of fair errors": float(np.mean(fair)),
        "share of the square that scans have in common": share,
        "rms error over standard deviation": float(
            np.sqrt(square / np.mean(stds[:, inside] ** 2))
        ),
    }  # fmt: skip
