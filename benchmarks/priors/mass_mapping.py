"""Posterior mass maps under a learned prior, beside the Wiener filter, where the truth is known.

Truths are maps of simulations that no network was trained on, seen through the mask and the
noise of COSMOS where its catalogue is at hand. Run `python -m benchmarks.priors.mass_mapping
--held-out maps/held_out.h5 --prior DIR`, with what `python -m priors train --simulate` wrote.
"""

import argparse
import itertools
import json
import os
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import stats

import priors
from benchmarks.provenance import commit
from flowpm_ext.stats import peak_counts
from priors.catalogue import read_shear_catalogue
from priors.map_prior import MapPrior, load_prior
from priors.posterior_estimators import METHOD
from priors.shear_map import bin_shear, survey_grid
from priors.training_maps import read_maps

OUTPUT = pathlib.Path(__file__).parent / "results" / "mass_mapping.json"
CATALOGUE = "cosmos/shear_catalogue.fits"
GALAXIES_PER_ARCMIN2, SIGMA_E = 72.0, 0.305  # where there is no catalogue
THRESHOLDS = (3.0, 4.0, 5.0)  # of tails, in root mean squares of the truths
PEAK_EDGES = (0.04, 0.06, 0.08, 0.12, 1.0)
WIENER_DRAWS = 64
ALL = 1_000_000  # maps
# Noise over that of the survey, and whether the mask is another one.
CASES = {"simulated": (1.0, False), "noisier": (2.0, False), "elsewhere": (1.0, True)}
HIGHEST = 0.99  # quantile of the posterior mean above which pixels are peaks


