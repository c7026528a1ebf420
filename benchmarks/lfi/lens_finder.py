"""What the lens finder finds among simulated stamps: `python -m benchmarks.lfi.lens_finder`.

A small network learns from 20,000 stamps in four bands, half of them lenses, on a CPU. It then
ranks lenses among many stamps that are none, as the lens-finding challenge does; these are scores
of a simulation, not of the challenge. Last, it looks at stamps under other skies.
"""

import argparse
import json
import pathlib
import tempfile
import time
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.provenance import commit
from flowpm_ext.nn import decaying_adam
from lfi.diagnostics import MisspecificationWarning
from lfi.lens_finder import (
    KINDS,
    ImagingSurvey,
    LensFinder,
    Population,
    Stamps,
    completeness,
    finder_figure,
    reliability,
    roc_area,
    score,
    shift_test,
    simulate_stamps,
    threshold_at,
)
from lfi.lens_finder.command import BATCH, LEARNING_RATE

OUTPUT = pathlib.Path(__file__).parent / "results" / "lens_finder.json"
PART = 5000  # stamps at a time, for memory
# Factors of the seeing and of the noise of a pixel.
SKIES = {
    "as trained": (1.0, 1.0), "seeing 10 % worse": (1.1, 1.0), "seeing 30 % worse": (1.3, 1.0),
    "noise 20 % higher": (1.0, 1.2), "noise doubled": (1.0, 2.0),
}  # fmt: skip


