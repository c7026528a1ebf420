"""Simulations by several processes that are cut short, and go on in another number of them."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from flowpm_ext import checkpoint, parts
from flowpm_ext.__main__ import main
from flowpm_ext.mesh import Processes
from flowpm_ext.snapshot import load_snapshot

WORDS = [
    "simulate", "--mesh=8", "--box-size=64", "--steps=300", "--precision=float64", "--seed=3",
    "--halo=2",
]  # fmt: skip
SNAPSHOT = "snapshot_a1.0000.h5"


def started(folder, num_processes):
    command = [sys.executable, "-m", "flowpm_ext", *WORDS, f"--out={folder}"]
    kept = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, f"--num-processes={num_processes}"], env=kept, **streams)


def children(process):
    path = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in path.read_text().split()]


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory):
    """The folder of a run of two processes, one of which was killed, and what was said."""
    folder = tmp_path_factory.mktemp("cut_short")
    run = started(folder, 2)
    deadline = time.monotonic() + 300
    while not (folder / checkpoint.NAME).exists():
        assert time.monotonic() < deadline and run.poll() is None, run.communicate()
        time.sleep(0.01)
    os.kill(children(run)[1], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    return folder, run.returncode, said


def test_when_one_is_killed_the_others_end_and_say_so(cut_short):
    folder, code, said = cut_short
    assert code == 128 + signal.SIGKILL
    assert "Process 2 of 2 ended by signal 9; all were stopped." in said
    assert "Traceback" not in said
    assert 0 < checkpoint.forces_done(folder) < 301


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, f"--out={folder}"]) == 0
    return load_snapshot(folder / SNAPSHOT).state


@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_any_number_of_processes_goes_on(cut_short, whole, tmp_path, num_processes):
    folder, shift = tmp_path / "copy", np.array([0.0, 1.0, 0.0])
    shutil.copytree(cut_short[0], folder)
    for part in folder.glob(f"{checkpoint.NAME}.*of2"):
        with h5py.File(part, "r+") as file:  # a run from the beginning would not be shifted
            file["position"][:] += shift
    run = started(folder, num_processes)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert not [one for one in folder.iterdir() if checkpoint.NAME in one.name]
    state = load_snapshot(folder / SNAPSHOT).state
    # Sums over processes and over threads are in another order: rounding, which 300 steps amplify.
    np.testing.assert_allclose(state.position, whole.position + shift, atol=1e-10)


class One(Processes):
    """One of three processes, which wait for nobody."""

    def __init__(self, rank):
        self.size, self.rank = 3, rank

    def wait(self):
        pass


def write_all(path, values, mark):
    """A file of three processes, the first of which writes the index last."""
    for rank in (2, 1, 0):
        rows = {"x": (values[2 * rank : 2 * rank + 2], {"unit": "cells"})}
        about = {"number": mark}
        parts.write(path, "test file", 1, rows, about, One(rank), mark=f".{mark}")


def test_parts_read_like_one_file_and_old_ones_go(tmp_path):
    path, values = tmp_path / "all.h5", np.arange(12.0).reshape(6, 2)
    write_all(path, values, 1)
    write_all(path, -values, 2)
    with parts.opened(path, "test file", 1, "") as file:
        np.testing.assert_array_equal(file["x"][:], -values)
        assert (file.attrs["number"], file["x"].attrs["unit"]) == (2, "cells")
    names = {"all.h5", *(f"all.h5.2.{i}of3" for i in (1, 2, 3))}
    assert {one.name for one in tmp_path.iterdir()} == names
    parts.write(path, "test file", 1, {"x": (values, {})}, {})
    assert [one.name for one in tmp_path.iterdir()] == ["all.h5"]


def test_a_writing_cut_short_leaves_the_file_before_it(tmp_path):
    path, values = tmp_path / "all.h5", np.arange(12.0).reshape(6, 2)
    write_all(path, values, 1)
    parts.write(path, "test file", 1, {"x": (-values[2:4], {})}, {}, One(1), mark=".2")
    with parts.opened(path, "test file", 1, "") as file:
        np.testing.assert_array_equal(file["x"][:], values)


LEFT = {  # by processes that were killed, whole or not
    "checkpoint.h5.37.1of2", ".checkpoint.h5.37.2of2.partial", ".checkpoint.h5.partial",
    "snapshot_a0.5000.h5.1of2", "snapshot_a0.5000.h5.2of2", ".snapshot_a1.0000.h5.1of2.partial",
}  # fmt: skip
OF_OTHERS = {
    "snapshot_a1.0000.h5.profile.txt", "checkpoint.h5.profile", "checkpoint.h5.copy.1of2",
    "checkpoint.h5.1of2.txt", "notes.h5.1of2",
}  # fmt: skip


def test_all_that_runs_have_left_can_be_removed_and_nothing_else(tmp_path):
    for name in LEFT | OF_OTHERS:
        (tmp_path / name).touch()
    parts.write(tmp_path / "snapshot_a1.0000.h5", "kind", 1, {"x": (np.zeros(3), {})}, {})
    assert not (tmp_path / ".snapshot_a1.0000.h5.1of2.partial").exists()
    checkpoint.clear(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == OF_OTHERS


def test_a_part_that_is_missing_is_named(tmp_path):
    path = tmp_path / "all.h5"
    write_all(path, np.zeros([6, 2]), 1)
    (tmp_path / "all.h5.1.2of3").unlink()
    with (
        pytest.raises(ValueError, match=r"all.h5.1.2of3` must be a part of a test file.*Again"),
        parts.opened(path, "test file", 1, "Again."),
    ):
        pass
    parts.remove(path)
    assert not list(tmp_path.iterdir())
