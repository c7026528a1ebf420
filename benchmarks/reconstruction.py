"""Reconstructions of initial conditions side by side: `python -m benchmarks.reconstruction`.

Tables of r(k) and T(k), the mean over fields that nobody was trained on: the observation itself,
the Wiener filter, standard reconstruction with the smoothing that does best on these very fields,
the direct U-Net, annealed maximum a posteriori and the recurrent machine. Then the gradients of
the forward model that each search spends until its r(k) is within 0.01, in all four bins, of what
the machine ends with, or, since a maximum may never come so far, of what the search itself ends
with: counts do not depend on the computer. Last, the time of both with ten steps
of a particle mesh as the forward model, in one process.
"""

import argparse
import json
import pathlib
import time
import warnings
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import rim
from flowpm_ext.inference import minimize
from flowpm_ext.stats import cross_correlation, transfer_function
from rim.machine import adam_scaled
from rim.reconstruction import load_machine, run_machine
from rim.training import BANDS

SMOOTHINGS = (5.0, 6.5, 8.0, 10.0, 12.0, 15.0)  # Mpc/h
TOLERANCE = 0.01  # in r, of "as good as the machine"
ADAM_STEPS = 200  # of the paper's kind of search, at each scale


class Search(NamedTuple):
    """A way to look for the maximum."""

    coordinates: str
    scales: tuple[float, ...]
    evaluations: tuple[int, ...]
    start: str  # "zeros", "noise" or "standard"


SEARCHES = {
    "L-BFGS as the original ran it (linear field, noise, 2 1 0.5 0)": Search(
        "field", (2.0, 1.0, 0.5, 0.0), (200, 200, 200, 200), "noise"
    ),
    "L-BFGS in white noise (2 1 0.5 0)": Search(
        "white", (2.0, 1.0, 0.5, 0.0), (10, 10, 10, 60), "zeros"
    ),
    "L-BFGS preconditioned (1 0.5 0), the default": Search(
        "wiener", (1.0, 0.5, 0.0), (6, 6, 24), "zeros"
    ),
    "the same from standard reconstruction": Search("wiener", (0.5, 0.0), (4, 24), "standard"),
    "the same, not annealed": Search("wiener", (0.0,), (28,), "standard"),
}


def agreement(problem: rim.InitialConditions, x, truth) -> np.ndarray:
    """r(k) and T(k) in the four bins, means over fields, [2, 4]."""
    r = cross_correlation(x, truth, problem.box_size, BANDS).correlation.numpy()
    t = transfer_function(x, truth, problem.box_size, BANDS).transfer.numpy()
    return np.stack([r, t])[:, :, ::2].mean(axis=1)


def row(name: str, values: np.ndarray) -> str:
    """A line of a table."""
    r, t = ("  ".join(f"{value:.3f}" for value in part) for part in values)
    return f"{name:66s} r {r}   T {t}"


def first_estimate(problem, y: tf.Tensor, kind: str, seed: int) -> tf.Tensor:
    """Where a search starts."""
    from rim.cosmic import filtered_reconstruction

    if kind == "zeros":
        return tf.zeros_like(y)
    if kind == "standard":
        return filtered_reconstruction(problem, y)
    return tf.random.stateless_normal(y.shape, [seed, 1])


def searched(problem, y: tf.Tensor, search: Search, seed: int) -> tuple[np.ndarray, list]:
    """The unknown at every evaluation of a search, [num, nx, ny, nz]; and times."""
    loss = problem.loss_in(search.coordinates)
    u = problem.to_coordinates(first_estimate(problem, y, search.start, seed), search.coordinates)
    seen, times, began = [], [], time.perf_counter()
    for scale, evaluations in zip(search.scales, search.evaluations, strict=True):
        smoothing = tf.constant(scale, y.dtype)

        def value_and_gradient(u, smoothing=smoothing):
            found = loss(u, y, smoothing)
            seen.append(u)
            times.append(time.perf_counter() - began)
            return found

        step = 1.0 if search.coordinates == "wiener" else None
        u = minimize(value_and_gradient, u, evaluations, first_step=step).x
    return np.stack([problem.to_unknown(u, search.coordinates)[0] for u in seen]), times


def adam(problem, y: tf.Tensor, seed: int, rate: float = 0.5) -> tf.Tensor:
    """The paper's kind of search: linear field from noise, scales 1 and 0, Adam."""
    loss, one = problem.loss_in("field"), tf.ones([], y.dtype)
    u = first_estimate(problem, y, "noise", seed)
    for scale in (1.0, 0.0):
        moments = None
        for step in range(ADAM_STEPS):
            gradient = loss(u, y, scale * one)[1]
            (scaled,), moments = adam_scaled([gradient], moments, step)
            u -= rate * scaled
    return problem.to_unknown(u, "field")


def table(problem, machine, x, y, networks: dict) -> dict[str, np.ndarray]:
    """r and T of everything that gives one estimate."""
    rows = {"observation itself": agreement(problem, problem.overdensity(y), x)}
    rows["Wiener filter"] = agreement(problem, rim.wiener_filter(problem, y), x)
    tried = {
        size: agreement(problem, rim.standard_reconstruction(problem, y, size), x)
        for size in SMOOTHINGS
    }
    best = max(tried, key=lambda size: tried[size][0].sum())
    rows[f"standard reconstruction, {best:g} Mpc/h"] = tried[best]
    for name, network in networks.items():
        rows[name] = agreement(problem, network(y)[:, -1], x)
    found = rim.map_estimate(problem, y, progress=False)
    rows["annealed MAP, 24 gradients"] = agreement(problem, found.x, x)
    trajectory, _ = run_machine(machine, y, 20)
    for step in (1, 2, 3, 4, 5, 7, 10, 20):
        rows[f"CosmicRIM, step {step}"] = agreement(problem, trajectory[:, step - 1], x)
    return rows


