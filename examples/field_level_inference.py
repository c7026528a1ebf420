# %% [markdown]
# # Initial conditions and the amplitude of structure, together
#
# What does a noisy map of the density say about the field it grew from, and about σ8, when both are
# free? All 4,096 cells and σ8 are sampled at once. The model is linear here, so that the answer is
# known: for a given σ8 the posterior of the field is Gaussian, and that of σ8 alone is an integral
# over the field that can be done by hand. Other `dynamics` of `rim.InitialConditions` take the
# place of the linear ones by one word. `FLOWPM_EXT_SMALL=1` runs a small version.

# %%
import os
import time

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import flowpm_ext as fpm
import rim
from flowpm_ext import inference
from flowpm_ext.inference import Parameter

is_small = os.environ.get("FLOWPM_EXT_SMALL") == "1"
n = 8 if is_small else 16
cosmo = fpm.Planck15()
problem = rim.InitialConditions(cosmo, n, 6.25 * n, dynamics="linear", noise_std=0.7)
truth, y = problem.simulate(seed=3)
fiducial = float(cosmo.sigma8)

# %% [markdown]
# ## The posterior
# The unknown field is written so that its posterior at the fiducial σ8 would be a unit sphere, and
# stands for a field of the fiducial amplitude; σ8 multiplies it. The mean of the box is no part of
# the model: it gets a prior of its own, to have one.

# %%
space = inference.Space(
    {"field": Parameter((n, n, n)), "sigma8": Parameter((), 0.4, 1.3)}, tf.float32
)


def log_prob(values):
    """Log posterior of several points, [num_chains]."""
    u = values["field"]
    field = problem.to_unknown(u, "wiener")
    amplitude = values["sigma8"][:, None, None, None] / fiducial
    observed = tf.broadcast_to(y, tf.shape(u))
    mean = tf.reduce_mean(u, axis=[1, 2, 3])
    log_like = problem.log_likelihood(amplitude * field, observed)
    return log_like + problem.log_prior(field) - 0.5 * n**3 * mean**2


# %% [markdown]
# ## What is known of it: the spectrum of the data decides σ8
# Each mode of the data is Gaussian, with a variance of signal and noise.

# %%
modes = np.abs(np.fft.fftn(y[0].numpy().astype(float))).ravel() ** 2 / n**3
wave = 2 * np.pi * np.fft.fftfreq(n, 6.25)
k = np.sqrt(sum(part**2 for part in np.meshgrid(wave, wave, wave))).ravel()
signal = np.zeros(n**3)
signal[k > 0] = fpm.cosmology.power.linear_matter_power(cosmo, k[k > 0]).numpy() / 6.25**3
grid = np.linspace(0.4, 1.3, 1801)
variance = (grid[:, None] / fiducial) ** 2 * signal + 0.7**2
exact = -0.5 * np.sum(modes / variance + np.log(variance), axis=1)
exact = np.exp(exact - exact.max())
exact /= exact.sum() * (grid[1] - grid[0])
exact_mean = np.sum(grid * exact) * (grid[1] - grid[0])
exact_std = np.sqrt(np.sum((grid - exact_mean) ** 2 * exact) * (grid[1] - grid[0]))
print(f"exact                  sigma8 = {exact_mean:.3f} +- {exact_std:.3f}")

# %% [markdown]
# ## Three samplers
# Microcanonical dynamics does without a test of energies, and costs least; the test makes it, and
# Hamiltonian dynamics, exact. Without it all amplitudes come out a little small, and σ8 is nothing
# but an amplitude: the energy has to be kept fifty times better than by default.

# %%
num_samples, num_warmup = (60, 60) if is_small else (500, 300)
# Away from the fiducial amplitude, to be found.
start = {"field": np.zeros((n, n, n)), "sigma8": 0.7}
found = {}
settings = {"mclmc": {"thin": 8, "energy_error": 1e-5}, "mams": {}, "nuts": {}}
for method, options in settings.items():
    if is_small and method == "nuts":
        continue
    began = time.perf_counter()
    draws = inference.sample(
        log_prob, space, num_samples, method, num_warmup=num_warmup, start=start, seed=1,
        progress=not is_small, **options,
    )  # fmt: skip
    found[method] = draws
    sigma8, ess = draws.values["sigma8"], float(draws.ess["sigma8"])
    cost = draws.gradients_per_draw * sigma8.size
    print(f"{method:8s} {time.perf_counter() - began:6.0f} s  sigma8 = {sigma8.mean():.3f} +- "
          f"{sigma8.std():.3f}  R-hat {float(draws.r_hat['sigma8']):.3f}  "
          f"gradients per effective draw: sigma8 {cost / ess:.0f}, "
          f"field {cost / np.mean(draws.ess['field']):.1f}")  # fmt: skip

# %% [markdown]
# ## The figure
# Fields are those of a draw with its own σ8.

# %%
draws = found["mclmc"]
white = draws.values["field"][:: max(1, num_samples // 50)].reshape(-1, n, n, n)
sigma8 = draws.values["sigma8"][:: max(1, num_samples // 50)].reshape(-1, 1, 1, 1)
fields = problem.to_unknown(tf.constant(white), "wiener").numpy() * sigma8 / fiducial
r = np.corrcoef(fields.mean(axis=0).ravel(), np.ravel(truth))[0, 1]
print(f"correlation of the mean of draws with the truth: {r:.2f}")
figure = Figure(figsize=(13, 3.4), layout="constrained")
axes = figure.subplots(1, 4)
panels = {"Truth": truth[0], "Data": y[0], "Mean of draws": fields.mean(axis=0)}
for axis, (name, cube) in zip(axes, panels.items(), strict=False):
    axis.imshow(np.mean(cube[:3], axis=0), cmap="RdBu_r", vmin=-1.5, vmax=1.5)
    axis.set(title=name, xticks=[], yticks=[])
for method, draws in found.items():
    axes[3].hist(draws.values["sigma8"].ravel(), 40, density=True, histtype="step", label=method)
axes[3].plot(grid, exact, "k", lw=1, label="Exact")
axes[3].axvline(fiducial, color="0.7", lw=1)
axes[3].set(xlabel="σ8", xlim=(exact_mean - 5 * exact_std, exact_mean + 5 * exact_std))
axes[3].legend()
figure.savefig("field_level_inference.png", dpi=110)
