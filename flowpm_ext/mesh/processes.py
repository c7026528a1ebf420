"""Processes that work together, one device each, and how they exchange numbers."""

import collections
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from flowpm_ext.core import checks

# Far from the keys that strategies of TensorFlow give to their own groups, which count from 1.
FIRST_GROUP = 4_700_000
EXCHANGES = "flowpm_ext exchanges"  # collection of a graph


class Processes:
    """The processes of a strategy, each of which runs the same program on a device of its own.

    All of them must ask for the same exchanges in the same order: an exchange ends when all have
    taken part. Operations are differentiable in reverse mode, to any order. XLA cannot compile
    them, and they work outside of `strategy.run` as well as in it.

    Args:
        strategy: A `tf.distribute.MultiWorkerMirroredStrategy` with one device in each process;
            None for this process alone.
        timeout: Time (seconds) to wait for the others here. Later exchanges wait for as long as
            the others live: one that dies is an error in all of them after some ten seconds, or
            twenty where the machine is busy; for one that lives and takes no part they wait for
            ever (see `agreement.together`).

    Raises:
        ValueError: If a process has several devices, or `timeout` is not positive.
        TypeError: If `strategy` is another one.

    References:
        Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard, for the
        exchanges.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None, timeout: float = 600.0):
        checks.positive(timeout, "timeout")
        self.size, self.rank = _place(strategy)
        self._timeout = float(timeout)
        # What each exchange touches, so that graphs keep them in their order.
        with tf.init_scope():
            self._token = tf.Variable(0.0, trainable=False)
        self._traced: collections.Counter[str] = collections.Counter()
        self._slots: dict[int, np.ndarray] = {}
        groups = [_Group(FIRST_GROUP, tuple(range(self.size))), *self._pairs()]
        self._everyone, self._links = groups[0], groups[1:]
        with tf.init_scope():
            for group in groups:
                self._slots[group.key] = self._ranks_by_slot(group)
        # For each exchange with a timeout TensorFlow keeps a thread asleep until that is over,
        # also when the exchange has long ended: thousands of them in a simulation.
        self._timeout = 0.0

    def all_to_all(self, x: tf.Tensor) -> tf.Tensor:
        """Row i of every process to process i, in the order of the processes it comes from.

        Args:
            x: Real or complex numbers of any unit, shape [size, ...].

        Returns:
            Row i is what process i sent here, in the shape of `x`.

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        return x if self.size == 1 else self._swapped(x, self._everyone)

    def to_neighbours(self, up: tf.Tensor, down: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Numbers for the next process and for the one before, on a ring.

        Args:
            up: What goes to the next process, any unit and shape.
            down: What goes to the one before, in the same shape.

        Returns:
            What came from the process before, and from the next, in that shape.

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        if self.size == 1:
            return up, down

        @tf.custom_gradient
        def exchange(up: tf.Tensor, down: tf.Tensor) -> tuple[tuple, Callable]:
            def gradient(from_below: tf.Tensor, from_above: tf.Tensor) -> tuple:
                return self.to_neighbours(from_above, from_below)[::-1]

            return self._over_links(up, down), gradient

        return exchange(up, down)

    def sum(self, x: tf.Tensor) -> tf.Tensor:
        """Sum over the processes, which all of them get.

        The gradient by it is taken to be the same in all processes.

        Args:
            x: Numbers of any unit and shape.

        Returns:
            Their sum, in that shape.

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        if self.size == 1:
            return x

        @tf.custom_gradient
        def add(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            return self._reduced(x, "Add"), self.replicated

        return add(x)

    def replicated(self, x: tf.Tensor) -> tf.Tensor:
        """Numbers that all processes have, with a gradient that is summed over them.

        Args:
            x: Numbers of any unit and shape, the same in all processes.

        Returns:
            The numbers.

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        if self.size == 1:
            return x

        @tf.custom_gradient
        def same(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            return tf.identity(x), self.sum

        return same(x)

    def maximum(self, x: tf.Tensor) -> tf.Tensor:
        """The largest that any process has; not differentiable.

        Args:
            x: Numbers of any unit and shape.

        Returns:
            The largest of each, in that shape.

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        x = tf.stop_gradient(x)
        return x if self.size == 1 else self._reduced(x, "Max")

    def gathered(self, x: tf.Tensor) -> tf.Tensor:
        """What every process has, in their order; not differentiable.

        Args:
            x: Numbers of any unit and shape.

        Returns:
            All of them, shape [size, ...].

        References:
            Message Passing Interface Forum 1994, MPI: A Message-Passing Interface Standard.
        """
        return self.all_to_all(_rows(*[tf.stop_gradient(x)] * self.size))

    def wait(self) -> None:
        """Return when all processes have called this."""
        self.maximum(tf.zeros([]))

    def _pairs(self) -> list["_Group"]:
        """Groups of this process with either neighbour, in the order in which they talk.

        All even links of the ring at once, then the odd ones, then the last of an odd number, so
        that none waits for a chain of others. Two processes are one pair.
        """
        ends = [(i, (i + 1) % self.size) for i in range(self.size)]
        if self.size <= 2:
            ends = ends[: self.size - 1]
        is_last_odd = self.size % 2 == 1
        turn = {i: 2 if is_last_odd and i == self.size - 1 else i % 2 for i in range(len(ends))}
        mine = sorted((i for i in turn if self.rank in ends[i]), key=turn.get)
        return [_Group(FIRST_GROUP + 1 + i, ends[i]) for i in mine]

    def _over_links(self, up: tf.Tensor, down: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What comes from below and from above, pair by pair."""
        if self.size == 2:
            both = self._from_partner(_rows(up, down), self._links[0])
            return both[0], both[1]
        found = {}
        for link in self._links:
            is_lower_end = link.ranks[0] == self.rank
            found[is_lower_end] = self._from_partner(up if is_lower_end else down, link)
        return found[False], found[True]

    def _from_partner(self, x: tf.Tensor, link: "_Group") -> tf.Tensor:
        """What the other of a pair sends in return for x."""
        other = link.ranks[1 - link.ranks.index(self.rank)]
        return self._exchanged(_rows(x, x), link)[int(self._slot_of(link, other))]

    def _swapped(self, x: tf.Tensor, group: "_Group") -> tf.Tensor:
        """All-to-all with rows in the order of the processes."""

        @tf.custom_gradient
        def swap(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            ranks = self._slots[group.key]
            if (np.diff(ranks) > 0).all():
                result = self._exchanged(x, group)
            else:
                sent = tf.gather(x, ranks)
                result = tf.gather(self._exchanged(sent, group), np.argsort(ranks))
            return result, lambda upstream: self._swapped(upstream, group)

        return swap(x)

    def _slot_of(self, group: "_Group", rank: int) -> int:
        return int(np.flatnonzero(self._slots[group.key] == rank)[0])

    def _ranks_by_slot(self, group: "_Group") -> np.ndarray:
        """Which process TensorFlow gave each place in a group, found by asking."""
        if len(group.ranks) == 1:
            return np.array(group.ranks)
        return self._exchanged(tf.fill([len(group.ranks)], self.rank), group).numpy()

    def _exchanged(self, x: tf.Tensor, group: "_Group") -> tf.Tensor:
        """The collective operation itself, with rows in the order of the group."""
        if x.dtype.is_complex:
            # TensorFlow exchanges real numbers only.
            return tf.bitcast(self._exchanged(tf.bitcast(x, x.dtype.real_dtype), group), x.dtype)
        options = {"group_size": len(group.ranks), "group_key": group.key}
        name = f"all to all of {group.key}"
        return self._ordered(name, tf.raw_ops.CollectiveAllToAllV2, x, options)

    def _reduced(self, x: tf.Tensor, operation: str) -> tf.Tensor:
        options = {"group_size": self.size, "group_key": FIRST_GROUP}
        options |= {"merge_op": operation, "final_op": "Id"}
        return self._ordered(operation, tf.raw_ops.CollectiveReduceV2, x, options)

    def _ordered(self, name: str, operation: Callable, x: tf.Tensor, options: dict) -> tf.Tensor:
        """A collective operation, after all others of its graph.

        TensorFlow keeps operations with one token in order, but not in graphs of gradients.
        """
        before, graph = [], None
        if not tf.executing_eagerly():
            graph = tf.compat.v1.get_default_graph()
            before = [op for op in graph.get_collection(EXCHANGES) if op.graph is graph][-1:]
        with tf.control_dependencies(before):
            result = operation(
                input=x, instance_key=self._key(name, x, graph is None),
                ordering_token=[self._token.handle], timeout_seconds=self._timeout, **options,
            )  # fmt: skip
        if graph is not None:
            graph.add_to_collection(EXCHANGES, result.op)
        return tf.ensure_shape(result, x.shape)

    def _key(self, name: str, x: tf.Tensor, is_eager: bool) -> int:
        """Number of an exchange, the same in all processes, which trace the same program.

        Every one in a graph has its own; eager ones of a kind follow each other and share it.
        """
        kind = f"{name} {x.dtype.name} {x.shape}"
        if not is_eager:
            self._traced[kind] += 1
            kind += f" {self._traced[kind]}"
        return zlib.crc32(kind.encode()) & 0x3FFFFFFF


class _Group:
    """Processes that exchange among themselves, under a key that TensorFlow knows them by."""

    def __init__(self, key: int, ranks: tuple[int, ...]) -> None:
        self.key, self.ranks = key, ranks


def _rows(*rows: tf.Tensor) -> tf.Tensor:
    """Numbers as rows, which may be the same ones.

    Not `tf.stack`: TensorFlow 2.21 optimises `tf.stack([x, x])` to rows of the first output where
    x is another output of an operation that has several, such as `tf.split`.
    """
    return tf.concat([row[None] for row in rows], axis=0)


def _place(strategy: tf.distribute.Strategy | None) -> tuple[int, int]:
    """How many processes there are, and which this one is."""
    if strategy is None:
        return 1, 0
    checks.require(
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy),
        "strategy", "be a MultiWorkerMirroredStrategy", type(strategy).__name__, error=TypeError,
    )  # fmt: skip
    num_devices = len(strategy.extended.worker_devices)
    checks.require(
        num_devices == 1, "strategy", "have one device in each process", num_devices,
        "Start a process for each device, and show each only its own, as by CUDA_VISIBLE_DEVICES.",
    )  # fmt: skip
    resolver = strategy.cluster_resolver
    cluster = resolver.cluster_spec().as_dict()
    before = len(cluster.get("chief", ())) if resolver.task_type == "worker" else 0
    rank = before + resolver.task_id if cluster else 0
    return strategy.num_replicas_in_sync, rank
