# %% [markdown]
# # The mass in front of the COSMOS galaxies
#
# A shear catalogue becomes a map of the convergence, with its uncertainty, in one call. The
# prior is the theory: the Limber power spectrum of the catalogue's own redshift distribution.
# With the environment variable `FLOWPM_EXT_DATA` naming the folder described in `docs/data.md`
# this is the real HST/COSMOS field; without it, a simulated survey that looks like it.

# %%
import os
import pathlib

import numpy as np

import priors
from priors.catalogue import read_clusters
from priors.plot import map_figure
from priors.simulated_survey import simulate_survey
from priors.stacking import find_peaks, stack

# Coarse pixels where a run must be quick, as in the tests.
pixel_size_arcmin = 3.0 if os.environ.get("FLOWPM_EXT_SMALL") else 0.29
folder = pathlib.Path(os.environ.get("FLOWPM_EXT_DATA", "data")) / "cosmos"

# %%
if folder.is_dir():
    catalogue, nz = folder / "shear_catalogue.fits", folder / "nz.txt"
    clusters = read_clusters(folder / "xray_groups.txt")
else:
    survey = simulate_survey(pixel_size_arcmin, seed=0)
    catalogue, nz = survey.catalogue, survey.nz
    clusters = read_clusters(survey.clusters)

# %% [markdown]
# ## The map
# `kappa_e` is the posterior mean, `std` its uncertainty; `kappa_b` is what the same filter finds
# in the shear turned by 45 degrees, where lensing leaves nothing.

# %%
result = priors.mass_map(catalogue, nz=nz, pixel_size_arcmin=pixel_size_arcmin, seed=0)
print(f"{result.shear_map.galaxies_per_arcmin2:.1f} galaxies per square arcminute")
print(f"{np.mean(result.mask):.1%} of {result.grid.shape} pixels observed")
print(f"solved in {result.iterations} iterations to {result.residual:.0e}")

# %% [markdown]
# ## Is the signal real?
# The mean of the map on known clusters, against the scatter of the same mean when every
# galaxy's ellipticity is turned by an angle of its own. The mean is linear in the
# ellipticities, so that this scatter needs no simulation: one adjoint solution gives it exactly.

# %%
found = stack(result, clusters)
print(f"E mode {found.kappa_e:.4f}: {found.kappa_e / found.null_std:.1f} sigma")
print(f"B mode {found.kappa_b:.4f}: {found.kappa_b / found.null_std:.1f} sigma")

# %% [markdown]
# ## The highest peaks

# %%
peaks = find_peaks(result, num_peaks=5)
for ra, dec, kappa, sigma in zip(
    peaks.ra, peaks.dec, peaks.kappa, peaks.signal_to_noise, strict=True
):
    print(f"RA {ra:9.4f}  Dec {dec:8.4f}  kappa {kappa:.3f}  {sigma:.1f} sigma")

# %% [markdown]
# ## A figure, North up and East left

# %%
figure = map_figure(result, "Mass map", clusters, peaks)
figure.savefig("cosmos_mass_map.png", dpi=100)
