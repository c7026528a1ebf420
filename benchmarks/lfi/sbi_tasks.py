"""Posteriors against exact ones: `python -m benchmarks.lfi.sbi_tasks`.

For each task, ten observations are drawn from the prior with a fixed seed, an ensemble is trained
with its defaults on simulations that are drawn once, and a classifier tries to tell ten thousand of
its posterior draws from as many exact ones (C2ST as the benchmark sbibm defines it; 0.5 is
perfect). Beside it stand the means that Lueckmann et al. 2021, arXiv:2101.04653, published for
single networks trained on as many simulations. Results join those in the output file.
"""

import argparse
import json
import pathlib
import time
import warnings
from typing import Any

import numpy as np

import lfi
from benchmarks.provenance import commit
from lfi.diagnostics import c2st
from lfi.nle import ChainWarning
from lfi.task import TASKS

OUTPUT = pathlib.Path(__file__).parent / "results" / "sbi_tasks.json"
METHODS = {"NPE": lfi.NPE, "NLE": lfi.NLE}
PUBLISHED = {  # mean C2ST at 10,000 simulations
    "two_moons": {"NPE": 0.606, "NLE": 0.713},
    "gaussian_linear": {"NPE": 0.552, "NLE": 0.555},
    "gaussian_linear_uniform": {"NPE": 0.553, "NLE": 0.548},
    "gaussian_mixture": {"NPE": 0.615, "NLE": 0.723},
    "slcp": {"NPE": 0.901, "NLE": 0.771},
}
OBSERVATION_SEED = 2021


def measure(
    name: str, method: str, num_simulations: int, num_observations: int, num_draws: int, seed: int
) -> dict[str, Any]:
    """C2ST of one method on one task, for each observation."""
    task = TASKS[name]()
    _, x_obs = task.draw(10, seed=OBSERVATION_SEED)
    theta, x = task.draw(num_simulations, seed=seed)
    start = time.perf_counter()
    estimator = METHODS[method](task.prior, seed=seed).append_simulations(theta, x).fit(verbose=0)
    trained = time.perf_counter()
    posteriors = [estimator.posterior(x_obs[i], check=False) for i in range(num_observations)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChainWarning)  # the table has R-hat
        draws = [posterior.sample(num_draws, seed=i) for i, posterior in enumerate(posteriors)]
    sampled = time.perf_counter()
    found = [
        c2st(task.posterior(x_obs[i], num_draws, seed=i), draws[i]) for i in range(num_observations)
    ]
    entry = {
        "c2st": [round(value, 4) for value in found],
        "mean": round(float(np.mean(found)), 4),
        "seconds_to_train": round(trained - start, 1),
        "seconds_to_sample_one": round((sampled - trained) / num_observations, 2),
        "num_simulations": num_simulations,
        "num_draws": num_draws,
        "seed": seed,
        "commit": commit(),
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }
    if method == "NLE":
        entry["worst_r_hat"] = round(float(max(p.r_hat.max() for p in posteriors)), 4)
        entry["least_ess"] = round(float(min(p.ess.min() for p in posteriors)))
    return entry


def table(results: dict[str, Any]) -> str:
    """Means and ranges beside the published ones."""
    lines = [f"{'task':26}{'method':8}{'mean':>7}{'range':>15}{'published':>11}{'train':>8}"]
    for key, entry in sorted(results.items()):
        name, method = key.split("/")
        low, high = min(entry["c2st"]), max(entry["c2st"])
        published = PUBLISHED.get(name, {}).get(method, float("nan"))
        lines.append(
            f"{name:26}{method:8}{entry['mean']:7.3f}{low:9.3f}-{high:.3f}{published:11.3f}"
            f"{entry['seconds_to_train']:7.0f}s"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", default="two_moons,gaussian_mixture,slcp,gaussian_linear")
    parser.add_argument("--methods", default="NPE,NLE")
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    for name in options.tasks.split(","):
        for method in options.methods.split(","):
            entry = measure(
                name, method, options.simulations, options.observations, options.draws,
                options.seed,
            )  # fmt: skip
            # Read again: another process may have added to it.
            path = options.output
            results = json.loads(path.read_text()) if path.exists() else {}
            results[f"{name}/{method}"] = entry
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(results, indent=1) + "\n")
            print(table(results), flush=True)


if __name__ == "__main__":
    main()
