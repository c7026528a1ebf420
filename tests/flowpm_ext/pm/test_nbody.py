"""The simulation as a whole: closed forms, conservation laws, symmetries, orders, refusals."""

import importlib

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.core import memory
from flowpm_ext.cosmology import power
from flowpm_ext.fields import linear_field
from flowpm_ext.mesh import LocalMesh, paint
from flowpm_ext.pm import ParticleState, lpt_init, nbody, steps
from flowpm_ext.pm.forces import Gravity
from flowpm_ext.pm.integrate import integrate
from flowpm_ext.stats import power_spectrum

COSMO = fpm.Cosmology(Omega_c=0.25, Omega_b=0.05, h=0.7, n_s=0.96, sigma8=0.8, w0=-0.9, wa=0.1)
STAGES = np.linspace(0.1, 1.0, 6)


def smooth(n, seed=0, amplitude=0.3, batch_size=1):
    """Float64 fields without power at small scales, so that steps converge."""
    field = linear_field(
        n, float(n), lambda k: np.exp(-((2 * k) ** 2)), batch_size, seed, dtype=tf.float64
    )
    return field * (amplitude / tf.math.reduce_std(field))


def simulate(field, stages=STAGES, a=None, **options):
    n = tuple(field.shape[1:])
    return nbody(COSMO, lpt_init(COSMO, field, stages[0]), stages, n, **options)


@pytest.mark.parametrize("integrator", ["fastpm", "bullfrog"])
def test_pancake_follows_zeldovich_to_shell_crossing(integrator):
    # In one dimension the Zel'dovich approximation is exact until shells cross, here at
    # D1 = 0.95. What is left is the mesh: the largest error sits in the pancake, which
    # is then thinner than a cell, so it is of the order of a cell and halves with it.
    errors = []
    for n in (32, 64):
        wave = np.cos(2 * np.pi * np.arange(n) / n) / 0.95
        field = tf.constant(wave[:, None, None] * np.ones([1, n, 4, 4]))
        start = lpt_init(COSMO, field, 0.05)
        state = nbody(COSMO, start, np.linspace(0.05, 0.9, 30), (n, 4, 4), integrator)
        exact = lpt_init(COSMO, field, 0.9, order=1).position
        lattice = LocalMesh((n, 4, 4)).lattice(tf.float64).numpy()
        errors.append(np.abs(state.position - exact).max() / np.abs(exact - lattice).max())
        # Nothing moves along the pancake.
        np.testing.assert_allclose(state.position[0, :, 1:], lattice[:, 1:], atol=1e-12)
    assert errors[1] < 0.04
    assert errors[1] < 0.6 * errors[0]


def test_plane_wave_grows_as_linear_theory_in_one_step():
    # A wave of 64 cells, k = 0.1 per cell: painting and reading cost sinc(k / 2)**4, which is
    # 1 - k**2 / 6, or 1.6e-3 of the force.
    n, k = 64, 2 * np.pi / 64
    x = LocalMesh((n, 4, 4)).lattice(tf.float64).numpy()[:, 0]
    field = tf.constant(0.1 * np.cos(k * x).reshape(1, n, 4, 4))
    state = nbody(COSMO, lpt_init(COSMO, field, 0.1), [0.1, 1.0], (n, 4, 4))
    amplitude = -2 * np.mean((state.position[0, :, 0] - x) * np.sin(k * x))
    np.testing.assert_allclose(amplitude, 0.1 / k, rtol=2e-3)


def test_large_scales_grow_as_linear_theory():
    def pk(k):
        return power.linear_matter_power(COSMO, k)

    n, box = 64, 1024.0
    field = linear_field(n, box, pk, seed=0)
    state = nbody(COSMO, lpt_init(COSMO, field, 0.1), STAGES, n, force_mesh_factor=2)
    final = paint(tf.zeros_like(field), state.position) - 1
    edges = 2 * np.pi / box * np.array([0.5, 1.2, 2.0, 3.0])
    # The same modes before and after, so there is no scatter between realizations.
    after = power_spectrum(final, box, edges, window="cic").power
    np.testing.assert_allclose(after / power_spectrum(field, box, edges).power, 1.0, atol=0.01)


