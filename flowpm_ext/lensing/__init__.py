"""Light cones through simulations, and maps of gravitational lensing."""

from flowpm_ext.lensing.born import born
from flowpm_ext.lensing.datasets import write_maps
from flowpm_ext.lensing.lightcone import light_cone
from flowpm_ext.lensing.maps import FinePixelWarning, convergence_maps
from flowpm_ext.lensing.observe import observe
from flowpm_ext.lensing.pixels import pixel_factor
from flowpm_ext.lensing.planes import LensPlanes
from flowpm_ext.lensing.raytracing import RayTracedMaps, multiplane
from flowpm_ext.lensing.reading import MapDataset
from flowpm_ext.lensing.recombination import recombined
from flowpm_ext.lensing.shear import ConvergenceModes, convergence, shear
from flowpm_ext.lensing.theory_maps import (
    coloured,
    empty_beam_shift,
    gaussian_maps,
    lognormal_factor,
    lognormal_maps,
    lognormal_shift,
)

__all__ = [
    "ConvergenceModes",
    "FinePixelWarning",
    "LensPlanes",
    "MapDataset",
    "RayTracedMaps",
    "born",
    "coloured",
    "convergence",
    "convergence_maps",
    "empty_beam_shift",
    "gaussian_maps",
    "light_cone",
    "lognormal_factor",
    "lognormal_maps",
    "lognormal_shift",
    "multiplane",
    "observe",
    "pixel_factor",
    "recombined",
    "shear",
    "write_maps",
]
