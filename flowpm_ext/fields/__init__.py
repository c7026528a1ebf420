"""Random fields on periodic grids, and the tracers that follow them."""

from flowpm_ext.fields.bias import eulerian_bias, lagrangian_bias_weights, squared_tidal_field
from flowpm_ext.fields.gaussian import gaussian_map, power_map
from flowpm_ext.fields.linear import linear_field
from flowpm_ext.fields.lognormal import lognormal_field, lognormal_map
from flowpm_ext.fields.redshift_space import redshift_space_position
from flowpm_ext.fields.tracers import poisson_sample, tracer_positions
from flowpm_ext.fields.white_noise import resample_white_noise

__all__ = [
    "eulerian_bias",
    "gaussian_map",
    "lagrangian_bias_weights",
    "linear_field",
    "lognormal_field",
    "lognormal_map",
    "poisson_sample",
    "power_map",
    "redshift_space_position",
    "resample_white_noise",
    "squared_tidal_field",
    "tracer_positions",
]
