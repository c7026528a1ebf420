"""What lensing maps say, and how much of it networks find: `python -m benchmarks.lfi.lensing`.

Omega_c and sigma8 from lognormal maps of 5 degrees with shape noise. Networks compress maps, by
mutual information ("vmim") and by the error of parameters ("mse"); each training step sees new
maps with new noise. NPE then learns posteriors from summaries of other maps. Beside them stand NPE
with logarithms of spectra as summaries, the Gaussian likelihood of spectra, and the exact posterior
of all pixels by Hamiltonian Monte Carlo, which nothing can surpass. The table has figures of merit
for observations at the fiducial parameters, coverage on held-out draws of the prior, and how often
maps with wrong noise, or without non-Gaussian structure, are found strange.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.provenance import commit
from flowpm_ext.lensing import gaussian_maps
from lfi import NPE, Compressor
from lfi.compressors import information_report
from lfi.diagnostics import expected_coverage, misspecification
from lfi.full_field import FullFieldPosterior
from lfi.lensing_likelihood import PowerLikelihood
from lfi.lognormal_field import LognormalField
from lfi.saving import load_keras
from lfi.survey import NAMES, LensingTask
from lfi.survey_compressor import survey_compressor, train_on_stream

FIDUCIAL = (0.25, 0.8)  # Omega_c, sigma8
LEVELS = (0.68, 0.95)
BATCH_SIZE = 32
NUM_STRANGE = 200  # maps of each kind for the test of misspecification
NUM_RANKED = 200  # draws of each posterior for coverage
NOISE_FACTORS = (1.1, 1.5)
PLACES = ("output", "networks")  # options that say nothing of the numbers
LOSSES = ("vmim", "mse")

Summaries = dict[str, np.ndarray]


class Clock:
    """Seconds of each part.

    Args:
        seconds: Where they are kept, by name.
    """

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def __call__(self, name: str) -> None:
        """Say what the time since the last call was for."""
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now
        print(f"{name}: {self.seconds[name]:.1f} s", flush=True)


def summarizers(task: LensingTask, models: dict[str, Compressor]) -> dict[str, Callable]:
    """Functions from noisy maps to summaries, by name."""
    networks = {name: model.compress for name, model in models.items()}
    return networks | {"log C_ell": lambda x: np.log(task.spectra(x))}


def learned(task: LensingTask, theta, x: np.ndarray, epochs: int, seed: int) -> NPE:
    """Posteriors from summaries."""
    npe = NPE(task.prior, num_members=3, seed=seed)
    return npe.append_simulations(theta, x).fit(epochs=epochs, batch_size=200, verbose=0)


def calibration(npe: NPE, theta, x: np.ndarray, seed: int) -> dict[str, Any]:
    """Coverage on held-out draws of the prior, and mean log density of the truth over the prior's.

    The latter is a lower bound of the mutual information of summaries and parameters, in nats.
    """
    posterior = npe.posterior(x, check=False)
    draws = posterior.sample(NUM_RANKED, seed)
    of_truth = posterior.log_prob(theta[None])[0]
    found = expected_coverage(
        draws, theta, LEVELS, log_prob_samples=posterior.log_prob(draws), log_prob_theta=of_truth
    )
    gain = of_truth - npe.prior.log_prob(theta).numpy()
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    columns = {name: found.coverage[:, i].tolist() for i, name in enumerate(NAMES)}
    band = {"low": found.low.tolist(), "high": found.high.tolist()}
    return {
        "levels": list(LEVELS), **columns, "joint": found.joint.tolist(), "band": band,
        "information": [float(gain.mean()), float(error)],
    }  # fmt: skip


def strange_maps(task: LensingTask, seed: int) -> Summaries:
    """Noisy maps at the fiducial parameters, as simulated and in ways that they are not."""
    theta = np.tile([FIDUCIAL], [NUM_STRANGE, 1])
    clean = task.maps(theta, seed)
    found = {"as simulated": task.with_noise(clean, seed + 1)}
    for factor in NOISE_FACTORS:
        noisier = dataclasses.replace(task, sigma_e=factor * task.sigma_e)
        found[f"noise times {factor}"] = noisier.with_noise(clean, seed + 1)
    cosmo, sides = task.cosmology(theta), (task.field_size_deg, task.num_pixels)
    gaussian = gaussian_maps(cosmo, task.nz, *sides, seed=seed + 2)
    return found | {"Gaussian, same C_ell": task.with_noise(gaussian, seed + 1)}


def flagged(usual: Summaries, observed: dict[str, Summaries]) -> dict[str, dict[str, float]]:
    """Part of observations with p < 0.05, by kind of summary and of map."""
    both = "vmim and log C_ell"

    def part(kind: str, of: Summaries) -> np.ndarray:
        return np.hstack([of["vmim"], of["log C_ell"]]) if kind == both else of[kind]

    return {
        kind: {
            name: float(np.mean(misspecification(part(kind, usual), part(kind, x)).p_value < 0.05))
            for name, x in observed.items()
        }
        for kind in ("vmim", both)
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of the benchmark."""
    seed, seconds = options.seed, {}
    clock, task = Clock(seconds), LensingTask()
    field = LognormalField(task)
    models = {}
    for loss in LOSSES:
        path = pathlib.Path(options.networks or ".") / f"lens_{loss}.keras"
        if options.networks and path.exists():
            models[loss] = load_keras(path, "networks", Compressor, "Remove it to train another.")
            continue
        model = survey_compressor(task, loss, options.network == "hybrid", seed=seed)
        train_on_stream(model, field, options.steps, BATCH_SIZE, seed=seed, verbose=2)
        models[loss] = model
        clock(f"{loss} network")
        if options.networks:
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save(path)
    of = summarizers(task, models)
    theta_fit, x = task.draw(options.posterior_maps, seed + 2)
    usual = {name: function(x) for name, function in of.items()}
    truth, x = task.draw(options.held_out, seed + 3)
    held = {name: function(x) for name, function in of.items()}
    x_obs = task.simulate(np.tile([FIDUCIAL], [options.observations, 1]), seed + 4)
    observed = {name: function(x_obs) for name, function in of.items()}
    spectra = task.spectra(x_obs)
    clock("summaries of other maps")
    draws, coverage = {}, {}
    for name in of:
        npe = learned(task, theta_fit, usual[name], options.posterior_epochs, seed)
        draws[f"NPE {name}"] = npe.posterior(observed[name], check=False).sample(4000, seed)
        coverage[f"NPE {name}"] = calibration(npe, truth, held[name], seed)
        clock(f"NPE {name}")
    likelihood = PowerLikelihood(task, FIDUCIAL, seed=seed + 5)
    draws["C_ell likelihood"] = likelihood.posterior(spectra, 4000, seed)
    clock("C_ell likelihood")
    exact = FullFieldPosterior(task, field, likelihood).sample(x_obs, 4000, seed=seed)
    draws["full field"] = exact.samples
    chains = {"r_hat": float(exact.r_hat.max()), "ess": float(exact.ess.min())}
    clock("full field")
    strange = {
        name: {kind: function(x) for kind, function in of.items()}
        for name, x in strange_maps(task, seed + 6).items()
    }
    wrong = flagged(usual, strange | {"draws of the prior": held})
    clock("misspecification")
    nats = {name: tuple(one["information"]) for name, one in coverage.items()}
    report = information_report(draws, names=NAMES, reference="C_ell likelihood",
                                mutual_information=nats)  # fmt: skip
    others = {
        f"merit over {name}": information_report(draws, names=NAMES, reference=name).to_dict()
        for name in ("NPE mse", "full field")
    }
    print(f"{report}\n\nfraction of observations flagged at p < 0.05")
    return {
        "merit": report.to_dict(), **others, "coverage": coverage, "chains of full field": chains,
        "flagged": wrong, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """Print the table, and keep the numbers as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default, text in (
        ("steps", 9_000, "updates of each network, of 32 maps"),
        ("posterior-maps", 10_000, "other maps, for NPE"),
        ("posterior-epochs", 40, "epochs of NPE at the most"),
        ("held-out", 500, "draws of the prior for coverage"),
        ("observations", 20, "observations at the fiducial parameters"),
        ("seed", 2026, "seed"),
        ("threads", 2, "threads of TensorFlow"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text}; {default:,}")
    parser.add_argument(
        "--network", choices=("cnn", "hybrid"), default="hybrid",
        help="maps alone, or a network that is given the spectra too; hybrid",
    )  # fmt: skip
    parser.add_argument("--output", help="file for the numbers")
    parser.add_argument("--networks", help="folder of trained networks, kept and used again")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    sizes = {name: value for name, value in vars(options).items() if name not in PLACES}
    result = {"commit": commit(), "fiducial": FIDUCIAL, "options": sizes} | run(options)
    print(json.dumps({name: result[name] for name in ("flagged", "coverage")}, indent=1))
    if options.output:
        path = pathlib.Path(options.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
