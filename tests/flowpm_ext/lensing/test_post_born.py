"""What bent rays add to straight ones, against second-order perturbation theory in closed form."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import background, redshift
from flowpm_ext.lensing import LensPlanes, born, multiplane
from flowpm_ext.lensing.sources import strength

COSMO = fpm.Planck15()
SIDE, THICKNESS, N = 200.0, 200.0, 1024
CHI = np.array([100.0, 300.0])
Z = 0.15
DEGREES, NUM_PIXELS = 10.0, 24
# Waves of each plane: periods along y and x, amplitude, phase.
WAVES = (
    [(1, 2, 0.5, 0.3), (3, -1, 0.4, 1.0), (2, 2, 0.3, 2.0)],
    [(2, -1, 0.5, 0.7), (1, 3, 0.4, 2.1), (3, 2, 0.3, 0.1)],
)


def waves(j):
    """Wavenumbers [num, 2] (h/Mpc), amplitudes and phases of a plane."""
    table = np.array(WAVES[j])
    return 2 * np.pi / SIDE * table[:, :2], table[:, 2], table[:, 3]


def planes(epsilon):
    x = (np.arange(N) - N // 2) * SIDE / N
    place = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    density = []
    for j in range(2):
        k, amplitude, phase = waves(j)
        density.append(epsilon * np.sum(amplitude * np.cos(place @ k.T + phase), axis=-1))
    density.append(np.zeros([N, N]))
    chi = THICKNESS * (np.arange(3) + 0.5)
    return LensPlanes(np.array(density)[:, None], chi, THICKNESS, SIDE)


def of_potential(j, x):
    """Gradient and Hessian of the potential whose Laplacian kicks rays on plane j, at x."""
    k, amplitude, phase = waves(j)
    kick = 2 * THICKNESS * float(strength(COSMO, tf.constant(CHI[j : j + 1], tf.float64))[0])
    scale = -kick * amplitude / np.sum(k**2, axis=1)
    angle = x @ k.T + phase
    gradient = np.einsum("...m,mi->...i", -scale * np.sin(angle), k)
    hessian = np.einsum("...m,mi,mj->...ij", -scale * np.cos(angle), k, k)
    return gradient, hessian


def second_order():
    """Convergence and rotation of second order for epsilon = 1, as the two planes couple."""
    far = float(background.radial_comoving_distance(COSMO, 1 / (1 + Z)))
    theta = np.deg2rad(((np.arange(NUM_PIXELS) + 0.5) / NUM_PIXELS - 0.5) * DEGREES)
    theta = np.stack(np.meshgrid(theta, theta, indexing="ij"), axis=-1)
    bend, near = of_potential(0, CHI[0] * theta)
    _, behind = of_potential(1, CHI[1] * theta)
    gap, efficiency = CHI[1] - CHI[0], (far - CHI[1]) / far
    # Rays meet the second plane elsewhere: a shift along the slope of its convergence.
    step = 1e-4
    ahead, back = (
        np.trace(of_potential(1, CHI[1] * theta - s * bend)[1], axis1=-2, axis2=-1)
        for s in (step, -step)
    )
    shifted = 0.5 * efficiency * CHI[1] * gap * (ahead - back) / (2 * step)
    # And it lenses a bundle that the first has sheared already.
    coupled = -efficiency * gap * CHI[0] * behind @ near
    kappa = shifted + 0.5 * np.trace(coupled, axis1=-2, axis2=-1)
    return kappa, 0.5 * (coupled[..., 0, 1] - coupled[..., 1, 0])


@pytest.mark.parametrize("epsilon", [0.3, 0.1])
def test_difference_is_that_of_second_order(epsilon):
    nz = [redshift.delta_nz(Z)]
    bent = multiplane(COSMO, planes(epsilon), nz, DEGREES, NUM_PIXELS)
    straight = born(COSMO, planes(epsilon), nz, DEGREES, NUM_PIXELS)
    difference = (bent.convergence - straight).numpy()[0, ..., 0] / epsilon**2
    kappa, rotation = second_order()
    size = np.std(kappa)
    # What is left: the third order, and slopes that are even over a pixel of a plane, which are
    # wrong by k SIDE / N / 2 = 1 %.
    np.testing.assert_allclose(difference, kappa, atol=0.02 * size)
    assert np.corrcoef(difference.ravel(), kappa.ravel())[0, 1] > 0.9995
    found = bent.rotation.numpy()[0, ..., 0] / epsilon**2
    np.testing.assert_allclose(np.abs(found), np.abs(rotation), atol=0.02 * size)
