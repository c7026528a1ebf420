# %% [markdown]
# # Cosmology from shear and clustering: 21 parameters
#
# A likelihood like that of the first year of the Dark Energy Survey: spectra of the shear of four
# bins of sources, of the positions of five bins of lens galaxies, and between the two. Five
# parameters of cosmology, five biases, two of intrinsic alignments, nine shifts of redshift
# distributions. All derivatives are exact, so that the Fisher matrix is known, and the no-U-turn
# sampler needs a few hundred draws. The data are made up: the prediction itself, without noise.
# `FLOWPM_EXT_SMALL=1` runs a few draws.

# %%
import os
import time

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import flowpm_ext as fpm
from flowpm_ext import inference
from flowpm_ext.cosmology import angular_cl, fisher, likelihood, probes, redshift
from flowpm_ext.inference import Parameter

is_small = os.environ.get("FLOWPM_EXT_SMALL") == "1"

# %% [markdown]
# ## Parameters, with bounds for those of cosmology, and what other experiments say of them

# %%
space = inference.Space({
    "Omega_c": Parameter((), 0.05, 0.6), "Omega_b": Parameter((), 0.03, 0.07),
    "h": Parameter((), 0.5, 0.9), "n_s": Parameter((), 0.8, 1.1),
    "sigma8": Parameter((), 0.4, 1.3), "bias": Parameter((5,), low=0.0),
    "alignment": Parameter((2,)), "source_shift": Parameter((4,)), "lens_shift": Parameter((5,)),
})  # fmt: skip
fiducial = {
    "Omega_c": 0.26, "Omega_b": 0.049, "h": 0.68, "n_s": 0.965, "sigma8": 0.81,
    "bias": np.array([1.45, 1.55, 1.65, 1.8, 2.0]), "alignment": np.array([0.5, 0.0]),
    "source_shift": np.zeros(4), "lens_shift": np.zeros(5),
}  # fmt: skip
prior_std = {
    "Omega_b": 0.002, "h": 0.02, "n_s": 0.01, "alignment": np.array([1.0, 1.0]),
    "source_shift": np.array([0.016, 0.013, 0.011, 0.022]),
    "lens_shift": np.array([0.008, 0.007, 0.007, 0.01, 0.01]),
}  # fmt: skip
SIDES = [("Ω_c",), ("Ω_b",), ("h",), ("n_s",), ("σ8",), [f"b{i}" for i in range(1, 6)],
         ("A_IA", "η"), [f"Δz source {i}" for i in range(1, 5)],
         [f"Δz lens {i}" for i in range(1, 6)]]  # fmt: skip
KEYS = ["Omega_c", "Omega_b", "h", "n_s", "sigma8", "bias", "alignment", "source_shift",
        "lens_shift"]  # fmt: skip
names = [name for side in SIDES for name in side]


def flat(values):
    """All parameters in the order of the names, [..., 21]."""
    lead = tf.convert_to_tensor(values["h"]).shape
    parts = [tf.cast(values[key], tf.float64) for key in KEYS]
    return tf.concat([tf.reshape(part, [*lead, -1]) for part in parts], axis=-1)


# %% [markdown]
# ## What a survey of 1300 square degrees measures

# %%
ell = np.geomspace(30, 1000, 15)
power = "linear" if is_small else "halofit"  # which compiles faster
densities = [0.013, 0.034, 0.050, 0.030, 0.009]
lenses = [redshift.gaussian_nz(z, 0.05, n)
          for z, n in zip([0.24, 0.38, 0.53, 0.68, 0.83], densities, strict=True)]  # fmt: skip
sources = [redshift.gaussian_nz(z, width, 1.5)
           for z, width in ((0.38, 0.15), (0.51, 0.15), (0.74, 0.15), (0.96, 0.2))]  # fmt: skip
pairs = np.stack(angular_cl.tracer_pairs(9), axis=1)
# Clustering of different bins of lenses is left out.
kept = np.flatnonzero((pairs[:, 0] == pairs[:, 1]) | (pairs[:, 1] >= 5))


def tracers(values):
    moved, behind = (
        [redshift.systematic_shift(nz, values[key][i]) for i, nz in enumerate(bins)]
        for key, bins in (("lens_shift", lenses), ("source_shift", sources))
    )
    amplitude, slope = tf.unstack(values["alignment"])
    aligned = probes.WeakLensing(
        behind, ia_bias=lambda z, growth: amplitude * ((1 + z) / 1.62) ** slope, sigma_e=0.27
    )
    return [probes.NumberCounts(moved, tf.unstack(values["bias"])), aligned]


def spectra(values):
    """Of one point, [num_cl, num_ell]."""
    cosmo = fpm.Cosmology(**{key: values[key] for key in KEYS[:5]})
    return tf.gather(angular_cl.angular_cl(cosmo, ell, tracers(values), nonlinear=power), kept)


truth = {key: tf.constant(value, tf.float64) for key, value in fiducial.items()}
cosmo = fpm.Cosmology(**{key: fiducial[key] for key in KEYS[:5]})
signal = angular_cl.angular_cl(cosmo, ell, tracers(truth), nonlinear=power)
noise = angular_cl.noise_cl(ell, tracers(truth))
blocks = angular_cl.gaussian_cl_covariance_blocks(ell, tracers(truth), signal, noise, f_sky=0.032)
covariance = tf.gather(tf.gather(blocks, kept, axis=1), kept, axis=2)
data = tf.gather(signal, kept)


