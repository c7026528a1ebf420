"""Limber integrals on a dense grid of redshifts, from the distances of astropy, by Simpson's rule.

CCL has f_K(chi' - chi) / f_K(chi') in its lensing kernels and chi elsewhere: in the Limber
integral, in its wavenumber, and in front of the kernels (chi for galaxies, chi**2 / f_K for
the microwave background). `as_ccl` does the same; without it there is f_K everywhere.
"""

import numpy as np
from scipy import integrate, interpolate

HUBBLE_RADIUS = 2997.92458  # Mpc/h
ALIGNMENT = 5e-14 * 2.775366e11


def galaxy_redshifts(last=4.0, size=2001):
    """Redshifts that are dense near the observer, from where k is out of reach."""
    return 1e-3 + (last - 1e-3) * np.linspace(0, 1, size) ** 2


def screen_redshifts(last=1100.0, size=2001):
    """Redshifts even in ln(1 + z), to a screen."""
    return np.geomspace(1 + 1e-3, 1 + last, size) - 1


class Sight:
    """Distances (Mpc/h) at redshifts, for an astropy cosmology."""

    def __init__(self, cosmology, z, as_ccl=False):
        self.z, self.matter, self.curvature = z, cosmology.Om0, cosmology.Ok0
        self.as_ccl = as_ccl
        self.rate = cosmology.efunc(z) / HUBBLE_RADIUS  # dz / dchi
        self.chi = cosmology.comoving_distance(z).value * cosmology.h
        self.transverse = self.f_k(self.chi)
        self.distance = self.chi if as_ccl else self.transverse

    def f_k(self, chi):
        """Transverse distance."""
        x = np.sqrt(np.abs(self.curvature)) * chi / HUBBLE_RADIUS
        if self.curvature == 0:
            return chi
        return chi * (np.sinh(x) if self.curvature > 0 else np.sin(x)) / np.where(x, x, 1)

    def lensing(self, nz):
        """Kernel of convergence for a density in redshift, source by source."""
        ahead = self.f_k(np.maximum(self.chi[None, :] - self.chi[:, None], 0.0))
        efficiency = integrate.simpson(nz * ahead / self.transverse, x=self.z, axis=1)
        return self._strength() * self.distance * efficiency

    def screen(self, far):
        """Kernel of convergence for a source plane at radial distance `far`."""
        front = self.chi**2 / self.transverse if self.as_ccl else self.transverse
        efficiency = self.f_k(np.maximum(far - self.chi, 0.0)) / self.f_k(far)
        return self._strength() * front * efficiency

    def counts(self, nz, bias):
        """Kernel of number counts."""
        return bias * nz * self.rate

    def alignment(self, nz, growth):
        """Kernel of intrinsic alignments of amplitude one."""
        return -ALIGNMENT * self.matter / growth * nz * self.rate

    def distortions(self, ell, nz, rate, growth):
        """Kernel of linear infall, at k f_K = ell + 1/2 and ell + 3/2 (Chisari et al. 2019).

        `rate` and `growth` are f1 and D1 at the redshifts.
        """
        weight = rate * nz * self.rate
        at = interpolate.CubicSpline(self.distance, weight * growth)
        farther = self.distance * (ell + 1.5) / (ell + 0.5)
        there = np.where(farther < self.distance[-1], at(farther), 0.0) / growth
        near = (1 + 8 * ell) / (2 * ell + 1) ** 2
        return near * weight - 4 / (2 * ell + 3) * np.sqrt((2 * ell + 1) / (2 * ell + 3)) * there

    def spectrum(self, ell, first, second, power):
        """C_ell of two kernels at one multipole; `power` takes k and z, point by point."""
        at = power((ell + 0.5) / self.distance, self.z)
        return integrate.simpson(first * second / self.distance**2 * at, x=self.chi)

    def _strength(self):
        return 1.5 * self.matter / HUBBLE_RADIUS**2 * (1 + self.z)


def spin(ell):
    """Factor of shear, from the potential."""
    return np.sqrt((ell + 2) * (ell + 1) * ell * (ell - 1)) / (ell + 0.5) ** 2


def scalar(ell):
    """Factor of convergence, from the potential."""
    return ell * (ell + 1) / (ell + 0.5) ** 2


def interpolated(power, last):
    """A spectrum at k and z point by point, from the values [nz, nk] of `power(k, z)`."""
    z = np.expm1(np.linspace(0, np.log1p(last), 160))
    k = np.geomspace(1e-5, 5e3, 700)
    surface = interpolate.RectBivariateSpline(np.log1p(z), np.log(k), np.log(power(k, z)))

    def at(k, z):
        return np.exp(surface.ev(np.log1p(z), np.log(k)))

    return at
