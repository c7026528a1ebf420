"""Blended galaxies with a learned prior and without: `python -m benchmarks.priors.deblending`.

A denoiser learns isolated galaxies of `priors.galaxies`. Case "deblending": two overlapping
galaxies in five bands with known spectra and point-spread functions. The mode of the posterior
with the learned prior, and the non-negative least squares solution run to convergence, are
compared by the error of the fluxes and that of the shapes (as `flux_error` and `morphology_error`
define them, through the sharpest band's point-spread function), each the mean over the galaxies
of a blend. Bar: both errors below those of non-negative least squares on at least 80 % of blends.

Case "density": the log density, by the probability flow, of an isolated galaxy and of a blend of
it and another, moved by some pixels, with the flux of the isolated one. Both have the same noise
on them, and random directions of the divergence are shared. Bar: the isolated one is denser in at
least 95 % of pairs.
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np

from benchmarks.provenance import commit
from priors.blends import blend, blend_likelihood, overlapping_pairs
from priors.deblending import (
    SourceScore,
    annealed_mode,
    flux_error,
    morphology_error,
    nonnegative_least_squares,
)
from priors.denoiser import Denoiser
from priors.galaxies import galaxy_denoiser
from priors.score import LearnedScore

OUTPUT = pathlib.Path(__file__).parent / "results" / "deblending.json"
SIDE, MARGIN = 32, 8
LEAST_SHARE, LEAST_RANKED = 0.8, 0.95
SIGMAS_OF_DENSITY = (0.1,)
METHODS = ("learned", "nnls")


def network(options: argparse.Namespace) -> tuple[Denoiser, float | None]:
    """The denoiser of a file, or a new one, and how many seconds of one core it took."""
    path = options.weights
    if path is not None and path.exists():
        return keras.models.load_model(path), None
    start = time.process_time()
    model = galaxy_denoiser(SIDE, options.steps, options.seed)
    seconds = time.process_time() - start
    if path is not None:
        model.save(path)
    return model, seconds


def errors_of_blend(score: SourceScore, seed: int, noise_std: float) -> dict[str, dict]:
    """Both errors of both methods on one blend."""
    truth = blend(seed, side=SIDE, margin=MARGIN, noise_std=noise_std)
    likelihood = blend_likelihood(truth)
    psf = truth.psf[-1, MARGIN:-MARGIN, MARGIN:-MARGIN]
    rows = {}
    for name, solve in (
        ("learned", lambda: annealed_mode(likelihood, score)),
        ("nnls", lambda: nonnegative_least_squares(likelihood)),
    ):
        start = time.perf_counter()
        found = solve()
        rows[name] = {
            "flux": float(np.mean(flux_error(found.images, truth.sources))),
            "morphology": float(np.mean(morphology_error(found.images, truth.sources, psf))),
            "iterations": found.iterations, "residual": found.residual,
            "seconds": time.perf_counter() - start,
        }  # fmt: skip
    return rows


def deblending(model: Denoiser, num: int, seed: int, noise_std: float) -> dict[str, Any]:
    """All numbers of blends."""
    score = SourceScore(model)
    rows = [errors_of_blend(score, seed + number, noise_std) for number in range(num)]
    return summary(rows) | {"noise_std": noise_std}


def summary(rows: list[dict[str, dict]]) -> dict[str, Any]:
    """What the blends say together."""
    found = {name: {key: [row[name][key] for row in rows] for key in rows[0][name]}
             for name in METHODS}  # fmt: skip
    kinds = ("flux", "morphology")
    wins = {kind: np.less(found["learned"][kind], found["nnls"][kind]) for kind in kinds}
    both = wins["flux"] & wins["morphology"]
    medians = {name: {key: float(np.median(value)) for key, value in found[name].items()}
               for name in METHODS}  # fmt: skip
    return {
        "num_blends": len(rows), "median": medians,
        "largest residual": {name: float(np.max(found[name]["residual"])) for name in METHODS},
        "share better in": {kind: float(np.mean(wins[kind])) for kind in kinds}
        | {"both": float(np.mean(both))},
        "errors": {name: {kind: np.round(found[name][kind], 5).tolist() for kind in kinds}
                   for name in METHODS},
        "passed": bool(np.mean(both) >= LEAST_SHARE),
    }  # fmt: skip


def density(model: Denoiser, num: int, seed: int) -> dict[str, Any]:
    """How often an isolated galaxy is denser than its blend."""
    score, pairs = LearnedScore(model), overlapping_pairs(num, SIDE, seed)
    noise = np.random.default_rng(seed).normal(size=pairs[0].shape).astype(np.float32)
    rows = []
    for sigma in SIGMAS_OF_DENSITY:
        start = time.perf_counter()
        values = [score.log_prob(x + sigma * noise, sigma, num_steps=16, seed=seed).numpy()
                  for x in pairs]  # fmt: skip
        difference = values[0] - values[1]
        rows.append({
            "sigma": sigma, "ranked": float(np.mean(difference > 0)),
            "median difference": float(np.median(difference)),
            "scatter of log density": float(np.std(values[0])),
            "seconds": time.perf_counter() - start,
        })  # fmt: skip
    worst = min(row["ranked"] for row in rows)
    return {"num_pairs": num, "by sigma": rows, "passed": worst >= LEAST_RANKED}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    cases = ("deblending", "density")
    parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    parser.add_argument("--num", type=int, default=100, help="blends, and pairs")
    parser.add_argument("--steps", type=int, default=3000, help="of training")
    parser.add_argument("--noise-std", type=float, default=0.1)
    parser.add_argument("--weights", type=pathlib.Path, help=".keras file to read, or to make")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    model, seconds = network(options)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    if seconds is not None:
        results["training"] = {"num_steps": options.steps, "seconds_of_a_core": round(seconds, 1)}
    for case in options.cases:
        if case == "density":
            found = density(model, options.num, options.seed + 1)
        else:
            found = deblending(model, options.num, 1000 * (options.seed + 1), options.noise_std)
        about = {"commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M")}
        results[case] = found | about
        short = {key: value for key, value in results[case].items() if key != "errors"}
        print(f"{case}: {json.dumps(short, indent=1)}", flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
