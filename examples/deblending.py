# %% [markdown]
# # Two galaxies in one another's light
#
# In deep images galaxies overlap. In several bands they can be told apart, because they have
# different colours: Y = P * (A S) + n, with S the images of the galaxies, A their spectra, P the
# point-spread function of each band. Where spectra are alike, data alone leave much open, and a
# prior says what is likely: here a network that has seen isolated galaxies, for each source.

# %%
import argparse
import os
import pathlib

import keras
import numpy as np
from matplotlib.figure import Figure

from priors.blends import blend, blend_likelihood
from priors.deblending import (
    SourceScore,
    annealed_mode,
    flux_error,
    morphology_error,
    nonnegative_least_squares,
)
from priors.galaxies import galaxy_denoiser

# Small images and a network that has hardly begun where a run must be quick, as in the tests.
is_small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
side, margin, num_steps, num_images = (16, 4, 2, 64) if is_small else (32, 8, 3000, 6000)

# `--seed N` makes another blend; a notebook has words of its own, which are passed over.
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--seed", type=int, default=4, help="of the blend, any integer")
options, _ = parser.parse_known_args()

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
# ## A blend
# Five bands from blue to red, with the truth behind them. The operator is a product of simple
# ones: each galaxy is padded, moved to its place, mixed into the bands, and blurred. The likelihood
# keeps of five bands the two combinations that know about the galaxies.

# %%
made = blend(seed=options.seed, side=side, margin=margin)
likelihood = blend_likelihood(made)
print(f"operator from {made.op.shape} to {made.op.data_shape}")

# %% [markdown]
# ## With the learned prior, and with none but that light is not negative

# %%
found = {
    "learned prior": annealed_mode(likelihood, SourceScore(model)),
    "no prior": nonnegative_least_squares(likelihood, max_iterations=50 if is_small else 5000),
}
psf = made.psf[-1, margin:-margin, margin:-margin]
for name, result in found.items():
    flux = flux_error(result.images, made.sources)
    shape = morphology_error(result.images, made.sources, psf)
    print(f"{name}: flux off by {flux.round(3)}, shape by {shape.round(3)}, "
          f"{result.iterations} iterations to {result.residual:.0e}")  # fmt: skip

# %% [markdown]
# ## Side by side
# Above the bands as they were seen; below them the two galaxies as they are, as they were found,
# and what is wrong with that.

# %%
figure = Figure(figsize=(15, 9), layout="constrained")
axes = figure.subplots(3, 5)


def show(ax, image, title, **style):
    shown = ax.imshow(image, origin="lower", **style)
    ax.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=ax, shrink=0.8, label="flux in a pixel")


for number, (ax, image) in enumerate(zip(axes[0], made.data, strict=True)):
    show(ax, image, f"data, band {number + 1}", cmap="magma", vmin=0.0, vmax=made.data.max())
for source, row in enumerate(axes[1:]):
    truth = made.sources[source]
    limit = truth.max()
    light = {"cmap": "magma", "vmin": 0.0, "vmax": limit}
    show(row[0], truth, f"galaxy {source + 1}, truth", **light)
    for column, (name, result) in enumerate(found.items()):
        image = result.images[source]
        show(row[1 + column], image, f"galaxy {source + 1}, {name}", **light)
        show(
            row[3 + column], image - truth, f"{name} - truth",
            cmap="RdBu_r", vmin=-0.5 * limit, vmax=0.5 * limit,
        )  # fmt: skip
figure.suptitle(f"Two galaxies told apart, noise of {np.ravel(made.noise_std)[0]:g} in a pixel")
figure.savefig("deblending.png", dpi=100)
