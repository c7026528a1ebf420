# %% [markdown]
# # How strongly is the matter in front of COSMOS clustered?
#
# From a shear catalogue to the posterior of Omega_m and sigma8 without an analytic likelihood: the
# survey is simulated, with its redshifts, its mask and the noise of each of its pixels; a network
# that is given the map and its spectrum learns the two numbers that say most; and a density
# learns the posterior of the parameters given these numbers. It learns from lognormal maps, is
# judged by light cones of particle-mesh simulations, and learns from both. Beside it stands the
# usual analysis of the same map: a Gaussian likelihood of its spectrum, sampled by Hamiltonian
# Monte Carlo.
#
# With the environment variable `FLOWPM_EXT_DATA` naming the folder described in `docs/data.md`
# this is the real HST/COSMOS field (some 15 minutes, an estimate); without it, a simulated
# survey that looks like it.
#
# **What is not modelled**: intrinsic alignments, errors of the redshifts and of the calibration of
# shear, baryons, the curved sky, the clustering of the sources, haloes smaller than a cell of the
# mesh, and all that a lognormal map lacks beside a real one where only these are used.

# %%
import os
import pathlib
import warnings

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import lfi
from flowpm_ext.core.seeds import fold, standard_normal
from flowpm_ext.cosmology import Planck15, angular_cl, probes
from flowpm_ext.cosmology.redshift import histogram_nz
from flowpm_ext.inference import sample_hmc
from flowpm_ext.lensing import FinePixelWarning, MapDataset, pixel_factor, write_maps
from flowpm_ext.nn import SmallCNN
from flowpm_ext.numerics import fourier
from flowpm_ext.stats import angular_power
from lfi.compressors import Compressor
from lfi.diagnostics import expected_coverage, misspecification
from lfi.fidelity import moved_summaries
from lfi.hybrid import WithSpectra
from lfi.lognormal_field import LognormalField
from lfi.masked_survey import MaskedSurvey
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
    simulated = simulate_survey(0.5, seed=0)
    catalogue, nz = simulated.catalogue, simulated.nz
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

# %% [markdown]
# The survey's own path: reduced shear, its noise and its holes, and back to a convergence. The
# catalogue takes the second half of it, so that data and simulations are treated alike.

# %%
survey = MaskedSurvey(seen.noise_std, seen.mask)
data = survey.mapped(seen.shear[None]).numpy()

# Galaxies tell the mean of a pixel; maps drawn from a spectrum hold values at points.
ell = np.geomspace(10.0, 6e4, 200)
cl = angular_cl.angular_cl(Planck15(), ell, [probes.WeakLensing(list(task.nz))])[0].numpy()
factor = pixel_factor((ell, cl), num_pixels, pixel_size_arcmin)


def pixel_means(points: tf.Tensor) -> tf.Tensor:
    """Means of the pixels, [batch, num_pixels, num_pixels], of lognormal maps [..., 1]."""
    return fourier.filter2(points[..., 0], tf.constant(factor, tf.float32))


omega_b = float(Planck15().Omega_b)


def amplitudes(theta: np.ndarray) -> np.ndarray:
    """Omega_m, sigma8, S8 and sigma8 (Omega_m / 0.3)**0.51, [..., 4]."""
    omega_m, sigma8 = theta[..., 0] + omega_b, theta[..., 1]
    powers = [sigma8 * (omega_m / 0.3) ** power for power in (0.5, 0.51)]
    return np.stack([omega_m, sigma8, *powers], axis=-1)


# %% [markdown]
# ## Simulations without end, and a network that learns from them
# `LognormalField` draws a map in less than a millisecond, so that no map is seen twice.

# %%
field = LognormalField(task)
shortest = 0.9 * 360 * 60 / (pixel_size_arcmin * max(ny, nx))
ell_edges = np.geomspace(2 * shortest, 0.5 * 360 * 60 / pixel_size_arcmin, 9)


def surveyed(number: tf.Tensor, maps: tf.Tensor, theta: tf.Tensor) -> tuple:
    return survey.observed(pixel_means(maps), fold(7, tf.cast(number, tf.int32))), theta


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
estimator.fit(verbose=0, epochs=5 if small else 100)

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
# ## Maps of particle-mesh simulations
# Light cones know filaments and haloes, and lognormal maps do not. A box of 100 Mpc/h holds the
# survey where lensing is strongest, and its cells of the force are there as wide as a pixel.
# Of each light cone, which is three times as wide as the survey, four windows are seen. The farm
# goes on where it was stopped.

