"""Draws of the prior of mass maps beside the maps that it learned from, and maps that it did not.

Run `python -m benchmarks.priors.draws --maps maps --prior DIR`, with what `python -m priors train
--simulate --out DIR` wrote (its maps are in `DIR/maps`). It prints a table and keeps all numbers.
"""

import argparse
import itertools
import json
import pathlib
import time
from typing import Any

import numpy as np

import priors
from benchmarks.priors.mass_mapping import ALL, scatter, statistics, truths_of
from benchmarks.provenance import commit
from priors.map_prior import MapPrior, load_prior
from priors.map_spectrum import spectrum
from priors.training_maps import HELD_OUT, TRAINING

OUTPUT = pathlib.Path(__file__).parent / "results" / "draws.json"
BANDS = (500, 1500, 3000, 6000, 12000)  # edges, in ell, of the table
LEAST_ELL, ASKED = 500, 0.03  # bins above it are to be within so much


def compared(
    prior: MapPrior, sets: dict[str, np.ndarray], num_draws: int, seed: int
) -> dict[str, Any]:
    """Spectra, tails and peaks of draws by the flow, and of maps [num, side, side] by name."""
    training = sets[TRAINING]
    sides, size, rms = training.shape[1:], prior.pixel_size_arcmin, float(training.std())
    power = prior.trained_power(sides).astype(np.float32)
    score, start = priors.HybridScore(power, prior.estimator, power), time.perf_counter()
    found = priors.sample_prior(score, sides, num_draws, seed, method="flow", progress=False)
    seconds = time.perf_counter() - start
    ell, expected = spectrum(training, size)
    each = np.stack([spectrum(one[None], size)[1] for one in found.samples]) / expected
    ratio, asked = each.mean(axis=0), ell > LEAST_ELL
    sets = {"draws": found.samples} | sets
    return {
        "draws": num_draws, "side": sides[0], "maps": {k: len(maps) for k, maps in sets.items()},
        "seconds": seconds, "calls of the score": int(found.num_scores),
        "ell": ell.round(1).tolist(),
        "power over that of training maps": {
            "draws": ratio.round(4).tolist(),
            "error of draws": (each.std(axis=0) / np.sqrt(num_draws)).round(4).tolist(),
            "held out": (spectrum(sets[HELD_OUT], size)[1] / expected).round(4).tolist(),
        },
        "bins asked for": int(asked.sum()),
        "bins that keep to it": int(np.sum(np.abs(ratio[asked] - 1) <= ASKED)),
        "farthest bin": float(ratio[asked][np.argmax(np.abs(ratio[asked] - 1))] - 1),
        "statistics": {name: statistics(maps, rms) for name, maps in sets.items()},
        "scatter of a training map": scatter([statistics(one[None], rms) for one in training],
                                             of_mean=False),
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The numbers in short, as Markdown."""
    lines = ["| | draws | training maps (scatter of one) | held-out maps |", "|---|---|---|---|"]
    ell, powers = np.array(found["ell"]), found["power over that of training maps"]
    for low, high in itertools.pairwise(BANDS):
        inside = (ell >= low) & (ell < high)
        if inside.any():
            means = [np.mean(np.array(powers[name])[inside]) for name in ("draws", "held out")]
            lines.append(f"| power, ell {low} to {high} | {means[0]:.3f} | 1 | {means[1]:.3f} |")
    stats, around = found["statistics"], found["scatter of a training map"]
    for name, value in stats["draws"].items():
        own = f"{stats[TRAINING][name]:.4g} ({around[name]:.2g})"
        lines.append(f"| {name} | {value:.4g} | {own} | {stats[HELD_OUT][name]:.4g} |")
    kept, all_bins = found["bins that keep to it"], found["bins asked for"]
    lines.append(f"\nPower within {ASKED:.0%} in {kept} of {all_bins} bins above {LEAST_ELL}; "
                 f"the farthest is off by {found['farthest bin']:+.1%}.")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=pathlib.Path, required=True, help="folder of the maps")
    parser.add_argument("--prior", help="folder; default: the prior that comes with the package")
    parser.add_argument("--num-draws", type=int, default=256)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    prior = load_prior(options.prior) if options.prior else priors.load_pretrained()
    results: dict[str, Any] = {}
    for side in options.sides:
        sets = {name: truths_of(options.maps / name, ALL, side, options.seed)
                for name in (TRAINING, HELD_OUT)}  # fmt: skip
        about = {"commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M")}
        found = compared(prior, sets, options.num_draws, options.seed) | about
        results[str(side)] = found
        print(f"\n{found['draws']} draws of {side} x {side} pixels\n\n{table(found)}", flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
