"""Spectra of one field of cubic cells, one mode of the full FFT grid at a time."""

import math

import numpy as np


def legendre(degree, mu):
    """L_l(mu), written out."""
    return {
        0: 1.0,
        2: (3 * mu**2 - 1) / 2,
        4: (35 * mu**4 - 30 * mu**2 + 3) / 8,
        6: (231 * mu**6 - 315 * mu**4 + 105 * mu**2 - 5) / 16,
    }[degree]


def window_transform(q, window):
    """Transform of a window at q = k times the side of a cell, along one axis."""
    sinc = 1.0 if q == 0 else math.sin(q / 2) / (q / 2)
    return {None: 1.0, "cic": sinc**2, "tsc": sinc**3}[window]


def modes(sides, cell):
    """Index, wavenumbers (three) and |k| of every mode but the mean."""
    for index in np.ndindex(*sides):
        whole = [i if 2 * i < n else i - n for i, n in zip(index, sides, strict=True)]
        k = [2 * math.pi * i / (n * cell) for i, n in zip(whole, sides, strict=True)]
        if any(index):
            yield index, k, math.sqrt(sum(x**2 for x in k))


def binned(a, b, cell, edges, degree=0, axis=2, window=None):
    """Mean |k|, mean of (2 l + 1) L_l Re(a b*) times the volume, and number of modes."""
    volume, size = cell**3 * a.size, a.size
    a_modes, b_modes = np.fft.fftn(a) / size, np.fft.fftn(b) / size
    total_k, total, count = np.zeros((3, len(edges) - 1))
    for index, k, length in modes(a.shape, cell):
        for i in range(len(edges) - 1):
            # Rounding must not decide about modes on an edge, which belong to the bin above.
            if edges[i] * (1 - 1e-9) <= length < edges[i + 1] * (1 - 1e-9):
                shrink = math.prod(window_transform(x * cell, window) for x in k)
                product = (a_modes[index] * np.conj(b_modes[index])).real / shrink**2
                total[i] += (2 * degree + 1) * legendre(degree, k[axis] / length) * product
                total_k[i] += length
                count[i] += 1
    return total_k / count, volume * total / count, count
