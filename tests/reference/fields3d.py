"""Fields in three dimensions by plain NumPy transforms over all frequencies, one at a time."""

import itertools

import numpy as np


def wavevector(index, shape):
    """Whole waves along each axis of a mode; the Nyquist frequency is positive."""
    return np.array([i if 2 * i <= n else i - n for i, n in zip(index, shape, strict=True)])


def power_of_modes(shape, cell, pk):
    """P / cell volume of every mode, zero for the mean."""
    power = np.zeros(shape)
    for index in np.ndindex(*shape):
        k = 2 * np.pi * np.linalg.norm(wavevector(index, shape) / np.array(shape)) / cell
        power[index] = pk(k) / cell**3 if k > 0 else 0.0
    return power


def linear(white, cell, pk, is_fixed=False):
    """White noise [nx, ny, nz] with the spectrum `pk`."""
    modes = np.fft.fftn(white)
    if is_fixed:
        modes *= np.sqrt(white.size) / np.abs(modes)
    return np.fft.ifftn(modes * np.sqrt(power_of_modes(white.shape, cell, pk))).real


def lognormal(white, cell, pk):
    """White noise [nx, ny, nz] as a lognormal overdensity of spectrum `pk`."""
    power = power_of_modes(white.shape, cell, pk)
    correlation = np.fft.ifftn(power).real
    underlying = np.maximum(np.fft.fftn(np.log(1 + correlation)).real, 0)
    g = np.fft.ifftn(np.fft.fftn(white) * np.sqrt(underlying)).real
    return np.exp(g - underlying.mean() / 2) - 1


def squared_tidal_field(field):
    """Sum over all nine components, each the mean over both signs of Nyquist frequencies."""
    shape, modes, total = field.shape, np.fft.fftn(field), 0.0
    for i, j in itertools.product(range(3), repeat=2):
        component = np.zeros(shape, complex)
        for index in np.ndindex(*shape):
            waves = wavevector(index, shape)
            if not waves.any():
                continue
            products = []
            for signs in itertools.product((1, -1), repeat=3):
                is_nyquist = 2 * np.abs(waves) == shape
                k = np.where(is_nyquist, signs * np.abs(waves), waves) / shape
                products.append(k[i] * k[j] / (k @ k))
            component[index] = modes[index] * (np.mean(products) - (i == j) / 3)
        total = total + np.fft.ifftn(component).real ** 2
    return total
