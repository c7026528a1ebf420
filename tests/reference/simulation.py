"""A particle-mesh simulation with NumPy and SciPy: flat, of matter and a cosmological constant."""

import itertools

import numpy as np
from reference import fields3d
from scipy.integrate import quad


def clouds(position, sides):
    """Clouds in cells of particles [num_particles, 3] of unit mass."""
    mesh, first = np.zeros(sides), np.floor(position).astype(int)
    for corner, share in _corners(position, first):
        np.add.at(mesh, tuple(np.mod(first + corner, sides).T), share)
    return mesh


def simulation(white, cell, pk, omega_m, stages):
    """Density at the last stage: first-order start, steps of the leapfrog, exact wave vectors."""
    side = len(white)
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    psi = _read(_gradient(fields3d.linear(white, cell, pk)), lattice.astype(float))
    a, step = stages[0], 1e-4

    def hubble(a):
        return np.sqrt(omega_m / a**3 + 1 - omega_m)

    def growth(a):
        return hubble(a) * quad(lambda x: (x * hubble(x)) ** -3, 0, a, epsabs=0, epsrel=1e-12)[0]

    slope = (growth(a + step) - growth(a - step)) / (2 * step) / growth(1.0)
    x = lattice + growth(a) / growth(1.0) * psi
    p = a**3 * hubble(a) * slope * psi
    for a, b in itertools.pairwise(stages):
        middle = np.sqrt(a * b)
        for begin, end, moves in ((a, middle, False), (a, b, True), (middle, b, False)):
            power = 3 if moves else 2
            time = quad(lambda t, n=power: t**-n / hubble(t), begin, end, epsrel=1e-12)[0]
            if moves:
                x = x + time * p
            else:
                p = p + 1.5 * omega_m * time * _read(_gradient(clouds(x, white.shape)), x)
    return clouds(x, white.shape)


def _gradient(density):
    """Minus the gradient of the inverse Laplacian [side, side, side, 3], cell by cell."""
    side = len(density)
    wave = 2 * np.pi * np.fft.fftfreq(side)
    k = np.stack(np.meshgrid(wave, wave, wave, indexing="ij"))
    square = np.sum(k**2, axis=0)
    square[0, 0, 0] = np.inf
    k[np.abs(k) > np.pi - 1e-9] = 0.0  # the Nyquist frequency has no derivative
    modes = np.fft.fftn(density)
    return np.stack([np.fft.ifftn(1j * one / square * modes).real for one in k], axis=-1)


def _read(field, position):
    first = np.floor(position).astype(int)
    side = len(field)
    return sum(
        share[:, None] * field[tuple(np.mod(first + corner, side).T)]
        for corner, share in _corners(position, first)
    )


def _corners(position, first):
    for corner in itertools.product((0, 1), repeat=3):
        yield corner, np.prod(1 - np.abs(position - first - corner), axis=-1)
