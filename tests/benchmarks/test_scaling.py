"""Bytes that processes send: those of a traced graph are those of the formula."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import scaling
from flowpm_ext.mesh import Processes, ShardedMesh
from flowpm_ext.pm.forces import Gravity


class Traced(Processes):
    """One of several processes, whose exchanges can be traced but not run."""

    def __init__(self, size, rank):
        super().__init__()
        self.size, self.rank = size, rank
        self._everyone = type(self._everyone)(1, tuple(range(size)))
        self._links = self._pairs()
        self._slots = {group.key: np.array(group.ranks) for group in (self._everyone, *self._links)}


@pytest.mark.parametrize(
    ("size", "num_processes", "halo"), [(8, 2, 3), (12, 3, 1), (8, 4, 2), (8, 4, 5)]
)
def test_bytes_are_those_of_the_formula(size, num_processes, halo):
    mesh = ShardedMesh(size, processes=Traced(num_processes, 1), halo=halo)
    force, x = Gravity(mesh), tf.zeros([1, size**3 // num_processes, 3])
    sent = scaling.sent(force, x)
    for name, is_reverse in (("sent", False), ("sent_reverse", True)):
        assert sent[name] == scaling.sent_by_formula(size, num_processes, halo, is_reverse)
