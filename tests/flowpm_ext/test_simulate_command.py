"""`python -m flowpm_ext simulate` and `spectrum`: files, numbers, interruptions and refusals."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from flowpm_ext import simulation
from flowpm_ext.__main__ import build_parser, main
from flowpm_ext.checkpoint import forces_done
from flowpm_ext.command_line import raise_terminated
from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.plot import spectrum_figure
from flowpm_ext.snapshot import load_snapshot
from flowpm_ext.snapshot_spectrum import snapshot_spectrum

ROOT = pathlib.Path(__file__).resolve().parents[2]
SMALL = ("--mesh=16", "--box-size=512", "--cosmology=planck15", "--seed=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder of a run with a snapshot of its fixed initial conditions and one today."""
    out = tmp_path_factory.mktemp("run")
    words = ["--snapshots=0.1,1", "--steps=2", "--fixed-amplitude", "--out", str(out)]
    assert main(["simulate", *SMALL, *words]) == 0
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """File of a spectrum, and its numbers."""
    path = tmp_path_factory.mktemp("table") / "power.txt"
    numbers = np.array([np.geomspace(1e-3, 10, 50), 3e4 / (1 + np.geomspace(1e-2, 100, 50) ** 2)])
    np.savetxt(path, numbers.T, header="k P")
    return path, numbers


def refusal(capsys, *words):
    """The one line on standard error of a run that ends with exit code 2."""
    try:
        code = main(list(map(str, words)))
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2 and printed.out == ""
    assert printed.err.count("\n") == 1 and "error: " in printed.err
    return printed.err


def in_a_process(*words, **options):
    # A plain environment, as on a terminal, not the quiet one of the tests.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    return subprocess.Popen(
        [sys.executable, "-m", "flowpm_ext", *map(str, words)], cwd=ROOT, env=kept, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def arrays(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in ("position", "velocity")}


