# %% [markdown]
# # The gradient of a simulation
#
# How does the clustering today answer to each point of the initial conditions, and to the density
# of dark matter? One backward run of the simulation tells, at the price of about three forward
# ones and in memory that does not grow with the number of steps.

# %%
import os

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from flowpm_ext.cosmology import Planck15, power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.pm import lpt_init, nbody

# A small mesh and few steps where a run must be quick, as in the tests.
is_small = bool(os.environ.get("FLOWPM_EXT_SMALL"))
side, num_steps = (8, 2) if is_small else (64, 10)
cell = 4.0  # Mpc/h
mesh = LocalMesh(side)
stages = np.linspace(0.1, 1.0, num_steps + 1)

# %% [markdown]
# ## A simulation, its result and its gradients as one function
# From the linear field and Omega_c to the density today and the mean of its square. The field is
# held while Omega_c changes: what is asked is how it grows. `jit_compile` makes one program of
# all of it; double precision lets finite differences judge.


# %%
@tf.function(jit_compile=not is_small)
def clustering(field, omega_c):
    with tf.GradientTape() as tape:
        tape.watch([field, omega_c])
        cosmo = Planck15(Omega_c=omega_c)
        state = lpt_init(cosmo, field, 0.1)
        density = mesh.paint(nbody(cosmo, state, stages, side).position)
        value = tf.reduce_mean(density**2)
    return density, value, *tape.gradient(value, [field, omega_c])


field = linear_field(
    side, cell * side, lambda k: power.linear_matter_power(Planck15(), k), dtype=tf.float64
)
omega_c = tf.constant(0.2589, tf.float64)
density, value, d_field, d_omega_c = clustering(field, omega_c)
print(f"mean squared density {value:.4f}; its slope in Omega_c {d_omega_c:.4f}")

# %% [markdown]
# ## Checked against finite differences
# Along a random direction of the field, and in Omega_c. Clouds in cells have kinks, where a
# particle passes from one cell to the next: a difference over a finite step meets some of them,
# the derivative none, so that the two agree better the smaller the step.

# %%
direction = tf.constant(np.random.default_rng(0).normal(size=field.shape))
eps = 1e-6
ends = [clustering(field + s * eps * direction, omega_c)[1] for s in (1, -1)]
difference = (ends[0] - ends[1]) / (2 * eps)
exact = tf.reduce_sum(d_field * direction)
print(f"field:   derivative {exact:+.8f}, finite difference {difference:+.8f}")
assert abs(difference / exact - 1) < 1e-3

ends = [clustering(field, omega_c + s * eps)[1] for s in (1, -1)]
difference = (ends[0] - ends[1]) / (2 * eps)
print(f"Omega_c: derivative {d_omega_c:+.8f}, finite difference {difference:+.8f}")
assert abs(difference / d_omega_c - 1) < 1e-3

# %% [markdown]
# ## Density and gradient side by side
# The gradient lives where the particles came from: it is large around the patches that collapse
# into the densest halos.


# %%
def show(axes, image, title, label, **style):
    shown = axes.imshow(image.T, origin="lower", extent=(0, cell * side) * 2, **style)
    axes.set(title=title, xlabel="x [Mpc/h]", ylabel="y [Mpc/h]")
    axes.figure.colorbar(shown, ax=axes, label=label, shrink=0.8)


depth = max(1, side // 8)
today = density.numpy()[0, :, :, :depth].mean(axis=-1)
slope = d_field.numpy()[0, :, :, :depth].mean(axis=-1) * side**3
limit = np.quantile(np.abs(slope), 0.995)
figure = Figure(figsize=(13, 5.4), layout="constrained")
left, right = figure.subplots(1, 2)
show(
    left, np.log10(np.maximum(today, 0.1)), "Density today",
    r"$\log_{10}\,\rho/\bar\rho$", cmap="magma",
)  # fmt: skip
show(
    right, slope, "Its answer to the initial conditions",
    r"$N\;\partial\langle\rho^2\rangle\,/\,\partial\delta_{\rm lin}$",
    cmap="RdBu_r", vmin=-limit, vmax=limit,
)  # fmt: skip
figure.suptitle(f"Slices of {depth * cell:g} Mpc/h through a simulation, and through its gradient")
figure.savefig("simulation_gradient.png", dpi=100)
