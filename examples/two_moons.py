# %% [markdown]
# # What a denoiser knows of a density
#
# A network that takes Gaussian noise away knows the gradient of the logarithm of the density of
# what it learned, smoothed by that noise: (denoised - noisy) / sigma². Here it learns two moons
# from draws alone. Their density is a sum of small round clouds, so the exact gradient is known
# and stands beside the learned one; and chains that follow the learned gradient while the noise
# falls draw new points. Two minutes on one core.

# %%
import os

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

import priors

small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
num_steps, num_draws = (60, 40) if small else (3000, 600)
width, sigmas = 0.1, (0.5, 0.1)
keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

# %% [markdown]
# ## Two moons, and their exact score

# %%
t = np.linspace(0, np.pi, 64)
outer, inner = (np.cos(t), np.sin(t)), (1 - np.cos(t), 0.5 - np.sin(t))
centres = np.concatenate([np.stack(outer, 1), np.stack(inner, 1)])


def points(num: int) -> np.ndarray:
    """Draws, [num, 2]."""
    clouds = centres[rng.integers(len(centres), size=num)]
    return (clouds + width * rng.normal(size=(num, 2))).astype(np.float32)


def exact_score(y: np.ndarray, sigma: float) -> np.ndarray:
    """Gradient of the log density of the moons with noise, [num, 2]."""
    away, variance = centres - y[:, None], width**2 + sigma**2
    log = -0.5 * np.sum(away**2, axis=-1) / variance
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("nm,nmd->nd", weight, away) / variance


# %% [markdown]
# ## A denoiser of points
# Waves first: a plain network is slow to learn what is much smaller than the moons.

# %%
waves = keras.layers.Dense(
    128,
    keras.ops.sin,
    kernel_initializer=keras.initializers.RandomNormal(stddev=2.0),
    bias_initializer=keras.initializers.RandomUniform(-3.0, 3.0),
)
hidden = [keras.layers.Dense(128, "silu") for _ in range(3)]
network = keras.Sequential([waves, *hidden, keras.layers.Dense(2)])
denoiser = priors.Denoiser(
    rank=0, channels=2, network=network, sigma_min=0.05, sigma_max=2.0, ema_momentum=0.995
)
data = points(200_000)
denoiser.adapt(data)
denoiser.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, num_steps)))
batches = tf.data.Dataset.from_tensor_slices(data).shuffle(len(data), seed=0).repeat().batch(1024)
denoiser.fit(batches, steps_per_epoch=num_steps // 3, epochs=3, verbose=2)


def learned_score(y: np.ndarray, sigma: float) -> np.ndarray:
    return denoiser.score(y, sigma).numpy()


errors = []
for sigma in sigmas:
    y = points(5000) + sigma * rng.normal(size=(5000, 2)).astype(np.float32)
    exact = exact_score(y, sigma)
    errors.append(float(np.std(learned_score(y, sigma) - exact) / np.std(exact)))
    print(f"sigma {sigma}: the learned score is off by {100 * errors[-1]:.1f} % of the exact one")

# %% [markdown]
# ## Draws
# Chains start in noise that hides the moons and follow the score down to noise that does not.

# %%
draws = priors.sample_prior(
    priors.LearnedScore(denoiser), (2,), num_draws, seed=1, num_chains=num_draws,
    sigmas=np.geomspace(2.0, 0.05, 5 if small else 16), weighted=True, progress=False,
).samples  # fmt: skip
nearest = np.min(np.linalg.norm(draws[:, None] - centres, axis=-1), axis=1)
outside = np.mean(nearest > 3 * np.hypot(width, 0.05))
print(f"{len(draws)} draws, {100 * outside:.1f} % of them outside of the moons")

# %% [markdown]
# ## The figure

# %%
frame = {"xlim": (-1.8, 2.8), "ylim": (-1.4, 1.9), "aspect": "equal", "xticks": [], "yticks": []}
grid = np.stack(np.meshgrid(np.linspace(-1.7, 2.7, 27), np.linspace(-1.3, 1.8, 19)), -1)
fields = {"Exact": exact_score, "Learned": learned_score}
figure = Figure(figsize=(13, 6.6), layout="constrained")
panels = figure.subplots(2, 3)
for row, sigma, error in zip(panels, sigmas, errors, strict=True):
    noisy = points(3000) + sigma * rng.normal(size=(3000, 2))
    at = grid.reshape(-1, 2).astype(np.float32)
    for axes, (name, score) in zip(row[:2], fields.items(), strict=True):
        arrow = score(at, sigma) * sigma**2
        axes.scatter(*noisy.T, s=2, color="tab:orange", alpha=0.3, linewidths=0)
        axes.quiver(*at.T, *arrow.T, angles="xy", scale_units="xy", scale=3, width=0.0025)
        axes.set(title=f"{name} score, noise {sigma}", **frame)
    row[1].set_title(f"Learned score, noise {sigma}: off by {100 * error:.1f} %")
for axes, shown, name in (
    (panels[0, 2], data[: len(draws)], "Data"),
    (panels[1, 2], draws, "Draws by the learned score"),
):
    axes.scatter(*shown.T, s=6, color="tab:blue", alpha=0.6, linewidths=0)
    axes.set(title=f"{name}, {len(shown)} points", **frame)
figure.suptitle("Scores of two moons: arrows go a third of the way to the denoised point")
figure.savefig("two_moons.png", dpi=110)
