"""Windows of particles on a mesh, one particle and one cell at a time."""

import itertools

import numpy as np


def share(distance, window):
    """Part of a particle that a cell at this distance gets, along one axis."""
    distance = abs(distance)
    if window == "cic":
        return max(0.0, 1 - distance)
    if distance < 0.5:
        return 0.75 - distance**2
    return 0.5 * (1.5 - distance) ** 2 if distance < 1.5 else 0.0


def paint(sides, position, weight, window):
    """Mesh of particles [num_particles, num_axes], every image of every particle."""
    mesh = np.zeros(sides)
    for cell in np.ndindex(*sides):
        for x, mass in zip(position, weight, strict=True):
            wrapped = np.mod(x, sides)
            for image in itertools.product((-1, 0, 1), repeat=len(sides)):
                apart = wrapped + np.multiply(image, sides) - cell
                mesh[cell] += mass * np.prod([share(d, window) for d in apart])
    return mesh
