"""Imports point down: a module may import only from its own room and from layers below it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("flowpm_ext", "lfi", "priors", "rim")
SOURCES = [path for name in PACKAGES for path in sorted((ROOT / name).glob("**/*.py"))]

BASE = {"flowpm_ext.core", "flowpm_ext.version"}
FILES = {"flowpm_ext.io", "flowpm_ext.hdf5", "flowpm_ext.farm"}
NUMERICS = BASE | {"flowpm_ext.numerics"}
THEORY = NUMERICS | {"flowpm_ext.cosmology", "flowpm_ext.mesh"}
FIELDS = THEORY | {"flowpm_ext.fields", "flowpm_ext.stats"}

# What each room may import from the project, besides itself. Physics knows neither networks
# nor samplers, and the three packages of inference do not know each other.
ALLOWED = {
    "flowpm_ext.version": set(),
    "flowpm_ext.core": {"flowpm_ext.version"},
    "flowpm_ext.numerics": BASE,
    "flowpm_ext.nn": BASE,
    "flowpm_ext.inference": NUMERICS,
    "flowpm_ext.cosmology": NUMERICS,
    "flowpm_ext.mesh": NUMERICS,
    "flowpm_ext.fields": THEORY,
    "flowpm_ext.stats": THEORY,
    "flowpm_ext.pm": FIELDS,
    "flowpm_ext.io": BASE,
    "flowpm_ext.hdf5": BASE,
    "flowpm_ext.process_identity": BASE,
    "flowpm_ext.claims": BASE | {"flowpm_ext.process_identity"},
    "flowpm_ext.command_line": BASE,
    "flowpm_ext.workers": BASE | {"flowpm_ext.command_line"},
    "flowpm_ext.farm": BASE | {"flowpm_ext.claims", "flowpm_ext.workers"},
    "flowpm_ext.lensing": FIELDS | FILES | {"flowpm_ext.pm"},
    "flowpm_ext": {"flowpm_ext"},
    "lfi": {"flowpm_ext"},
    "priors": {"flowpm_ext"},
    "rim": {"flowpm_ext"},
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def room(module: str) -> str | None:
    """The longest entry of `ALLOWED` that holds a module; None for modules of others."""
    holders = [name for name in ALLOWED if is_within(module, name)]
    return max(holders, key=len, default=None)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def name_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source: str, path: pathlib.Path) -> set[str]:
    """Absolute names of all that a file imports, inside functions too."""
    folder = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def wrong_imports(source: str, path: pathlib.Path) -> list[str]:
    """What a file imports from rooms that its own does not allow."""
    here = room(name_of(path))
    rooms = {name: room(name) for name in imported_modules(source, path)}
    return [
        f"{here} -> {name}"
        for name, there in sorted(rooms.items())
        if there not in (None, here)
        and not any(is_within(name, allowed) for allowed in ALLOWED[here])
    ]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down(path):
    assert wrong_imports(path.read_text(), path) == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_is_named_for_its_idea(path):
    assert not VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize(
    "source, place",
    [
        ("from flowpm_ext.cosmology import power", "flowpm_ext/core/checks.py"),
        ("import rim.train", "flowpm_ext/io.py"),
        ("def f():\n    from flowpm_ext import nn", "flowpm_ext/cosmology/power.py"),
        ("from ..fields import gaussian", "flowpm_ext/cosmology/power.py"),
        ("from lfi import task", "priors/likelihood.py"),
    ],
)
def test_an_import_that_points_up_is_found(source, place):
    assert len(wrong_imports(source, ROOT / place)) == 1
