"""Every public name says what it takes, in which units and shapes, and where it comes from.

Public is what has no underscore in its name or path; all of it needs a line that says what it
is, and hints. Offered is what a package or module lists in `__all__` (all of it where there is
no list); it needs a full docstring as well: arguments, result, errors and source.
"""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import textwrap

import numpy as np
import pytest

from flowpm_ext.core import checks

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("flowpm_ext", "lfi", "priors", "rim")
HEADINGS = ("Args", "Attributes", "Returns", "Raises", "References")

# What returns numbers must say where the method comes from, unless there is none to cite.
WITHOUT_SOURCE = {
    "flowpm_ext.core": "types and checks",
    "flowpm_ext.cosmology.angular_cl.tracer_pairs": "an order of pairs",
    "flowpm_ext.fields.gaussian": "the definition of a spectrum, and normal draws",
    "flowpm_ext.nn.convolution.pad": "cells copied",
    "flowpm_ext.numerics.fourier": "the definition of the discrete Fourier transform",
    "flowpm_ext.numerics.quadrature.running_integral": "a cumulative sum",
}


def public_modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).glob("**/*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(part.startswith("_") for part in parts):
                yield ".".join(parts)


def public_objects():
    """Full name and object of every public function and class."""
    for name in public_modules():
        for attribute, value in vars(importlib.import_module(name)).items():
            is_code = inspect.isfunction(value) or inspect.isclass(value)
            if is_code and not attribute.startswith("_") and value.__module__ == name:
                yield f"{name}.{attribute}", value


def offered_objects():
    """Identities of what users are invited to use."""
    found = set()
    for name in public_modules():
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None)
        parent = importlib.import_module(name.rpartition(".")[0] or name)
        listed = getattr(parent, "__all__", [name.rpartition(".")[2]])
        if names is None and name.rpartition(".")[2] in listed:
            names = [n for n in vars(module) if f"{name}.{n}" in OBJECTS]
        found.update(id(getattr(module, n)) for n in names or ())
    return found


def public_methods(cls):
    """Name and function of every public method and property that a class defines.

    Hooks that Keras calls (`build`, `call`, `get_config`, ...) are described there.
    """
    keras_bases = [base for base in cls.__mro__[1:] if base.__module__.startswith("keras.")]
    for name, value in vars(cls).items():
        if any(hasattr(base, name) for base in keras_bases):
            continue
        if not name.startswith("_") or name == "__call__":
            if isinstance(value, property | functools.cached_property):
                value = getattr(value, "fget", None) or value.func
            elif isinstance(value, classmethod | staticmethod):
                value = value.__func__
            if inspect.isfunction(value):
                yield name, value


def sections(docstring):
    """Text under each heading of a docstring in Google's style."""
    parts = re.split(rf"^({'|'.join(HEADINGS)}):\n", inspect.cleandoc(docstring), flags=re.M)
    return dict(zip(parts[1::2], map(textwrap.dedent, parts[2::2]), strict=True))


def entries(section):
    """Entries "name: text" of a section, with lines that continue an entry joined to it."""
    found = re.findall(r"^\**(\w+): *(.*(?:\n+ +.*)*)", section, flags=re.M)
    return {name: " ".join(text.split()) for name, text in found}


def parameters(function):
    """Parameters of a function, without the object or class a method is bound to."""
    names = inspect.signature(function).parameters
    return {name: p for name, p in names.items() if name not in ("self", "cls")}


def raises_here(function):
    """Whether the body raises, or checks an argument."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    return any(
        isinstance(node, ast.Raise)
        or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "checks"
        )
        for node in ast.walk(tree)
    )


def faults_of_hints(function):
    hints = inspect.signature(function)
    empty = inspect.Parameter.empty
    faults = [f"no hint for {n}" for n, p in parameters(function).items() if p.annotation is empty]
    return faults + ["no hint for the result"] * (hints.return_annotation is empty)


def faults_of_summary(docstring):
    if not docstring:
        return ["no docstring"]
    first = inspect.cleandoc(docstring).partition("\n\n")[0]
    return ["the first line does not end with a full stop"] * (not first.endswith((".", ":")))


def faults_of_function(name, function):
    """Faults of a function that is offered."""
    faults = faults_of_summary(function.__doc__) + faults_of_hints(function)
    found = sections(function.__doc__ or "")
    described = entries(found.get("Args", ""))
    faults += [f"{n} is not described" for n in parameters(function) if not described.get(n)]
    result = str(inspect.signature(function).return_annotation)
    if result != "None":
        faults += ["no Returns"] * ("Returns" not in found)
    faults += ["no Raises"] * (raises_here(function) and "Raises" not in found)
    computes = "Tensor" in result or "ndarray" in result
    excused = any(name == known or name.startswith(f"{known}.") for known in WITHOUT_SOURCE)
    if computes and not excused:
        faults += ["no References"] * ("References" not in found)
    return faults


def faults_of_class(cls):
    """Faults of a class that is offered."""
    faults = faults_of_summary(cls.__doc__)
    found = sections(cls.__doc__ or "")
    described = entries(found.get("Args", "")) | entries(found.get("Attributes", ""))
    if not hasattr(cls, "_fields"):  # named tuples describe each field beside it
        own = cls.__dict__.get("__init__")
        names = parameters(own) if own else {}
        faults += [f"{n} is not described" for n in names if not described.get(n)]
    return faults


OBJECTS = dict(public_objects())
OFFERED = offered_objects()


@pytest.mark.parametrize("name", OBJECTS)
def test_public_name_says_what_it_is(name):
    value = OBJECTS[name]
    faults = faults_of_summary(value.__doc__)
    if inspect.isfunction(value):
        assert faults + faults_of_hints(value) == []
        return
    for method, function in public_methods(value):
        # What overrides a method of a base inherits its docstring.
        problems = faults_of_summary(inspect.getdoc(getattr(value, method)))
        faults += [f"{method}: {x}" for x in problems + faults_of_hints(function)]
    assert faults == []


@pytest.mark.parametrize("name", [name for name, value in OBJECTS.items() if id(value) in OFFERED])
def test_offered_name_is_documented_in_full(name):
    value = OBJECTS[name]
    faults = faults_of_class(value) if inspect.isclass(value) else faults_of_function(name, value)
    assert faults == []


@pytest.mark.parametrize("name", list(public_modules()))
def test_module_says_what_it_is_for(name):
    module = importlib.import_module(name)
    assert faults_of_summary(module.__doc__) == []
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None


def test_faults_are_found():
    def nothing(x, y: int = 0): ...

    def poor(x: float) -> np.ndarray:
        checks.positive(x, "x")
        return np.zeros(1)

    poor.__doc__ = "Return x\n\nArgs:\n    y: Not x.\n"
    assert faults_of_function("m.nothing", nothing)[:3] == [
        "no docstring", "no hint for x", "no hint for the result"
    ]  # fmt: skip
    assert faults_of_function("m.poor", poor) == [
        "the first line does not end with a full stop",
        "x is not described",
        "no Returns",
        "no Raises",
        "no References",
    ]