@pytest.mark.parametrize("options", [{}, dict(window="tsc"), dict(gradient_kernel="spectral")])
def test_mass_and_momentum_are_conserved(options):
    field = smooth(12)
    state = simulate(field, **options)
    density = paint(tf.zeros_like(field), state.position)
    np.testing.assert_allclose(tf.reduce_sum(density), 12**3, rtol=1e-13)
    # Forces between pairs are opposite because painting and reading are adjoint: rounding only.
    scale = np.abs(state.momentum).sum()
    np.testing.assert_allclose(tf.reduce_sum(state.momentum, axis=1), 0.0, atol=1e-14 * scale)


@pytest.mark.parametrize("integrator", steps.INTEGRATORS)
def test_integrators_are_of_second_order(integrator):
    field = smooth(8)

    def final(num):
        return simulate(field, np.geomspace(0.1, 1.0, num + 1), integrator=integrator).position

    exact = final(320)
    errors = [np.abs(final(num) - exact).max() for num in (10, 20, 40)]
    # Second order: four times less for half the step, where higher orders do not matter yet;
    # clouds in cells have kinks, which leave some noise.
    assert 3.0 < errors[0] / errors[1] < 5.5
    assert 3.0 < errors[1] / errors[2] < 5.5


def test_bullfrog_beats_fastpm_beats_leapfrog():
    field = smooth(16, amplitude=1.0)
    exact = simulate(field, np.geomspace(0.1, 1, 161)).position
    errors = [
        np.abs(simulate(field, np.geomspace(0.1, 1, 7), integrator=name).position - exact).mean()
        for name in ("bullfrog", "fastpm", "leapfrog")
    ]
    assert errors[0] < 0.6 * errors[1]
    assert errors[1] < 0.6 * errors[2]


@pytest.mark.parametrize("integrator", ["fastpm", "leapfrog"])
def test_backwards_in_time_returns_to_the_start(integrator):
    # The scheme is symmetric: with momenta turned, the plan read from its end leads back.
    field = smooth(8, amplitude=1.0)
    start = lpt_init(COSMO, field, 0.1)
    plan = steps.plan(COSMO, STAGES, integrator)
    back = steps.Plan(plan.drift[::-1], plan.scale[::-1], plan.kick[::-1], plan.a[::-1])
    force = Gravity(LocalMesh(8))
    x, p = integrate(start.position, start.momentum, plan, force)
    x, p = integrate(x, -p, back, force)
    np.testing.assert_allclose(x, start.position, atol=1e-11)  # rounding, grown by gravity
    np.testing.assert_allclose(-p, start.momentum, atol=1e-11)


def test_shift_by_whole_cells_commutes():
    field = smooth(8, amplitude=1.0)
    moved = tf.roll(field, [3, -2, 5], axis=[1, 2, 3])
    density = [paint(tf.zeros_like(field), simulate(f).position) for f in (field, moved)]
    np.testing.assert_allclose(
        tf.roll(density[0], [3, -2, 5], axis=[1, 2, 3]), density[1], atol=1e-10
    )


def test_snapshots_are_states_on_the_way():
    field = smooth(6)
    start = lpt_init(COSMO, field, 0.1)
    stages = [0.1, 0.3, 0.5, 0.8, 1.0]
    half, late = nbody(COSMO, start, stages, 6, snapshots=[0.5, 0.9])
    assert float(half.a) == 0.5 and float(late.a) == 0.9
    alone = nbody(COSMO, start, [0.1, 0.3, 0.5], 6)
    np.testing.assert_array_equal(half.position, alone.position)
    # Kicks end and begin anew at a snapshot, with the same force: the same numbers but rounding.
    through = nbody(COSMO, start, [0.1, 0.3, 0.5, 0.8, 0.9], 6)
    np.testing.assert_allclose(late.position, through.position, atol=1e-12)
    np.testing.assert_allclose(late.momentum, through.momentum, atol=1e-12)


