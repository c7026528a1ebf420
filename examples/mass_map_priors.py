# %% [markdown]
# # One survey, four priors
#
# The same galaxies, mapped with nothing known of the mass (Kaiser-Squires, smoothed), with its
# power spectrum (Wiener), with few wavelets (sparse), and with what simulations look like
# (learned). First where the truth is known, then, with the environment variable
# `FLOWPM_EXT_DATA` naming the folder described in `docs/data.md`, on HST/COSMOS.

# %%
import os
import pathlib

import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

import priors
from priors.catalogue import read_clusters
from priors.simulated_survey import compare_with_truth, simulate_survey
from priors.stacking import on_grid, stack
from priors.training_maps import TrainingMaps

# Coarse pixels, a prior of a few steps and few draws where a run must be quick, as in the tests.
is_small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
folder = pathlib.Path(os.environ.get("FLOWPM_EXT_DATA", "data")) / "cosmos"

# %%
if is_small:
    survey = simulate_survey(3.0, seed=3, method="lognormal")
    maps = np.stack([np.roll(survey.kappa, 7 * i, axis=i % 2) for i in range(8)])
    maps -= maps.mean(axis=(1, 2), keepdims=True)
    weights = priors.train_prior(
        TrainingMaps(maps.astype(np.float32), 3.0, {}),
        filters=(4, 4, 4), num_steps=2, batch_size=4,
    )  # fmt: skip
else:
    survey = simulate_survey(1.0, seed=3)
    weights = priors.load_pretrained("cosmos")
num_draws = 16 if is_small else 100


# %%
def mapped(catalogue, nz, grid):
    """Maps of one survey by their prior."""
    found = {}
    for prior in ("ks", "wiener", "sparse", "learned"):
        more = {"weights": weights, "num_samples": num_draws} if prior == "learned" else {}
        found[prior] = priors.mass_map(catalogue, nz, prior=prior, grid=grid, **more)
    return found


# %% [markdown]
# ## Where the truth is known

# %%
simulated = mapped(survey.catalogue, survey.nz, survey.grid)
for prior, result in simulated.items():
    found = compare_with_truth(result, survey.kappa)
    print(f"{prior:8s} rms error {found['rms_error']:.4f}, correlation {found['correlation']:.3f}")

# %% [markdown]
# ## COSMOS

# %%
cosmos = {}
if folder.is_dir() and not is_small:
    learned = priors.mass_map(
        folder / "shear_catalogue.fits", folder / "nz.txt", prior="learned", num_samples=num_draws
    )
    cosmos = {
        prior: priors.mass_map(
            folder / "shear_catalogue.fits", folder / "nz.txt", prior=prior, grid=learned.grid
        )
        for prior in ("ks", "wiener", "sparse")
    } | {"learned": learned}
    clusters = on_grid(learned.grid, read_clusters(folder / "xray_groups.txt"))
    for prior, result in cosmos.items():
        found = stack(result, clusters)
        e, b = found.kappa_e, found.kappa_b
        print(f"{prior:8s} mean on {found.num_clusters} groups {e:.4f}, B mode {b:.4f}")

# %% [markdown]
# ## Side by side

# %%
names = {"ks": "Kaiser-Squires", "wiener": "Wiener", "sparse": "sparse", "learned": "learned, mean"}
panels = {"truth, smoothed by 1'": gaussian_filter(survey.kappa, 1.0)}
panels |= {names[prior]: result.kappa_e for prior, result in simulated.items()}
panels["learned, one draw"] = simulated["learned"].samples[0]
rows = {"simulation": panels}
if cosmos:
    rows["COSMOS"] = {names[prior]: result.kappa_e for prior, result in cosmos.items()}
    rows["COSMOS"] |= {"learned, one draw": learned.samples[0], "learned, spread": learned.std}
figure = Figure(figsize=(16, 3 * len(rows) + 0.8), layout="constrained")
axes = figure.subplots(len(rows), 6, squeeze=False)
bars = {}
for row, (title, shown) in enumerate(rows.items()):
    axes[row, 0].set_ylabel(title, fontsize=13)
    for place, (name, kappa) in zip(axes[row], shown.items(), strict=True):
        is_spread = "spread" in name
        colours = {"cmap": "viridis", "vmin": 0, "vmax": 0.05} if is_spread else {
            "cmap": "RdBu_r", "vmin": -0.1, "vmax": 0.1
        }  # fmt: skip
        bars[is_spread] = place.imshow(kappa, origin="lower", **colours)
        place.set(title=name, xticks=[], yticks=[])
bar = {"location": "bottom", "aspect": 50, "extend": "both"}
figure.colorbar(bars[False], ax=axes[:, :5], shrink=0.4, label=r"convergence $\kappa$", **bar)
if cosmos:
    figure.colorbar(bars[True], ax=axes[:, 5], label="standard deviation", **bar | {"aspect": 12})
figure.savefig("mass_map_priors.png", dpi=100)
