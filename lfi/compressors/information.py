"""Tables of what different data or methods say about parameters."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flowpm_ext.core import checks
from flowpm_ext.core.types import TensorLike
from flowpm_ext.cosmology.constraints import figure_of_merit
from lfi.compressors.resampling import bootstrap

TITLES = ("posterior", "parameters", "FoM", "ratio", "information (nats)")


@dataclasses.dataclass(frozen=True)
class InformationRow:
    """What one set of posteriors says about one pair of parameters.

    Args:
        name: Of the posteriors.
        pair: Names of the two parameters.
        figure_of_merit: 1 / sqrt(det C) with the covariance C of the two, in inverse units of
            both; the mean over observations.
        error: Its standard error, from the scatter of observations; None for a Fisher matrix.
        ratio: Figure of merit over that of the reference; None where there is none.
        ratio_error: Its standard error.
        information: Lower bound of the mutual information in nats, where given.
        information_error: Its standard error, where given.
    """

    name: str
    pair: tuple[str, str]
    figure_of_merit: float
    error: float | None
    ratio: float | None = None
    ratio_error: float | None = None
    information: float | None = None
    information_error: float | None = None


@dataclasses.dataclass(frozen=True)
class InformationReport:
    """A table of figures of merit, as text by `str` and for JSON by `to_dict`.

    Args:
        rows: One for each set of posteriors and each pair.
        reference: Name of what the ratios refer to, if anything.
    """

    rows: tuple[InformationRow, ...]
    reference: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """All numbers, in plain Python types."""
        rows = [dataclasses.asdict(row) | {"pair": list(row.pair)} for row in self.rows]
        return {"reference": self.reference, "rows": rows}

    def __str__(self) -> str:
        lines = [TITLES] + [
            (
                row.name, ", ".join(row.pair), _shown(row.figure_of_merit, row.error),
                _shown(row.ratio, row.ratio_error), _shown(row.information, row.information_error),
            )
            for row in self.rows
        ]  # fmt: skip
        widths = [max(len(line[i]) for line in lines) for i in range(len(TITLES))]
        texts = ("  ".join(t.ljust(w) for t, w in zip(x, widths, strict=True)) for x in lines)
        return "\n".join(text.rstrip() for text in texts)


def information_report(
    posteriors: Mapping[str, TensorLike],
    pairs: Sequence[tuple[int, int]] = ((0, 1),),
    names: Sequence[str] | None = None,
    mutual_information: Mapping[str, tuple[float, float]] | None = None,
    reference: str | None = None,
    num_bootstrap: int = 500,
    seed: int = 0,
) -> InformationReport:
    """Compare posteriors, from the same observations or not, and forecasts.

    Args:
        posteriors: By name, draws [num_samples, num_observations, P] of the posterior of each
            observation, or a Fisher matrix [P, P].
        pairs: Pairs of indices of parameters.
        names: Of the parameters, [P]; theta_0, theta_1, ... by default.
        mutual_information: By name, a bound and its error, as a `Compressor` gives it.
        reference: Name of the posteriors that ratios refer to; none by default. Where both have
            as many observations, these are taken to be the same, which makes errors smaller.
        num_bootstrap: Resamplings of the observations.
        seed: Of those.

    Returns:
        The table.

    Raises:
        ValueError: If a name is unknown, an index does not exist, a shape is neither of the two,
            or draws are not finite.

    References:
        Albrecht et al. 2006, arXiv:astro-ph/0609591; Efron 1979, Ann. Statist. 7, 1.
    """
    information = mutual_information or {}
    for name in [*information, *([] if reference is None else [reference])]:
        checks.one_of(name, "name", tuple(posteriors))
    rows = []
    for pair in pairs:
        labels = tuple(f"theta_{i}" if names is None else names[i] for i in pair)
        merits = {name: _merits(value, pair, name) for name, value in posteriors.items()}
        # The mean, and then those of the resamplings.
        means = {
            name: np.append(each.mean(), bootstrap(each[:, None], num_bootstrap, seed))
            for name, each in merits.items()
        }
        for name, mean in means.items():
            ratio = (None, None)
            if reference not in (None, name):
                ratio = _with_error(mean / means[reference])
            numbers = *_with_error(mean), *ratio, *information.get(name, (None, None))
            rows.append(InformationRow(name, labels, *numbers))
    return InformationReport(tuple(rows), reference)


def _with_error(means: np.ndarray) -> tuple[float, float | None]:
    """A mean and the scatter of its resamplings; None for what does not vary."""
    return float(means[0]), float(means[1:].std(ddof=1)) if np.ptp(means) > 0 else None


def _merits(value: TensorLike, pair: tuple[int, int], name: str) -> np.ndarray:
    """Figure of merit of each observation, or the one of a Fisher matrix."""
    value = np.asarray(value, np.float64)
    label = f"posteriors[{name!r}]"
    rule = "be draws [num_samples, num_observations, P] or a Fisher matrix [P, P]"
    checks.require(value.ndim in (2, 3), label, rule, f"shape {value.shape}")
    checks.finite(value, label)
    if value.ndim == 2:
        return np.atleast_1d(figure_of_merit(value, pair).numpy())
    valid = len(set(pair)) == 2 and all(0 <= i < value.shape[-1] for i in pair)
    checks.require(valid, "pairs", f"be of different indices below {value.shape[-1]}", pair)
    offset = value - value.mean(axis=0)
    covariance = np.einsum("noi,noj->oij", offset, offset) / (len(value) - 1)
    return 1 / np.sqrt(np.linalg.det(covariance[:, pair][:, :, pair]))


def _shown(value: float | None, error: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if error is None else f"{value:.4g} +- {error:.2g}"