def test_words_go_before_the_file(tmp_path, run, capsys):
    options = {"mesh": 16, "box_size": 512, "cosmology": "planck15", "steps": 2, "seed": 7}
    options |= {"snapshots": [0.1, 1], "fixed_amplitude": True}
    (tmp_path / "run.json").write_text(json.dumps(options))
    words = ["simulate", "--config", str(tmp_path / "run.json"), "--seed=2"]
    # The same configuration as that of the run: nothing is to be done there.
    before = (run / "snapshot_a1.0000.h5").stat().st_mtime_ns
    capsys.readouterr()
    assert main([*words, "--out", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: snapshot_a0.1000.h5, snapshot_a1.0000.h5\n"
    assert (run / "snapshot_a1.0000.h5").stat().st_mtime_ns == before
    config = load_snapshot(run / "snapshot_a1.0000.h5").config
    assert (config.seed, config.snapshots, config.fixed_amplitude) == (2, (0.1, 1.0), True)
    assert "seed 2 and not 7" in refusal(capsys, *words[:3], "--out", run)


def test_a_run_that_is_killed_goes_on_bit_for_bit(tmp_path):
    words = ["simulate", *SMALL, "--steps=400", "--out"]
    out = tmp_path / "killed"
    run = in_a_process(*words, out)
    deadline = time.monotonic() + 300
    while not (out / "checkpoint.h5").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.002)
    run.kill()
    assert run.communicate(timeout=300) == ("", "")
    assert 0 < forces_done(out) < 401 and not list(out.glob("snapshot*"))
    for folder in (out, tmp_path / "whole"):
        assert main([*words, str(folder)]) == 0
        assert [path.name for path in folder.iterdir()] == ["snapshot_a1.0000.h5"]
    one, other = (arrays(path / "snapshot_a1.0000.h5") for path in (out, tmp_path / "whole"))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


@pytest.mark.parametrize(
    "number, handler, code",
    [
        # Background jobs of a shell ignore Ctrl-C, and so would the tests if they are such a job.
        (signal.SIGINT, signal.default_int_handler, 130),
        (signal.SIGTERM, raise_terminated, 143),
    ],
)
@pytest.mark.parametrize("at, told", [(0, "before the first force"), (2, "2 forces are kept")])
def test_signals_keep_what_is_done(
    tmp_path, monkeypatch, capsys, number, handler, code, at, told
):  # fmt: skip
    calls, true = [], simulation.integrate

    def integrate(*args):
        calls.append(1)
        if len(calls) == at + 1:
            os.kill(os.getpid(), number)
        return true(*args)

    monkeypatch.setattr(simulation, "integrate", integrate)
    words = ["simulate", *SMALL, "--steps=2", "--fixed-amplitude", "--out", str(tmp_path / "o")]
    before = signal.signal(number, handler)
    try:
        assert main(words) == code
    finally:
        signal.signal(number, before)
    printed = capsys.readouterr().err
    assert printed.startswith(f"flowpm_ext simulate: interrupted; {told}")
    assert printed.count("\n") == 1 and (tmp_path / "o").exists() == (at > 0)


def test_help_is_quick_because_tensorflow_is_not_imported():
    program = "import sys, flowpm_ext.__main__ as m; m.build_parser().format_help()"
    command = [sys.executable, "-c", f"{program}; print('tensorflow' in sys.modules)"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_every_option_has_a_word():
    words = ["simulate", "--out=o", "--Omega-c=0.3", "--n-s=1", "--wa=0.1", "--no-paired"]
    options = vars(build_parser().parse_args([*words, "--snapshots=0.5,1", "--window=tsc"]))
    given = {"Omega_c": 0.3, "n_s": 1.0, "wa": 0.1, "paired": False, "snapshots": (0.5, 1.0)}
    assert given.items() <= options.items() and options["window"] == "tsc"
    assert "mesh" not in options


def test_spectrum_writes_a_table_and_a_figure(tmp_path, run, capsys):
    paths = sorted(map(str, run.glob("*.h5")))
    capsys.readouterr()
    assert main(["spectrum", *paths, "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    stems = ["snapshot_a0.1000_spectrum", "snapshot_a1.0000_spectrum"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{stem}.{kind}" for stem in stems for kind in ("png", "txt")
    ]
    for stem, a in zip(stems, (0.1, 1.0), strict=True):
        assert (tmp_path / f"{stem}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        k, _, num_modes, linear, halofit = np.loadtxt(tmp_path / f"{stem}.txt", unpack=True)
        # k = 2 pi / 512 (6 modes) and its multiples by sqrt(2) (12).
        assert num_modes[0] == 18
        np.testing.assert_allclose(k[0], 2 * np.pi / 512 * (6 + 12 * 2**0.5) / 18, rtol=1e-6)
        # Written with nine digits, at a scale factor in float32.
        theory = power.linear_matter_power(Planck15(), k, a)
        np.testing.assert_allclose(linear, theory, rtol=1e-6)
        theory = power.nonlinear_matter_power(Planck15(), k, a)
        np.testing.assert_allclose(halofit, theory, rtol=1e-6)


@pytest.mark.parametrize("mesh", [16, 32])
def test_initial_conditions_have_the_power_of_linear_theory(run, mesh):
    found = snapshot_spectrum(run / "snapshot_a0.1000.h5", mesh)
    # Every mode has exactly its mean amplitude. What is left was measured as 3.3 %: aliases, and
    # the slope of P(k) within a bin.
    np.testing.assert_allclose(found.power[:3], found.linear(found.k)[:3], rtol=0.05)
    assert found.mesh == mesh and found.k[-1] < np.pi * mesh / 512


def test_a_table_is_scaled_and_has_no_halofit(tmp_path, table, capsys):
    path, numbers = table
    words = ["simulate", *SMALL, "--snapshots=0.2", "--a-start=0.2", "--fixed-amplitude"]
    assert main([*words, "--spectrum", str(path), "--out", str(tmp_path)]) == 0
    path.rename(path.with_suffix(".moved"))  # the snapshot knows it
    try:
        assert main(["spectrum", str(tmp_path / "snapshot_a0.2000.h5"), "--no-plot"]) == 0
    finally:
        path.with_suffix(".moved").rename(path)
    names = ["snapshot_a0.2000.h5", "snapshot_a0.2000_spectrum.txt"]
    assert sorted(made.name for made in tmp_path.iterdir()) == names
    columns = np.loadtxt(tmp_path / names[1], unpack=True)
    growth = power.linear_matter_power(Planck15(), 0.1, np.array([0.2, 1.0])).numpy()
    expected = np.interp(np.log(columns[0]), np.log(numbers[0]), np.log(numbers[1]))
    expected = np.exp(expected) * growth[0] / growth[1]
    np.testing.assert_allclose(columns[3], expected, rtol=1e-6)  # a in float32
    # The bins are wide for the slope of this spectrum, and displacements larger than above.
    np.testing.assert_allclose(columns[1][:3], columns[3][:3], rtol=0.06)
    assert np.all(np.isnan(columns[4]))
    figure = spectrum_figure(snapshot_spectrum(tmp_path / names[0]))
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["linear theory (table; no halofit)", "simulation"]


def test_figure_says_what_it_shows(run):
    found = snapshot_spectrum(run / "snapshot_a1.0000.h5")
    figure = spectrum_figure(found)
    top, bottom = figure.axes
    assert figure.get_suptitle() == "Matter power spectrum at a = 1 (z = 0)"
    assert "box 512 Mpc/h, 16³ particles, measured on a 16³ mesh" in top.get_title()
    assert "Mpc" in top.get_ylabel() and "Mpc" in bottom.get_xlabel()
    assert top.get_legend_handles_labels()[1] == ["linear theory", "halofit", "simulation"]
    lines = {line.get_label(): line for line in top.get_lines()}
    np.testing.assert_allclose(lines["halofit"].get_ydata(), found.halofit(
        lines["halofit"].get_xdata()))  # fmt: skip
    ratios = bottom.containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(ratios, found.power / found.halofit(found.k))


def test_bad_options_are_refused_in_one_line(tmp_path, capsys):
    out = tmp_path / "out"
    simulate = ("simulate", "--out", out)
    expected = {
        "--mesh=0": "`mesh` must be at least 4. Received: 0.",
        "--mesh=many": "invalid int value: 'many'",
        "--box-size=-1": "`box_size` must be positive. Received: -1.0.",
        "--a-start=0": "`a_start` must lie between 0 and 1. Received: 0.0.",
        "--snapshots=0.05,1": "`snapshots` must lie in [0.1, 1]. Received: [0.05].",
        "--snapshots=1.5": "`snapshots` must lie in [0.1, 1]. Received: [1.5].",
        "--snapshots=half": "must read like 0.5,1. Received: 'half'.",
        "--integrator=euler": "invalid choice: 'euler'",
        "--mesh=4096": "A run with 4096^3 particles needs about",
        "--boxsize=3": "unrecognized arguments: --boxsize=3",
        "--h=-1": "`h` must be positive",
        "--spectrum=absent.txt": "or a file. Received: 'absent.txt'",
        "--config=absent.json": "`config` must be a file that can be read. Received: 'absent.json'",
        "--config=c.yaml": "`config` must end in .json or .toml. Received: 'c.yaml'.",
    }
    for words, message in expected.items():
        assert message in refusal(capsys, *simulate, words)
    assert "Take a smaller --mesh or --force-mesh-factor." in refusal(
        capsys, *simulate, "--mesh=256", "--force-mesh-factor=64"
    )
    assert "--out" in refusal(capsys, "simulate")
    assert not out.exists()


def test_bad_files_of_options_are_refused_in_one_line(tmp_path, capsys):
    files = {
        "a.json": ('{"box_size": 3', "`config` must be valid JSON"),
        "b.toml": ("mesh = ", "`config` must be valid TOML"),
        "c.json": ('{"boxsize": 3}', "`boxsize` is no option of a simulation. The nearest is box"),
        "d.json": ('{"mesh": "64"}', "`mesh` must be an integer. Received: '64'."),
        "e.json": ("[1]", "`config` must hold options by name. Received: list."),
    }
    for name, (text, message) in files.items():
        (tmp_path / name).write_text(text)
        words = ("simulate", "--config", tmp_path / name, "--out", tmp_path / "out")
        assert message in refusal(capsys, *words)
    assert not (tmp_path / "out").exists()


def test_bad_tables_are_refused_in_one_line(tmp_path, capsys):
    files = {
        "0.1 1\n0.2 nan\n": "(P)` must be positive",
        "0.1 1\n0.2 -3\n": "(P)` must be positive",
        "0.2 1\n0.1 2\n": "(k)` must increase",
        "0.1 1 2\n0.2 2 3\n": "have two columns, k and P. Received: (2, 3).",
        "0.1 1\n": "have two columns, k and P. Received: (1, 2).",
        "0.1 one\n": "must hold two columns of numbers",
        "k,P\n0.1,1\n": "must hold two columns of numbers",
    }
    for text, message in files.items():
        (tmp_path / "t.txt").write_text(text)
        words = ("simulate", "--spectrum", tmp_path / "t.txt", "--out", tmp_path / "out")
        told = refusal(capsys, *words)
        assert message in told and "t.txt" in told
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_written_are_refused(tmp_path, run, capsys):
    (tmp_path / "file").write_text("")
    words = (*SMALL, "--out", tmp_path / "file" / "below")
    assert "folder that can be written" in refusal(capsys, "simulate", *words)
    words = (run / "snapshot_a1.0000.h5", "--out", tmp_path / "file" / "below")
    assert "folder that can be written" in refusal(capsys, "spectrum", *words)


def test_bad_snapshots_are_refused_in_one_line(tmp_path, run, capsys):
    whole = run / "snapshot_a1.0000.h5"
    cut, future = tmp_path / "cut.h5", tmp_path / "future.h5"
    cut.write_bytes(whole.read_bytes()[:9000])
    future.write_bytes(whole.read_bytes())
    with h5py.File(future, "a") as file:
        file.attrs["format_version"] = 2
    out = ("--out", tmp_path / "out")
    # A bad one is found before the work on a good one.
    assert "be a whole flowpm_ext snapshot" in refusal(capsys, "spectrum", whole, cut, *out)
    assert "have format 1. Received: format 2" in refusal(capsys, "spectrum", future, *out)
    assert "no such file" in refusal(capsys, "spectrum", tmp_path / "absent.h5", *out)
    assert "names of their own" in refusal(capsys, "spectrum", whole, whole, *out)
    assert "`mesh` must be an integer of at least 4" in refusal(
        capsys, "spectrum", whole, "--mesh=2", *out
    )
    assert "A mesh of 100000^3 cells needs about" in refusal(
        capsys, "spectrum", whole, "--mesh=100000", *out
    )
    assert not (tmp_path / "out").exists()