@pytest.mark.parametrize("snapshots", [[0.05], [0.1], [0.5, 1.1], [0.6, 0.5]])
def test_wrong_snapshots_are_refused(snapshots):
    at_rest = np.zeros([1, 8, 3])
    with pytest.raises(ValueError, match="`snapshots` must"):
        nbody(COSMO, (at_rest, at_rest, 0.1), [0.1, 1.0], 2, snapshots=snapshots)


def test_batch_is_a_loop():
    fields = smooth(6, batch_size=3)
    values = [0.2, 0.25, 0.3]
    cosmo = COSMO.replace(Omega_c=tf.constant(values, tf.float64))
    together = nbody(cosmo, lpt_init(cosmo, fields, 0.1), STAGES, 6)
    for i, value in enumerate(values):
        one = COSMO.replace(Omega_c=value)
        alone = nbody(one, lpt_init(one, fields[i : i + 1], 0.1), STAGES, 6)
        np.testing.assert_allclose(together.position[i], alone.position[0], atol=1e-12)
        np.testing.assert_allclose(together.momentum[i], alone.momentum[0], atol=1e-12)


def test_same_input_same_bits():
    field = tf.cast(smooth(8), tf.float32)
    one, two = simulate(field), simulate(field)
    np.testing.assert_array_equal(one.position, two.position)
    np.testing.assert_array_equal(one.momentum, two.momentum)


@pytest.mark.parametrize("jit", [False, True])
def test_inside_a_graph(jit):
    field = smooth(6)
    inside = tf.function(lambda f: simulate(f), jit_compile=jit, autograph=False)(field)
    np.testing.assert_allclose(inside.position, simulate(field).position, atol=1e-12)
    assert float(inside.a) == 1.0


def test_compiled_once_for_other_values(monkeypatch):
    traces = []

    class Counted(Gravity):
        """Gravity that knows how often it was traced."""

        def __call__(self, *arguments):
            traces.append(1)
            return super().__call__(*arguments)

    module = importlib.import_module("flowpm_ext.pm.nbody")  # the package has the function
    monkeypatch.setattr(module, "Gravity", Counted)
    counts = []
    for omega, last in ((0.25, 1.0), (0.26, 0.9)):
        cosmo = COSMO.replace(Omega_c=tf.constant(omega, tf.float64))
        nbody(cosmo, lpt_init(cosmo, omega * smooth(6), 0.1), [0.1, 0.3, last], 6)
        counts.append(len(traces))
    assert counts[0] == counts[1] > 0


def test_finer_force_mesh_sharpens_the_force():
    # Two particles half a cell apart: invisible to a mesh of cells, not to a finer one.
    position = tf.constant([[[4.0, 4.0, 4.0], [4.5, 4.0, 4.0]]], tf.float64)
    pull = [Gravity(LocalMesh(8 * f), f)(position)[0, 0, 0] for f in (1, 4)]
    assert pull[1] > 2 * abs(pull[0])


