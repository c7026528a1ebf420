"""Light profiles, and what seeing and pixels make of them."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import quad

from lfi.lens_finder import ImagingSurvey, sersic
from lfi.lens_finder.light import ring, spiral_arms
from lfi.lens_finder.seeing import grid, to_pixels


def constants(*values):
    return [tf.constant(value, tf.float64) for value in values]


@pytest.mark.parametrize("index", [0.5, 1.0, 4.0])
def test_flux_of_a_sersic_profile_is_one_and_half_of_it_inside(index):
    def light(log_r):  # along the major axis of ellipses: their area is pi r**2
        r, q = np.exp(log_r), 0.6
        value = sersic(*constants(r / np.sqrt(q), 0.0, 0.7, index, q, 0.0), softening=0.0)
        return 2 * np.pi * r**2 * float(value)

    inside = quad(light, -20, np.log(0.7), epsrel=1e-10, limit=200)[0]
    outside = quad(light, np.log(0.7), 8, epsrel=1e-10, limit=200)[0]
    # The series of b is good to 4e-4 at an index of a half, and to 3e-5 at one.
    np.testing.assert_allclose([inside, outside], 0.5, rtol=5e-4 if index < 1 else 5e-5)


def test_angle_turns_the_major_axis():
    along = sersic(*constants(0.5, 0.5, 0.7, 1.0, 0.5, np.pi / 4))
    across = sersic(*constants(0.5, -0.5, 0.7, 1.0, 0.5, np.pi / 4))
    assert along > 2 * across


def test_point_spread_function_is_normalised_and_as_wide_as_said():
    side, pixel, seeing = 41, 0.25, 0.8
    light = np.zeros((1, 2, 3 * side, 3 * side))
    light[:, :, 3 * side // 2, 3 * side // 2] = 1
    fwhm = tf.constant([[seeing, 1.5 * seeing]], tf.float64)
    image = to_pixels(tf.constant(light), fwhm, side, pixel).numpy()[0]
    # What is beyond 5 arcsec of wings with a width of one arcsec at most.
    np.testing.assert_allclose(image.sum(axis=(1, 2)), 1, rtol=1e-6)
    middle = image[:, side // 2, side // 2]
    # In pixels much smaller than the seeing, half of the maximum is at half of the width.
    fine = to_pixels(tf.constant(light[:, :1]), fwhm[:, :1], side, 0.02).numpy()[0, 0]
    profile = fine[side // 2] / fine[side // 2, side // 2]
    x = grid(side, 1, 0.02)
    np.testing.assert_allclose(np.interp(0.2, x, profile) > 0.5, True)
    np.testing.assert_allclose(np.interp(0.4, x, profile), 0.5, atol=2e-3)  # a pixel is 0.02 wide
    assert middle[0] > 1.5 * middle[1]


def test_flux_survives_seeing_and_pixels():
    survey = ImagingSurvey(side=81, oversampling=4)
    points = tf.constant(grid(81, 4, survey.pixel_size_arcsec), tf.float64)
    area = (survey.pixel_size_arcsec / 4) ** 2
    light = area * sersic(points, points[:, None], *constants(0.8, 1.0, 0.6, 0.3))
    assert light.shape == (324, 324)
    image = to_pixels(light[None, None], tf.constant([[0.8]], tf.float64), 81, 0.25)
    # 1e-4 is what midpoints of cells of 0.06 arcsec make of the cusp of an exponential.
    np.testing.assert_allclose(np.sum(image), 1, rtol=1e-4)


def test_arms_and_rings_have_their_symmetry():
    r, phi = np.linspace(0.2, 2, 7)[:, None], np.linspace(0, 2 * np.pi, 50)[:-1]
    shape = constants(0.8, 1.0, 0.0)

    def arms(turn):
        at = constants(r * np.cos(phi + turn), r * np.sin(phi + turn))
        return spiral_arms(*at, *shape, *constants(4.0, 1.5, 0.3, 3.0)).numpy()

    np.testing.assert_allclose(arms(2 * np.pi / 3), arms(0), rtol=1e-9)
    assert np.max(np.abs(arms(np.pi / 3) / arms(0) - 1)) > 1
    # Arms wind: the brightest direction turns by winding / num_arms for each factor e of radius.
    np.testing.assert_allclose(
        spiral_arms(*constants(0.8, 0.0), *shape, *constants(4.0, 1.5, 0.3, 3.0))
        / spiral_arms(*constants(0.8, 0.0), *shape, *constants(0.0, 1.5, 0.3, 3.0)),
        np.exp(1.5 * (np.cos(4 * np.log(2) + 0.3) - np.cos(0.3))), rtol=1e-5,
    )  # fmt: skip
    at = constants(np.linspace(0.01, 2, 200), 0.0)
    circle = ring(*at, *constants(0.9, 0.1, 1.0, 0.0, 0.5, 0.0, 1.0)).numpy()
    assert abs(float(at[0][np.argmax(circle)]) - 0.9) < 0.02  # the step is 0.01
    other = ring(*constants(-0.9, 0.0), *constants(0.9, 0.1, 1.0, 0.0, 0.5, 0.0, 1.0))
    np.testing.assert_allclose(circle.max() / other, 1.5 / 0.5, rtol=1e-2)
