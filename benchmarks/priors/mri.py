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
correlation can reach at the most is told by errors drawn from the standard deviation itself.
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


def problem(head: np.ndarray, noise_std: float, seed: int) -> priors.GaussianLikelihood:
    """A scan of a head, with its own mask and noise."""
    mask = cartesian_mask(head.shape, ACCELERATION, CENTER_FRACTION, seed)
    return scan(head, mask, noise_std, seed)


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
) -> dict[str, float]:
    """All numbers of one test head."""
    likelihood, options = problem(head, noise_std, 2000 + seed), dict(METHODS[method])
    options["sigmas"], start = np.geomspace(*options.pop("levels")), time.process_time()
    found = priors.sample_posterior(
        likelihood, score, seed=seed, method=method, progress=False, **options
    )
    seconds = time.process_time() - start
    inside, error = head > AIR, np.abs(found.mean - head)
    everywhere = np.corrcoef(error.ravel(), found.std.ravel())[0, 1]
    error, std = error[inside], found.std[inside]
    fair = np.abs(np.random.default_rng(seed).normal(size=std.shape)) * std
    return {
        "PSNR zero-filled": psnr(likelihood.op.adjoint(likelihood.data).numpy(), head),
        "PSNR total variation": psnr(smooth(likelihood, strength), head),
        "PSNR posterior mean": psnr(found.mean, head),
        "PSNR of a draw": float(np.mean([psnr(draw, head) for draw in found.samples])),
        "correlation": float(np.corrcoef(error, std)[0, 1]),
        "correlation, air included": float(everywhere),
        "correlation of fair errors": float(np.corrcoef(fair, std)[0, 1]),
        "coverage 68": float(np.mean(error < 0.9945 * std)),
        "coverage 95": float(np.mean(error < 1.96 * std)),
        "r_hat, median": float(np.median(found.r_hat)),
        "scores of each chain": float(found.num_scores), "seconds of one core": round(seconds, 1),
    }  # fmt: skip


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means and scatter over heads, and whether what is asked for is there."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
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
    score, rows = priors.LearnedScore(model), []
    for number, head in enumerate(brain_phantoms(options.heads, SIDE, TESTS)):
        rows.append(row(score, head, noise_std, strength, options.method, number))
        print(json.dumps({name: round(value, 3) for name, value in rows[-1].items()}), flush=True)
        results = {
            "summary": summary(rows), "rows": rows, "noise_std": noise_std,
            "method": options.method, "strength": strength,
            "strengths": STRENGTHS.tolist(), "PSNR of strengths": curve,
            "seconds of training, of one core": seconds, "num_steps": options.steps,
            "commit": commit(), "seed": options.seed, "time": time.strftime("%Y-%m-%d %H:%M"),
        }  # fmt: skip
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["summary"], indent=1))


if __name__ == "__main__":
    main()
