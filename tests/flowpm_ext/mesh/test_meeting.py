"""Processes that wait for each other, here as threads."""

import concurrent.futures
import contextlib
import json
import signal
import socket
import time

import pytest

from flowpm_ext.command_line import Terminated, raise_terminated
from flowpm_ext.launcher import _free_ports
from flowpm_ext.mesh import join_cluster
from flowpm_ext.mesh.meeting import meet


def addresses(count):
    return [f"localhost:{port}" for port in _free_ports(count)]


def test_all_meet_whenever_they_start_and_their_ports_are_free_at_once():
    everyone = addresses(3)
    begun = time.monotonic()
    with contextlib.ExitStack() as servers, concurrent.futures.ThreadPoolExecutor() as pool:

        def join(rank):
            time.sleep(0.6 * rank)
            meet(everyone, everyone[rank], 30.0)
            port = int(everyone[rank].rpartition(":")[2])
            servers.enter_context(socket.create_server(("", port)))  # as TensorFlow will
            return time.monotonic() - begun

        ended = list(pool.map(join, range(3)))
    assert all(1.2 <= time_taken < 10 for time_taken in ended), ended


def test_those_that_are_absent_are_named_in_time(monkeypatch):
    everyone = addresses(3)
    cluster = {"cluster": {"worker": everyone}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    begun = time.monotonic()
    port = int(everyone[0].rpartition(":")[2])
    with (
        socket.create_server(("localhost", port)),
        pytest.raises(TimeoutError, match=rf"within 0.5 s. Received: none at {everyone[2]}\. Sta"),
    ):
        join_cluster(timeout=0.5)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0"])
def test_a_port_in_use_is_named(host):
    with socket.create_server((host, 0)) as other:
        mine = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"`port of {mine}` must be free.*already in use.*End"):
            meet([mine], mine, 1.0)


def test_waiting_ends_at_a_signal():
    before = signal.signal(signal.SIGALRM, raise_terminated)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Terminated):
            meet(everyone := addresses(2), everyone[0], 30.0)
    finally:
        signal.signal(signal.SIGALRM, before)
