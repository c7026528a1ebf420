"""Processes wait for each other before TensorFlow does, which neither ends nor is interrupted."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from flowpm_ext.core import checks

PAUSE_SECONDS, ATTEMPT_SECONDS = 0.1, 2.0
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: a connection that leaves no trace of its port


def meet(addresses: Sequence[str], mine: str, timeout: float) -> None:
    """Return when every process of a cluster has been seen to listen.

    Each calls this before it starts a server of its own at the same address, which is as good for
    those that have not seen it yet. Ctrl-C and signals that Python handles end the waiting.

    Args:
        addresses: Of all processes, host:port.
        mine: That of this one.
        timeout: Time (seconds) to wait for the others.

    Raises:
        ValueError: If this process cannot listen at its port.
        TimeoutError: If others did not answer in time.
    """
    deadline = time.monotonic() + timeout
    missing = [address for address in addresses if address != mine]
    with _listening(mine):
        while missing := [address for address in missing if not _answers(address, deadline)]:
            if time.monotonic() > deadline:
                message = f"All processes must start within {timeout:g} s."
                fix = "Start one for each address, where the others can reach it."
                raise TimeoutError(f"{message} Received: none at {', '.join(missing)}. {fix}")
            time.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def _listening(address: str) -> Iterator[None]:
    """Let others connect; the system does that, and nobody needs to accept."""
    is_dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if is_dual else socket.AF_INET
    place = ("", _place(address)[1])
    try:
        listener = socket.create_server(
            place, family=family, backlog=socket.SOMAXCONN, dualstack_ipv6=is_dual
        )
    except OSError as error:
        fix = "End what listens there, or take another port in all processes."
        why = os.strerror(error.errno)
        checks.require(False, f"port of {address}", "be free for this process", why, fix)
    with listener:
        yield


def _answers(address: str, deadline: float) -> bool:
    """Whether somebody listens at an address."""
    left = max(deadline - time.monotonic(), PAUSE_SECONDS)
    try:
        with socket.create_connection(_place(address), min(ATTEMPT_SECONDS, left)) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            # Where nobody listens, a port that the system happens to choose may call itself.
            return link.getsockname() != link.getpeername()
    except OSError:
        return False


def _place(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
