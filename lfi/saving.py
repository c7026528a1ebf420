"""Trained estimators in folders."""

import json
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np

from flowpm_ext import hdf5
from flowpm_ext.core import checks
from flowpm_ext.io import staged_folder
from flowpm_ext.version import __version__
from lfi.density import DENSITIES, ConditionalDensity
from lfi.ensemble import Ensemble
from lfi.estimator import Estimator, Round
from lfi.nle import NLE
from lfi.npe import NPE
from lfi.prior import BoxPrior

FORMAT, FORMAT_VERSION = "trained estimator", 1
SIMULATIONS = "simulations of an estimator"
KINDS: dict[str, type[Estimator]] = {"npe": NPE, "nle": NLE}
FILE, DATA = "estimator.json", "simulations.h5"
# What must be there beside the format.
KEYS = (
    "kind", "seed", "num_members", "density", "options", "prior", "prior_type", "rounds",
    "weights", "histories",
)  # fmt: skip
FIX = "Make it with `lfi.save_estimator` or `python -m lfi train`."


def save_estimator(estimator: NPE | NLE, folder: str | os.PathLike) -> None:
    """Write a trained estimator, with its simulations, so that `load_estimator` finds it whole.

    A prior that is no `BoxPrior` is not written, and must be given again when it is loaded.

    Args:
        estimator: Trained `NPE` or `NLE`.
        folder: Where its files shall be; an estimator that is there is replaced.

    Raises:
        ValueError: If the estimator is not trained or of another kind, or the folder cannot be
            written in.
        OSError: If a file cannot be written.
    """
    kinds = {kind: name for name, kind in KINDS.items()}
    rule = f"be one of {', '.join(kind.__name__ for kind in kinds)}"
    checks.require(type(estimator) in kinds, "estimator", rule, type(estimator).__name__)
    checks.require(estimator.ensemble is not None, "estimator", "be trained by `fit` first", None)
    about = json.dumps(_description(estimator, kinds[type(estimator)]), indent=2)
    folder = pathlib.Path(folder)
    with staged_folder(folder) as stage:
        for number, member in enumerate(estimator.ensemble.members):
            member.save(stage / _member_file(number))
        datasets = {"theta": (estimator.theta, {}), "x": (estimator.x, {})}
        hdf5.write(stage / DATA, SIMULATIONS, FORMAT_VERSION, datasets, {})
        # What was there is no estimator any more once its first file is replaced.
        (folder / FILE).unlink(missing_ok=True)
    partial = folder / f".{FILE}.partial"
    partial.write_text(about + "\n", encoding="utf-8")
    os.replace(partial, folder / FILE)  # the last: a folder without it is not whole
    for path in folder.glob("member_*.keras"):
        if path.name not in map(_member_file, range(len(estimator.ensemble.members))):
            path.unlink()  # of an estimator that had more


def load_estimator(folder: str | os.PathLike, prior: Any = None) -> NPE | NLE:
    """Read a trained estimator.

    Args:
        folder: What `save_estimator` wrote.
        prior: The prior of its simulations, where that is no `BoxPrior`.

    Returns:
        The estimator, as it was.

    Raises:
        ValueError: If there is no estimator in the folder, a part of it is missing or broken, or
            a prior is missing or was given beside the one that was saved.
    """
    folder = pathlib.Path(folder)
    about = _read_description(folder)
    saved = about["prior"]
    is_clear = (saved is None) != (prior is None)
    rule = "be left out: it was saved" if saved else "be given: only a `BoxPrior` is saved"
    checks.require(is_clear, "prior", rule, prior, f"It was {about['prior_type']}.")
    members = [_load_member(folder / _member_file(n)) for n in range(len(about["weights"]))]
    estimator = KINDS[about["kind"]](
        BoxPrior(**saved) if saved else prior, about["density"] or members,
        about["num_members"], about["seed"],
        **keras.saving.deserialize_keras_object(about["options"]),
    )  # fmt: skip
    with hdf5.opened(folder / DATA, SIMULATIONS, FORMAT_VERSION, FIX) as file:
        estimator.theta, estimator.x = file["theta"][()], file["x"][()]
    estimator.rounds = [Round(*part) for part in about["rounds"]]
    ensemble = Ensemble(members)
    ensemble.weights, ensemble.histories = np.array(about["weights"]), about["histories"]
    estimator.install(ensemble)
    return estimator


def load_keras(path: pathlib.Path, name: str, kind: type, fix: str) -> Any:
    """A Keras model of some class from a file.

    Args:
        path: The file.
        name: What it is for, in messages.
        kind: What it must be.
        fix: What to do about another one.

    Returns:
        The model.

    Raises:
        ValueError: If there is no such file, or it holds something else.
    """
    checks.require(path.is_file(), name, "be a file", str(path), fix)
    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        # Keras says first what it was given, over many lines, and last what was wrong.
        text = str(error).rpartition("Exception encountered: ")[2]
        reason = f"{path} ({' '.join(text.split())[:80]})"
        checks.require(False, name, f"be a .keras file of a {kind.__name__}", reason, fix)
    checks.require(
        isinstance(model, kind), name, f"be a {kind.__name__}", type(model).__name__, fix
    )
    return model


def _description(estimator: Estimator, kind: str) -> dict[str, Any]:
    """All but weights and simulations, as JSON holds it."""
    prior, ensemble = estimator.prior, estimator.ensemble
    box = isinstance(prior, BoxPrior)
    has_names = all(isinstance(kind, str) for kind in estimator.density)  # and no densities
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "package_version": __version__,
        "kind": kind,
        "seed": estimator.seed,
        "num_members": estimator.num_members,
        "density": estimator.density if has_names else None,
        "options": keras.saving.serialize_keras_object(estimator.options),
        "prior": {"low": prior.low.tolist(), "high": prior.high.tolist(), "names": prior.names}
        if box
        else None,
        "prior_type": type(prior).__name__,
        "rounds": estimator.rounds,
        "weights": ensemble.weights.tolist(),
        "histories": [
            {name: [float(x) for x in values] for name, values in history.items()}
            for history in ensemble.histories
        ],
    }


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    checks.require(folder.is_dir(), "folder", "be a folder", str(folder), FIX)
    path = folder / FILE
    received = f"{folder}, which has no {FILE}"
    rule = "hold a whole estimator"
    checks.require(path.is_file(), "folder", rule, received, FIX)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        checks.require(False, str(path), "be JSON", "something else", FIX)
    is_one = isinstance(about, dict) and about.get("format") == FORMAT
    checks.require(is_one, str(path), f"describe a {FORMAT}", "something else", FIX)
    missing = [name for name in KEYS if name not in about]
    checks.require(not missing, str(path), "be whole", f"no {', '.join(missing)}", FIX)
    found, by = about.get("format_version"), about.get("package_version")
    received = f"format {found}, written by flowpm_ext {by}; this is {__version__}"
    checks.require(found == FORMAT_VERSION, str(path), f"have format {FORMAT_VERSION}", received)
    checks.one_of(about["kind"], "kind", tuple(KINDS))
    for name in about["density"] or ():
        checks.one_of(name, "density", tuple(DENSITIES))
    return about


def _member_file(number: int) -> str:
    return f"member_{number}.keras"


def _load_member(path: pathlib.Path) -> ConditionalDensity:
    return load_keras(path, "member", ConditionalDensity, FIX)
