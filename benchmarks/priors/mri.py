"""A scan of a quarter of the lines, with a learned prior: `python -m benchmarks.priors.mri`.

y = M F x + n for made-up heads of 64^2 pixels with shading and texture (`priors.phantoms`). The
signal-to-noise ratio is the mean of the pixels of heads over the standard deviation of the noise in
each pixel of an image of all modes. A denoiser is trained on heads; each test head is one that it
never saw, with a mask and noise of its own. Beside the mean of posterior draws stand the image of
the measured modes alone and the best total variation, whose strength is that of the highest mean
PSNR on heads of their own. Asked for: the posterior mean's PSNR at least 1 dB above that of total
variation, and its error and the posterior's standard deviation correlated above .5.

PSNR is 20 log10 of the maximum of the truth over the root mean square error of all pixels.
Correlation and coverage are of the pixels of the head, where the truth is above .05. What a
correlation can reach at the most is told by errors drawn from the standard deviation itself. Some
heads are scanned again, with the same lines and new noise and with lines and noise of their own,
for the root mean square of their errors (`benchmarks.priors.error_maps`).
"""

import argparse
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import priors
from benchmarks.priors.error_maps import by_window, correlation, fair_by_window, over_scans
from benchmarks.provenance import commit
from priors.classical import total_variation_map
from priors.phantoms import brain_phantoms, cartesian_mask, scan

OUTPUT = pathlib.Path(__file__).parent / "results" / "mri.json"
SIDE, NUM_HEADS, BATCH_SIZE, RATE = 64, 8000, 16, 3e-3
FILTERS, SIGMA_MIN, SIGMA_MAX = (16, 32, 64), 0.01, 3.0
SNR, ACCELERATION, CENTER_FRACTION = 20.0, 4.0, 0.08
AIR = 0.05  # a pixel above it is of the head
STRENGTHS = np.geomspace(1.0, 64.0, 7)
NUM_TUNING = 8
OPTIONS = {"non_negative": True, "max_iterations": 3000}  # heads are, which helps
# Draws that begin in noise of their own, and chains with a Metropolis test. Chains of this length
# stay near the first structures that they find: each is about one draw.
METHODS = {
    "predictor_corrector": {"num_samples": 24, "num_chains": 6, "levels": (2.0, 0.012, 20)},
    "hmc": {
        "num_samples": 48, "num_chains": 6, "levels": (1.0, 0.018, 8), "steps_per_level": 3,
        "num_warmup": 12, "num_leapfrog": 12,
    },
}  # fmt: skip
HEADS, TUNING, TESTS = 1, 2, 3  # seeds
WIDTH_ONE = "1 x 1 pixels"
LEAST_GAIN, LEAST_CORRELATION = 1.0, 0.5  # decibels; of error and standard deviation


def trained(path: pathlib.Path, num_steps: int, seed: int) -> tuple[priors.Denoiser, float | None]:
    """The denoiser in a file, or a new one that is kept there, with the seconds that it took."""
    if path.exists():
        return keras.models.load_model(path, {"Denoiser": priors.Denoiser}), None
    keras.utils.set_random_seed(seed)
    heads = brain_phantoms(NUM_HEADS, SIDE, HEADS)
    model = priors.Denoiser(
        FILTERS, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, padding="zero", ema_momentum=0.995
    )
    model.adapt(heads)
    rate = keras.optimizers.schedules.CosineDecay(RATE, num_steps, alpha=0.01)
    model.compile(keras.optimizers.Adam(rate))
    batches = tf.data.Dataset.from_tensor_slices(heads).shuffle(len(heads), seed=0).repeat()
    start = time.process_time()
    model.fit(batches.batch(BATCH_SIZE), steps_per_epoch=num_steps, epochs=1, verbose=0)
    seconds = time.process_time() - start
    model.save(path)
    return model, seconds


def problem(
    head: np.ndarray, noise_std: float, seed: int, noise_seed: int | None = None
) -> priors.GaussianLikelihood:
    """A scan of a head, with its own mask and noise."""
    mask = cartesian_mask(head.shape, ACCELERATION, CENTER_FRACTION, seed)
    return scan(head, mask, noise_std, seed if noise_seed is None else noise_seed)


def sampled(
    likelihood: priors.GaussianLikelihood, score: priors.LearnedScore, method: str, seed: int
) -> priors.ImageSamples:
    """Draws of a head behind a scan."""
    options = dict(METHODS[method])
    options["sigmas"] = np.geomspace(*options.pop("levels"))
    return priors.sample_posterior(
        likelihood, score, seed=seed, method=method, progress=False, **options
    )


