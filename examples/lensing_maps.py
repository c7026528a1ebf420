# %% [markdown]
# # From lensing maps to a network
#
# Convergence maps of many cosmologies go to disk once, without noise; a survey's shape noise is
# drawn afresh in every epoch, and a small network learns the amplitude of structure from them.

# %%
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from flowpm_ext import lensing
from flowpm_ext.cosmology import redshift

is_small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
num_maps, num_pixels, num_epochs = (24, 16, 1) if is_small else (1000, 64, 20)
folder = pathlib.Path("maps")
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Simulate
# Lognormal maps of two tomographic bins; `method="born"` would run a particle-mesh simulation for
# each. Run the cell again after an interruption: what is there is kept.

# %%
nz = [redshift.smail_nz(2.0, 1.5, 0.5), redshift.smail_nz(2.0, 1.5, 0.8)]
failures = lensing.write_maps(
    folder, nz, num_maps, {"Omega_c": (0.15, 0.4), "sigma8": (0.6, 1.0)}, method="lognormal",
    field_size_deg=5.0, num_pixels=num_pixels, batch_size=8, verbose=1,
)  # fmt: skip
maps = lensing.MapDataset(folder)
print(f"{maps.num_maps} maps of {maps.names}, {len(failures)} failures")

# %% [markdown]
# ## Observe
# Noise, mirrors and quarter turns belong to the pipeline: no two epochs show the same map. The
# network learns S8 = sigma8 sqrt(Omega_m / 0.3), which lensing measures best.

# %%
survey = {"pixel_size_arcmin": 5.0 * 60 / num_pixels, "gals_per_arcmin2": 10.0, "sigma_e": 0.26}
omega_b = 0.049


def seen(batch, seed):
    kappa, theta = batch
    noisy = lensing.observe(kappa, tf.cast(seed, tf.int32), is_turned=True, **survey)
    s8 = theta[:, 1:] * tf.sqrt((theta[:, :1] + omega_b) / 0.3)
    return 50 * noisy, s8


def batches(split):
    seeds = tf.data.Dataset.random(seed=1, rerandomize_each_iteration=split == "train")
    stored = maps.dataset(split, batch_size=32, shuffle_seed=0 if split == "train" else None)
    return tf.data.Dataset.zip(stored, seeds.batch(2, drop_remainder=True)).map(seen)


# %% [markdown]
# ## Train

# %%
layers = [keras.layers.Input([num_pixels, num_pixels, 2])]
for width in (8, 16, 32):
    layers += [keras.layers.Conv2D(width, 3, padding="same", activation="relu")]
    layers += [keras.layers.AveragePooling2D(2)]
layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)]
model = keras.Sequential(layers)
model.compile(keras.optimizers.Adam(3e-3), "mse")
model.fit(
    batches("train"), validation_data=batches("validation"), epochs=num_epochs, shuffle=False,
    verbose=0 if is_small else 2,
)  # fmt: skip

# %% [markdown]
# ## Judge
# On maps that it has never seen.

# %%
truth = np.concatenate([s8 for _, s8 in batches("test").as_numpy_iterator()])[:, 0]
found = model.predict(batches("test"), verbose=0)[:, 0]
error = np.sqrt(np.mean((found - truth) ** 2))
print(f"S8 to {error:.3f}, where the prior scatters by {np.std(truth):.3f}")
figure = Figure(figsize=(9.0, 4.0), layout="constrained")
left, right = figure.subplots(1, 2)
image = left.imshow(maps.read(np.array([0]))[0][0, ..., 1], origin="lower", extent=(0, 5, 0, 5))
figure.colorbar(image, ax=left, label="convergence")
left.set(xlabel="degrees", ylabel="degrees", title="far bin, without noise")
right.plot(truth, found, ".")
right.plot([truth.min(), truth.max()], [truth.min(), truth.max()], color="gray")
right.set(xlabel="true S8", ylabel="S8 of the network", title="test maps")
figure.savefig("lensing_maps.png", dpi=150)
print("lensing_maps.png")
