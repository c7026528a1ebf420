"""What the command line does to find out whether posteriors deserve belief."""

import argparse
import json
import pathlib
from typing import Any

import numpy as np
from tqdm import tqdm

from flowpm_ext.core import checks
from lfi import dataset, plot
from lfi.arguments import are_names_of
from lfi.commands import require_new
from lfi.dataset import Simulations
from lfi.diagnostics import expected_coverage, sbc_ranks, sbc_test, tarp_coverage
from lfi.estimator import Estimator
from lfi.nle import NLE
from lfi.saving import load_estimator

CLAIMED = 0.68, 0.95
AT_ONCE = 20  # observations whose posteriors are sampled together


def diagnose(options: argparse.Namespace) -> None:
    """Compare posteriors of held-out simulations with the parameters that made them.

    Args:
        options: What the parser understood.

    Raises:
        ValueError: If an input cannot be used.
        OSError: If a file cannot be written.
    """
    folder = pathlib.Path(options.output or pathlib.Path(options.folder) / "diagnosis")
    files = [folder / name for name in ("diagnosis.json", "coverage.png", "ranks.png")]
    require_new(files, options.overwrite)
    estimator = load_estimator(options.folder)
    data = _held_out(estimator, dataset.read_simulations(options.data), options.num)
    samples, of_samples, of_theta = _posteriors(estimator, data, options)
    ranks = sbc_ranks(samples, data.theta, options.seed)
    test = sbc_test(ranks, options.draws, options.seed)
    coverage = expected_coverage(
        samples, data.theta, np.arange(1, 100) / 100, log_prob_samples=of_samples,
        log_prob_theta=of_theta, seed=options.seed,
    )  # fmt: skip
    tarp = tarp_coverage(samples, data.theta, seed=options.seed)
    rows = [np.searchsorted(coverage.levels, level - 1e-9) for level in CLAIMED]
    report = {
        "num_observations": len(data.x), "num_draws": options.draws, "names": data.names,
        "ks_p_value": test.ks_p_value.tolist(), "chi2_p_value": test.chi2_p_value.tolist(),
        "ranks_passed": test.passed, "levels": list(CLAIMED),
        "coverage": coverage.coverage[rows].tolist(), "joint": coverage.joint[rows].tolist(),
        "band": np.stack([coverage.low[rows], coverage.high[rows]], -1).tolist(),
        "tarp_atc": tarp.atc, "tarp_p_value": tarp.p_value,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    plot.coverage_figure([coverage, tarp], data.names).savefig(files[1], dpi=110)
    plot.rank_figure(ranks, options.draws, data.names).savefig(files[2], dpi=110)
    files[0].write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(diagnosis_table(report))
    print(f"report and figures: {folder}")


def diagnosis_table(report: dict[str, Any]) -> str:
    """What `diagnose` found, for people.

    Args:
        report: As in diagnosis.json.

    Returns:
        A line for each parameter, and some for all together.
    """
    levels = "".join(f"{f'in {level:.0%}':>9}" for level in report["levels"])
    width = max(9, *map(len, report["names"]))
    lines = [f"{'parameter':<{width}}   KS p  chi2 p{levels}"]
    columns = zip(*report["coverage"], strict=True)
    tests = zip(report["names"], report["ks_p_value"], report["chi2_p_value"], strict=True)
    for (name, ks, chi2), inside in zip(tests, columns, strict=True):
        lines.append(f"{name:<{width}}{ks:7.3f} {chi2:7.3f}" + "".join(f"{x:9.3f}" for x in inside))
    joint = "".join(f"{x:9.3f}" for x in report["joint"])
    lines.append(f"{'together':<{width}}{'':15}{joint}")
    bands = ", ".join(f"{low:.3f} to {high:.3f}" for low, high in report["band"])
    verdict = "look uniform" if report["ranks_passed"] else "are not uniform"
    lines.append(f"an exact posterior has 95 % of the time {bands}; ranks {verdict}")
    lines.append(f"TARP: ATC {report['tarp_atc']:+.3f}, p = {report['tarp_p_value']:.3f}")
    return "\n".join(lines)


def _held_out(estimator: Estimator, data: Simulations, num: int) -> Simulations:
    """The first simulations, after a check that none was trained on."""
    checks.positive_integers(num=num)
    data = data.take(np.arange(min(num, len(data.x))))
    checks.require(len(data.x) >= 40, "data", "hold at least 40 simulations", len(data.x))
    estimator.checked_observation(data.x)
    names = list(estimator.prior.names)
    checks.require(are_names_of(data.names, names), "names", f"be {names}", data.names)
    shape = estimator.theta.shape[1:]
    fits = data.theta.shape[1:] == shape
    checks.require(fits, "theta", f"have shape [num, {shape[0]}]", data.theta.shape)
    inside = bool(np.all(np.isfinite(estimator.prior.log_prob(data.theta))))
    checks.require(inside, "theta", "lie inside of the prior", "some that do not")
    trained = {row.tobytes() for row in estimator.x}
    known = sum(row.tobytes() in trained for row in data.x)
    received = f"{known} of {len(data.x)} that were"
    checks.require(known == 0, "data", "hold what was not trained on", received)
    return data._replace(names=tuple(names))


def _posteriors(
    estimator: Estimator, data: Simulations, options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws [draws, num, num_parameters] and their log density, and that of the truths [num]."""
    checks.positive_integers(draws=options.draws)
    is_nle = isinstance(estimator, NLE)
    # Chains of all observations run side by side and compile once; draws of a flow need not.
    size = len(data.x) if is_nle else AT_ONCE
    words = {"progress": True} if is_nle else {}
    parts = []
    for start in tqdm(range(0, len(data.x), size), unit="batch", disable=is_nle):
        rows = slice(start, start + size)
        posterior = estimator.posterior(data.x[rows], check=False)
        draws = posterior.sample(options.draws, options.seed + start, **words)
        theta = data.theta[rows][None]
        parts.append((draws, posterior.log_prob(draws), posterior.log_prob(theta)[0]))
    if is_nle:
        print(f"R-hat at most {posterior.r_hat.max():.3f}")
    samples, of_samples, of_theta = zip(*parts, strict=True)
    return np.concatenate(samples, 1), np.concatenate(of_samples, 1), np.concatenate(of_theta)
