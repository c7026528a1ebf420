# %% [markdown]
# # A quarter of a scan, with a learned prior
#
# A magnetic resonance scanner measures an image line by line in Fourier space: y = M F x + n. A
# quarter of the lines takes a quarter of the time, and leaves images that many heads could have
# made. A network that removes noise from heads knows which of them are likely; with the physics of
# the scan that is a posterior, from which images are drawn. Beside its mean stands total variation
# whose strength was tuned on other heads, and beside its error what it says about it.
#
# Heads are made up, 64 pixels wide, with smooth shading and texture; images are real and there is
# one coil. The signal-to-noise ratio is 20: the mean of the head over the standard deviation of
# the noise in a pixel of a full scan. Seven minutes on one core, six of them to train; a trained
# network is kept in `mri_denoiser.keras`.

# %%
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import priors
from priors import Denoiser  # Keras must know the class to load one
from priors.classical import total_variation_map
from priors.phantoms import brain_phantoms, cartesian_mask, scan

small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
side, num_heads, num_steps = (32, 200, 100) if small else (64, 8000, 1800)
filters = (8, 16) if small else (16, 32, 64)
keras.utils.set_random_seed(1)

# %% [markdown]
# ## Heads, and a network that removes noise from them

# %%
heads = brain_phantoms(num_heads, side, seed=1)
noise_std = float(heads[heads > 0.05].mean()) / 20
saved = pathlib.Path("mri_denoiser.keras")
if saved.exists():
    denoiser = keras.models.load_model(saved)
else:
    denoiser = Denoiser(filters, sigma_min=0.01, sigma_max=3.0, padding="zero", ema_momentum=0.995)
    denoiser.adapt(heads)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, num_steps)
    denoiser.compile(keras.optimizers.Adam(rate))
    batches = tf.data.Dataset.from_tensor_slices(heads).shuffle(len(heads), seed=0).repeat()
    denoiser.fit(batches.batch(16), steps_per_epoch=num_steps // 10, epochs=10, verbose=2)
    denoiser.save(saved)

# %% [markdown]
# ## A scan of a head that the network has not seen

# %%
truth = brain_phantoms(1, side, seed=3)[0]
mask = cartesian_mask(truth.shape, acceleration=4, center_fraction=0.08, seed=3)
likelihood = scan(truth, mask, noise_std, seed=3)
zero_filled = likelihood.op.adjoint(likelihood.data).numpy()
print(f"{mask[:, 0].sum()} of {side} lines measured")

# %% [markdown]
# ## Draws from the posterior, each from noise of its own

# %%
found = priors.sample_posterior(
    likelihood,
    priors.LearnedScore(denoiser),
    num_samples=8 if small else 48,
    seed=1,
    num_chains=2 if small else 12,
    method="predictor_corrector",
    sigmas=np.geomspace(2.0, 0.012, 5 if small else 20),
    progress=not small,
)
print(f"{len(found.samples)} draws")


# %% [markdown]
# ## Total variation, tuned on heads of its own


# %%
def smooth(likelihood: priors.GaussianLikelihood, strength: float) -> np.ndarray:
    found = total_variation_map(likelihood, strength, non_negative=True, max_iterations=3000)
    return found.map.numpy()


def psnr(image: np.ndarray, head: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels."""
    return 20 * np.log10(head.max() / np.sqrt(np.mean((image - head) ** 2)))


def mean_psnr(strength: float) -> float:
    return np.mean([psnr(smooth(data, strength), head) for data, head in tuning])


tuning = []
for number, head in enumerate(brain_phantoms(1 if small else 8, side, seed=2)):
    lines = cartesian_mask(head.shape, acceleration=4, center_fraction=0.08, seed=100 + number)
    tuning.append((scan(head, lines, noise_std, seed=number), head))
strength = max(np.geomspace(2, 64, 2 if small else 6), key=mean_psnr)
variation = smooth(likelihood, strength)

# %% [markdown]
# ## The figure

# %%
error, inside = np.abs(found.mean - truth), truth > 0.05
correlation = np.corrcoef(error[inside], found.std[inside])[0, 1]
images = {"Zero-filled": zero_filled, "Total variation": variation, "Posterior mean": found.mean}
for name, image in images.items():
    print(f"{name:16} {psnr(image, truth):6.2f} dB")
print(f"error and standard deviation correlate by {correlation:.2f} inside of the head")

figure = Figure(figsize=(11, 7), layout="constrained")
gray = {"cmap": "gray", "vmin": 0.0, "vmax": float(truth.max())}
limit = {"cmap": "magma", "vmin": 0.0, "vmax": float(np.quantile(error, 0.995))}
panels = [("Truth", truth, gray)]
panels += [(f"{name}, {psnr(x, truth):.1f} dB", x, gray) for name, x in images.items()]
panels += [
    ("Standard deviation of the posterior", found.std, limit),
    ("|Error| of the posterior mean", error, limit),
]
for axes, (title, image, options) in zip(figure.subplots(2, 3).flat, panels, strict=True):
    shown = axes.imshow(image, **options)
    figure.colorbar(shown, ax=axes, shrink=0.85)
    axes.set(title=title, xticks=[], yticks=[])
figure.suptitle(f"{mask[:, 0].sum()} of {side} lines of a made-up head, signal-to-noise ratio 20")
figure.savefig("mri.png", dpi=110)
