"""Random fields on periodic grids."""

from flowpm_ext.fields.gaussian import gaussian_map, power_map
from flowpm_ext.fields.lognormal import lognormal_map

__all__ = ["gaussian_map", "lognormal_map", "power_map"]
