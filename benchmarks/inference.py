"""What samplers cost and whether they are right: `python -m benchmarks.inference`.

Gradients for each effective draw, of the mean and of the squares, for HMC, NUTS and microcanonical
dynamics: on Gaussians of condition 100 in 100 and 1000 dimensions, rotated at random, and on the
linear field-level problem with sigma8 free. Gradients are those of a chain that waits for no
other. The field-level posterior at fixed sigma8 against the exact Gaussian one, made with NumPy.
Simulation-based calibration of fields and sigma8. Evidence of Gaussians and of a banana, by
Laplace and by variational fits. The 21 parameters of
`examples/cosmological_parameters_3x2pt.py`, with emcee (an extra of the bench) beside NUTS.
"""

import argparse
import json
import pathlib
import runpy
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import stats

import rim
from benchmarks.provenance import commit
from flowpm_ext.core.seeds import standard_normal
from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.inference import (
    Draws,
    Normal,
    Parameter,
    Space,
    effective_sample_size,
    fit_variational,
    laplace,
    sample,
)

CONDITION = 100.0  # of covariances
CELL, NOISE, SIDE = 6.25, 0.7, 16  # Mpc/h, standard deviation in a cell, cells
EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "cosmological_parameters_3x2pt.py"
QUIET = {"progress": False, "seed": 1}


def cost(draws: Draws, components: np.ndarray) -> dict[str, float]:
    """Gradients for each effective draw of some components [num_samples, num_chains, num]."""
    total = draws.gradients_per_draw * components.shape[0] * components.shape[1]
    centred = components - components.mean(axis=(0, 1))
    means, squares = effective_sample_size(components), effective_sample_size(centred**2)
    return {
        "mean": total / means.mean(), "squares": total / squares.mean(),
        "worst": total / min(means.min(), squares.min()),
        "ess_per_draw": float(means.mean() / components[..., 0].size),
    }  # fmt: skip


def shown(name: str, found: dict[str, float]) -> None:
    """Print a row."""
    print(
        f"{name:28s}", "  ".join(f"{key} {value:.3g}" for key, value in found.items()), flush=True
    )


