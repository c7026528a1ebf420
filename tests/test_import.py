"""Importing the package is quick and quiet, and leaves TensorFlow for later."""

import json
import subprocess
import sys

import pytest

PROBE = """
import json, sys, time
start = time.perf_counter()
import {package}
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def imported(package):
    """Seconds, top-level modules and standard error of an import in a new interpreter."""
    code = PROBE.format(package=package)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = json.loads(run.stdout)  # fails on anything else that was printed
    return seconds, set(modules), run.stderr


@pytest.mark.parametrize("package", ["flowpm_ext", "priors"])
def test_import_is_quick_and_quiet(package):
    # The best of three: what else the machine does is not the package's doing.
    runs = [imported(package) for _ in range(3)]
    assert min(seconds for seconds, _, _ in runs) < 1.0
    _, modules, errors = runs[0]
    assert errors == ""
    assert not {"tensorflow", "keras", "tensorflow_probability", "matplotlib"} & modules


def test_every_offered_name_exists():
    code = """
import flowpm_ext, priors
for package in (flowpm_ext, priors):
    for name in package.__all__:
        assert getattr(package, name) is not None, name
        assert name in dir(package), name
    try:
        package.nothing
    except AttributeError as error:
        assert "nothing" in str(error)
    else:
        raise AssertionError("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
