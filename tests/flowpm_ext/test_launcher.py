"""Several processes of one command: what they find, how they end, and simulations by them."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from flowpm_ext.__main__ import main
from flowpm_ext.launcher import Ended, launch, tell_of_failure
from flowpm_ext.snapshot import load_snapshot


def script(text):
    return [sys.executable, "-c", f"import json, os, sys, time\n{text}"]


def test_each_process_finds_the_others():
    ended = launch(script("print(os.environ['TF_CONFIG'])"), 3, shows_first=False, timeout=60)
    assert (ended.code, ended.failed) == (0, None)
    found = [json.loads(text) for text in ended.output]
    assert [one["task"]["index"] for one in found] == [0, 1, 2]
    assert found[0]["cluster"] == found[2]["cluster"]
    assert len(set(found[0]["cluster"]["worker"])) == 3


def test_when_one_fails_all_are_ended_and_it_is_named():
    text = "rank = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
    text += "print('I am', rank)\nif rank == 1: sys.exit(7)\ntime.sleep(600)"
    start = time.monotonic()
    ended = launch(script(text), 2, shows_first=False)
    assert time.monotonic() - start < 60
    assert (ended.code, ended.failed) == (7, 1)
    assert "I am 1" in ended.output[1]


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Ended(-9, 0, ["", ""]), "Process 1 of 2 ended by signal 9; all were stopped.\n"),
        (Ended(7, 1, ["", "no\n"]), "no\nProcess 2 of 2 ended by exit code 7; all were stopped.\n"),
        (Ended(2, 0, ["", ""]), ""),  # the first has said so itself
        (Ended(0, None, ["", ""]), ""),
    ],
)
def test_every_failure_is_told_once(ended, words, capsys):
    tell_of_failure(ended)
    assert capsys.readouterr().err == words


def test_too_slow_processes_are_ended():
    with pytest.raises(TimeoutError, match="2 processes took longer than 1 s"):
        launch(script("time.sleep(600)"), 2, shows_first=False, timeout=1)


def test_more_processes_than_gpus_are_refused():
    with pytest.raises(ValueError, match="`num_processes` must be at most the 2 GPUs"):
        launch(script(""), 3, environment={"CUDA_VISIBLE_DEVICES": "0,1"})


def test_each_process_sees_its_own_gpu():
    show = script("print(os.environ['CUDA_VISIBLE_DEVICES'])")
    ended = launch(show, 2, shows_first=False, environment={"CUDA_VISIBLE_DEVICES": "4,6"})
    assert [text.strip() for text in ended.output] == ["4", "6"]


def in_a_process(*words):
    command = [sys.executable, "-m", "flowpm_ext", *words]
    kept = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=600)


def test_two_processes_write_the_snapshot_of_one(tmp_path):
    words = ["--mesh=8", "--box-size=64", "--steps=1", "--precision=float64", "--seed=3"]
    ran = in_a_process(
        "simulate", *words, "--num-processes=2", "--halo=3", f"--out={tmp_path / 'two'}"
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith("snapshot_a1.0000.h5")
    assert main(["simulate", *words, f"--out={tmp_path / 'one'}"]) == 0
    path = tmp_path / "two" / "snapshot_a1.0000.h5"
    two, one = load_snapshot(path), load_snapshot(tmp_path / "one" / path.name)
    for ours, expected in zip(two.state, one.state, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-12)
    assert two.config == one.config
    (tmp_path / "two" / "snapshot_a1.0000.h5.2of2").unlink()
    with pytest.raises(ValueError, match="2of2` must be a part of a flowpm_ext snapshot"):
        load_snapshot(path)


def test_a_mesh_that_does_not_divide_is_one_line(tmp_path):
    ran = in_a_process("simulate", "--mesh=9", "--num-processes=2", f"--out={tmp_path}")
    assert ran.returncode == 2
    assert "`mesh_shape` must divide by the 2 processes" in ran.stderr
    assert ran.stderr.count("error:") == 1