def survey(side: int, pixel_size_arcmin: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mask and noise of a part of COSMOS, or of a made-up survey, two arrays [side, side]."""
    path = pathlib.Path(os.environ.get("FLOWPM_EXT_DATA", "")) / CATALOGUE
    if os.environ.get("FLOWPM_EXT_DATA") and path.is_file():
        catalogue = read_shear_catalogue(path)
        seen = bin_shear(catalogue, survey_grid(catalogue, pixel_size_arcmin, 10.0, side))
        cut = (slice(0, side), slice(0, side))
        mask, noise_std = seen.mask[cut], seen.noise_std[cut]
    else:
        noise_std = np.full((side, side), SIGMA_E / np.sqrt(GALAXIES_PER_ARCMIN2))
        noise_std /= pixel_size_arcmin
        mask = np.random.default_rng(seed).uniform(size=(side, side)) > 0.05
        mask[:8] = mask[:, :8] = False
    return mask, np.where(mask, noise_std, 1.0).astype(np.float32)


def seen(side: int, noise: float, flip: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mask and noise of a survey with pixels of an arcminute, or of one that is like it."""
    mask, noise_std = survey(side, 1.0, seed)
    if flip:  # another mask: that of another part of the sky
        mask, noise_std = mask[::-1, ::-1].T.copy(), noise_std[::-1, ::-1].T.copy()
    return mask, noise * noise_std


def truths_of(path: pathlib.Path, num: int, side: int, seed: int) -> np.ndarray:
    """Some maps of a file, each of mean zero, [num, side, side]."""
    kappa = read_maps(path).kappa
    chosen = np.random.default_rng(seed).permutation(len(kappa))[:num]
    truths = kappa[chosen, :side, :side]
    return truths - truths.mean((1, 2), keepdims=True)


def observed(
    kappa: np.ndarray, mask: np.ndarray, noise_std: np.ndarray, seed: int
) -> priors.GaussianLikelihood:
    """The likelihood of noisy shear of a map."""
    op = priors.operators.KaiserSquires(kappa.shape)
    noise = np.random.default_rng(seed).normal(size=(2, *kappa.shape)) * noise_std
    shear = op(kappa).numpy() + (noise[0] + 1j * noise[1])
    return priors.GaussianLikelihood(op, shear.astype(np.complex64), noise_std, mask)


def ratios(found: np.ndarray, wiener: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Root mean square error over that of another map, on observed pixels."""
    errors = [np.sqrt(np.mean((x - truth)[mask] ** 2)) for x in (found, wiener)]
    return float(errors[0] / errors[1])


def covered(
    draws: np.ndarray, truth: np.ndarray, pixels: np.ndarray, level: float
) -> tuple[int, int]:
    """How many pixels have their truth within the central interval of the draws, of how many."""
    low, high = np.quantile(draws[:, pixels], [(1 - level) / 2, (1 + level) / 2], axis=0)
    inside = (truth[pixels] >= low) & (truth[pixels] <= high)
    return int(inside.sum()), int(inside.size)


def statistics(maps: np.ndarray, rms: float) -> dict[str, float]:
    """Tails and peaks of maps [num, ny, nx], as means over maps."""
    found = {f"above {t:g} rms": float(np.mean(maps > t * rms)) for t in THRESHOLDS}
    edges = np.array(PEAK_EDGES, np.float32)
    counts = peak_counts(maps[..., None].astype(np.float32), edges).numpy()[:, 0].mean(0)
    names = [f"peaks {low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    found |= dict(zip(names, map(float, counts), strict=True))
    return found | {
        "skewness": float(np.mean(stats.skew(maps.reshape(len(maps), -1), axis=1))),
        "kurtosis": float(np.mean(stats.kurtosis(maps.reshape(len(maps), -1), axis=1))),
    }


def simulated(
    prior: MapPrior,
    truths: np.ndarray,
    num_draws: int,
    noise: float,
    flip: bool,
    seed: int,
    method: str,
) -> dict[str, Any]:
    """All numbers of maps with a truth, [num, side, side]."""
    side = truths.shape[1]
    mask, noise_std = seen(side, noise, flip, seed)
    power = prior.trained_power((side, side)).astype(np.float32)
    score = priors.HybridScore(power, prior.estimator, power)
    rms, rows, learned, gaussian = float(truths.std()), [], [], []
    hits = {}
    for number, truth in enumerate(truths):
        likelihood = observed(truth, mask, noise_std, seed + number)
        start = time.perf_counter()
        found = priors.sample_posterior(
            likelihood, score, num_draws, seed + number, progress=False, **options_of(method)
        )
        seconds = time.perf_counter() - start
        wiener = priors.wiener_filter(likelihood, power).numpy()
        exact = priors.wiener_samples(likelihood, power, WIENER_DRAWS, seed + number).numpy()
        learned.append(found.samples)
        gaussian.append(exact)
        highest = mask & (found.mean > np.quantile(found.mean[mask], HIGHEST))
        for name, draws in (("learned", found.samples), ("Gaussian", exact)):
            for where, pixels in (("observed", mask), ("peaks", highest)):
                for level in (0.68, 0.95):
                    new = covered(draws, truth, pixels, level)
                    old = hits.get((name, where, level), (0, 0))
                    hits[name, where, level] = (old[0] + new[0], old[1] + new[1])
        rows.append({
            "rmse over Wiener's": ratios(found.mean, wiener, truth, mask), "seconds": seconds,
            "r_hat, median": float(np.median(found.r_hat)),
            "r_hat, 99 %": float(np.quantile(found.r_hat, 0.99)),
            "ess, median": float(np.median(found.ess)),
            "calls of the score": int(found.num_scores),
            "acceptance": float(np.mean(found.acceptance)),
        })  # fmt: skip
        print(number, json.dumps(rows[-1]), flush=True)
    by_draw = {
        name: [statistics(x, rms) for x in np.stack(draws, axis=1)[:32]]
        for name, draws in (("learned", learned), ("Gaussian", gaussian))
    }
    return {
        "method": method, "maps": len(truths), "side": side, "draws": num_draws, "noise": noise,
        "flipped": flip,
        "rmse over Wiener's": mean_and_error([row["rmse over Wiener's"] for row in rows]),
        "coverage": {
            f"{name}, {where}, {level:g}": round(inside / total, 4)
            for (name, where, level), (inside, total) in hits.items()
        },
        "truth": statistics(truths, rms),
        "truth, scatter of the mean": scatter([statistics(one[None], rms) for one in truths]),
        "statistics of draws": {name: _average(found) for name, found in by_draw.items()},
        "chains": _average([{k: v for k, v in row.items() if "rmse" not in k} for row in rows]),
    }  # fmt: skip


def options_of(method: str) -> dict[str, Any]:
    """What mass maps are made with, or another method with its defaults."""
    return dict(METHOD) if method == METHOD["method"] else {"method": method}


def mean_and_error(values: list[float]) -> list[float]:
    """The mean, and the error of it."""
    return [float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))]


def _average(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def scatter(rows: list[dict[str, float]], of_mean: bool = True) -> dict[str, float]:
    """Standard deviation of each number, or of the mean of all rows."""
    root = np.sqrt(len(rows)) if of_mean else 1.0
    return {name: float(np.std([row[name] for row in rows], ddof=1) / root) for name in rows[0]}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--held-out", required=True, help="maps that were not trained on")
    parser.add_argument("--prior", help="folder; default: the prior that comes with the package")
    parser.add_argument("--method", default=METHOD["method"], help="of `sample_posterior`")
    parser.add_argument("--num-maps", type=int, default=20)
    parser.add_argument("--num-draws", type=int, default=100)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    prior = load_prior(options.prior) if options.prior else priors.load_pretrained()
    truths = truths_of(options.held_out, options.num_maps, options.side, options.seed)
    seed = options.seed
    tf.random.set_seed(seed)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for case in options.cases:
        about = {"commit": commit(), "seed": seed, "time": time.strftime("%Y-%m-%d %H:%M")}
        found = simulated(prior, truths, options.num_draws, *CASES[case], seed, options.method)
        results[case] = found | about
        print(f"{case}: {json.dumps(results[case], indent=1)}", flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
