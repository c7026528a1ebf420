"""Strong lenses in images: simulated stamps, and a network that finds lenses among them."""

from lfi.lens_finder.calibration import Reliability, at_prevalence, reliability
from lfi.lens_finder.completeness import Completeness, completeness
from lfi.lens_finder.deflection import isothermal_deflection, shear_deflection
from lfi.lens_finder.finder import LensFinder
from lfi.lens_finder.galaxies import KINDS, Galaxies
from lfi.lens_finder.light import sersic
from lfi.lens_finder.network import DeepLens
from lfi.lens_finder.plot import colour_images, finder_figure
from lfi.lens_finder.population import Population, draw_galaxies
from lfi.lens_finder.scores import (
    Score,
    completeness_before,
    roc_area,
    roc_curve,
    score,
    threshold_at,
)
from lfi.lens_finder.shift import shift_test
from lfi.lens_finder.stamps import Stamps, render, simulate_stamps
from lfi.lens_finder.survey import ImagingSurvey

__all__ = [
    "KINDS",
    "Completeness",
    "DeepLens",
    "Galaxies",
    "ImagingSurvey",
    "LensFinder",
    "Population",
    "Reliability",
    "Score",
    "Stamps",
    "at_prevalence",
    "colour_images",
    "completeness",
    "completeness_before",
    "draw_galaxies",
    "finder_figure",
    "isothermal_deflection",
    "reliability",
    "render",
    "roc_area",
    "roc_curve",
    "score",
    "sersic",
    "shear_deflection",
    "shift_test",
    "simulate_stamps",
    "threshold_at",
]
