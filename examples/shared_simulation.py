# %% [markdown]
# # One simulation shared by two processes, and its gradient
#
# `python examples/shared_simulation.py` starts two processes on this machine. Each holds half of
# the mesh and of the particles. The density at the end, and the gradients of its variance by the
# initial field and by σ8, are those of one process with all of it. On a cluster the part for the
# workers is a program of its own, started once for each device. `FLOWPM_EXT_SMALL=1` runs a small
# version.

# %%
import os
import sys

import numpy as np
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import power
from flowpm_ext.launcher import launch
from flowpm_ext.mesh import LocalMesh, ShardedMesh, join_cluster

is_small = os.environ.get("FLOWPM_EXT_SMALL") == "1"
side, num_steps = (8, 2) if is_small else (32, 5)  # cells, forces
stages = np.linspace(0.1, 1.0, num_steps + 1)

# %% [markdown]
# ## What both do
# The mesh is the only word that differs. What all processes have alike, such as σ8, goes through
# `mesh.replicated`, by which each has the whole gradient; functions of the package do that where
# they take a cosmology. A loss is a `mesh.sum`.


# %%
@tf.function(autograph=False)
def variance_and_gradients(mesh, sigma8):
    """Density [1, *mesh.local_shape], its variance, and gradients by noise and σ8."""
    white = mesh.white_noise(seed=1)
    with tf.GradientTape() as tape:
        tape.watch([white, sigma8])
        cosmo = fpm.Planck18(sigma8=sigma8)
        field = fpm.linear_field(
            mesh, 4.0 * side, lambda k: power.linear_matter_power(cosmo, k), white_noise=white
        )
        state = fpm.lpt_init(cosmo, field, stages[0], mesh=mesh)
        density = mesh.paint(fpm.nbody(cosmo, state, stages, mesh).position)
        variance = mesh.sum((density - 1) ** 2) / side**3
    return density, variance, tape.gradient(variance, [white, sigma8])


def difference(mesh, ours, whole):
    """Root mean square difference of a slab from its part of a whole field, over its own."""
    first = mesh.first_plane
    part = whole[:, first : first + mesh.local_shape[0]]
    return float(tf.sqrt(mesh.sum((ours - part) ** 2) / mesh.sum(part**2)))


# %% [markdown]
# ## The workers
# `join_cluster` comes before all other work of TensorFlow. Here every worker also makes the whole
# by itself, to compare; no real run would.


# %%
def work():
    """What each of the processes does."""
    processes = join_cluster()
    mesh = ShardedMesh(side, processes=processes)
    sigma8 = tf.constant(0.81, tf.float64)
    density, variance, (by_white, by_sigma8) = variance_and_gradients(mesh, sigma8)
    whole = variance_and_gradients(LocalMesh(side), sigma8)
    found = {
        "density": difference(mesh, density, whole[0]),
        "gradient by the field": difference(mesh, by_white, whole[2][0]),
        "gradient by σ8": abs(float(by_sigma8 / whole[2][1]) - 1),
    }
    if processes.rank == 0:
        print(f"variance {float(variance):.4f}, its slope by σ8 {float(by_sigma8):.4f}")
        for name, value in found.items():
            print(f"{name}: differs from that of one process by {value:.1e}")
    # In float32 a changed last bit of the positions is 5e-6 of the density.
    if max(found.values()) > 1e-4:
        raise RuntimeError(f"the processes do not agree with one: {found}")


# %% [markdown]
# ## Start

# %%
if os.environ.get("TF_CONFIG"):
    work()
else:
    ended = launch([sys.executable, __file__], 2)
    print(f"Two processes ended with code {ended.code}.")
    if ended.code:
        raise RuntimeError(ended.output[ended.failed])
