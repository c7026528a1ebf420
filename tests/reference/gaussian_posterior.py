"""Posterior of a Gaussian field by dense matrices over pixels, in the space of the data."""

import numpy as np


def covariance(power):
    """Covariance of the pixels of a map, [N, N], as a sum of cosines over all frequencies."""
    ny, nx = power.shape
    y, x = (a.ravel() for a in np.mgrid[:ny, :nx])
    total = np.zeros((ny * nx, ny * nx))
    for i in range(ny):
        for j in range(nx):
            phase = 2 * np.pi * (i * (y[:, None] - y) / ny + j * (x[:, None] - x) / nx)
            total += power[i, j] * np.cos(phase)
    return total / (ny * nx)


def shear_matrix(ny, nx):
    """Shear of a convergence map, complex [N, N], as a sum over plane waves."""
    y, x = (a.ravel() for a in np.mgrid[:ny, :nx])
    total = np.zeros((ny * nx, ny * nx), complex)
    for i in range(-((ny - 1) // 2), ny // 2 + 1):
        for j in range(-((nx - 1) // 2), nx // 2 + 1):
            if i == j == 0:
                continue
            phi = np.arctan2(i / ny, j / nx)
            factor = np.exp(2j * phi)
            if 2 * i == ny or 2 * j == nx:  # a wave that is its own opposite along this axis
                factor = 1.0 if abs(j / nx) >= abs(i / ny) else -1.0
            wave = np.exp(2j * np.pi * (i * (y[:, None] - y) / ny + j * (x[:, None] - x) / nx))
            total += factor * wave
    return total / (ny * nx)


def posterior(matrix, noise_std, data, prior):
    """Mean and covariance of x given data = matrix x + noise, for observed real data only."""
    gain = prior @ matrix.T
    inverse = np.linalg.inv(matrix @ gain + np.diag(noise_std**2))
    return gain @ inverse @ data, prior - gain @ inverse @ gain.T


def real_rows(matrix, data, noise_std, mask):
    """Complex data as real rows, first real and then imaginary parts, observed pixels only."""
    mask, noise_std = mask.ravel(), noise_std.ravel()[mask.ravel()]
    rows = np.concatenate([matrix.real[mask], matrix.imag[mask]])
    values = data.ravel()[mask]
    return rows, np.concatenate([values.real, values.imag]), np.concatenate([noise_std, noise_std])