# %%
side = max(ny, nx)
warnings.simplefilter("ignore", FinePixelWarning)  # how smooth maps are is measured below
write_maps(
    "cosmos_light_cones", task.nz, 16 if small else 64,
    {"Omega_c": (0.15, 0.4), "sigma8": (0.5, 1.0)}, cosmo=Planck15(), seed=3, maps_per_shard=8,
    verbose=1, field_size_deg=3 * side * pixel_size_arcmin / 60, num_pixels=3 * side,
    supersampling=2, mesh_shape=8 if small else 64, box_size=100.0, force_mesh_factor=3,
    integrator="bullfrog",
    stages=np.linspace(0.05, 1.0, 11),  # from before the last plane of every cosmology
    max_repeats=8.0,  # the survey is wider than the box only where little lenses
)  # fmt: skip
dataset = MapDataset("cosmos_light_cones")
cones, theta_cones = dataset.read(dataset.members())
cones, num_cones = cones[..., 0], len(cones)
corners = [(y, x) for y in (side // 2, side // 2 + side) for x in (side // 2, side // 2 + side)]
truth = np.tile(theta_cones, (len(corners), 1))

# Lognormal maps of the same parameters, to compare with.
white = standard_normal([len(truth), 1, num_pixels, num_pixels], seed=11)
twins = pixel_means(field.maps(truth, white))

# %% [markdown]
# A mesh smooths what is smaller than its cells, and a small box lacks the modes that make its
# structure grow. The power that is missing is found beside lognormal maps without noise and given
# back to the modes of the light cones. Their phases stay as they are: no haloes come back.

# %%
fields = (cones, corners), (twins, [(0, 0)])
mean_cl = [np.exp(spectra(survey.windows(*one, has_noise=False))).mean(axis=0) for one in fields]
kept = np.sqrt(mean_cl[0] / mean_cl[1])
middle = np.sqrt(ell_edges[1:] * ell_edges[:-1])
l2, l1 = fourier.wavenumbers(cones.shape[1:], np.deg2rad(pixel_size_arcmin / 60))
at = np.log(np.maximum(np.hypot(l1, l2), middle[0]))
restored = fourier.filter2(tf.constant(cones), 1 / np.interp(at, np.log(middle), kept)).numpy()
print("multipoles of the bins:", np.round(middle).astype(int).tolist())
print("power of light cones over lognormal maps:", np.round(kept**2, 2).tolist())

# %% [markdown]
# What the posterior that was learned from lognormal maps says of each kind. Light cones are drawn
# from a part of the prior, so that of all amplitudes only S8, which maps tell well, is judged.


# %%
def judge(name: str, estimator: lfi.NPE, summaries: np.ndarray, theta: np.ndarray) -> None:
    """Print the error of S8 and how often intervals hold it."""
    draws = estimator.posterior(summaries, check=False).sample(500, seed=1)
    s8, true = amplitudes(draws)[..., 2:3], amplitudes(theta)[:, 2:3]
    away, width = (s8.mean(axis=0) - true).ravel(), s8.std(axis=0).mean()
    hold = expected_coverage(s8, true, (0.68, 0.95)).coverage.ravel()
    of_cone = away.reshape(len(corners), -1).mean(axis=0)
    error = of_cone.std() / np.sqrt(len(of_cone))
    print(
        f"{name:36} S8 {away.mean():+.3f} +- {error:.3f}, posterior {width:.3f} wide, scatter "
        f"{away.std():.3f}; intervals hold {hold[0]:.2f} and {hold[1]:.2f}"
    )


everything = np.hstack([summaries, log_cl])
kinds = {
    "lognormal": survey.windows(twins, [(0, 0)], seed=12),
    "particle mesh": survey.windows(cones, corners, seed=13),
    "the same, restored": survey.windows(restored, corners, seed=13),
}
for name, maps in kinds.items():
    like_ours = compressor.compress(maps)  # in the end, of restored light cones
    judge(name, estimator, like_ours, truth)
    strange = misspecification(everything, np.hstack([like_ours, spectra(maps)])).p_value
    print(f"{'':36} {np.mean(strange < 0.05):.1%} are stranger than 5 % of simulations")

# %% [markdown]
# ## A posterior learned from both kinds
# 64 light cones are too few to learn a posterior from, and enough to say how far off the
# summaries of lognormal maps are: these are moved, and a posterior is learned from them. Half of
# the light cones say how far, the other half judge it; then all of them serve.


# %%
def learned_from(members: np.ndarray) -> lfi.NPE:
    """The posterior from summaries of lognormal maps, moved to those of some light cones."""
    chosen = np.isin(np.tile(np.arange(num_cones), len(corners)), members)
    moved = moved_summaries(np.log(theta), summaries, np.log(truth[chosen]), like_ours[chosen])
    found = lfi.NPE(task.prior, seed=1).append_simulations(theta[held:], moved[held:])
    return found.fit(verbose=0, epochs=5 if small else 100)


half = np.arange(num_cones) < num_cones // 2  # each is spread evenly, as every other one is not
of_half = learned_from(np.flatnonzero(half))
others = np.tile(~half, len(corners))
judge("restored, learned from the others", of_half, like_ours[others], truth[others])
of_both = learned_from(np.arange(num_cones))

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
of_network, of_both = (
    one.posterior(seen_summary[0], check=False).sample(len(of_spectrum), seed=2)
    for one in (estimator, of_both)
)
results = {
    "map, lognormal": amplitudes(of_network),
    "map, both": amplitudes(of_both),
    "spectrum": amplitudes(of_spectrum),
}
print("                    S8               sigma8 (Omega_m / 0.3)^0.51")
for name, found in results.items():
    (s8, both), (s8_error, error) = found[:, 2:].mean(0), found[:, 2:].std(0)
    print(f"{name:14} {s8:8.3f} +- {s8_error:.3f} {both:10.3f} +- {error:.3f}")
print("Schrabback et al. 2010 (arXiv:0911.0053), with redshifts in bins: 0.75 +- 0.08")

# %%
figure = corner_figure(
    [found[:, :3] for found in results.values()],
    [r"$\Omega_m$", r"$\sigma_8$", r"$S_8$"],
    labels=["lognormal maps", "and particle-mesh maps", "spectrum alone"],
)
figure.savefig("cosmos_inference.png", dpi=100)
