"""Whether posteriors deserve belief, and what they cost: `python -m benchmarks.lfi.calibration`.

A linear-Gaussian task of five parameters and ten data, whose posterior is known, learned from
5,000 simulations with the defaults. 500 observations are drawn from the prior; the posteriors of
all of them are sampled in one call, and judged by ranks (SBC), by TARP, and for ten of them by a
classifier (C2ST). Seconds are of a second call, when all is compiled.
"""

import argparse
import json
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

import lfi
from benchmarks.provenance import commit
from lfi.diagnostics import c2st, expected_coverage, sbc_ranks, sbc_test, tarp_coverage
from lfi.task import linear_gaussian

OUTPUT = pathlib.Path(__file__).parent / "results" / "calibration.json"
NUM_PARAMETERS, NUM_DATA = 5, 10
NUM_CLASSIFIED, NUM_DRAWS, NUM_RANKED = 10, 10_000, 500


def measure(method: str, num_simulations: int, num_observations: int, seed: int) -> dict[str, Any]:
    """All numbers of one method."""
    task = linear_gaussian(NUM_PARAMETERS, NUM_DATA, seed=1)
    theta, x = task.draw(num_simulations, seed=seed)
    truth, x_obs = task.draw(num_observations, seed=seed + 1)
    start = time.perf_counter()
    kind = {"NPE": lfi.NPE, "NLE": lfi.NLE}[method]
    estimator = kind(task.prior, num_members=5, seed=seed).append_simulations(theta, x)
    estimator.fit(verbose=0)
    seconds = {"train five members": time.perf_counter() - start}

    def sampled(x: np.ndarray, num: int, name: str) -> Any:
        posterior = estimator.posterior(x, check=False)
        for again in range(2):
            start = time.perf_counter()
            draws = posterior.sample(num, seed=again)
            seconds[name] = time.perf_counter() - start
        return posterior, draws

    one, draws = sampled(x_obs[0], NUM_DRAWS, "10,000 draws of one")
    found: dict[str, Any] = {}
    if method == "NLE":
        found |= {"r_hat": float(one.r_hat.max()), "ess": float(one.ess.min())}
    scores = [c2st(task.posterior(x_obs[0], NUM_DRAWS, seed=0), draws)]
    for i in range(1, NUM_CLASSIFIED):
        draws = estimator.posterior(x_obs[i], check=False).sample(NUM_DRAWS, seed=i)
        scores.append(c2st(task.posterior(x_obs[i], NUM_DRAWS, seed=i), draws))
    many, draws = sampled(x_obs, NUM_RANKED, f"{num_observations} observations in one call")
    if method == "NLE":
        found |= {"r_hat of all, 99 %": float(np.quantile(many.r_hat, 0.99))}
    test = sbc_test(sbc_ranks(draws, truth), NUM_RANKED)
    tarp = tarp_coverage(draws, truth, seed=seed)
    coverage = expected_coverage(draws, truth, (0.68, 0.95))
    return found | {
        "c2st": np.round(scores, 4).tolist(), "mean": float(np.mean(scores)),
        "sbc_p": np.asarray(test.ks_p_value).tolist(), "tarp_atc": tarp.atc,
        "tarp_p": tarp.p_value, "coverage": coverage.coverage.tolist(),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "commit": commit(), "seed": seed, "time": time.strftime("%Y-%m-%d %H:%M"),
        "num_simulations": num_simulations,
    }  # fmt: skip


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=("NPE", "NLE"), default=["NPE", "NLE"])
    parser.add_argument("--simulations", type=int, default=5000)
    parser.add_argument("--observations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(2)
    results = json.loads(options.output.read_text()) if options.output.exists() else {}
    for method in options.methods:
        found = measure(method, options.simulations, options.observations, options.seed)
        results[method] = found
        print(f"{method}: {json.dumps(found, indent=1)}", flush=True)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
