"""Steps of simulations and maps hold nothing that a TPU refuses, and know the cosmology."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from accelerator import refusals

import flowpm_ext as fpm
from flowpm_ext import lensing
from flowpm_ext.cosmology import power, redshift
from flowpm_ext.lensing import LensPlanes
from flowpm_ext.pm import SimulationTables, steps

SIDE, BOX = 8, 100.0
STAGES = np.array([0.1, 0.4, 0.7, 1.0])
COSMO = fpm.Planck15()
NAMES = ("Omega_c", "Omega_b", "h", "n_s", "sigma8", "w0")
THETA = np.array([0.26, 0.05, 0.68, 0.96, 0.82, -0.95])
WHITE, PROBE = (tf.random.stateless_normal([1, SIDE, SIDE, SIDE], [0, i]) for i in range(2))


def with_gradient(function):
    """A function and its gradient by the first argument, a structure, in one step."""

    def step(x, *others):
        with tf.GradientTape() as tape:
            tape.watch(tf.nest.flatten(x))
            value = function(x, *others)
        return value, tape.gradient(value, tf.nest.flatten(x))

    return step


def as_graph(function):
    """A function without XLA, which takes longer to compile derivatives of theory than to run."""
    return tf.function(function, autograph=False)


def seen(state):
    """A number made of the density of particles."""
    dtype = state.position.dtype
    density = fpm.cic_paint(tf.zeros(WHITE.shape, dtype), state.position)
    return tf.reduce_sum(tf.cast(PROBE, dtype) * density)


def cosmology(theta):
    return fpm.Cosmology(**dict(zip(NAMES, tf.unstack(theta), strict=True)))


def field_of(cosmo, white):
    def spectrum(k):
        return power.linear_matter_power(cosmo, tf.constant(k, cosmo.dtype))

    return fpm.linear_field(SIDE, BOX, spectrum, white_noise=white)


# What must be found, and in which words.
def doubled(x):
    return tf.cast(tf.cast(x, tf.float64) * 2, tf.float32)


def complex_wave(x):
    return tf.abs(tf.cast(x, tf.complex128)) < 1


def positive(x):
    return tf.boolean_mask(x, x > 0)


def places(x):
    return tf.where(x > 0)


def asks_python(x):
    return tf.numpy_function(np.sin, [x], tf.float32)


@pytest.mark.parametrize(
    "function, words",
    [
        (doubled, "float64: mul"),
        (complex_wave, "complex128: Cast"),
        (positive, "dynamic shape: boolean_mask/GatherV2"),
        (places, "dynamic shape: Where"),
        (asks_python, "unsupported operation"),
    ],
)
def test_what_a_tpu_refuses_is_found(function, words):
    assert any(words in line for line in refusals(function, tf.ones([4])))


def test_what_xla_expands_itself_is_no_call_to_the_host():
    assert refusals(lambda x: tf.linalg.inv(x) @ tf.linalg.qr(x)[0], tf.eye(3)) == []
    assert refusals(lambda x: tf.linalg.qr(x)[0], tf.eye(3, dtype=tf.float64)) != []


def test_linear_field():
    def draw(seed):
        return fpm.linear_field(SIDE, BOX, lambda k: k**-1.5, seed=seed)

    assert refusals(draw, tf.constant([0, 1])) == []


@pytest.mark.parametrize("window", ["cic", "tsc"])
def test_painting_and_reading(window):
    mesh = fpm.mesh.LocalMesh(SIDE, window)

    def there_and_back(x):
        return tf.reduce_sum(mesh.readout(mesh.paint(x), x) ** 2)

    x = SIDE * tf.random.stateless_uniform([1, 50, 3], [0, 1])
    assert refusals(with_gradient(there_and_back), x) == []


@pytest.mark.parametrize(
    ("integrator", "gradient"),
    [
        *((integrator, "adjoint") for integrator in steps.INTEGRATORS),
        ("fastpm", "checkpoint"),
        ("fastpm", "autodiff"),
    ],
)
def test_simulation_and_its_gradient_by_the_field(integrator, gradient):
    def loss(field):
        state = fpm.lpt_init(COSMO, field, STAGES[0])
        return seen(fpm.nbody(COSMO, state, STAGES, SIDE, integrator, gradient))

    assert refusals(with_gradient(loss), WHITE) == []


def test_light_cone_and_its_gradient_by_the_field():
    def loss(field):
        planes = lensing.light_cone(COSMO, field, 400.0, 3, num_slabs=2)
        return tf.reduce_sum(planes.overdensity**2)

    assert refusals(with_gradient(loss), WHITE) == []


def test_float64_of_a_cosmology_of_tensors_is_found():
    def loss(theta):
        return seen(fpm.lpt_init(cosmology(tf.cast(theta, tf.float64)), WHITE, STAGES[0]))

    assert any("float64" in line for line in refusals(loss, tf.constant(THETA, tf.float32)))


def by_tables(tables, field):
    """A simulation that knows its cosmology from tables alone."""
    return seen(tables.final_state(tables.initial_state(field), SIDE))


def all_through(theta, white):
    """The same in one precision, whose tables are made on the way."""
    cosmo = cosmology(theta)
    state = fpm.lpt_init(cosmo, field_of(cosmo, white), STAGES[0])
    return seen(fpm.nbody(cosmo, state, STAGES, SIDE))


@pytest.fixture(scope="module")
def exact():
    """The gradient by the cosmology, in float64."""
    theta, white = tf.constant(THETA), tf.cast(WHITE, tf.float64)
    return [x.numpy() for x in tf.nest.flatten(as_graph(with_gradient(all_through))(theta, white))]


def test_step_with_tables_and_its_gradient_by_them():
    tables = SimulationTables.of(COSMO, STAGES)
    assert {x.dtype for x in tf.nest.flatten(tables)} == {tf.float32}

    def loss(inputs):
        return by_tables(*inputs)

    assert refusals(with_gradient(loss), (tables, WHITE)) == []


def test_gradient_by_the_cosmology_through_tables(exact):
    step = tf.function(by_tables, jit_compile=True, autograph=False)

    def loss(theta):
        cosmo = cosmology(theta)
        return step(SimulationTables.of(cosmo, STAGES), field_of(cosmo, WHITE))

    value, (slopes,) = as_graph(with_gradient(loss))(tf.constant(THETA))
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, exact[0], rtol=1e-4)
    np.testing.assert_allclose(slopes, exact[1], rtol=1e-3)


def test_gradient_by_a_cosmology_in_single_precision(exact):
    """Tables that are made in the step, in the precision of the parameters."""
    step, theta = with_gradient(all_through), tf.constant(THETA, tf.float32)
    assert refusals(step, theta, WHITE) == []
    value, (slopes,) = as_graph(step)(theta, WHITE)
    np.testing.assert_allclose(value, exact[0], rtol=1e-4)
    np.testing.assert_allclose(slopes, exact[1], rtol=1e-3)


def test_light_cone_of_a_cosmology_in_single_precision():
    def loss(theta, white):
        cosmo = cosmology(theta)
        planes = lensing.light_cone(
            cosmo, field_of(cosmo, white), BOX, 2, plane_resolution=1, stages=STAGES
        )
        probe = tf.cast(PROBE[:, :2], white.dtype)
        return tf.reduce_sum(tf.transpose(probe, [1, 0, 2, 3]) * planes.overdensity)

    step, theta = with_gradient(loss), tf.constant(THETA, tf.float32)
    assert refusals(step, theta, WHITE) == []
    run = as_graph(step)
    value, (slopes,) = run(theta, WHITE)
    expected, (exact,) = run(tf.constant(THETA), tf.cast(WHITE, tf.float64))
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(slopes, exact, rtol=1e-3)


def convergence(theta, overdensity, maps):
    """A number made of maps of given planes."""
    chi = tf.constant([50.0, 150.0, 250.0, 350.0], theta.dtype)
    planes = LensPlanes(overdensity, chi, 100.0, 100.0)
    nz = [redshift.smail_nz(2.0, 2.0, 0.03), redshift.delta_nz(0.12)]
    kappa, *_ = tf.nest.flatten(maps(cosmology(theta), planes, nz, 3.0, SIDE))
    return tf.reduce_sum(tf.cast(PROBE[0, 0], kappa.dtype) * tf.reduce_sum(kappa[0], axis=-1))


@pytest.mark.parametrize("maps", [lensing.born, lensing.multiplane])
def test_maps_of_a_cosmology_in_single_precision(maps):
    planes = tf.random.stateless_normal([4, 1, SIDE, SIDE], [3, 4])
    step = with_gradient(functools.partial(convergence, maps=maps))
    assert refusals(step, tf.constant(THETA, tf.float32), planes) == []
    run = as_graph(step)
    single = run(tf.constant(THETA, tf.float32), planes)[1][0]
    double = run(tf.constant(THETA), tf.cast(planes, tf.float64))[1][0]
    # By h, n_s and sigma8 it is zero: distances in Mpc/h do not know them.
    np.testing.assert_allclose(single, double, rtol=1e-3, atol=1e-3 * np.abs(double).max())


@pytest.mark.parametrize("maps", [lensing.born, lensing.multiplane])
def test_maps_of_a_cosmology_of_numbers(maps):
    planes = LensPlanes(tf.zeros([4, 1, SIDE, SIDE]), [50.0, 150.0, 250.0, 350.0], 100.0, 100.0)

    def made(overdensity):
        found = maps(
            COSMO, planes.replace(overdensity=overdensity), [redshift.delta_nz(0.12)], 3.0, SIDE
        )
        return tf.nest.flatten(found)

    assert refusals(made, planes.overdensity) == []


@pytest.mark.parametrize(
    ("integrator", "batch_size"), [("fastpm", 2), ("leapfrog", None), ("bullfrog", None)]
)
def test_tables_give_the_particles_of_the_cosmology(integrator, batch_size):
    cosmo = COSMO if batch_size is None else fpm.Planck15(Omega_c=np.array([0.2, 0.3]))
    field = tf.cast(tf.repeat(WHITE, batch_size or 1, axis=0), tf.float64)
    tables = SimulationTables.of(cosmo, STAGES, integrator, dtype=tf.float64)
    assert tables.batch_size == batch_size
    found = tables.final_state(tables.initial_state(field), SIDE)
    start = fpm.lpt_init(cosmo, field, STAGES[0])
    for one, other in zip(found, fpm.nbody(cosmo, start, STAGES, SIDE, integrator), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tables_refuse_what_simulations_refuse():
    with pytest.raises(ValueError, match="`stages` must be shorter steps"):
        SimulationTables.of(COSMO, [0.02, 0.1, 0.3264804, 1.0], "bullfrog")
    with pytest.raises(TypeError, match="`cosmo` must be a Cosmology"):
        SimulationTables.of(STAGES, STAGES)
    with pytest.raises(ValueError, match="`gradient` must be"):
        SimulationTables.of(COSMO, STAGES, gradient="forward")
    batch = SimulationTables.of(fpm.Planck15(Omega_c=np.array([0.2, 0.3])), STAGES)
    with pytest.raises(ValueError, match="`cosmo` must be one, or 3 of them"):
        batch.initial_state(tf.repeat(WHITE, 3, axis=0))