def first_within(r: Iterable[np.ndarray], target: np.ndarray) -> int | None:
    """The number of gradients after which all bins are as good as the target."""
    for number, values in enumerate(r, 1):
        if np.all(values >= target - TOLERANCE):
            return number
    return None


def plateau(r: list[np.ndarray]) -> np.ndarray:
    """What a search ends with; its line searches end between the last few evaluations."""
    return np.median(r[-3:], axis=0)


def counts(problem, machine, x, y) -> dict[str, tuple[int | None, int]]:
    """Gradients to the machine's r(k), and to the lower of that and the search's own."""
    trajectory, _ = run_machine(machine, y)
    by_step = [agreement(problem, trajectory[:, i], x)[0] for i in range(trajectory.shape[1])]
    target = by_step[-1]
    found = {"CosmicRIM": (first_within(by_step, target),) * 2}
    for name, search in SEARCHES.items():
        runs = []
        for i in range(len(y)):
            path, _ = searched(problem, y[i : i + 1], search, i)
            runs.append(path)
        longest = max(len(run) for run in runs)
        runs = [np.concatenate([r, np.repeat(r[-1:], longest - len(r), 0)]) for r in runs]
        r = [agreement(problem, np.stack([run[i] for run in runs]), x)[0] for i in range(longest)]
        own = np.minimum(target, plateau(r))
        found[name] = first_within(r, target), first_within(r, own)
    return found


def wall_clock(make: Callable, weights: pathlib.Path) -> dict[str, float]:
    """Seconds with ten steps of a particle mesh, and r(k) in both."""
    problem = make("pm")
    x, y = problem.simulate(400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the weights are those of 2LPT, and it says so
        machine = load_machine(weights, problem)
    run = tf.function(lambda y: machine(y), autograph=False)
    run(y)
    search = SEARCHES["L-BFGS preconditioned (1 0.5 0), the default"]
    searched(problem, y, search, 0)
    times = {"CosmicRIM": [], "best L-BFGS": []}
    for _ in range(3):
        began = time.perf_counter()
        trajectory = run(y).numpy()
        times["CosmicRIM"].append(time.perf_counter() - began)
        target = agreement(problem, trajectory[:, -1], x)[0]
        path, when = searched(problem, y, search, 0)
        r = [agreement(problem, p[None], x)[0] for p in path]
        count = first_within(r, np.minimum(target, plateau(r)))
        times["best L-BFGS"].append(when[count - 1])
    print(row("CosmicRIM trained on 2LPT, particle mesh", agreement(problem, trajectory[:, -1], x)))
    print(row(f"L-BFGS, {count} gradients", agreement(problem, path[count - 1][None], x)))
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    """Print the tables, and keep them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", default="matter", help="a preset; default: matter")
    parser.add_argument("--weights", help="default: those of the package")
    parser.add_argument("--unet", help="weights of a direct U-Net")
    parser.add_argument("--num", type=int, default=8, help="fields; default: 8")
    parser.add_argument("--mesh", type=int, default=32, help="cells along a side; default: 32")
    parser.add_argument("--parts", default="table,counts,time", help="which to make; default: all")
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    problem = rim.preset(options.problem, options.mesh)
    weights = options.weights or rim.presets.shipped_weights(problem)
    machine = load_machine(weights, problem)
    networks = {}
    if options.unet:
        import keras

        objects = {"rim>DirectUNet": rim.DirectUNet}
        unet = keras.models.load_model(options.unet, objects, compile=False)
        networks[f"direct U-Net, {unet.count_params():,} weights"] = unet
    x, y = problem.simulate(2026, options.num)
    parts, report = options.parts.split(","), {}
    print(f"{options.problem}, {options.mesh}^3, {options.num} fields; k = 0.05 0.1 0.2 0.3 h/Mpc")
    if "table" in parts:
        rows = table(problem, machine, x, y, networks)
        found = [adam(problem, y[i : i + 1], i) for i in range(len(y))]
        name = f"Adam, noise, linear field, {2 * ADAM_STEPS} gradients"
        rows[name] = agreement(problem, tf.concat(found, 0), x)
        for name, values in rows.items():
            print(row(name, values), flush=True)
        report["rows"] = {name: values.tolist() for name, values in rows.items()}
    if "counts" in parts:
        report["counts"] = counts(problem, machine, x, y)
        steps = report["counts"]["CosmicRIM"][0]
        print(f"{'':66s} to the machine's r(k), or to its own; over 10 steps, over {steps} steps")
        for name, (machines, own) in report["counts"].items():
            shown = f"{machines or 'never':>5} {own:4d}   x {own / 10:.1f}   x {own / steps:.1f}"
            print(f"{name:66s} {shown}", flush=True)
    if "time" in parts:
        config = problem.get_config()
        report["seconds"] = wall_clock(
            lambda kind: rim.InitialConditions.from_config(config | {"dynamics": kind}), weights
        )
        print(report["seconds"])
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
