"""Shared by all tests: quiet TensorFlow, the folder of real data, and slow tests on demand."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the time of these tests is compiling: 30 to 40 % less of it where LLVM tries less hard.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import pytest


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run only the tests marked slow")


def pytest_collection_modifyitems(config, items):
    slow = config.getoption("--slow")
    reason = "not marked slow" if slow else "slow: run `make test-slow`"
    for item in items:
        if ("slow" in item.keywords) != slow:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data_folder():
    """Folder of the real data; the test is skipped where `FLOWPM_EXT_DATA` does not name one."""
    folder = pathlib.Path(os.environ.get("FLOWPM_EXT_DATA", ""))
    if not os.environ.get("FLOWPM_EXT_DATA") or not folder.is_dir():
        pytest.skip("FLOWPM_EXT_DATA does not name a folder with the real data")
    return folder
