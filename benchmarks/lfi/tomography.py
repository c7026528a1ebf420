"""What learned tomographic bins are worth: `python -m benchmarks.lfi.tomography`.

Made-up galaxies with griz photometry, half of them to train on: bins learned for the DETF figure
of merit beside random forests with fixed edges, and beside perfect redshifts. These are scores of a
mock, not of the challenge. Then 20 trainings from other seeds that must stay finite, and the time
of an update without the network. With `--published`, in a minute or two, nothing but what the
challenge published for perfect redshifts, beside the same from fits of its n(z).
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.provenance import commit
from flowpm_ext.cosmology.tomography import (
    CHALLENGE,
    Bins,
    SliceSpectra,
    Survey,
    bins_of_weights,
    challenge_spectra,
    hard_bins,
    metric,
    slice_spectra,
    slices_of_redshifts,
)
from flowpm_ext.nn import decaying_adam
from lfi.tomography import BinClassifier, Catalogue, FixedEdges, mock_catalogue, score
from lfi.tomography.command import LAST, LEARNING_RATE
from lfi.tomography.mock import cumulative_redshifts
from lfi.tomography.scores import redshift_edges

OUTPUT = pathlib.Path(__file__).parent / "results" / "tomography.json"
STEP_GALAXIES, STEP_BINS = 100_000, 9
# Signal to noise and DETF of perfect redshifts in bins of equal numbers; one bin is "random".
PUBLISHED = {
    "buzzard": {1: (680.5, 0.8), 3: (1149.6, 27.5), 5: (1471.6, 49.1), 9: (1959.2, 85.0)},
    "dc2": {1: (670.1, 1.2), 3: (1102.9, 42.5), 5: (1409.0, 73.8), 9: (1877.0, 132.7)},
}


def learned(train: Catalogue, num_bins: int, spectra: SliceSpectra, seed: int, epochs: int) -> Any:
    """A trained classifier, and its losses."""
    model = BinClassifier(num_bins, spectra=spectra, seed=seed)
    model.compile(decaying_adam(LEARNING_RATE, epochs, LAST))
    history = model.fit(train.features, train.redshift, epochs=epochs, verbose=0)
    return model, history.history["loss"]


def compare(
    train: Catalogue, test: Catalogue, num_bins: int, spectra: dict[str, SliceSpectra], seed: int
) -> dict[str, Any]:
    """Scores of all methods for one number of bins, with all multipoles."""
    found: dict[str, Any] = {}

    def keep(name: str, assigned: np.ndarray, start: float) -> None:
        seconds = time.perf_counter() - start
        scores = score(assigned, test.redshift, num_bins, spectra["score"])
        found[name] = {k: round(v, 2) for k, v in scores.items()} | {"seconds": round(seconds, 1)}
        line = "".join(f"{scores[k]:10.1f}" for k in scores)
        print(f"{num_bins:3} {name:34}{line}{seconds:8.1f} s", flush=True)

    for edges in ("number", "distance"):
        cuts = redshift_edges(train.redshift, num_bins, edges)
        start = time.perf_counter()
        keep(f"equal {edges}, perfect redshifts", np.searchsorted(cuts, test.redshift), start)
        for kind in ("neighbours", "forest"):
            start = time.perf_counter()
            model = FixedEdges(num_bins, edges, kind, seed).fit(train.features, train.redshift)
            keep(f"equal {edges}, {kind}", model.assign(test.features), start)
    start = time.perf_counter()
    model, _ = learned(train, num_bins, spectra["train"], seed, epochs=150)
    keep("learned", model.assign(test.features), start)
    return found


def finite_seeds(spectra: SliceSpectra, num_seeds: int) -> int:
    """How many of some short trainings with few galaxies and nine bins are finite throughout."""
    train = mock_catalogue(2000, seed=5)
    count = 0
    for seed in range(num_seeds):
        model, losses = learned(train, 9, spectra, seed, epochs=20)
        values = [losses, *model.get_weights()]
        count += all(bool(np.all(np.isfinite(x))) for x in values)
        keras.backend.clear_session()
    return count


def step_time(spectra: SliceSpectra) -> dict[str, float]:
    """Milliseconds from the weights of all galaxies to the gradient of the loss in them."""
    z = np.sort(mock_catalogue(STEP_GALAXIES, seed=2).redshift)
    z = z[z < float(spectra.edges[-1])]
    slice_of = slices_of_redshifts(z, spectra.edges)
    centres = np.linspace(0.1, 1.6, STEP_BINS)
    weights = tf.nn.softmax(tf.constant(-(((z[:, None] - centres) / 0.2) ** 2), tf.float32))

    @tf.function
    def step(weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            bins = bins_of_weights(weights, slice_of, spectra.num_slices, is_sorted=True)
            loss = -tf.math.log(metric(spectra, bins, Survey()))
        return tape.gradient(loss, weights)

    seconds = []
    for _ in range(40):
        start = time.perf_counter()
        step(weights).numpy()
        seconds.append(time.perf_counter() - start)
    return {"median": 1e3 * float(np.median(seconds)), "least": 1e3 * min(seconds)}


def perfect_bins(kind: str, num_bins: int, edges: np.ndarray) -> Bins:
    """Bins of equal numbers with redshifts known, cut where the bins are and not the slices."""
    z, total = cumulative_redshifts(kind)
    cuts = np.interp(np.linspace(0, total[-1], num_bins + 1), total, z)
    cuts[0], cuts[-1] = 0, z[-1]
    low = np.maximum(edges[:-1], cuts[:-1, None])
    high = np.maximum(low, np.minimum(edges[1:], cuts[1:, None]))
    return hard_bins(np.interp(high, z, total) - np.interp(low, z, total))


def published() -> None:
    """Print scores of perfect redshifts beside those that were published."""

    def scores(spectra: SliceSpectra, kind: str, num_bins: int) -> list[float]:
        bins = perfect_bins(kind, num_bins, np.asarray(spectra.edges))
        return [float(metric(spectra, bins, Survey(), which)) for which in ("snr", "detf")]

    usual = challenge_spectra()
    print(f"{'':20}{'snr':>10}{'published':>10}{'detf':>10}{'published':>10}")
    for kind, rows in PUBLISHED.items():
        for num_bins, (snr, detf) in rows.items():
            found = scores(usual, kind, num_bins)
            name = f"{kind}, {num_bins} bins"
            print(f"{name:20}{found[0]:10.1f}{snr:10.1f}{found[1]:10.2f}{detf:10.1f}", flush=True)
    others = {
        "120 slices": challenge_spectra(num_slices=120),
        "effective dark energy": slice_spectra(CHALLENGE, usual.edges, usual.ell),
    }
    for name, spectra in others.items():
        found = scores(spectra, "buzzard", 9)
        print(f"buzzard, 9 bins, {name}: snr {found[0]:.1f}, detf {found[1]:.2f}", flush=True)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=40_000)
    parser.add_argument("--bins", type=int, nargs="+", default=[3, 5, 7, 9])
    parser.add_argument("--kinds", nargs="+", default=["dc2", "buzzard"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    parser.add_argument("--published", action="store_true", help="nothing but published scores")
    options = parser.parse_args()
    if options.published:
        return published()
    spectra = {"train": challenge_spectra(num_ell=25), "score": challenge_spectra()}
    about = {"commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M"),
             "galaxies": options.galaxies}  # fmt: skip
    results: dict[str, Any] = about | {"step_ms": step_time(spectra["train"])}
    print(f"update of 9 bins, 100,000 galaxies: {results['step_ms']} ms", flush=True)
    for kind in options.kinds:
        train, test = mock_catalogue(options.galaxies, options.seed, kind=kind).split(
            options.galaxies // 2
        )
        print(f"{kind:38}{'snr':>10}{'fom':>10}{'detf':>10}")
        results[kind] = {
            str(n): compare(train, test, n, spectra, options.seed) for n in options.bins
        }
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    results["finite"] = f"{finite_seeds(spectra['train'], options.seeds)} of {options.seeds}"
    print(f"finite: {results['finite']}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
