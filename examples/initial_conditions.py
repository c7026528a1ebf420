# %% [markdown]
# # Initial conditions of a simulated universe, three ways
#
# A field of matter with noise, and what it grew from: by the best linear filter and standard
# reconstruction, by annealed search for the most probable field, and by a network that learned to
# search. `FLOWPM_EXT_SMALL=1` runs a small version.

# %%
import os

import numpy as np

import rim
from flowpm_ext.stats import cross_correlation

is_small = os.environ.get("FLOWPM_EXT_SMALL") == "1"
problem = rim.preset("matter", 16 if is_small else 32)
truth, y = problem.simulate(seed=1)
print(f"chi^2 per cell at the truth: {problem.chi2(truth, y)[0]:.3f}")

# %% [markdown]
# Each estimate is a linear field at a = 1, `[1, nx, ny, nz]`.

# %%
by_machine = rim.reconstruct(problem, y, "rim", truth=truth)
by_search = rim.reconstruct(problem, y, "map", truth=truth, progress=False)
estimates = {
    "Wiener filter": rim.wiener_filter(problem, y),
    "standard reconstruction": rim.standard_reconstruction(problem, y),
    f"annealed MAP, {by_search.num_gradients} gradients": by_search.x,
    f"CosmicRIM, {by_machine.num_gradients} gradients": by_machine.x,
}
k_edges = [0.08, 0.12, 0.17, 0.23]
print(f"{'':32s} r(k = 0.1 h/Mpc)  r(0.2)")
for name, x in estimates.items():
    r = cross_correlation(x, truth, problem.box_size, k_edges).correlation.numpy()[0]
    print(f"{name:32s} {r[0]:8.3f} {r[2]:14.3f}")

# %% [markdown]
# The machine gives the mean of the posterior, whose power is less than that of the truth where the
# data say little: T(k) is about r(k). Draws from the posterior have all of it.

# %%
num = 4 if is_small else 100
draws = rim.reconstruct(
    problem, y, "hmc", truth=truth, num_samples=num, num_warmup=num, progress=False
)
print(f"power of draws over that of the truth: {np.var(draws.samples) / np.var(truth):.2f}")
print(f"power of the machine's mean over it:   {np.var(by_machine.x) / np.var(truth):.2f}")
print(f"median R-hat of {num} draws of two chains: {draws.convergence()['median_r_hat']:.2f}")
