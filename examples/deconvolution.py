# %% [markdown]
# # A galaxy seen more sharply than the telescope did
#
# A blurred and noisy image of a galaxy, y = P x + n, fits many sharper ones. Which of them is
# likely is what a prior says: that of the Wiener filter knows how much power each scale has; total
# variation likes few edges; a network that has seen other galaxies knows what they look like.
# The likelihood is the same for all three.

# %%
import os
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure

from priors import GaussianLikelihood, LearnedScore, sample_posterior, wiener_filter
from priors.classical import total_variation_map
from priors.deblending import annealed_mode
from priors.galaxies import galaxy_denoiser, galaxy_images, galaxy_psf
from priors.operators import Convolution

# Small images and a network that has hardly begun where a run must be quick, as in the tests.
is_small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
side, num_steps, num_images = (16, 2, 64) if is_small else (32, 3000, 6000)

# %% [markdown]
# ## What galaxies look like
# One or two minutes of training on simulated galaxies; the weights are kept for the next run.

# %%
weights = pathlib.Path("galaxy_prior.keras")
if weights.exists():
    model = keras.models.load_model(weights)
else:
    model = galaxy_denoiser(side, num_steps, num_images=num_images)
    model.save(weights)

# %% [markdown]
# ## What the telescope saw
# A galaxy that was not among those of the training.

# %%
noise_std, fwhm = 0.05, 5.0
truth = galaxy_images(8, side, seed=1234)[5]
psf = Convolution(galaxy_psf(side, fwhm), (side, side))
noise = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)
data = psf(truth).numpy() + noise_std * noise
likelihood = GaussianLikelihood(psf, data, noise_std)

# %% [markdown]
# ## Three priors
# The power spectrum of the Wiener filter is that of the galaxies themselves, and the strength of
# total variation is the best of several, as only one who knows the truth can choose it.

# %%
others = galaxy_images(500, side, seed=0).astype(np.float64)
power = np.mean(np.abs(np.fft.fft2(others)) ** 2, axis=0) / side**2
found = {"Wiener filter": wiener_filter(likelihood, power).numpy()}
score = LearnedScore(model)


def error(image):
    return np.sqrt(np.mean((image - truth) ** 2) / np.mean(truth**2))


def smooth(strength):
    options = {"non_negative": True, "tolerance": 1e-2, "max_iterations": 5000}
    return total_variation_map(likelihood, strength, **options).map.numpy()


found["total variation"] = min(map(smooth, (0.3, 1.0, 3.0, 10.0)), key=error)
found["learned prior"] = annealed_mode(likelihood, score).images
for name, image in found.items():
    print(f"{name}: error {error(image):.1%} of the galaxy")

# %% [markdown]
# ## How sure is it?
# Draws of the posterior say how much of this the data decide.

# %%
sigmas = np.geomspace(2.0, 0.2, 2 if is_small else 6)
draws = sample_posterior(
    likelihood, score, 16 if is_small else 64, num_chains=4 if is_small else 8, sigmas=sigmas,
    num_leapfrog=2 if is_small else 10, num_warmup=2 if is_small else 20,
    steps_per_level=2 if is_small else 4, progress=False,
)  # fmt: skip
print(f"posterior mean: error {error(draws.mean):.1%} of the galaxy")

# %% [markdown]
# ## Side by side

# %%
figure = Figure(figsize=(13, 7), layout="constrained")
axes = figure.subplots(2, 4)
limit = truth.max()
panels = [("truth", truth), (f"data, seeing of {fwhm:g} pixels", data), *found.items()]
panels += [("posterior standard deviation", draws.std)]
panels += [(f"{name} - truth", found[name] - truth) for name in ("Wiener filter", "learned prior")]
for ax, (name, image) in zip(axes.ravel(), panels, strict=True):
    style = {"cmap": "magma", "vmin": 0.0}
    if "truth" in name and name != "truth":
        style = {"cmap": "RdBu_r", "vmin": -0.3 * limit, "vmax": 0.3 * limit}
    elif name in found or name == "truth":
        style["vmax"] = limit
    shown = ax.imshow(image, origin="lower", **style)
    title = f"{name}: error {error(image):.0%}" if name in found else name
    ax.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=ax, shrink=0.8, label="flux in a pixel")
figure.suptitle(f"Deconvolution of a galaxy, noise of {noise_std:g} in a pixel")
figure.savefig("deconvolution.png", dpi=100)
