"""Lagrangian perturbation theory against closed forms, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import background
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.pm import lpt_init

COSMO = fpm.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.96, sigma8=0.8, w0=-0.9, wa=0.1)
A = 0.4


def growth(a=A, cosmo=COSMO):
    """D1, a**2 E f1 D1, D2, a**2 E f2 D2 through the public background functions."""
    rate = a**2 * np.sqrt(background.Esqr(cosmo, a))
    first, second = background.growth_factor(cosmo, a), background.growth_factor_second(cosmo, a)
    return [
        float(x)
        for x in (
            first,
            rate * background.growth_rate(cosmo, a) * first,
            second,
            rate * background.growth_rate_second(cosmo, a) * second,
        )
    ]


def wave(n, number, amplitude=0.1):
    """Overdensity of a plane wave with integer wavenumbers, [1, n, n, n], and its phase."""
    lattice = LocalMesh(n).lattice(tf.float64).numpy()
    phase = 2 * np.pi / n * lattice @ np.array(number)
    return amplitude * np.cos(phase).reshape(1, n, n, n), phase


@pytest.mark.parametrize("number", [(1, 0, 0), (1, 2, 0), (2, -1, 3)])
@pytest.mark.parametrize("order", [1, 2])
def test_plane_wave_is_displaced_as_zeldovich_says(number, order):
    # psi = -k / k**2 amplitude sin(k q); the second order of one plane wave vanishes.
    n, k = 12, 2 * np.pi / 12 * np.array(number)
    field, phase = wave(n, number)
    state = lpt_init(COSMO, tf.constant(field), A, order)
    psi = -k / (k @ k) * 0.1 * np.sin(phase)[:, None]
    first, first_momentum, *_ = growth()
    lattice = LocalMesh(n).lattice(tf.float64)
    np.testing.assert_allclose(state.position[0] - lattice, first * psi, atol=1e-13)
    np.testing.assert_allclose(state.momentum[0], first_momentum * psi, atol=1e-13)


def test_second_order_of_two_crossed_waves():
    # delta = A cos(k x) + B cos(l y): phi,xx phi,yy = A B cos(k x) cos(l y), and
    # psi2 = grad of its inverse Laplacian.
    n, one, two = 16, 0.2, 0.3
    x, y, _ = LocalMesh(n).lattice(tf.float64).numpy().T
    k, m = 2 * np.pi / n, 4 * np.pi / n
    field = (one * np.cos(k * x) + two * np.cos(m * y)).reshape(1, n, n, n)
    states = [lpt_init(COSMO, tf.constant(field), A, order) for order in (1, 2)]
    scale = one * two / (k**2 + m**2)
    psi = np.stack(
        [
            scale * k * np.sin(k * x) * np.cos(m * y),
            scale * m * np.cos(k * x) * np.sin(m * y),
            np.zeros_like(x, float),
        ],
        axis=-1,
    )
    *_, second, second_momentum = growth()
    np.testing.assert_allclose(
        states[1].position[0] - states[0].position[0], second * psi, atol=1e-13
    )
    np.testing.assert_allclose(
        states[1].momentum[0] - states[0].momentum[0], second_momentum * psi, atol=1e-13
    )


def test_every_axis_is_treated_alike():
    field = LocalMesh(6).white_noise(0, dtype=tf.float64)
    turned = tf.transpose(field, [0, 3, 1, 2])
    one, other = lpt_init(COSMO, field, A).position, lpt_init(COSMO, turned, A).position
    one = tf.transpose(tf.reshape(one, [6, 6, 6, 3]), [2, 0, 1, 3])
    other = tf.reshape(other, [6, 6, 6, 3])
    np.testing.assert_allclose(tf.gather(one, [2, 0, 1], axis=-1), other, atol=1e-12)


def test_batch_is_a_loop():
    fields = LocalMesh((4, 6, 8)).white_noise(0, 3, tf.float64)
    cosmo = COSMO.replace(Omega_c=tf.constant([0.2, 0.25, 0.3], tf.float64))
    together = lpt_init(cosmo, fields, A)
    for i, omega in enumerate((0.2, 0.25, 0.3)):
        alone = lpt_init(COSMO.replace(Omega_c=omega), fields[i : i + 1], A)
        np.testing.assert_allclose(together.position[i], alone.position[0], atol=1e-12)
        np.testing.assert_allclose(together.momentum[i], alone.momentum[0], atol=1e-12)


def test_gradient_against_differences():
    mesh = LocalMesh(4)
    field, probe = mesh.white_noise(0, dtype=tf.float64), mesh.white_noise(1, dtype=tf.float64)

    def loss(t, a, omega):
        state = lpt_init(COSMO.replace(Omega_c=omega), field + t * probe, a)
        return tf.reduce_sum(tf.sin(state.position)) + tf.reduce_sum(state.momentum**2)

    start = [tf.constant(x, tf.float64) for x in (0.0, A, 0.25)]
    with tf.GradientTape() as tape:
        tape.watch(start)
        value = loss(*start)
    for i, gradient in enumerate(tape.gradient(value, start)):
        step = [1e-5 * (j == i) for j in range(3)]
        above = loss(*(x + h for x, h in zip(start, step, strict=True)))
        below = loss(*(x - h for x, h in zip(start, step, strict=True)))
        # Truncation 1e-10, rounding 1e-10.
        np.testing.assert_allclose(gradient, (above - below) / 2e-5, rtol=1e-7, atol=1e-8)


def test_float32_and_graph():
    field = LocalMesh(8).white_noise(0)
    exact = lpt_init(COSMO, tf.cast(field, tf.float64), A)
    single = lpt_init(COSMO, field, A)
    assert single.position.dtype == single.momentum.dtype == tf.float32
    # Rounding of displacements of a few cells at positions up to 8.
    np.testing.assert_allclose(single.position, exact.position, atol=5e-6)
    inside = tf.function(lambda f: lpt_init(COSMO, f, A), jit_compile=True, autograph=False)(field)
    np.testing.assert_allclose(inside.position, single.position, atol=5e-6)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(field=np.full([1, 4, 4, 4], np.nan)), ValueError, "`field` must be finite"),
        (dict(field=np.zeros([4, 4, 4])), ValueError, "`field` must have 4 axes"),
        (dict(a=0.0), ValueError, r"`a` must lie in \[1e-08, 1"),
        (dict(a=1.5), ValueError, r"`a` must lie in"),
        (dict(order=3), ValueError, "`order` must be 1 or 2"),
        (dict(gradient_kernel="fft"), ValueError, "`gradient_kernel` must be one of"),
        (dict(cosmo=0.3), TypeError, r"`cosmo` must be a Cosmology.*lpt_init\(cosmo, field, a"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    good = dict(cosmo=COSMO, field=np.zeros([1, 4, 4, 4]), a=0.1)
    with pytest.raises(error, match=message):
        lpt_init(**{**good, **arguments})


def test_old_calls_show_the_new_one():
    field = np.zeros([1, 4, 4, 4])
    new = r"lpt_init\(cosmo, field, a=0.1, order=2\)"
    for call in (lambda: lpt_init(field, a0=0.1), lambda: lpt_init(field, 0.1)):
        with pytest.raises(TypeError, match=new):
            call()
    with pytest.raises(TypeError, match=new):
        lpt_init(COSMO, field, a0=0.1)
    with pytest.raises(TypeError, match=r"nbody\(cosmo, state, stages, mesh_shape\)"):
        fpm.nbody(lpt_init(COSMO, field, 0.1), np.linspace(0.1, 1, 4), 4)
