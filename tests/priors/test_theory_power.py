"""The prior of a mass map: the spectrum of CCL for the galaxies' own n(z), mode by mode."""

import dataclasses

import numpy as np
import pyccl
from reference import cosmologies

from flowpm_ext.cosmology import Planck18
from priors.sky_grid import SkyGrid
from priors.theory_power import theory_power


def test_power_of_a_mode_is_the_spectrum_of_ccl_seen_in_pixels():
    edges = np.linspace(0.0, 3.0, 301)
    z = 0.5 * (edges[1:] + edges[:-1])
    counts = z**2 * np.exp(-((z / 0.8) ** 1.5))
    grid = SkyGrid((150.0, 2.0), (48, 64), 1.0)
    power = theory_power((edges[:-1], counts), grid)

    fields = dataclasses.asdict(Planck18())
    names = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "Omega_k", "w0", "wa")
    reference = cosmologies.ccl({name: fields[name] for name in names})
    tracer = pyccl.WeakLensingTracer(reference, dndz=(z, counts))
    pixel = np.deg2rad(1 / 60)
    for row, column in ((0, 1), (1, 0), (3, 5), (40, 60), (24, 32)):
        turns = np.fft.fftfreq(48)[row], np.fft.fftfreq(64)[column]  # of the wave in a pixel
        ell = 2 * np.pi / pixel * np.hypot(*turns)
        expected = pyccl.angular_cl(reference, tracer, tracer, [ell])[0] / pixel**2
        # A wave's mean over a pixel, by the middle of a hundred parts of its sides.
        parts = (np.arange(100) + 0.5) / 100 - 0.5
        for number in turns:
            expected *= np.mean(np.cos(2 * np.pi * number * parts)) ** 2
        # Interpolation in ell as power laws, steps of n(z) against a spline through them.
        np.testing.assert_allclose(power[row, column], expected, rtol=5e-3)
    assert power[0, 0] == 0
