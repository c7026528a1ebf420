"""Memory is asked of the system, and too much of it is refused in one line."""

import os
import sys

import pytest

from flowpm_ext.core import memory


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A system of control groups of both generations, without limits."""
    (tmp_path / "cgroup").write_text("4:memory:/jobs/7\n0::/slice/unit\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    names = {"new": "memory.max", "old": "memory.limit_in_bytes"}
    monkeypatch.setattr(memory, "LIMITS", [(tmp_path / base, n) for base, n in names.items()])
    for folder in ("new/slice/unit", "old/jobs/7"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def test_memory_is_that_of_the_machine(groups):
    assert memory.available_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "file",
    [
        "new/memory.max", "new/slice/memory.max", "new/slice/unit/memory.max",
        "old/memory.limit_in_bytes", "old/jobs/7/memory.limit_in_bytes",
    ],
)  # fmt: skip
def test_a_limit_of_a_group_or_of_one_around_it_counts(groups, file):
    (groups / "new/slice/unit/memory.max").write_text("max\n")
    (groups / file).write_text("1000000\n")
    assert memory.available_memory() == 1_000_000


def test_limits_of_others_do_not_count(groups):
    (groups / "new/slice/other").mkdir()
    (groups / "new/slice/other/memory.max").write_text("1000\n")
    (groups / "memory.max").write_text("1000\n")  # above the mount point
    assert memory.available_memory() > 1_000_000


def test_a_system_that_does_not_say_has_no_limit(groups, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    (groups / "cgroup").unlink()
    assert memory.available_memory() == sys.maxsize


def test_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: int(24e9))
    memory.require_memory(int(24e9), "A run")
    with pytest.raises(ValueError) as error:
        memory.require_memory(int(37.2e9), "A run", "Take less.")
    assert str(error.value) == "A run needs about 37 GB, the machine has 24 GB. Take less."
