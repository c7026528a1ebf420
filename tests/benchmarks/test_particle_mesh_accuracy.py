"""The measurement of errors of simulated spectra: its tables are whole and mean what they say."""

import subprocess
import sys

import pytest

from benchmarks import particle_mesh_accuracy
from benchmarks.particle_mesh_peer import ROOT

MESHES = ((1, "spectral"), (1, "finite_difference"))


@pytest.fixture(autouse=True)
def few_runs(monkeypatch):
    monkeypatch.setattr(particle_mesh_accuracy, "MESHES", MESHES)
    monkeypatch.setattr(particle_mesh_accuracy, "NUM_STEPS", (2, 6))
    # Below the Nyquist frequency of 16 cells.
    monkeypatch.setattr(particle_mesh_accuracy, "EDGES", (0.05, 0.1, 0.15))


def percent(cell):
    return abs(float(cell.removesuffix("%")))


def test_errors_shrink_with_steps():
    rows = list(particle_mesh_accuracy.integrator_rows(16, reference_steps=8))
    assert len(rows) == 2 * (1 + 3 * 2 * 2)  # meshes; integrators, spacings, numbers of steps
    assert rows[0] == (1, "spectral", "fastpm, of the finest", "a", 8, "0.0 %", "0.0 %")
    error = {row[:5]: percent(row[5]) for row in rows}
    for mesh in MESHES:
        assert error[*mesh, "leapfrog", "a", 6] < error[*mesh, "leapfrog", "a", 2]
        assert error[*mesh, "bullfrog", "a", 6] < 2.0  # 6 steps on a coarse mesh have converged


def test_theory_is_near(monkeypatch):
    monkeypatch.setattr(particle_mesh_accuracy, "EDGES", (0.05, 0.08, 0.1))
    for row in particle_mesh_accuracy.halofit_rows(32, num_pairs=1):
        assert row[:2] in MESHES
        # Cells of 8 Mpc/h lose a tenth of the power here.
        assert max(map(percent, row[2:])) < 20


def test_command_line_of_accuracy_shows_its_options():
    command = [sys.executable, "-m", "benchmarks.particle_mesh_accuracy", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--reference-steps" in answer.stdout