def log_prior(values):
    misfit = [tf.reshape((values[key] - fiducial[key]) / std, [tf.shape(values["h"])[0], -1])
              for key, std in prior_std.items()]  # fmt: skip
    return -0.5 * tf.reduce_sum(tf.concat(misfit, axis=1) ** 2, axis=1)


@tf.function(jit_compile=not is_small, autograph=False)
def log_prob(values):
    """Log posterior of several points, [num_chains]."""
    mean = tf.vectorized_map(spectra, values)
    return likelihood.gaussian_log_likelihood(data, mean, covariance) + log_prior(values)


# %% [markdown]
# ## The Fisher matrix, and the Gaussian limit
# Derivatives in coordinates without bounds are the exact ones times the slopes of the map.

# %%
began = time.perf_counter()
center = space.vector(truth)
slopes = fisher.jacobian(lambda u: spectra(space.values(u)), center)  # [num_cl, num_ell, 21]
of_values = fisher.jacobian(lambda u: flat(space.values(u)), center)
stds = [prior_std.get(key, np.inf) * np.ones(np.shape(fiducial[key])) for key in KEYS]
precision = tf.linalg.diag(tf.constant(np.concatenate([s.ravel() for s in stds]) ** -2.0))


def linear(u):
    return data + tf.linalg.matvec(slopes, u - center)


of_vector = fisher.fisher_matrix(linear, center, covariance)
of_vector += tf.matmul(of_values, precision @ of_values, transpose_a=True)
to_values = tf.linalg.inv(of_values)
fisher_matrix = tf.matmul(to_values, of_vector @ to_values, transpose_a=True)
errors = fisher.marginal_errors(fisher_matrix).numpy()
guess = inference.Normal(center, tf.linalg.cholesky(fisher.parameter_covariance(of_vector)))
print(f"Fisher matrix of {space.size} parameters: {time.perf_counter() - began:.0f} s")

# %% [markdown]
# With a mean that is linear in the parameters the posterior is Gaussian and the Fisher matrix
# exact, which is a test of the sampler.

# %%
root = tf.linalg.cholesky(of_vector)


def gaussian_limit(values):
    return -0.5 * tf.reduce_sum(tf.matmul(values["u"] - center, root) ** 2, axis=1)


num_samples, num_chains = (20, 2) if is_small else (500, 4)
options = {"start": guess, "metric": "unit", "num_chains": num_chains, "progress": not is_small}
vectors = inference.Space({"u": Parameter((space.size,))})
limit = inference.sample(gaussian_limit, vectors, num_samples, num_warmup=100, seed=1, **options)
ratio = limit.vectors.std(axis=(0, 1)) / guess.std
print(f"Gaussian limit: widths over those of Fisher {np.min(ratio):.2f} to {np.max(ratio):.2f}")

# %% [markdown]
# ## The posterior itself
# XLA compiles the spectra, once and not as a part of the loop of the sampler, which takes some
# minutes (seven on two busy cores); a few draws do without. Coordinates are those of the Fisher
# matrix from the start.

# %%
budget = {"num_samples": 300, "num_warmup": 50, "step_size": 0.5}
if is_small:
    budget = {"num_samples": 4, "num_warmup": 2, "max_depth": 1}
began = time.perf_counter()
draws = inference.sample(log_prob, space, seed=2, jit_compile=False, **budget, **options)
seconds = time.perf_counter() - began
chains = flat(draws.values).numpy()  # [num_samples, num_chains, 21]
r_hat, ess = inference.r_hat(chains), inference.effective_sample_size(chains)
widths = chains.std(axis=(0, 1))
print(f"{'':16s} truth    mean    width / Fisher   R-hat   ESS / draw")
for i, name in enumerate(names):
    print(f"{name:16s} {flat(truth)[i]:6.3f}  {chains[..., i].mean():6.3f}  "
          f"{widths[i] / errors[i]:10.2f}      {r_hat[i]:8.3f}  "
          f"{ess[i] / chains[..., i].size:8.2f}")  # fmt: skip
print(f"{seconds:.0f} s, {draws.num_gradients} gradients of {num_chains} chains side by side; "
      f"largest R-hat {r_hat.max():.4f}, least ESS {ess.min():.0f}")  # fmt: skip

# %% [markdown]
# ## The figure

# %%
figure = Figure(figsize=(11, 4), layout="constrained")
left, right = figure.subplots(1, 2)
x, y = chains[..., 0].ravel(), chains[..., 4].ravel()
left.plot(x, y, ".", ms=2, alpha=0.4, label="Draws")
block = fisher.parameter_covariance(fisher_matrix).numpy()[np.ix_([0, 4], [0, 4])]
angle = np.linspace(0, 2 * np.pi, 200)
ring = np.linalg.cholesky(block) @ np.stack([np.cos(angle), np.sin(angle)])
for level, style in ((1.52, "-"), (2.49, "--")):  # 68 % and 95 % of two dimensions
    left.plot(fiducial["Omega_c"] + level * ring[0], fiducial["sigma8"] + level * ring[1],
              "k" + style, lw=1, label="Fisher, 68 %" if style == "-" else "95 %")  # fmt: skip
left.set(xlabel="Ω_c", ylabel="σ8")
left.legend()
right.axhspan(0.9, 1.1, color="0.9")
right.plot(np.arange(21), widths / errors, "o", label="Posterior")
right.plot(np.arange(21), ratio, "x", label="Gaussian limit")
right.set_xticks(np.arange(21), names, rotation=90)
right.set(ylabel="Width over that of Fisher")
right.legend()
figure.suptitle("A made-up 3x2pt survey of 1300 square degrees: 21 parameters")
figure.savefig("cosmological_parameters_3x2pt.png", dpi=110)
