"""Processes that all do the same work, each for itself, and may be killed."""

import contextlib
import multiprocessing
import pickle
import signal
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any

from flowpm_ext.command_line import quiet_start

Send = Callable[..., None]


def run_workers(work: Callable[[Send], None], num_workers: int, receive: Send) -> None:
    """Do work in several processes until none of them has any left.

    One that is killed is warned of, and the others go on.

    Args:
        work: What each does, from a module; it is given a function that sends its arguments here.
        num_workers: How many processes.
        receive: Called here with what they send.

    Raises:
        OSError: If all of them were killed, or one could not start.
        Exception: What one raises; the others are ended.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    workers: dict[connection.Connection, BaseProcess] = {}
    try:
        for number in range(1, num_workers + 1):
            here, there = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(pickle.dumps(work), there), daemon=True)
            worker.name = f"Worker {number} of {num_workers}"
            with _deaf_to_interrupts():
                worker.start()
            workers[here] = worker
            there.close()  # so that the end of the worker is the end of the pipe
        codes = list(_followed(dict(workers), receive))
    finally:
        for worker in workers.values():
            worker.kill()
            worker.join()
    if 0 not in codes:
        raise OSError(
            "All workers were killed, by the system where memory ran out. What is whole is kept; "
            "the same call goes on, with fewer workers if need be."
        )


def _followed(workers: dict[connection.Connection, BaseProcess], receive: Send) -> Iterator[int]:
    """Exit codes of workers as they end, 0 of those that have seen all work done."""
    while workers:
        for pipe in connection.wait(list(workers)):
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                yield _code_at_end(workers.pop(pipe))
                continue
            if isinstance(message, Exception):
                raise message
            receive(*message)


def _code_at_end(worker: BaseProcess) -> int:
    worker.join()
    code = worker.exitcode
    if code < 0:
        message = f"{worker.name} was killed (signal {-code}); its work is left to the others."
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    elif code > 0:
        raise OSError(f"{worker.name} ended with exit code {code}, as it says above.")
    return code


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the one that started them ends them."""
    resource_tracker.ensure_running()  # whose start would undo what follows
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pickled: bytes, pipe: connection.Connection) -> None:
    """Work in a process of its own, which ends with the one that started it."""

    def send(*message: Any) -> None:
        pipe.send(message)

    try:
        with quiet_start():  # what is unpickled loads TensorFlow
            work = pickle.loads(pickled)
        work(send)
    except BrokenPipeError:
        pass  # nobody is there to work for
    except Exception as error:
        pipe.send(error)