@pytest.mark.parametrize(
    "kernel, slope",
    [
        ("spectral", lambda k: k),
        ("finite_difference", lambda k: (8 * np.sin(k) - np.sin(2 * k)) / 6),
    ],
)
def test_force_on_particles_between_lattice_points(kernel, slope):
    # Halfway between lattice points every share is a half. Displaced by e sin(k q), they make
    # the overdensity -2 e sin(k / 2) cos(k x) to first order; reading averages two cells.
    n, e = 16, 1e-6
    k = 4 * np.pi / n
    q = LocalMesh((n, 4, 4)).lattice(tf.float64).numpy() + 0.5
    wave = np.sin(k * q[:, 0])
    position = tf.constant((q + e * wave[:, None] * [1, 0, 0])[None])
    force = Gravity(LocalMesh((n, 4, 4)), gradient_kernel=kernel)(position)
    amplitude = 2 * np.mean(force[0, :, 0] * wave)
    expected = 2 * e * np.sin(k / 2) * slope(k) / k**2 * np.cos(k / 2)
    np.testing.assert_allclose(amplitude, expected, rtol=1e-4)  # first order in e


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(stages=[0.2, 1.0]), ValueError, "`stages` must start at the scale factor of the st"),
        (dict(stages=[0.1, 0.1]), ValueError, "`stages` must increase"),
        (dict(stages=[0.1]), ValueError, "`stages` must hold at least two"),
        (dict(stages=[0.0, 1.0]), ValueError, r"`stages` must lie in"),
        (dict(stages=[0.1, 1.5]), ValueError, r"`stages` must lie in"),
        (dict(mesh_shape=0), ValueError, "`mesh_shape` must be a positive integer, or three"),
        (dict(integrator="rk4"), ValueError, "`integrator` must be one of"),
        (dict(gradient="reverse"), ValueError, "`gradient` must be one of"),
        (dict(gradient_kernel="fft"), ValueError, "`gradient_kernel` must be one of"),
        (dict(window="ngp"), ValueError, "`window` must be one of"),
        (dict(force_mesh_factor=0), ValueError, "`force_mesh_factor` must be a positive integer"),
        (dict(force_mesh_factor=1.5), ValueError, "`force_mesh_factor` must be a positive intege"),
        (dict(state=3.0), TypeError, "`state` must be a ParticleState"),
        (dict(cosmo=None), TypeError, "`cosmo` must be a Cosmology"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    at_rest = np.zeros([1, 8, 3])
    good = dict(cosmo=COSMO, state=(at_rest, at_rest, 0.1), stages=STAGES, mesh_shape=2)
    with pytest.raises(error, match=message):
        nbody(**{**good, **arguments})


def test_states_that_are_not_finite_are_refused():
    at_rest = np.zeros([1, 8, 3])
    for state in ((at_rest * np.nan, at_rest, 0.1), (at_rest, at_rest + np.inf, 0.1)):
        with pytest.raises(ValueError, match="must be finite"):
            nbody(COSMO, ParticleState(*state), STAGES, 2)


def test_what_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    start = lpt_init(COSMO, tf.zeros([2, 4, 4, 4]), 0.1)
    with pytest.raises(ValueError, match=r"2 x 64 particles on 512 cells needs about .* GB"):
        nbody(COSMO, start, [0.1, 1.0], 4, force_mesh_factor=2)


def test_growth_of_numbers_is_a_constant_of_the_graph():
    # The cosmology is of Python numbers: nothing of the growth equation is left in the graph,
    # and what comes out is that of a cosmology of tensors.
    field = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 4, 4)))

    def run(cosmo):
        return nbody(cosmo, lpt_init(cosmo, field, 0.1), [0.1, 0.4, 1.0], 4).position

    graph = tf.function(lambda: run(COSMO)).get_concrete_function().graph
    tables = [op for op in graph.get_operations() for x in op.outputs if 1025 in x.shape.as_list()]
    assert tables == []
    np.testing.assert_allclose(
        tf.function(lambda: run(COSMO))(), tf.function(run)(COSMO.tensors()), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        ({"momentum": tf.zeros([1, 8, 3])}, "`state` must be of float32 or of float64", TypeError),
        ({"position": tf.zeros([1, 8, 3], tf.int32)}, "`state` must be of float32", TypeError),
        ({"a": np.array([0.1, 0.2])}, "`a` must", ValueError),
    ],
)
def test_state_of_mixed_kinds_is_refused(change, words, error):
    zero = tf.zeros([1, 8, 3], tf.float64)
    state = ParticleState(zero, zero, 0.1)._replace(**change)
    with pytest.raises(error, match=words):
        nbody(COSMO, state, [0.1, 1.0], 2)


def test_batches_must_fit():
    batch = COSMO.replace(Omega_c=tf.constant([0.2, 0.25], tf.float64))
    with pytest.raises(ValueError, match="`cosmo` must be one, or 3 of them"):
        lpt_init(batch, smooth(4, batch_size=3), 0.1)


def test_scale_factor_of_the_start_is_one_number():
    with pytest.raises(ValueError, match="`a` must"):
        lpt_init(COSMO, smooth(4), [0.1, 0.2])
