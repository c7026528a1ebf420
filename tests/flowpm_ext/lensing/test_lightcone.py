"""Light cones: mass, geometry, time, gradients."""

import numpy as np
import pytest
import tensorflow as tf

import flowpm_ext as fpm
from flowpm_ext.cosmology import background, power
from flowpm_ext.cosmology.redshift import delta_nz
from flowpm_ext.lensing import born, light_cone, lightcone
from flowpm_ext.lensing.planes import TURNS, Slab, orientations
from flowpm_ext.pm import Sharpening, nbody, potential_gradient_descent

COSMO = fpm.Planck15()
N, BOX = 16, 200.0
K = np.geomspace(1e-3, 20, 200)


def field(cosmo=COSMO, batch_size=1, seed=0, dtype=tf.float64, n=N):
    def spectrum(k):
        return power.linear_matter_power(cosmo, k)

    return fpm.linear_field(n, BOX, spectrum, batch_size, seed, dtype=dtype)


@pytest.mark.parametrize("num_slabs", [1, 2])
def test_mass_is_conserved(num_slabs):
    planes = light_cone(
        COSMO, field(dtype=tf.float32), BOX, 4, num_slabs=num_slabs, plane_resolution=2
    )
    mass = np.mean(1 + planes.overdensity, axis=(1, 2, 3))
    if num_slabs == 1:
        np.testing.assert_allclose(mass, 1.0, rtol=1e-6)  # float32
    else:  # a half of the box has its own mass, and both halves have that of the box
        assert np.all(np.abs(mass - 1) < 0.5)
        whole = mass[:2].mean()
        assert abs(whole - 1) < 0.1  # two halves at two times


def test_two_halves_of_a_box_at_one_time_are_the_box():
    x = N * tf.random.stateless_uniform([1, 500, 3], [1, 2], dtype=tf.float64)
    look = Slab(1, 1, N, 8, num_slabs=2)
    turn, shift, box = orientations(2, look, 3, tf.float64)
    halves = [look(x, turn[i], shift[i], box[i]) for i in range(2)]
    whole = Slab(1, 1, N, 8)(x, turn[0], shift[0], box[0])
    np.testing.assert_allclose((halves[0] + halves[1]) / 2, whole, atol=1e-12)


def test_a_seed_means_one_light_cone_however_it_is_made():
    look = Slab(3, 1, 8, 8)
    expected = orientations(2, look, 3, tf.float64)
    compiled = tf.function(orientations, jit_compile=True, autograph=False)
    for made in (orientations(2, look, 3, tf.float32), compiled(2, look, 3, tf.float64)):
        for ours, theirs in zip(made, expected, strict=True):
            # Shifts of up to 8 cells in float32.
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_turns_are_all_symmetries_of_a_cube():
    assert len({turn.tobytes() for turn in TURNS}) == 48
    for turn in TURNS:
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))


def test_planes_are_of_their_own_time(monkeypatch):
    """Seen from one side, small waves grow towards the observer like D1."""

    def unturned(num_planes, look, seed, dtype):
        turn = tf.eye(3, batch_shape=[num_planes, 1], dtype=dtype)
        return turn, tf.zeros([num_planes, 1, 3], dtype), tf.zeros([num_planes], dtype)

    monkeypatch.setattr(lightcone, "orientations", unturned)
    planes = light_cone(COSMO, 1e-4 * field(), BOX, 6, plane_resolution=1, order=1)
    a = background.a_of_chi(COSMO, planes.chi)
    growth = background.growth_factor(COSMO, a).numpy()
    modes = np.fft.fft2(planes.overdensity[:, 0])
    longest = np.stack([modes[:, 0, 1], modes[:, 1, 0], modes[:, 1, 1]])
    # A force on 16 cells is a half percent too weak on waves as long as the box.
    np.testing.assert_allclose(longest / longest[:, :1], [growth / growth[0]] * 3, rtol=0.01)


def test_one_seed_is_one_light_cone_and_another_is_another():
    options = {"plane_resolution": 1, "stages": [0.1, 0.4, 1.0]}
    first = light_cone(COSMO, field(), BOX, 3, seed=1, **options).overdensity
    np.testing.assert_array_equal(
        first, light_cone(COSMO, field(), BOX, 3, seed=1, **options).overdensity
    )
    assert np.std(first - light_cone(COSMO, field(), BOX, 3, seed=2, **options).overdensity) > 0.1


def test_batch_of_cosmologies_is_as_one_by_one():
    values = [0.2, 0.3]
    batch = fpm.Planck15(Omega_c=tf.constant(values, tf.float64))
    fields = field(batch, 2)
    options = {"plane_resolution": 1, "stages": np.linspace(0.1, 1, 4), "seed": 5}
    together = light_cone(batch, fields, BOX, 4, **options)
    maps = born(batch, together, [delta_nz(0.2)], 5.0, 8)
    for row, value in enumerate(values):
        one = fpm.Planck15(Omega_c=value)
        alone = light_cone(one, fields, BOX, 4, **options)  # of both, with the same turns
        np.testing.assert_allclose(
            together.overdensity[:, row], alone.overdensity[:, row], atol=1e-9
        )
        expected = born(one, alone, [delta_nz(0.2)], 5.0, 8)
        np.testing.assert_allclose(maps[row], expected[row], atol=1e-12)


def test_boxes_follow_each_other():
    two = field(batch_size=2)
    planes = light_cone(COSMO, two, BOX, 3, num_boxes=2, plane_resolution=1)
    assert planes.overdensity.shape == (3, 1, N, N)
    empty = tf.concat([two[:1], tf.zeros_like(two[1:])], axis=0)
    planes = light_cone(COSMO, empty, BOX, 3, num_boxes=2, plane_resolution=1)
    spread = np.std(planes.overdensity, axis=(1, 2, 3))
    assert spread[1] < 1e-9 < 0.05 < min(spread[0], spread[2])


