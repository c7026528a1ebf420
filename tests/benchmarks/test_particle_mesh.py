"""The measurement of simulations: that codes do the same work, and that its tables are whole."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import particle_mesh
from benchmarks.particle_mesh_peer import ROOT, Worker

SIZE, STEPS = 8, 2
VERSIONS = particle_mesh.peer_versions(sys.executable)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problems")
    return particle_mesh.Bench(VERSIONS and sys.executable, 1, folder)


@pytest.fixture(scope="module")
def problem(bench):
    return bench.problem(SIZE, STEPS)


def test_problem_is_float32_with_one_force_per_step_and_one_more(problem):
    with np.load(problem) as arrays:
        assert arrays["field"].shape == (SIZE,) * 3
        assert {arrays[name].dtype.name for name in ("field", "drift", "kick")} == {"float32"}
        assert (arrays["drift"].shape, arrays["kick"].shape) == ((STEPS + 2,), (STEPS + 1,))
        assert arrays["stages"][[0, -1]] == pytest.approx([0.1, 1.0])


@pytest.fixture(scope="module")
def gradient(problem):
    return particle_mesh.flowpm_ext_function(str(problem), "gradient", "eager")()


def test_both_ways_of_this_package_agree(problem, gradient):
    compiled = particle_mesh.flowpm_ext_function(str(problem), "gradient", "jit")()
    assert compiled.shape == (1, SIZE, SIZE, SIZE)
    # Rounding of float32, amplified by the steps; 3e-7 was seen.
    assert particle_mesh.relative_rms(gradient, compiled) < 1e-5


def test_gradient_is_that_of_the_mean_square(problem, gradient):
    def mean_square(problem: str) -> float:
        density = particle_mesh.flowpm_ext_function(problem, "forward", "eager")()
        assert density.sum() == pytest.approx(SIZE**3, rel=1e-5)  # float32 sum of 512 cells
        return np.mean(np.float64(density) ** 2)

    with np.load(problem) as arrays:
        content = dict(arrays)
    step = 1e-2 * np.float32(gradient[0]) / np.linalg.norm(gradient)
    values = []
    for sign in (1, -1):
        moved = problem.with_name(f"moved_{sign}.npz")
        np.savez(moved, **content | {"field": content["field"] + sign * step})
        values.append(mean_square(str(moved)))
    slope = (values[0] - values[1]) / 2e-2
    # Kinks of the density where particles cross cells, and float32; 3e-5 was seen.
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=1e-3)


@pytest.mark.skipif(VERSIONS is None, reason="JaxPM is not installed")
@pytest.mark.parametrize("task", ["forward", "gradient"])
# From the first order on, everything is the same but for rounding. JaxPM takes the second order
# by finite differences, which matters near the Nyquist frequency.
@pytest.mark.parametrize(("order", "tolerance"), [(1, 1e-4), (2, 0.1)])
def test_codes_agree(bench, tmp_path, task, order, tolerance):
    problem = tmp_path / "problem.npz"
    particle_mesh.write_problem(problem, SIZE, STEPS, order)
    ours = particle_mesh.flowpm_ext_function(str(problem), task, "eager")()
    worker = particle_mesh.fastest_peer(bench, problem, task)
    theirs = worker.result()
    worker.close()
    assert particle_mesh.relative_rms(np.squeeze(ours), theirs) < tolerance


def test_worker_tells_time_memory_and_result(bench, problem):
    worker = bench.ours(problem, "forward", "eager")
    assert all(worker.run() > 0 for _ in range(3))
    assert worker.result().shape == (SIZE,) * 3
    worker.close()
    speed = worker.speed(1)
    assert len(speed.seconds) == 1
    assert speed.first > speed.seconds[0]  # it compiles
    assert speed.peak >= speed.before > 0.01  # GB


def test_worker_that_ends_says_why():
    worker = Worker("broken", [sys.executable, "-c", "input(); raise SystemExit('no such mesh')"])
    with pytest.raises(RuntimeError, match="broken ended with status 1: no such mesh"):
        worker.run()
    worker.close()


def test_run_that_does_not_fit_is_a_line_and_a_gap(capsys):
    answer = json.dumps({"error": "it needs 99 GB, and 1 GB are free"})
    worker = Worker("big", [sys.executable, "-c", f"input(); print({answer!r})"])
    assert particle_mesh.twice(worker) is None
    assert capsys.readouterr().out == ("big is skipped: it needs 99 GB, and 1 GB are free.\n")


def test_ratio_is_to_the_best_of_this_package():
    speeds = [
        particle_mesh.Speed("flowpm_ext, eager", [2.0, 3.0, 9.0], 5.0, 1.0, 0.5),
        particle_mesh.Speed("flowpm_ext, tf.function", [1.0, 1.5, 9.0], 6.0, 1.0, 0.5),
        particle_mesh.Speed("JaxPM", [6.0, 7.5, 9.0], 8.0, 2.0, 0.3),
    ]
    rows = list(particle_mesh.speed_rows(speeds, 64, "forward"))
    assert [row[5] for row in rows] == ["2.00", "1.00", "5.00"]
    assert rows[2][:5] == ("64³", "forward", "JaxPM", "7.500", "6.000")
    assert speeds[2].compilation == 2.0


def test_pieces_of_a_step_make_up_the_force():
    pieces = {name: (f, arguments) for name, f, arguments in particle_mesh.pieces(SIZE)}
    (paint, (x,)), (transforms, _), (readout, _), (force, _) = list(pieces.values())[:4]
    by_pieces = -readout(transforms(paint(x)), x)
    np.testing.assert_allclose(by_pieces, force(x), atol=1e-6)  # float32, forces below 1


def test_profile_compares_with_the_floor_where_one_is_known(monkeypatch):
    def pieces(size: int) -> list:
        names = ("paint", "transforms and differences", "readout", "force", "paint, vjp")
        return [(name, tf.abs, (tf.zeros(size),)) for name in names]

    monkeypatch.setattr(particle_mesh, "pieces", pieces)
    monkeypatch.setattr(particle_mesh, "FLOORS", {SIZE: (1e6, 1e6, 1e6)})
    rows = list(particle_mesh.profile_rows(SIZE, 1))
    assert [row[-1] for row in rows] == ["0.0", "0.0", "0.0", "0.0", "–"]


def test_command_line_shows_its_options():
    command = [sys.executable, "-m", "benchmarks.particle_mesh", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--peer-python" in answer.stdout
