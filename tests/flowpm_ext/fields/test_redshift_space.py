"""Redshift space against a chain of units in km/s, the Kaiser limit, and gradients."""

import numpy as np
import pytest
import tensorflow as tf
from reference import cosmologies

from flowpm_ext.cosmology import Planck15, background
from flowpm_ext.fields import redshift_space_position

A = 0.6


def particles(seed=0, batch=2, num=5):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 16, (batch, num, 3)), rng.normal(size=(batch, num, 3))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shift_is_the_velocity_over_the_hubble_rate(axis):
    cell = 2.5  # Mpc/h
    parameters = dict(Omega_c=0.26, Omega_b=0.05, h=0.68, n_s=0.96, sigma8=0.8)
    position, velocity = particles()
    velocity *= 300.0  # km/s
    # dx/dt = v / a, with H0 = 100 km/s/(Mpc/h).
    momentum = A**2 * (velocity / A) / 100.0 / cell
    found = redshift_space_position(
        Planck15(**parameters), position, momentum, A, line_of_sight=axis
    )
    judge = cosmologies.astropy(parameters)
    shift = velocity[..., axis] * (1 / A) / judge.H(1 / A - 1).value  # comoving Mpc
    expected = position.copy()
    expected[..., axis] += shift * parameters["h"] / cell
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # rounding
    assert np.abs(found - position).max() > 1  # cells


def test_linear_displacements_grow_by_one_plus_f_along_the_line_of_sight():
    cosmo = Planck15()
    lattice = np.indices((8, 8, 8)).reshape(3, -1).T[None].astype(float)
    wave = 0.1 * np.sin(2 * np.pi * lattice[..., :1] / 8) * np.array([1.0, 2.0, -1.0])
    growth, rate = (f(cosmo, A) for f in (background.growth_factor, background.growth_rate))
    displacement = growth * wave
    # a**2 dD/dt / H0 = a**2 E f D.
    momentum = A**2 * tf.sqrt(background.Esqr(cosmo, A)) * rate * displacement
    for axis in range(3):
        found = redshift_space_position(cosmo, lattice + displacement, momentum, A, axis)
        factor = np.ones(3)
        factor[axis] += rate
        np.testing.assert_allclose(found - lattice, displacement * factor, atol=1e-14)


def test_line_of_sight_may_be_any_direction():
    cosmo, (position, momentum) = Planck15(), particles()
    for axis in range(3):
        along = redshift_space_position(cosmo, position, momentum, A, axis)
        vector = -2.0 * np.eye(3)[axis]  # neither its length nor its sign matters
        found = redshift_space_position(cosmo, position, momentum, A, vector)
        np.testing.assert_allclose(found, along, rtol=1e-14)
    # Turning all vectors turns the result.
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    direction = np.array([1.0, 2.0, -0.5])
    straight = redshift_space_position(cosmo, position, momentum, A, direction)
    turned = redshift_space_position(
        cosmo, position @ turn, momentum @ turn, A, list(direction @ turn)
    )
    np.testing.assert_allclose(turned, straight @ turn, atol=1e-13)


def test_batch_of_cosmologies():
    position, momentum = particles()
    omega = np.array([0.2, 0.3])
    found = redshift_space_position(Planck15(Omega_c=omega), position, momentum, A)
    for i in range(2):
        one = redshift_space_position(
            Planck15(Omega_c=omega[i]), position[i : i + 1], momentum[i : i + 1], A
        )
        np.testing.assert_allclose(found[i], one[0], rtol=1e-14)


def test_single_precision():
    position, momentum = (x.astype(np.float32) for x in particles())
    found = redshift_space_position(Planck15(), position, momentum, A)
    assert found.dtype == tf.float32
    expected = redshift_space_position(
        Planck15(), position.astype(float), momentum.astype(float), A
    )
    np.testing.assert_allclose(found, expected, atol=3e-6)  # a few roundings of 16 cells


@pytest.mark.parametrize("jit", [False, True])
def test_graph_gives_the_eager_positions(jit):
    position, momentum = (tf.constant(x) for x in particles())

    def shifted(cosmo, position, momentum, a, direction):
        return redshift_space_position(cosmo, position, momentum, a, direction)

    arguments = (
        Planck15(Omega_c=tf.constant(0.25, tf.float64)), position, momentum,
        tf.constant(A, tf.float64), tf.constant([1.0, 1.0, 0.0], tf.float64),
    )  # fmt: skip
    function = tf.function(shifted, jit_compile=jit, autograph=False)
    np.testing.assert_allclose(function(*arguments), shifted(*arguments), rtol=1e-14)


def test_gradients():
    position, momentum = particles()
    upstream = np.random.default_rng(3).normal(size=position.shape)
    start = [tf.constant(x, tf.float64) for x in (0.26, -0.9, momentum, A, [1.0, 0.5, 2.0])]

    def total(arguments):
        omega, w0, momentum, a, direction = arguments
        cosmo = Planck15(Omega_c=omega, w0=w0)
        shifted = redshift_space_position(cosmo, position, momentum, a, direction)
        return tf.reduce_sum(upstream * shifted)

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = total(start)
    step = 1e-5  # its square is the error of a central difference
    for i, gradient in enumerate(tape.gradient(value, start)):
        change = step * np.cos(np.arange(gradient.shape.num_elements())).reshape(gradient.shape)
        up, down = (
            total([x + (sign * change if i == j else 0) for j, x in enumerate(start)])
            for sign in (1, -1)
        )
        np.testing.assert_allclose(np.sum(gradient * change), (up - down) / 2, rtol=1e-6)


POSITION, MOMENTUM = particles()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POSITION[0], MOMENTUM[0], A), "`position` must have 3 axes"),
        ((POSITION[..., :2], MOMENTUM[..., :2], A), "`position` must have 3 coordinates"),
        ((POSITION, MOMENTUM[:1], A), "`momentum` must have shape"),
        ((POSITION * np.nan, MOMENTUM, A), "`position` must be finite"),
        ((POSITION, MOMENTUM * np.inf, A), "`momentum` must be finite"),
        ((POSITION, MOMENTUM, 0.0), "`a` must lie in"),
        ((POSITION, MOMENTUM, [A, A]), "`a` must have 0 axes"),
        ((POSITION, MOMENTUM, A, 3), "`line_of_sight` must be an axis, 0, 1 or 2"),
        ((POSITION, MOMENTUM, A, True), "`line_of_sight` must be an axis, 0, 1 or 2"),
        ((POSITION, MOMENTUM, A, [1.0, 0.0]), "`line_of_sight` must be an axis, 0, 1 or 2"),
        ((POSITION, MOMENTUM, A, np.zeros(3)), "`line_of_sight` must have a length above zero"),
    ],
)
def test_messages(arguments, message):
    with pytest.raises(ValueError, match=message):
        redshift_space_position(Planck15(), *arguments)


def test_cosmologies_that_do_not_fit_the_batch():
    with pytest.raises(ValueError, match="`cosmo` must be one, or one for each field"):
        redshift_space_position(Planck15(Omega_c=np.full(3, 0.2)), POSITION, MOMENTUM, A)