@pytest.mark.parametrize("num_boxes", [1, 2])
def test_planes_are_of_sharpened_particles(num_boxes):
    """The nearest plane, as a snapshot at its time moved by hand."""
    delta, cell = field(batch_size=num_boxes), BOX / N
    sharpening = Sharpening(alpha=0.3, k_long=0.05, k_short=0.4, exponent=1.5)
    stages = np.linspace(0.1, 1, 5)
    planes = light_cone(
        COSMO, delta, BOX, 2, num_boxes=num_boxes, plane_resolution=2, stages=stages,
        force_mesh_factor=2, sharpening=sharpening, seed=4,
    )  # fmt: skip
    look = Slab(1, num_boxes, N, 2 * N)
    turn, shift, box = orientations(2, look, 4, tf.float64)
    a = float(background.a_of_chi(COSMO, BOX / 2))
    # A light cone sees particles between its forces; so do the snapshots of its stages.
    state = fpm.lpt_init(COSMO, delta, stages[0])
    before = nbody(COSMO, state, stages[:-1], N, force_mesh_factor=2)
    x = nbody(COSMO, before, [before.a, a], N, force_mesh_factor=2).position
    moved = potential_gradient_descent(x, N, 0.3 * a**1.5, 0.05 * cell, 0.4 * cell, 2)
    blunt, sharp = (look(y, turn[0], shift[0], box[0]) for y in (x, moved))
    error = np.std(planes.overdensity[0] - sharp)
    assert error < 0.05 * np.std(sharp - blunt)  # steps of other lengths


@pytest.mark.parametrize("name", ["alpha", "k_long", "k_short", "exponent"])
def test_gradient_of_a_statistic_by_the_sharpening(name):
    delta = field()
    numbers = {"alpha": 0.1, "k_long": 0.05, "k_short": 0.4, "exponent": 0.5}

    def statistic(value):
        planes = light_cone(
            COSMO, delta, BOX, 3, plane_resolution=2, stages=np.linspace(0.1, 1, 5),
            sharpening=Sharpening(**numbers | {name: value}),
        )  # fmt: skip
        return 1e6 * tf.reduce_mean(born(COSMO, planes, [delta_nz(0.2)], 5.0, 16) ** 2)

    value = tf.constant(numbers[name], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = statistic(value)
    h = 1e-6
    difference = (statistic(value + h) - statistic(value - h)) / (2 * h)
    np.testing.assert_allclose(tape.gradient(loss, value), difference, rtol=1e-5)


@pytest.mark.parametrize("name", ["Omega_c", "sigma8"])
def test_gradient_of_a_statistic_by_the_cosmology(name):
    white = tf.random.stateless_normal([1, N, N, N], [0, 1], dtype=tf.float64)
    k = K

    def statistic(value):
        cosmo = fpm.Planck15(**{name: value})
        table = (k, power.linear_matter_power(cosmo, k))
        delta = fpm.linear_field(N, BOX, table, white_noise=white)
        planes = light_cone(cosmo, delta, BOX, 3, plane_resolution=2, stages=np.linspace(0.1, 1, 5))
        return 1e6 * tf.reduce_mean(born(cosmo, planes, [delta_nz(0.2)], 5.0, 16) ** 2)

    value = tf.constant(getattr(COSMO, name), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = statistic(value)
    h = 1e-6
    difference = (statistic(value + h) - statistic(value - h)) / (2 * h)
    # The difference is good to the square root of rounding; clouds have kinks.
    np.testing.assert_allclose(tape.gradient(loss, value), difference, rtol=1e-5)


@pytest.mark.parametrize("gradient", ["adjoint", "checkpoint"])
def test_gradient_of_a_statistic_by_the_field(gradient):
    delta, direction = field(), field(seed=9)

    def statistic(delta):
        planes = light_cone(
            COSMO, delta, BOX, 3, plane_resolution=2, stages=np.linspace(0.1, 1, 5),
            gradient=gradient,
        )  # fmt: skip
        return 1e6 * tf.reduce_mean(born(COSMO, planes, [delta_nz(0.2)], 5.0, 16) ** 2)

    with tf.GradientTape() as tape:
        tape.watch(delta)
        loss = statistic(delta)
    slope = tf.reduce_sum(tape.gradient(loss, delta) * direction)
    h = 1e-6
    difference = (statistic(delta + h * direction) - statistic(delta - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_planes": 0}, "`num_planes` must be a positive integer"),
        ({"num_planes": 34}, "`num_planes` must end after the first stage"),
        ({"num_boxes": 2}, "`field` must hold 2 boxes"),
        ({"box_size": -1.0}, "`box_size` must be positive"),
        ({"stages": [0.5, 0.2]}, "`stages` must"),
        ({"gradient": "none"}, "`gradient` must be one of"),
    ],
)
def test_bad_input(change, words):
    arguments = {"box_size": BOX, "num_planes": 2} | change
    with pytest.raises(ValueError, match=words):
        light_cone(COSMO, field(), **arguments)


def test_field_must_be_a_cube():
    with pytest.raises(ValueError, match="`field` must be a cube"):
        light_cone(COSMO, tf.zeros([1, 4, 4, 8]), BOX, 2)


def test_sharpening_must_be_one():
    with pytest.raises(TypeError, match="`sharpening` must be a Sharpening"):
        light_cone(COSMO, field(), BOX, 2, sharpening=0.1)
