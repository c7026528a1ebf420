"""The table of accuracies: its quick rows, and what it says of a code that offers less."""

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy_codes import FlowpmExt, NotOfferedError

QUICK = [row for row in accuracy.ROWS if row.reference in ("astropy", "closed form", "scipy")]


class Poor:
    """A code with distances that are two per cent off, and nothing else."""

    name = "poor"

    def distance(self, theta: np.ndarray, z: np.ndarray) -> np.ndarray:
        return 1.02 * FlowpmExt().distance(theta, z)

    def growth(self, theta: np.ndarray, a: np.ndarray) -> np.ndarray:
        raise NotOfferedError


def test_quick_rows_are_below_their_bars():
    assert len(QUICK) == 3
    for row in QUICK:
        assert row.error(FlowpmExt()) < row.bar, row.quantity


def test_table_has_a_column_for_each_code():
    head, rule, distance, growth = accuracy.table([FlowpmExt(), Poor()], QUICK[:2])
    assert head == "| quantity | reference | at most | flowpm_ext | poor |"
    assert rule == "|---|---|---|---|---|"
    assert distance.endswith("| 2.0e-02 |")
    assert growth.endswith("| – |")


def test_spectra_are_compared_by_their_autos():
    expected = np.array([[4.0], [0.1], [1.0]])  # autos 4 and 1, a weak cross
    difference = np.array([[0.4], [0.02], [0.05]])
    assert accuracy.of_autos(difference, expected) == pytest.approx(0.1)
