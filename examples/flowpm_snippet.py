# %% [markdown]
# # From FlowPM
#
# What a user of FlowPM writes first. Only the imports differ from there.

# %%
import numpy as np
import tensorflow as tf

import flowpm_ext as flowpm
from flowpm_ext.cosmology import power

cosmo = flowpm.Planck15()


def pk(k):
    return power.linear_matter_power(cosmo, k)


# %%
stages = np.linspace(0.1, 1.0, 10, endpoint=True)
initial_conditions = flowpm.linear_field(32, 100, pk, batch_size=16)
state = flowpm.lpt_init(cosmo, initial_conditions, 0.1)
final_state = flowpm.nbody(cosmo, state, stages, 32)
final_field = flowpm.cic_paint(tf.zeros_like(initial_conditions), final_state[0])

# %%
mean, std = tf.reduce_mean(final_field), tf.math.reduce_std(final_field)
print(f"density of shape {final_field.shape}: mean {mean:.4f}, standard deviation {std:.2f}")
