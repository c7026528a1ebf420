# %% [markdown]
# # Tomographic bins by gradient
#
# Which galaxies should share a tomographic bin? The answer that constrains dark energy most is
# neither equal numbers nor equal distances. Spectra are quadratic forms in the galaxies of each bin
# and slice of redshift, so that the figure of merit of any bins takes milliseconds and has a
# gradient: a network that sees griz photometry alone is trained on it. Galaxies are made up, and
# so are the scores: they are not those of the tomography challenge. Three minutes on two cores.

# %%
import os

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from flowpm_ext.cosmology import tomography
from lfi.tomography import BinClassifier, FixedEdges, mock_catalogue, score

small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
num_galaxies, num_bins, epochs = (1500, 3, 5) if small else (20_000, 3, 150)

# %% [markdown]
# ## Galaxies, and spectra between slices of redshift
# The spectra and their derivatives by seven parameters are all that metrics need of cosmology.

# %%
train, test = mock_catalogue(2 * num_galaxies, seed=1).split(num_galaxies)
spectra = tomography.challenge_spectra(num_slices=24 if small else 60, num_ell=6 if small else 25)

# %% [markdown]
# ## Bins: fixed edges and a random forest, or the figure of merit itself

# %%
assigned = {}
for edges in ("number", "distance"):
    forest = FixedEdges(num_bins, edges).fit(train.features, train.redshift)
    assigned[f"Equal {edges}, forest"] = forest.assign(test.features)

model = BinClassifier(num_bins, metric="detf", spectra=spectra)
model.compile(keras.optimizers.Adam(1e-2))
model.fit(train.features, train.redshift, epochs=epochs, verbose=0)
assigned["Learned"] = model.assign(test.features)

scores = {name: score(bins, test.redshift, num_bins, spectra) for name, bins in assigned.items()}
for name, found in scores.items():
    print(f"{name:24} SNR {found['snr']:6.0f}  DETF figure of merit {found['detf']:6.1f}")

# %% [markdown]
# ## What else the figure of merit depends on
# Wider or deeper? One gradient says it for the area, the depth and the edges of bins.

# %%
edges = tf.constant([0.2, 0.6, 1.0, 1.5], tf.float64)
depth, f_sky = tf.constant(24.1, tf.float64), tf.constant(0.25, tf.float64)
with tf.GradientTape() as tape:
    tape.watch((edges, depth, f_sky))
    merit = tomography.design_metric(spectra, edges, depth, f_sky)
by_edges, by_depth, by_area = tape.gradient(merit, (edges, depth, f_sky))
print(f"figure of merit {float(merit):.1f}; 0.1 mag deeper: {0.1 * float(by_depth):+.2f}; "
      f"a tenth wider: {0.1 * float(by_area * f_sky):+.2f}")  # fmt: skip
print(f"each edge 0.1 higher: {np.round(0.1 * by_edges.numpy(), 2)}")

# %% [markdown]
# ## The figure

# %%
figure = Figure(figsize=(12, 3.4), layout="constrained")
grid = np.linspace(0, 2.2, 56)
for axes, (name, bins) in zip(figure.subplots(1, 3, sharey=True), assigned.items(), strict=True):
    mean = [test.redshift[bins == i].mean() if np.any(bins == i) else 9 for i in range(num_bins)]
    for number, i in enumerate(np.argsort(mean)):
        axes.hist(test.redshift[bins == i], grid, histtype="stepfilled", alpha=0.5,
                  color=f"C{number}")  # fmt: skip
    merit = scores[name]["detf"]
    axes.set(title=f"{name}: DETF {merit:.1f}", xlabel="True redshift", xlim=(0, 2.2))
figure.axes[0].set_ylabel("Galaxies")
figure.suptitle("Tomographic bins of made-up galaxies with griz photometry")
figure.savefig("tomography.png", dpi=110)
