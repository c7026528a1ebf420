"""The benchmark of posteriors, on two observations."""

import json
import sys

import pytest

from benchmarks.lfi import sbi_tasks


@pytest.mark.parametrize(("method", "bar"), [("NPE", 0.8), ("NLE", 0.75)])
def test_a_few_simulations_do_better_than_published(tmp_path, monkeypatch, capsys, method, bar):
    """With 1,000 simulations single networks reached 0.725 and 0.773 on two moons.

    A pair of observations scatters by 0.04, and 4,000 draws are fewer than theirs.
    """
    output = tmp_path / "results.json"
    arguments = ["--tasks", "two_moons", "--methods", method, "--simulations", "1000"]
    arguments += ["--observations", "2", "--draws", "4000", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["sbi_tasks", *arguments])
    sbi_tasks.main()
    entry = json.loads(output.read_text())[f"two_moons/{method}"]
    assert 0.48 < entry["mean"] < bar and len(entry["c2st"]) == 2
    assert f"two_moons                 {method}" in capsys.readouterr().out