def scanned_again(
    score: priors.LearnedScore,
    head: np.ndarray,
    noise_std: float,
    method: str,
    num: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Root mean square errors of a head over scans of it."""
    kinds = {
        "new noise": lambda number: problem(head, noise_std, 2000 + seed, 5000 + number),
        "new lines and noise": lambda number: problem(head, noise_std, 3000 + 100 * seed + number),
    }
    rows = {}
    for name, scan_of in kinds.items():
        found = [sampled(scan_of(number), score, method, number) for number in range(num)]
        errors = np.stack([one.mean - head for one in found])
        stds = np.stack([one.std for one in found])
        rows[name] = over_scans(errors, stds, head > AIR, seed)
    return rows


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels."""
    return float(20 * np.log10(truth.max() / np.sqrt(np.mean((image - truth) ** 2))))


def smooth(likelihood: priors.GaussianLikelihood, strength: float) -> np.ndarray:
    """The image of total variation."""
    return np.asarray(total_variation_map(likelihood, strength, **OPTIONS).map)


def tuned(noise_std: float) -> tuple[float, list[float]]:
    """The best strength of total variation, and the mean PSNR of each."""
    heads = brain_phantoms(NUM_TUNING, SIDE, TUNING)
    scans = [problem(head, noise_std, 1000 + number) for number, head in enumerate(heads)]
    found = [float(np.mean([psnr(smooth(scan, strength), head)
                            for scan, head in zip(scans, heads, strict=True)]))
             for strength in STRENGTHS]  # fmt: skip
    return float(STRENGTHS[np.argmax(found)]), found


def row(
    score: priors.LearnedScore,
    head: np.ndarray,
    noise_std: float,
    strength: float,
    method: str,
    seed: int,
) -> dict[str, Any]:
    """All numbers of one test head."""
    likelihood, start = problem(head, noise_std, 2000 + seed), time.process_time()
    found = sampled(likelihood, score, method, seed)
    seconds = time.process_time() - start
    inside, error = head > AIR, np.abs(found.mean - head)
    everywhere = np.ones_like(inside)
    more = {
        "correlation, air included": correlation(error, found.std, everywhere),
        "of fair errors, air included": fair_by_window(found.samples, everywhere)[WIDTH_ONE],
        "by window": by_window(error, found.std, inside),
        "by window, fair errors": fair_by_window(found.samples, inside),
    }
    error, std = error[inside], found.std[inside]
    fair = np.abs(np.random.default_rng(seed).normal(size=std.shape)) * std
    return {
        "PSNR zero-filled": psnr(likelihood.op.adjoint(likelihood.data).numpy(), head),
        "PSNR total variation": psnr(smooth(likelihood, strength), head),
        "PSNR posterior mean": psnr(found.mean, head),
        "PSNR of a draw": float(np.mean([psnr(draw, head) for draw in found.samples])),
        "correlation": float(np.corrcoef(error, std)[0, 1]),
        "correlation of fair errors": float(np.corrcoef(fair, std)[0, 1]),
        "coverage 68": float(np.mean(error < 0.9945 * std)),
        "coverage 95": float(np.mean(error < 1.96 * std)),
        "r_hat, median": float(np.median(found.r_hat)),
        "scores of each chain": float(found.num_scores), "seconds of one core": round(seconds, 1),
    } | more  # fmt: skip


def average(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over rows, of what is in their parts too."""
    return {
        name: average([row[name] for row in rows]) if isinstance(value, dict)
        else float(np.mean([row[name] for row in rows]))
        for name, value in rows[0].items()
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and scatter over heads, and whether what is asked for is there."""
    mean = average(rows)
    gains = [row["PSNR posterior mean"] - row["PSNR total variation"] for row in rows]
    passed = np.mean(gains) >= LEAST_GAIN and mean["correlation"] > LEAST_CORRELATION
    return mean | {
        "gain over total variation": float(np.mean(gains)), "least gain": float(np.min(gains)),
        "least correlation": min(row["correlation"] for row in rows), "passed": bool(passed),
    }  # fmt: skip


def main() -> None:
    """Train, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1800, help="of training")
    parser.add_argument("--heads", type=int, default=10, help="to test on")
    parser.add_argument("--scans", type=int, default=8, help="of a head that is scanned again")
    parser.add_argument("--again", type=int, default=5, help="heads that are")
    parser.add_argument("--method", choices=tuple(METHODS), default="predictor_corrector")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path("mri_denoiser.keras"))
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    model, seconds = trained(options.model, options.steps, options.seed)
    some = brain_phantoms(500, SIDE, HEADS)
    noise_std = float(some[some > AIR].mean()) / SNR
    strength, curve = tuned(noise_std)
    print(f"total variation of {STRENGTHS.round(2)}: {np.round(curve, 2)} dB", flush=True)
    score, rows, scans = priors.LearnedScore(model), [], []
    results: dict[str, Any] = {
        "noise_std": noise_std, "method": options.method, "strength": strength,
        "strengths": STRENGTHS.tolist(), "PSNR of strengths": curve,
        "seconds of training, of one core": seconds, "num_steps": options.steps,
        "commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M"),
    }  # fmt: skip
    options.output.parent.mkdir(parents=True, exist_ok=True)
    heads = brain_phantoms(options.heads, SIDE, TESTS)
    for number, head in enumerate(heads):
        rows.append(row(score, head, noise_std, strength, options.method, number))
        print(json.dumps(rows[-1]), flush=True)
        results |= {"summary": summary(rows), "rows": rows}
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    for number, head in enumerate(heads[: options.again]):
        scans.append(scanned_again(score, head, noise_std, options.method, options.scans, number))
        print(json.dumps(scans[-1]), flush=True)
        again = average(scans) | {"heads": len(scans), "scans": options.scans}
        results |= {"root mean square errors over scans": again, "rows of scans": scans}
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["summary"], indent=1))


if __name__ == "__main__":
    main()