def trained(options: argparse.Namespace, train: Stamps) -> LensFinder:
    """The network after its training, which goes on where it stopped."""
    keras.utils.set_random_seed(options.seed)
    finder = LensFinder(train.bands, train.images.shape[1], seed=options.seed)
    finder.compile(decaying_adam(LEARNING_RATE, options.epochs * -(-len(train) // BATCH)))
    folder = options.work / f"epochs_{options.seed}"
    keep = keras.callbacks.BackupAndRestore(folder)
    log = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(f"epoch {epoch} {logs['loss']:.4f}", flush=True)
    )
    finder.fit(train, batch_size=BATCH, epochs=options.epochs, verbose=0, callbacks=[keep, log])
    return finder


def ranked(
    finder: LensFinder, num: int, seed: int, population: Population
) -> dict[str, np.ndarray]:
    """Logits and what is known of many stamps, without the images."""
    parts = []
    for start in range(0, num, PART):
        made = simulate_stamps(min(PART, num - start), seed + start, None, population)
        kept = {name: getattr(made, name) for name in ("kind", "einstein_radius",
                                                       "signal_to_noise")}  # fmt: skip
        parts.append(kept | {"logit": finder.logits(made)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_colour(train: Stamps, test: Stamps) -> float:
    """ROC area of a classifier that knows fluxes and colours of whole stamps alone."""

    def fluxes(stamps: Stamps) -> np.ndarray:
        flux = np.arcsinh(stamps.images.sum(axis=(1, 2)) / 20)
        return np.concatenate([flux, flux[:, 1:] - flux[:, :-1]], axis=1)

    model = HistGradientBoostingClassifier(random_state=0).fit(fluxes(train), train.is_lens)
    return roc_area(model.predict_proba(fluxes(test))[:, 1], test.is_lens)


def scores(finder: LensFinder, options: argparse.Namespace) -> dict[str, Any]:
    """Those of the challenge, by kind, and completeness."""
    lenses, others = (
        ranked(finder, num, 1_000_000 * (i + 1) + options.seed, Population(lens_fraction=part))
        for i, (num, part) in enumerate(((options.lenses, 1.0), (options.others, 0.0)))
    )
    logit = np.concatenate([lenses["logit"], others["logit"]])
    is_lens = np.arange(len(logit)) < options.lenses
    found = score(logit, is_lens, seed=options.seed)
    result: dict[str, Any] = {"score": found._asdict(), "area_by_kind": {}}
    for number, kind in list(enumerate(KINDS))[1:]:
        kept = is_lens | np.concatenate([lenses["kind"] == -1, others["kind"] == number])
        result["area_by_kind"][kind] = roc_area(logit[kept], is_lens[kept])
    highest = others["kind"][np.argsort(others["logit"])[-100:]]
    result["kinds_of_highest_100"] = {k: int(np.sum(highest == i)) for i, k in enumerate(KINDS)}
    threshold = threshold_at(logit, is_lens, 0.01)
    radius, noise = [0.5, 0.7, 1.0, 1.3, 1.8], [0, 50, 100, 200, 1e5]
    table = completeness(
        lenses["logit"] > threshold, lenses["einstein_radius"], lenses["signal_to_noise"],
        radius, noise,
    )  # fmt: skip
    result["completeness"] = {k: np.round(v, 4).tolist() for k, v in table._asdict().items()}
    return result


def calibration(finder: LensFinder, held: Stamps, test: Stamps) -> dict[str, Any]:
    """Expected calibration errors before and after, on other stamps than it was learned from."""
    labels = test.is_lens
    result: dict[str, Any] = {"before": _error(finder.predict(test), labels)}
    result["slope"], result["offset"] = finder.calibrate(held)
    after = reliability(finder.predict(test), labels)
    result["after"] = after.expected_calibration_error
    result["reliability"] = {k: np.round(v, 4).tolist() for k, v in after._asdict().items()}
    return result


def skies(finder: LensFinder, options: argparse.Namespace) -> dict[str, Any]:
    """Scores where the sky is another than in training, and whether that is noticed."""
    usual = simulate_stamps(options.usual, 4_000_000 + options.seed).images
    result, ranks = {}, {}
    for number, (name, factors) in enumerate(SKIES.items()):
        survey = ImagingSurvey().degraded(*factors)
        test = simulate_stamps(options.shifted, 5_000_000 + number + options.seed, survey)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", MisspecificationWarning)
            shift = shift_test(finder, usual, test, group=options.group)
        ranks[name] = finder.logits(test), test.is_lens
        found = score(*ranks[name], seed=options.seed)
        result[name] = {
            "roc_area": found.roc_area, "error": found.errors["roc_area"],
            "calibration_error": _error(finder.predict(test), test.is_lens),
            "p_value": shift.p_value, "warned": len(caught) > 0,
            "groups_below_0.05": float(np.mean(shift.groups.p_value < 0.05)),
        }  # fmt: skip
        print(f"{name:20}", {k: round(v, 4) for k, v in result[name].items()}, flush=True)
    if options.figure is not None:
        shown = simulate_stamps(options.figure_stamps, 6_000_000 + options.seed)
        finder_figure(shown, finder.logits(shown), ranks).savefig(options.figure, dpi=90)
    return result


def _error(probability: np.ndarray, labels: np.ndarray) -> float:
    return reliability(probability, labels).expected_calibration_error


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lenses", type=int, default=5000)
    parser.add_argument("--others", type=int, default=50_000)
    parser.add_argument("--usual", type=int, default=40_000)
    parser.add_argument("--group", type=int, default=200)
    parser.add_argument("--shifted", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path, help="keeps the network, and unfinished ones")
    parser.add_argument("--only-skies", action="store_true", help="of the network in --work")
    parser.add_argument("--figure", type=pathlib.Path)
    parser.add_argument("--figure-stamps", type=int, default=10_000)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    options.work = options.work or pathlib.Path(tempfile.mkdtemp())
    options.work.mkdir(parents=True, exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    about = {"commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M")}
    numbers = ("train", "epochs", "lenses", "others", "usual", "shifted", "group", "threads")
    results: dict[str, Any] = about | {name: getattr(options, name) for name in numbers}
    clock = [time.perf_counter(), time.process_time()]

    def keep(name: str, found: Any) -> None:
        now = time.perf_counter(), time.process_time()
        spent = [round(b - a) for a, b in zip(clock, now, strict=True)]
        clock[:] = now
        results[name] = found | {"seconds": spent[0], "cpu_seconds": spent[1]}
        print(name, json.dumps(results[name]), flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")

    file = options.work / f"finder_{options.seed}.keras"
    if options.only_skies:
        results = json.loads(options.output.read_text())
        keep("skies", {"commit": commit()} | skies(keras.models.load_model(file), options))
        return
    train = simulate_stamps(options.train, options.seed)
    test, held = (simulate_stamps(4000, number * 1_000_000 + options.seed) for number in (7, 8))
    keep("simulation", {"num": options.train + 8000})
    finder = trained(options, train)
    weights = sum(int(np.prod(v.shape)) for v in finder.trainable_variables)
    keep("training", {"parameters": weights})
    keep("colour", {"roc_area": by_colour(train, test)})
    del train
    keep("calibration", calibration(finder, held, test))
    finder.save(file)
    keep("evaluation", scores(finder, options))
    keep("skies", skies(finder, options))


if __name__ == "__main__":
    main()
