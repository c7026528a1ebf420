# %% [markdown]
# # How strongly is the matter in front of COSMOS clustered?
#
# From a shear catalogue to the posterior of Omega_m and sigma8 without an analytic likelihood: the
# survey is simulated, with its redshifts, its mask and the noise of each of its pixels; a network
# that is given the map and its spectrum learns the two numbers that say most; and a density
# learns the posterior of the parameters given these numbers. Beside it stands the usual analysis
# of the same map: a Gaussian likelihood of its spectrum, sampled by Hamiltonian Monte Carlo.
#
# With the environment variable `FLOWPM_EXT_DATA` naming the folder described in `docs/data.md`
# this is the real HST/COSMOS field (seven minutes on two cores); without it, a simulated survey
# that looks like it.
#
# **What is not modelled**: intrinsic alignments, errors of the redshifts and of the calibration of
# shear, baryons, the curved sky, the clustering of the sources, and all that a lognormal map lacks
# beside a real one. The map tells more than the spectrum does as far as real maps are lognormal.

# %%
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import lfi
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.cosmology import Planck15, angular_cl, probes
from flowpm_ext.cosmology.redshift import histogram_nz
from flowpm_ext.inference import sample_hmc
from flowpm_ext.lensing import convergence, pixel_factor, shear
from flowpm_ext.nn import SmallCNN
from flowpm_ext.numerics import fourier
from flowpm_ext.stats import angular_power
from lfi.compressors import Compressor
from lfi.diagnostics import expected_coverage, misspecification
from lfi.hybrid import WithSpectra
from lfi.lognormal_field import LognormalField
from lfi.plot import corner_figure
from priors.catalogue import read_nz, read_shear_catalogue
from priors.shear_map import bin_shear, survey_grid
from priors.simulated_survey import simulate_survey

small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
pixel_size_arcmin = 4.0 if small else 1.5
num_steps, num_simulations = (40, 300) if small else (5000, 10_000)
folder = pathlib.Path(os.environ.get("FLOWPM_EXT_DATA", "data")) / "cosmos"

# %% [markdown]
# ## The survey

# %%
if folder.is_dir():
    catalogue, nz = folder / "shear_catalogue.fits", folder / "nz.txt"
else:
    survey = simulate_survey(0.5, seed=0)
    catalogue, nz = survey.catalogue, survey.nz
catalogue = read_shear_catalogue(catalogue)
grid = survey_grid(catalogue, pixel_size_arcmin, padding_arcmin=3.0)
seen = bin_shear(catalogue, grid)
ny, nx = seen.mask.shape
print(f"{seen.galaxies_per_arcmin2:.1f} galaxies per square arcminute in {ny} x {nx} pixels")

# Maps are periodic: twice as wide as the survey, of which a corner is cut out.
num_pixels = 2 * 2 ** int(np.ceil(np.log2(max(ny, nx)) - 0.5))
num_pixels = max(num_pixels, max(ny, nx))
task = lfi.LensingTask(
    (histogram_nz(*read_nz(nz), gals_per_arcmin2=seen.galaxies_per_arcmin2),),
    field_size_deg=num_pixels * pixel_size_arcmin / 60,
    num_pixels=num_pixels,
    low=(0.05, 0.4),
    high=(0.6, 1.4),
)
noise = tf.constant(seen.noise_std, tf.float32)
mask = tf.constant(seen.mask, tf.float32)


# %% [markdown]
# The survey's own path: reduced shear, its noise and its holes, and back to a convergence. The
# catalogue takes the second half of it, so that data and simulations are treated alike.


# %%
def mapped(gamma: tf.Tensor) -> tf.Tensor:
    """Convergence of a shear map with holes, [batch, ny, nx, 1]."""
    return convergence(gamma * tf.complex(mask, 0.0)).e[..., None]


def observed(kappa: tf.Tensor, seed: tf.Tensor, y: int = 0, x: int = 0) -> tf.Tensor:
    """What the survey, its corner at a pixel (y, x), makes of convergence [batch, side, side]."""
    reduced = shear(kappa) / tf.complex(1 - kappa, 0.0)
    reduced = reduced[:, y : y + ny, x : x + nx]
    white = tf.unstack(standard_normal([2, tf.shape(kappa)[0], ny, nx], seed))
    return mapped(reduced + tf.complex(noise * white[0], noise * white[1]))


# Galaxies tell the mean of a pixel; maps drawn from a spectrum hold values at points.
ell = np.geomspace(10.0, 6e4, 200)
cl = angular_cl.angular_cl(Planck15(), ell, [probes.WeakLensing(list(task.nz))])[0].numpy()
factor = pixel_factor((ell, cl), num_pixels, pixel_size_arcmin)


def pixel_means(points: tf.Tensor) -> tf.Tensor:
    """Means of the pixels, [batch, num_pixels, num_pixels], of lognormal maps [..., 1]."""
    return fourier.filter2(points[..., 0], tf.constant(factor, tf.float32))


data = mapped(tf.constant(seen.shear[None], tf.complex64)).numpy()

# %% [markdown]
# ## Simulations without end, and a network that learns from them
# `LognormalField` draws a map in less than a millisecond, so that no map is seen twice.

# %%
field = LognormalField(task)
shortest = 0.9 * 360 * 60 / (pixel_size_arcmin * max(ny, nx))
ell_edges = np.geomspace(2 * shortest, 0.5 * 360 * 60 / pixel_size_arcmin, 9)


def surveyed(number: tf.Tensor, maps: tf.Tensor, theta: tf.Tensor) -> tuple:
    return observed(pixel_means(maps), fold(7, tf.cast(number, tf.int32))), theta


