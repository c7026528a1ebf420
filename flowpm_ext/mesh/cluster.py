"""Joining a cluster: which processes there are, as the environment of each says."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from flowpm_ext.core import checks
from flowpm_ext.mesh.agreement import require_one_version
from flowpm_ext.mesh.meeting import meet
from flowpm_ext.mesh.processes import Processes

EXAMPLE = (
    'For two processes on one machine, the first has TF_CONFIG=\'{"cluster": {"worker": '
    '["localhost:12345", "localhost:12346"]}, "task": {"type": "worker", "index": 0}}\'.'
)


def join_cluster(timeout: float = 600.0) -> Processes:
    """The processes that the environment names, joined before TensorFlow does any other work.

    Each process calls this once, and waits until the others have. TF_CONFIG names them, as
    TensorFlow describes it; without it, a step of Slurm with several tasks does; without either,
    there is this process alone.

    Args:
        timeout: Time (seconds) to wait for the others.

    Returns:
        The processes.

    Raises:
        ValueError: If TF_CONFIG is malformed, `timeout` is not positive, the port of this process
            is in use, or the processes run different versions of this package, of TensorFlow or
            of Python.
        TimeoutError: If others did not start in time; it names their addresses.
        RuntimeError: If TensorFlow has worked already.
    """
    checks.positive(timeout, "timeout")
    resolver = _resolver(os.environ)
    if resolver is None:
        return Processes(timeout=timeout)
    cluster = resolver.cluster_spec()
    everyone = [address for job in cluster.as_dict().values() for address in job]
    meet(everyone, cluster.task_address(resolver.task_type, resolver.task_id), timeout)
    try:
        with _same_end():
            strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        if "program startup" not in str(error):
            raise
        message = "`join_cluster` must be called before TensorFlow does any other work."
        raise RuntimeError(message) from None
    processes = Processes(strategy, timeout)
    require_one_version(processes)
    return processes


def require_cluster(text: str) -> dict[str, Any]:
    """A cluster as TF_CONFIG holds it, or a refusal.

    Args:
        text: JSON with `cluster`, addresses host:port by kind of task, and `task`, which of them
            this process is.

    Returns:
        What the text says.

    Raises:
        ValueError: If the text is malformed, or its task is not in its cluster.
    """

    def require(condition: bool, rule: str, received: Any) -> None:
        checks.require(condition, "TF_CONFIG", rule, received, EXAMPLE)

    try:
        config = json.loads(text)
    except ValueError as error:
        require(False, "be JSON", f"{text!r} ({error})")
    is_complete = isinstance(config, dict) and {"cluster", "task"} <= set(config)
    require(is_complete, "hold `cluster` and `task`", config)
    cluster, task = config["cluster"], config["task"]
    kinds = ("chief", "worker")
    is_known = isinstance(cluster, dict) and len(cluster) > 0 and set(cluster) <= set(kinds)
    require(is_known, "name workers, and a chief at most beside them", cluster)
    for addresses in cluster.values():
        is_list = isinstance(addresses, list) and all(map(_is_address, addresses))
        require(is_list, "list addresses like host:12345", addresses)
    everyone = [address for addresses in cluster.values() for address in addresses]
    require(len(set(everyone)) == len(everyone), "list every address once", everyone)
    is_task = isinstance(task, dict) and {"type", "index"} <= set(task)
    require(is_task, "say `type` and `index` of the task", task)
    addresses = cluster.get(task["type"], [])
    is_member = isinstance(task["index"], int) and 0 <= task["index"] < len(addresses)
    require(is_member, "name a task of its cluster", task)
    return config


@contextlib.contextmanager
def _same_end() -> Iterator[None]:
    """Let SIGTERM do afterwards what it did before: TensorFlow takes it, and only notes it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    # Handlers that are not Python's cannot be set from here, nor any from another thread.
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _is_address(value: Any) -> bool:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _resolver(
    environment: Mapping[str, str],
) -> tf.distribute.cluster_resolver.ClusterResolver | None:
    """Who there is, from the environment of a process; None where it is alone."""
    if environment.get("TF_CONFIG"):
        require_cluster(environment["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    num_tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    if num_tasks > 1:
        # Which GPU a task sees is left to Slurm. The resolver, which counts devices to give out
        # ports, is told of enough: without any it fails.
        return tf.distribute.cluster_resolver.SlurmClusterResolver(
            gpus_per_node=num_tasks, gpus_per_task=1, auto_set_gpu=False
        )
    return None
