"""What processes tell each other, here one that makes up what the others say."""

import pytest
import tensorflow as tf

from flowpm_ext.configuration import SimulationConfig
from flowpm_ext.mesh import Processes
from flowpm_ext.mesh.agreement import num_on_this_machine, together
from flowpm_ext.simulation import memory_needed, simulate


class First(Processes):
    """The first of three, of which one is elsewhere and another may have failed."""

    def __init__(self, fails=False):
        self.size, self.rank, self.others, self.told = 3, 0, float(fails), []

    def maximum(self, x):
        self.told.append(float(x))
        return tf.maximum(x, self.others)

    def gathered(self, x):
        return tf.stack([x, x + 1, x])


def test_processes_of_one_machine_are_counted():
    assert num_on_this_machine(Processes()) == 1
    assert num_on_this_machine(First()) == 2


def test_an_error_here_is_told_to_the_others():
    first = First()
    with pytest.raises(KeyError), together(first):
        raise KeyError
    assert first.told == [1.0]


def test_an_error_elsewhere_is_one_here():
    with together(First()):
        pass
    words = r"All processes must be able to begin\. Received: an error in another one"
    with pytest.raises(ValueError, match=words), together(First(fails=True)):
        pass


def test_memory_is_that_of_all_processes_on_this_machine(tmp_path, monkeypatch):
    config, first = SimulationConfig(mesh=240), First()
    enough_for_one = memory_needed(config, 3) * 3 // 2
    monkeypatch.setattr("flowpm_ext.core.memory.available_memory", lambda: enough_for_one)
    with pytest.raises(ValueError, match=r"needs about .*the machine has"):
        simulate(config, tmp_path / "out", processes=first)
    assert first.told == [1.0] and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_used_is_told_to_the_others(tmp_path):
    (tmp_path / "snapshot_a1.0000.h5").write_text("not ours")
    first = First()
    with pytest.raises(ValueError, match="must be a whole flowpm_ext snapshot"):
        simulate(SimulationConfig(mesh=9), tmp_path, processes=first)
    assert first.told == [1.0]