def gaussian(size: int, num_samples: int) -> dict[str, dict[str, float]]:
    """A Gaussian along random axes, started from exact draws."""
    rng = np.random.default_rng(size)
    axes = np.linalg.qr(rng.normal(size=(size, size)))[0]
    widths = np.geomspace(1, np.sqrt(CONDITION), size)
    whiten = tf.constant(axes / widths)

    def log_prob(values: dict) -> tf.Tensor:
        return -0.5 * tf.reduce_sum(tf.matmul(values["x"], whiten) ** 2, axis=1)

    start = {"x": (rng.normal(size=(4, size)) * widths) @ axes.T}
    found, space = {}, Space({"x": Parameter((size,))})
    # Half of a turn in the units of the mean width is about a quarter of one in the widest.
    for method, options in {
        "hmc": {"trajectory": np.pi}, "nuts": {}, "mams": {}, "mclmc": {},
        "mclmc, length x 2": {"length": 2 * np.sqrt(size)},
    }.items():  # fmt: skip
        times = 4 if method[0] == "m" else 1
        draws = sample(
            log_prob, space, times * num_samples, method.partition(",")[0], start=start,
            num_warmup=200, **options, **QUIET,
        )  # fmt: skip
        along = draws.vectors @ axes / widths
        found[method] = cost(draws, along) | {
            "variance": along.var(), "variance of narrowest tenth": along[..., : size // 10].var(),
        }  # fmt: skip
        shown(f"{size} dimensions, {method}", found[method])
    return found


def field_problem(y: tf.Tensor, problem: rim.InitialConditions, is_free: bool = True):
    """Log posterior of fields in round coordinates and of sigma8, of a data set or one each."""
    fiducial = float(problem.cosmo.sigma8)

    def log_prob(values: dict) -> tf.Tensor:
        u = values["field"]
        field = problem.to_unknown(u, "wiener")
        observed = tf.broadcast_to(y, tf.shape(u))
        amplitude = values["sigma8"][:, None, None, None] / fiducial if is_free else 1.0
        mean = tf.reduce_mean(u, axis=[1, 2, 3])
        prior = problem.log_prior(field) - 0.5 * SIDE**3 * mean**2
        return problem.log_likelihood(amplitude * field, observed) + prior

    return log_prob


def make_problem() -> rim.InitialConditions:
    """The linear problem of 16 cells along a side."""
    return rim.InitialConditions(Planck15(), SIDE, CELL * SIDE, dynamics="linear", noise_std=NOISE)


def field_space(low: float = 0.4, high: float = 1.3) -> Space:
    """Fields and sigma8."""
    shape = (SIDE, SIDE, SIDE)
    return Space({"field": Parameter(shape), "sigma8": Parameter((), low, high)}, tf.float32)


def exact_field(y: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean of the posterior of the linear field [n, n, n], and its variance in a cell."""
    wave = 2 * np.pi * np.fft.fftfreq(SIDE, CELL)
    k = np.sqrt(sum(part**2 for part in np.meshgrid(wave, wave, wave, indexing="ij")))
    signal = np.zeros_like(k)
    signal[k > 0] = power.linear_matter_power(Planck15(), k[k > 0]).numpy() / CELL**3
    gain = signal / (signal + NOISE**2)
    mean = np.fft.ifftn(gain * np.fft.fftn(y)).real
    return mean, float(np.mean(gain * NOISE**2))


def exact_field_check(num_samples: int) -> dict[str, dict[str, float]]:
    """Mean and variance of the field at fixed sigma8 by each sampler, over the exact ones."""
    problem = make_problem()
    _, y = problem.simulate(3)
    mean, variance = exact_field(y[0].numpy().astype(float))
    space = Space({"field": Parameter((SIDE,) * 3)}, tf.float32)
    found = {}
    for method in ("hmc", "nuts", "mams", "mclmc"):
        times = 4 if method[0] == "m" else 1
        draws = sample(
            field_problem(y, problem, False), space, times * num_samples, method,
            num_warmup=100, metric="unit", start={"field": np.zeros((SIDE,) * 3)}, **QUIET,
        )  # fmt: skip
        u = draws.values["field"].reshape(-1, SIDE, SIDE, SIDE)
        x = np.concatenate([problem.to_unknown(tf.constant(part), "wiener")
                            for part in np.array_split(u, 20)])  # fmt: skip
        ess = float(np.mean(draws.ess["field"]))
        error = np.sqrt(np.mean((x.mean(axis=0) - mean) ** 2) / np.mean(mean**2))
        found[method] = cost(draws, draws.vectors[..., ::16]) | {
            "error of the mean": error,
            "of it by chance": np.sqrt(variance / ess / np.mean(mean**2)),
            "variance over exact": float(np.mean(x.var(axis=0)) / variance),
        }  # fmt: skip
        shown(f"field at fixed sigma8, {method}", found[method])
    return found


def free_field(num_samples: int) -> dict[str, dict[str, float]]:
    """Fields with sigma8 free, and the exact posterior of sigma8."""
    problem, found = make_problem(), {}
    _, y = problem.simulate(3)
    start = {"field": np.zeros((SIDE,) * 3), "sigma8": 0.7}
    for name, options in {
        "nuts": {}, "mams": {}, "mclmc": {}, "mclmc, error 1e-5": {"energy_error": 1e-5, "thin": 8},
    }.items():  # fmt: skip
        method = name.partition(",")[0]
        times = 4 if method[0] == "m" else 1
        draws = sample(field_problem(y, problem), field_space(), times * num_samples, method,
                       num_warmup=300, start=start, **options, **QUIET)  # fmt: skip
        sigma8 = draws.values["sigma8"]
        field = draws.values["field"].reshape(*sigma8.shape, -1)[..., ::16]
        of_sigma8 = cost(draws, sigma8[..., None])
        found[name] = cost(draws, field) | {
            "sigma8": sigma8.mean(), "width": sigma8.std(),
            "gradients per draw of sigma8": of_sigma8["worst"],
            "R-hat": float(draws.r_hat["sigma8"]),
        }  # fmt: skip
        shown(f"field and sigma8, {name}", found[name])
    return found


def calibration(num: int = 50, num_samples: int = 63) -> dict[str, dict[str, float]]:
    """Ranks of the truth among draws, over simulations that are sampled side by side."""
    problem = make_problem()
    rng = np.random.default_rng(7)
    truth = rng.uniform(0.6, 1.0, num).astype(np.float32)
    x, _ = problem.simulate(11, num)
    scale = truth[:, None, None, None] / float(problem.cosmo.sigma8)
    y = problem.observe(scale * x, seed=12)
    space = field_space(0.6, 1.0)
    start = Normal(tf.zeros([space.size]), tf.ones([space.size]))
    found = {}
    for method, options in (
        ("hmc", {}), ("mams", {"thin": 8}), ("mclmc", {"thin": 40, "energy_error": 1e-5}),
    ):  # fmt: skip
        draws = sample(field_problem(y, problem), space, num_samples, method, num_chains=num,
                       num_warmup=300, metric="unit", start=start, **options, **QUIET)  # fmt: skip
        u = draws.values["field"]
        fields = np.stack([problem.to_unknown(tf.constant(part), "wiener") for part in u])
        quantities = {
            "sigma8": (draws.values["sigma8"], truth),
            "a cell": (fields[:, :, 3, 5, 7], x.numpy()[:, 3, 5, 7]),
            "power": (np.var(fields, axis=(2, 3, 4)), np.var(x, axis=(1, 2, 3))),
        }
        for name, (drawn, true) in quantities.items():
            rank = np.sum(drawn < true, axis=0)
            counts = np.bincount(rank * 8 // (num_samples + 1), minlength=8)
            lag = np.mean([np.corrcoef(c[1:], c[:-1])[0, 1] for c in drawn.T if np.ptp(c) > 0])
            found[f"{method}, {name}"] = {
                "p-value": float(stats.chisquare(counts).pvalue),
                "in central 68 %": float(np.mean(np.abs((rank + 0.5) / (num_samples + 1) - 0.5)
                                                 < 0.34)),
                "correlation of neighbours": float(lag),
                "chains that stood still": float(np.sum(np.ptp(drawn, axis=0) == 0)),
            }  # fmt: skip
            shown(f"calibration, {method}, {name}", found[f"{method}, {name}"])
    return found


def parameters(num_steps: int) -> dict[str, dict[str, float]]:
    """NUTS of the example, and emcee on the same posterior."""
    import emcee

    example = runpy.run_path(str(EXAMPLE), run_name="example")
    space, log_prob, guess = (example[key] for key in ("space", "log_prob", "guess"))
    ess, widths = example["ess"], example["widths"] / example["errors"]
    found = {"nuts": {
        "seconds": example["seconds"], "least ESS": ess.min(),
        "ESS per draw": ess.min() / example["chains"][..., 0].size,
        "seconds per ESS": example["seconds"] / ess.min(), "R-hat": example["r_hat"].max(),
        "least width": widths.min(), "largest width": widths.max(),
    }}  # fmt: skip
    shown("21 parameters, NUTS", found["nuts"])
    num_walkers = 64
    density = tf.function(space.log_prob(log_prob), jit_compile=True, autograph=False)
    density(tf.zeros([num_walkers // 2, space.size], tf.float64))  # compiled before the clock
    walkers = emcee.EnsembleSampler(
        num_walkers, space.size, lambda u: density(tf.constant(u)).numpy(), vectorize=True
    )
    began = time.perf_counter()
    # Half of the ensemble moves at a time, which is the shape that is compiled.
    state = emcee.State(guess.sample(num_walkers, 1).numpy())
    state.log_prob = np.concatenate([density(part).numpy() for part in np.split(state.coords, 2)])
    walkers.run_mcmc(state, num_steps)
    seconds = time.perf_counter() - began
    chains = space.values(walkers.get_chain()[num_steps // 4 :])
    ess = effective_sample_size(example["flat"](chains).numpy())
    found["emcee"] = {
        "seconds": seconds, "least ESS": ess.min(), "seconds per ESS": seconds / ess.min(),
        "steps": num_steps, "autocorrelation": float(np.max(walkers.get_autocorr_time(tol=0))),
    }  # fmt: skip
    shown("21 parameters, emcee", found["emcee"])
    return found


def random_gaussian(size: int) -> tuple[Callable, Space, float]:
    """A Gaussian of random axes that is not normalised, and its log evidence."""
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(size, size)) / np.sqrt(size)
    precision = tf.constant(factor @ factor.T + np.eye(size))
    mean = standard_normal([size], 1, tf.float64)

    def log_prob(values: dict) -> tf.Tensor:
        offset = values["x"] - mean
        return -0.5 * tf.einsum("ci,ij,cj->c", offset, precision, offset)

    exact = 0.5 * (size * np.log(2 * np.pi) - np.linalg.slogdet(precision)[1])
    return log_prob, Space({"x": Parameter((size,))}), exact


def banana() -> tuple[Callable, Space, float]:
    """A normal number x, and one of width .5 around x**2 - 1."""

    def log_prob(values: dict) -> tf.Tensor:
        x, y = tf.unstack(values["x"], axis=1)
        return -0.5 * x**2 - 0.5 * ((y - x**2 + 1) / 0.5) ** 2

    return log_prob, Space({"x": Parameter((2,))}), float(np.log(2 * np.pi * 0.5))


def fits() -> dict[str, dict[str, float]]:
    """Log evidence by Laplace, with and without a matrix, and by variational fits."""
    targets = {"Gaussian of 8": random_gaussian(8), "Gaussian of 21": random_gaussian(21),
               "banana": banana()}  # fmt: skip
    found = {}
    for name, (log_prob, space, exact) in targets.items():
        rows = {}
        for method in ("dense", "matrix_free"):
            fit = laplace(log_prob, space, method=method)
            rows[method] = {"off by": fit.log_evidence - exact, "error": fit.log_evidence_error}
        for family in ("mean_field", "full_rank", "flow"):
            fit = fit_variational(log_prob, space, family, **QUIET)
            weights = fit.importance
            rows[family] = {"off by": weights.log_mean - exact, "error": weights.log_mean_error,
                            "bound": fit.elbo - exact, "k_hat": weights.k_hat}  # fmt: skip
        for method, row in rows.items():
            found[f"{name}, {method}"] = {"exact": exact} | row
            shown(f"{name}, {method}", found[f"{name}, {method}"])
    return found


def main() -> None:
    """Print the tables, and keep them as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("gaussian100", "gaussian1000", "fixed", "free", "calibration", "fits", "parameters")
    parser.add_argument("--parts", default=",".join(parts), help="which to make; default: all")
    parser.add_argument("--num", type=int, default=250, help="draws of each of four chains")
    parser.add_argument("--emcee-steps", type=int, default=4000)
    parser.add_argument("--json", help="file for the numbers")
    options = parser.parse_args()
    made = {
        "gaussian100": lambda: gaussian(100, options.num),
        "gaussian1000": lambda: gaussian(1000, options.num),
        "fixed": lambda: exact_field_check(options.num),
        "free": lambda: free_field(options.num),
        "calibration": calibration,
        "fits": fits,
        "parameters": lambda: parameters(options.emcee_steps),
    }
    report = {"commit": commit(), "seed": QUIET["seed"],
              "time": time.strftime("%Y-%m-%d %H:%M")}  # fmt: skip
    for part in options.parts.split(","):
        began = time.perf_counter()
        report[part] = {"rows": made[part](), "seconds": time.perf_counter() - began}
        if options.json:  # after each part, so that an interrupted run keeps what it has
            text = json.dumps(report, indent=1, default=float)
            pathlib.Path(options.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