def simulations(seed: int) -> tf.data.Dataset:
    stream = field.stream(32, seed).enumerate()
    return stream.map(lambda number, pair: surveyed(number + 100_000 * seed, *pair))


keras.utils.set_random_seed(1)
network = keras.Sequential(
    [
        WithSpectra(SmallCNN(32, (8, 16, 32), padding="zero"), pixel_size_arcmin, ell_edges),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
    ]
)
compressor = Compressor(network, 2, "vmim", low=task.low, high=task.high)
rate = keras.optimizers.schedules.CosineDecay(
    1e-4, num_steps, warmup_target=2e-3, warmup_steps=num_steps // 10
)
compressor.compile(keras.optimizers.Adam(rate, clipnorm=5.0))
compressor.fit(simulations(1), steps_per_epoch=num_steps // 10, epochs=10, verbose=2)

# %%
num_batches = num_simulations // 32
batches = tqdm(simulations(2).take(num_batches).as_numpy_iterator(), total=num_batches)
maps, theta = (np.concatenate(part) for part in zip(*batches, strict=True))


def spectra(maps: np.ndarray) -> np.ndarray:
    """Logarithms of the spectra of masked maps, [num, num_ell]."""
    return np.log(
        angular_power(maps, pixel_size_arcmin, ell_edges).cl.numpy().reshape(len(maps), -1)
    )


summaries, log_cl = compressor.compress(maps), spectra(maps)
held = num_simulations // 10
estimator = lfi.NPE(task.prior, seed=1).append_simulations(theta[held:], summaries[held:])
estimator.fit(verbose=0, epochs=5 if small else 300)

# %% [markdown]
# ## Is COSMOS like the simulations, and are posteriors calibrated?

# %%
seen_summary, seen_log_cl = compressor.compress(data), spectra(data)
check = misspecification(
    np.hstack([summaries, log_cl]), np.hstack([seen_summary, seen_log_cl])[0],
    names=["summary 1", "summary 2", *(f"C_ell {i}" for i in range(log_cl.shape[1]))],
)  # fmt: skip
print(check.message)
draws = estimator.posterior(summaries[:held], check=False).sample(500, seed=1)
coverage = expected_coverage(draws, theta[:held], (0.68, 0.95))
print(f"68 and 95 % intervals hold {np.round(coverage.coverage, 2).tolist()} of {held} truths")

# %% [markdown]
# ## The spectrum alone
# Its mean is a polynomial in the parameters that is fitted to the simulations, and its covariance
# that of simulations near the best fit.


# %%
def features(theta: tf.Tensor) -> tf.Tensor:
    """Polynomials of third order in the logarithms of parameters, [batch, 10]."""
    a, b = tf.unstack(tf.math.log(theta / [0.25, 0.8]), axis=-1)
    return tf.stack([a**i * b**j for i in range(4) for j in range(4 - i)], axis=-1)


design = features(tf.constant(theta)).numpy()
weights = np.linalg.lstsq(design, log_cl, rcond=None)[0].astype(np.float32)
rest = log_cl - design @ weights
precision = np.linalg.inv(np.cov(rest[np.abs(theta[:, 1] - 0.8) < 0.2].T)).astype(np.float32)
low, high = task.prior.low, task.prior.high


def log_posterior(u: tf.Tensor) -> tf.Tensor:
    part = tf.sigmoid(u)
    away = seen_log_cl[0] - features(low + (high - low) * part) @ weights
    growth = tf.reduce_sum(tf.math.log(part) + tf.math.log1p(-part), axis=-1)
    return growth - 0.5 * tf.einsum("bi,ij,bj->b", away, precision, away)


start = 0.5 * np.random.default_rng(0).normal(size=[16, 2]).astype(np.float32)
chains = sample_hmc(log_posterior, start, 200 if small else 2000, 300, seed=1, progress=False)
print(f"R-hat of the chains of the spectrum: {chains.r_hat.max():.3f}")
of_spectrum = low + (high - low) / (1 + np.exp(-chains.samples.reshape(-1, 2)))

# %% [markdown]
# ## The answer

# %%
of_network = estimator.posterior(seen_summary[0], check=False).sample(len(of_spectrum), seed=2)
omega_b = float(Planck15().Omega_b)


def amplitudes(theta: np.ndarray) -> np.ndarray:
    """Omega_m, sigma8, S8 and sigma8 (Omega_m / 0.3)**0.51, [num, 4]."""
    omega_m, sigma8 = theta[:, 0] + omega_b, theta[:, 1]
    powers = [sigma8 * (omega_m / 0.3) ** power for power in (0.5, 0.51)]
    return np.stack([omega_m, sigma8, *powers], axis=-1)


results = {"map": amplitudes(of_network), "spectrum": amplitudes(of_spectrum)}
print("                    S8               sigma8 (Omega_m / 0.3)^0.51")
for name, found in results.items():
    (s8, both), (s8_error, error) = found[:, 2:].mean(0), found[:, 2:].std(0)
    print(f"{name:12} {s8:10.3f} +- {s8_error:.3f} {both:10.3f} +- {error:.3f}")
print("Schrabback et al. 2010 (arXiv:0911.0053), with redshifts in bins: 0.75 +- 0.08")

# %%
figure = corner_figure(
    [found[:, :3] for found in results.values()],
    [r"$\Omega_m$", r"$\sigma_8$", r"$S_8$"],
    labels=["map and spectrum", "spectrum alone"],
)
figure.savefig("cosmos_inference.png", dpi=100)
