"""What is said of a cluster that cannot be joined."""

import json
import signal
import sys

import pytest

from flowpm_ext.launcher import launch
from flowpm_ext.mesh import cluster, join_cluster

GOOD = {
    "cluster": {"worker": ["localhost:12345", "localhost:12346"]},
    "task": {"type": "worker", "index": 1},
}


def test_without_a_cluster_there_is_one_process(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    processes = join_cluster()
    assert (processes.size, processes.rank) == (1, 0)


def test_a_good_configuration_passes():
    assert cluster.require_cluster(json.dumps(GOOD)) == GOOD
    with_chief = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": GOOD["task"]}
    with_chief["task"] = {"type": "chief", "index": 0}
    assert cluster.require_cluster(json.dumps(with_chief)) == with_chief


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{cluster", "be JSON"),
        ([], "hold `cluster` and `task`"),
        ({"cluster": GOOD["cluster"]}, "hold `cluster` and `task`"),
        (GOOD | {"cluster": {"ps": ["a:1"]}}, "name workers, and a chief"),
        (GOOD | {"cluster": {"worker": ["localhost"]}}, "list addresses like host:12345"),
        (GOOD | {"cluster": {"worker": ["a:99999", "b:1"]}}, "list addresses like host:12345"),
        (GOOD | {"cluster": {"worker": ["a:1", "a:1"]}}, "list every address once"),
        (GOOD | {"task": {"index": 0}}, "say `type` and `index`"),
        (GOOD | {"task": {"type": "worker", "index": 2}}, "name a task of its cluster"),
        (GOOD | {"task": {"type": "chief", "index": 0}}, "name a task of its cluster"),
        (GOOD | {"task": {"type": "worker", "index": "0"}}, "name a task of its cluster"),
    ],
)
def test_a_malformed_configuration_is_refused_at_the_start_with_an_example(
    change, words, monkeypatch
):
    text = change if isinstance(change, str) else json.dumps(change)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=f"`TF_CONFIG` must {words}.*For two processes on one"):
        join_cluster()


def test_a_step_of_slurm_is_a_cluster(monkeypatch):
    for name, value in {
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "n1,n2",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_STEP_NUM_NODES": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    before = dict(cluster.os.environ)
    resolver = cluster._resolver(cluster.os.environ)
    assert resolver.cluster_spec().as_dict() == {"worker": ["n1:8888", "n2:8888"]}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)
    assert dict(cluster.os.environ) == before


def test_after_other_work_it_is_too_late(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(GOOD))

    def too_late(**options):
        raise RuntimeError("Collective ops must be configured at program startup")

    monkeypatch.setattr(cluster.tf.distribute, "MultiWorkerMirroredStrategy", too_late)
    monkeypatch.setattr(cluster, "meet", lambda *where: None)
    with pytest.raises(RuntimeError, match="`join_cluster` must be called before TensorFlow"):
        join_cluster()


PROGRAM = """
import json, os, signal, time
from flowpm_ext.mesh import agreement, cluster
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
agreement.__version__ = f"0.{index}"
try:
    cluster.join_cluster()
except ValueError as error:
    print(error, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(1)
"""


def test_different_versions_are_refused_and_processes_that_joined_can_be_ended():
    ended = launch([sys.executable, "-c", PROGRAM], 2, shows_first=False, timeout=240)
    said = "\n".join(ended.output)
    assert (
        "All processes must run the same versions. Received: process 1 has flowpm-ext 0.0" in said
    )
    assert "process 2 has flowpm-ext 0.1" in said and "Install the same in all places." in said
    assert ended.code == -signal.SIGTERM
