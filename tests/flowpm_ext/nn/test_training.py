"""Training on several replicas beside one device, for the same global batch."""

import json
import pathlib
import signal
import sys

import numpy as np
import pytest

from flowpm_ext.launcher import launch

PROGRAM = pathlib.Path(__file__).parent / "replicas.py"
SECONDS = 240  # for processes that TensorFlow takes a few seconds to start in


def run(kind, folder, num_processes):
    command = [sys.executable, str(PROGRAM), kind, str(folder)]
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return launch(
        command, num_processes, shows_first=False, timeout=SECONDS, environment=quiet
    )  # fmt: skip


def trained(kind, folder, num_processes=1):
    """What each process found."""
    ended = run(kind, folder, num_processes)
    assert ended.code == 0, ended.output[ended.failed][-3000:]
    return [json.loads(text.split("FOUND")[1].splitlines()[0]) for text in ended.output]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained("one", tmp_path_factory.mktemp("one"))[0]


@pytest.mark.parametrize(("kind", "num_processes"), [("mirrored", 1), ("workers", 2)])
def test_losses_and_weights_are_those_of_one_device(alone, tmp_path, kind, num_processes):
    for found in trained(kind, tmp_path, num_processes):
        # 24 steps in float32, whose sums are ordered differently. Twice the gradient, or a loss
        # that counts replicas, would differ in the first digit.
        for name, values in alone.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


def test_the_line_is_found(alone):
    np.testing.assert_allclose(alone["weights"][:3], [1, -2, 0.5], atol=0.3)
    assert alone["loss"][-1] < 0.1 * alone["loss"][0]


def test_after_a_worker_is_killed_training_goes_on_from_the_last_epoch(alone, tmp_path):
    ended = run("killed", tmp_path, 2)
    assert (ended.code, ended.failed) == (-signal.SIGKILL, 1)
    assert "FOUND" not in ended.output[0]
    for found in trained("workers", tmp_path, 2):
        # Two epochs were kept, and two are left.
        assert len(found["loss"]) == 2
        np.testing.assert_allclose(found["loss"], alone["loss"][2:], rtol=1e-5)
        np.testing.assert_allclose(found["weights"], alone["weights"], rtol=1e-5)


def test_keras_alone_does_not_train_on_workers_yet(tmp_path):
    """Where this fails, Keras does, and `SharedTraining` is no longer needed for it."""
    ended = run("plain", tmp_path, 2)
    assert ended.code != 0
    text = ended.output[ended.failed]
    assert "PerReplica" in text or "Invalid reduction dimension 0" in text
