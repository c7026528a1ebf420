"""Gradients of whole simulations: three ways, and against finite differences."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import fisher
from flowpm_ext.mesh import LocalMesh
from flowpm_ext.pm import lpt_init, nbody, steps
from flowpm_ext.pm.integrate import GRADIENTS

BASE = dict(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.96, sigma8=0.8, Omega_k=0.02, w0=-0.9, wa=0.1)
# Four forces each, so that one compiled program serves all integrators.
STAGES = {
    "fastpm": np.array([0.2, 0.4, 0.7, 1.0]),
    "leapfrog": np.array([0.2, 0.4, 0.7, 1.0]),
    "bullfrog": np.array([0.2, 0.3, 0.5, 0.75, 1.0]),
}
PARAMETERS = ("Omega_c", "Omega_b", "Omega_k", "w0", "wa")
MESH = LocalMesh(6)
FIELD = 0.5 * MESH.white_noise(0, dtype=tf.float64)
PROBE = MESH.white_noise(1, dtype=tf.float64)
WEIGHT = tf.reshape(MESH.white_noise(2, batch_size=3, dtype=tf.float64), [1, 216, 3])


def correction(slope):
    return lambda k, a: 1 + slope * tf.sin(k)[None, :] * a[:, None]


def loss(field, theta, slope, integrator="fastpm", **options):
    """A smooth number made of all positions and momenta."""
    cosmo = fpm.Cosmology(**{**BASE, **dict(zip(PARAMETERS, tf.unstack(theta), strict=True))})
    state = nbody(
        cosmo, lpt_init(cosmo, field, 0.2), STAGES[integrator], 6, integrator,
        correction=correction(slope), **options,
    )  # fmt: skip
    return tf.reduce_sum(WEIGHT * (tf.sin(state.position) + state.momentum))


INPUTS = [
    FIELD,
    tf.constant([BASE[name] for name in PARAMETERS], tf.float64),
    tf.constant(0.1, tf.float64),
]


def gradients(**options):
    with tf.GradientTape() as tape:
        tape.watch(INPUTS)
        value = loss(*INPUTS, **options)
    return [g.numpy() for g in tape.gradient(value, INPUTS)]


@pytest.fixture(scope="module")
def plain():
    return gradients(gradient="autodiff")


@pytest.mark.parametrize("gradient", ["adjoint", "checkpoint"])
def test_three_ways_agree(plain, gradient):
    for one, other in zip(gradients(gradient=gradient), plain, strict=True):
        # Rounding of a state run back over three steps.
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10 * np.abs(other).max())


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
@pytest.mark.parametrize("force_mesh_factor", [1, 2])
def test_gradient_against_differences(integrator, force_mesh_factor):
    options = dict(integrator=integrator, force_mesh_factor=force_mesh_factor)
    found = gradients(**options)
    directions = [(0, PROBE), *((1, row) for row in np.eye(5)), (2, 1.0)]
    for place, direction in directions:
        # Where a particle crosses a cell boundary the slope of its cloud jumps, so a step of
        # the field is short; truncation and rounding are each about 1e-8.
        step = 1e-6 if place == 0 else 1e-5

        def moved(sign, place=place, change=step * direction):
            inputs = [x + sign * change if i == place else x for i, x in enumerate(INPUTS)]
            return loss(*inputs, **options)

        difference = (moved(1) - moved(-1)) / (2 * step)
        np.testing.assert_allclose(np.sum(found[place] * direction), difference, rtol=1e-6)


def test_compiled_whole(plain):
    # As in the loop of a training, with the tape inside.
    @tf.function(jit_compile=True, autograph=False)
    def run(field):
        with tf.GradientTape() as tape:
            tape.watch(field)
            value = loss(field, *INPUTS[1:])
        return tape.gradient(value, field)

    np.testing.assert_allclose(run(FIELD), plain[0], rtol=1e-8, atol=1e-9 * np.abs(plain[0]).max())


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_single_precision(plain, gradient):
    field = tf.cast(FIELD, tf.float32)
    cosmo = fpm.Cosmology(**BASE)

    def run(field, **options):
        with tf.GradientTape() as tape:
            tape.watch(field)
            state = nbody(cosmo, lpt_init(cosmo, field, 0.2), STAGES["fastpm"], 6, **options)
            value = tf.reduce_sum(tf.cast(WEIGHT, field.dtype) * tf.sin(state.position))
        return tape.gradient(value, field)

    exact = run(FIELD)
    single = run(field, gradient=gradient)
    # Seven digits, some of which gravity and the way back take: 1e-4 of the largest entry.
    np.testing.assert_allclose(single, exact, atol=1e-4 * np.abs(exact).max())


def test_gradient_of_the_start():
    rng = np.random.default_rng(0)
    lattice = MESH.lattice(tf.float64).numpy()[None]
    start = [tf.constant(lattice + rng.normal(size=lattice.shape)) for _ in range(2)]
    start[1] = start[1] - lattice
    probe = [tf.constant(rng.normal(size=lattice.shape)) for _ in range(2)]
    cosmo = fpm.Cosmology(**BASE)

    def run(x, p):
        state = nbody(cosmo, (x, p, 0.2), STAGES["fastpm"], 6)
        return tf.reduce_sum(WEIGHT * (tf.sin(state.position) + state.momentum))

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = run(*start)
    for i, gradient in enumerate(tape.gradient(value, start)):
        h = 1e-6
        above, below = (
            run(
                *(
                    x + s * h * d * (i == j)
                    for j, (x, d) in enumerate(zip(start, probe, strict=True))
                )
            )
            for s in (1, -1)
        )
        np.testing.assert_allclose(
            np.sum(gradient * probe[i]), (above - below) / (2 * h), rtol=1e-5
        )


@pytest.mark.parametrize("first", [0.325, 0.3264804])
def test_first_step_that_forgets_its_momentum(first):
    """A step of BullFrog as long as all the time before it, in single precision."""
    stages = [0.1, first, 0.55, 0.775, 1.0]
    field = tf.cast(FIELD, tf.float32)

    def slope(gradient):
        omega = tf.constant(0.25, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(omega)
            cosmo = fpm.Planck15(Omega_c=omega)
            state = lpt_init(cosmo, field, 0.1)
            state = nbody(cosmo, state, stages, 6, "bullfrog", gradient)
            value = tf.reduce_sum(tf.cast(WEIGHT, tf.float32) * tf.sin(state.position))
        return float(tape.gradient(value, omega))

    # Rounding in float32 of sums over particles that cancel.
    assert slope("adjoint") == pytest.approx(slope("checkpoint"), rel=1e-3, abs=1e-3)


def test_later_step_that_forgets_its_momentum_is_refused():
    state = lpt_init(fpm.Planck15(), FIELD, 0.02)
    stages = [0.02, 0.1, 0.3264804, 1.0]
    with pytest.raises(ValueError, match='`stages` must be shorter steps for gradient="adjoint"'):
        nbody(fpm.Planck15(), state, stages, 6, "bullfrog")
    nbody(fpm.Planck15(), state, stages, 6, "bullfrog", "checkpoint")


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_one_tape_gives_two_gradients(gradient):
    field = tf.identity(FIELD)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(field)
        state = lpt_init(fpm.Planck15(), field, 0.2)
        state = nbody(fpm.Planck15(), state, STAGES["fastpm"], 6, gradient=gradient)
        first, second = (tf.reduce_sum(WEIGHT * x) for x in state[:2])
    assert np.std(tape.gradient(first, field)) > 0
    assert np.std(tape.gradient(second, field)) > 0


def test_fisher_matrix_of_a_simulation():
    def mean(theta):
        cosmo = fpm.Planck15(Omega_c=theta[0], w0=theta[1])
        state = nbody(cosmo, lpt_init(cosmo, FIELD, 0.2), STAGES["fastpm"], 6)
        return tf.reduce_sum((WEIGHT * tf.sin(state.position))[0], axis=0)

    theta = np.array([0.25, -1.0])
    found = fisher.fisher_matrix(mean, theta, np.eye(3))
    h = 1e-5
    slopes = np.stack([(mean(theta + h * e) - mean(theta - h * e)) / (2 * h) for e in np.eye(2)])
    np.testing.assert_allclose(found, slopes @ slopes.T, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 256), (4, 100), (256, 4), (256,)])
def test_correction_of_another_shape_is_refused(shape):
    state = lpt_init(fpm.Planck15(), FIELD, 0.2)
    with pytest.raises(ValueError, match="`correction` must return one row for each force"):
        nbody(fpm.Planck15(), state, STAGES["fastpm"], 6, correction=lambda k, a: tf.ones(shape))
