"""Work shared out: each file once, whoever starts, dies, raises or comes late.

These are processes without TensorFlow; test_map_datasets.py makes maps in the same way.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pieces
import pytest

from flowpm_ext import claims, process_identity
from flowpm_ext.claims import Claims

PROGRAM = pathlib.Path(pieces.__file__)
EXPECTED = {f"piece_{number:02d}.txt": f"piece {number}\n" * 2 for number in range(8)}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    return path


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def makings(folder):
    """Numbers of the pieces that were made, and by which processes."""
    made = folder.parent / "made.txt"
    lines = [line.split() for line in made.read_text().splitlines()] if made.exists() else []
    return sorted(int(number) for number, _ in lines), {pid for _, pid in lines}


@pytest.fixture
def start(folder):
    """Start runs of their own, which are ended with the test."""
    runs = []

    def started(num_workers, how, num=8):
        words = [sys.executable, PROGRAM, folder, num, num_workers, how]
        runs.append(
            subprocess.Popen(
                list(map(str, words)), stderr=subprocess.PIPE, text=True, start_new_session=True,
                env=os.environ | {"PYTHONPATH": str(PROGRAM.parents[2])},
            )
        )  # fmt: skip
        return runs[-1]

    yield started
    for run in runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate(timeout=60)


@pytest.mark.parametrize(("num_workers", "how"), [(1, ""), (3, "together")])
def test_each_file_is_made_once_and_the_same(folder, num_workers, how):
    assert pieces.run(folder, 8, num_workers, how) == 16
    assert contents(folder) == EXPECTED
    numbers, processes = makings(folder)
    assert numbers == list(range(8)) and (len(processes) > 1) == (num_workers > 1)


def test_runs_in_one_folder_share_the_work(folder, start):
    runs = [start(1, "together") for _ in range(2)]
    assert [run.communicate(timeout=60)[1] for run in runs] == ["", ""]
    assert contents(folder) == EXPECTED
    numbers, processes = makings(folder)
    assert numbers == list(range(8)) and processes == {str(run.pid) for run in runs}


def test_work_of_a_killed_worker_is_done_in_the_same_run(folder):
    with pytest.warns(RuntimeWarning, match=r"Worker \d of 2 was killed \(signal 9\)"):
        assert pieces.run(folder, 8, 2, "killed") == 16
    assert contents(folder) == EXPECTED and makings(folder)[0] == list(range(8))


def test_work_of_a_killed_run_is_done_by_the_next(folder, start):
    assert start(1, "killed").wait(60) == -signal.SIGKILL
    left = sorted(path.suffix for path in folder.glob(".piece_03.*"))
    assert left == [".claim0", ".partial"]
    pieces.run(folder, 8)
    assert contents(folder) == EXPECTED and makings(folder)[0] == list(range(8))


def test_when_all_workers_are_killed_the_call_says_so(folder):
    with (
        pytest.warns(RuntimeWarning, match="was killed"),
        pytest.raises(OSError, match=r"All workers were killed.*the same call goes on"),
    ):
        pieces.run(folder, 8, 2, "killed always")
    found = contents(folder)
    assert "piece_03.txt" not in found and found.items() <= EXPECTED.items()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_of_a_worker_ends_the_run(folder, num_workers):
    with pytest.raises(ValueError, match=r"^`piece` must work.\nReceived: 3.$"):
        pieces.run(folder, 8, num_workers, "raises")
    found = contents(folder)
    assert "piece_03.txt" not in found and found.items() <= EXPECTED.items()


def test_an_interrupted_run_leaves_whole_files_alone(folder, start):
    run = start(2, "waits")
    deadline = time.monotonic() + 60
    while len(list(folder.glob("piece_*"))) < 7 or not list(folder.glob(".piece_03.*.partial")):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=60)
    assert error.count("KeyboardInterrupt") == error.count("Traceback") == 1
    assert contents(folder) == {name: EXPECTED[name] for name in EXPECTED if name[6:8] != "03"}


def test_workers_do_not_hear_interrupts(folder):
    assert pieces.run(folder, 8, 2, "is interrupted") == 16
    assert contents(folder) == EXPECTED


def test_workers_end_with_the_run_that_started_them(folder, start):
    run = start(2, "", 1000)
    deadline = time.monotonic() + 60
    while len(makings(folder)[1]) < 2:
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    run.kill()
    run.communicate(timeout=30)  # the workers have its standard error, to their end
    assert len(list(folder.glob("piece_*"))) < 1000


def test_work_on_something_else_is_refused(folder):
    with Claims("others").claimed(folder / "piece_00.txt"):
        with pytest.raises(ValueError, match=r"must be of pieces. Received: others"):
            pieces.run(folder, 8)
        assert [path.name for path in folder.iterdir()] == [".piece_00.txt.claim0"]
    assert list(folder.iterdir()) == []


def test_claim_of_a_living_owner_is_left_alone(folder, monkeypatch):
    path = folder / "piece"
    for machine in (
        process_identity._machine(),
        None,
    ):  # seen on the same machine, or by its signs of life
        monkeypatch.setattr(process_identity, "_machine", lambda machine=machine: machine)
        other = Claims("other", stale_seconds=1.0)
        with Claims("ours", beat_seconds=0.1).claimed(path) as claim:
            assert claim.is_ours
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                with other.claimed(path) as second:
                    assert not second.is_ours and second.about == "ours"
                time.sleep(0.1)
        with other.claimed(path) as third:
            assert third.is_ours


def test_claim_without_signs_of_life_is_taken_over_after_a_while(folder, monkeypatch):
    path = folder / "piece"
    monkeypatch.setattr(process_identity, "_machine", lambda: None)
    other = Claims("other", stale_seconds=0.3)
    with Claims("ours", beat_seconds=100).claimed(path) as claim:
        begin, is_ours = time.monotonic(), False
        while not is_ours and time.monotonic() < begin + 30:
            with other.claimed(path) as second:
                is_ours = second.is_ours
            time.sleep(0.02)
        assert is_ours and time.monotonic() - begin > 0.3
        claim.partial.write_text("half")
    assert list(folder.iterdir()) == []


def test_claim_of_an_owner_that_died_before_it_signed_is_taken_over(folder, monkeypatch):
    monkeypatch.setattr(claims, "MOMENT_SECONDS", 0.2)
    (folder / ".piece.claim0").touch()
    with Claims("ours").claimed(folder / "piece") as claim:
        assert claim.is_ours
    assert list(folder.iterdir()) == []


def test_claim_that_is_being_signed_is_left_alone(folder):
    path, others = folder / "piece", {"machine": None, "token": "theirs", "about": "others"}
    (folder / ".piece.claim0").touch()
    signing = threading.Timer(0.2, (folder / ".piece.claim0").write_text, [json.dumps(others)])
    signing.start()
    with Claims("ours").claimed(path) as claim:
        assert not claim.is_ours and claim.about == "others"
    signing.join()


def test_an_owner_that_seemed_dead_breaks_nothing(folder, monkeypatch):
    path = folder / "piece"
    monkeypatch.setattr(process_identity, "_machine", lambda: None)
    other = Claims("other", stale_seconds=0.0)
    with Claims("ours", beat_seconds=100).claimed(path) as claim:
        claim.partial.write_text("half")
        with other.claimed(path):
            pass
        with other.claimed(path) as second:
            assert second.is_ours and second.partial != claim.partial
            second.partial.write_text("whole")
            os.replace(second.partial, path)
        os.replace(claim.partial, path)  # not there any more
    assert contents(folder) == {"piece": "whole"}


def test_one_of_many_takes_a_dead_claim_over(folder):
    path = folder / "piece"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(60)
    dead = process_identity.myself() | {"pid": ended.pid, "about": "dead"}
    claims._create(claims._place(path, 0), path, dead)
    together, found = threading.Barrier(8), []

    def take():
        together.wait(30)
        with Claims("living").claimed(path) as claim:
            found.append(claim.is_ours)
            together.wait(30)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [False] * 7 + [True]
    assert list(folder.iterdir()) == []
