"""The mesh of one device: noise, transforms, differences, sums; equality; refusals."""

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from flowpm_ext.mesh import LocalMesh, cic_paint, cic_readout
from flowpm_ext.mesh.box import cell_size


def test_white_noise_is_standard_normal_and_repeats():
    noise = LocalMesh((8, 16, 10)).white_noise(3, batch_size=4, dtype=tf.float64).numpy()
    assert noise.shape == (4, 8, 16, 10)
    # One seed, one number: the probability of a smaller p-value by chance is 1e-3.
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_array_equal(
        noise, LocalMesh((8, 16, 10)).white_noise(3, batch_size=4, dtype=tf.float64)
    )
    planes = noise.reshape(32, -1)
    correlation = np.corrcoef(planes) - np.eye(32)
    assert np.abs(correlation).max() < 5 / np.sqrt(160)  # five standard deviations


def test_white_noise_of_one_realization_does_not_depend_on_the_batch():
    mesh = LocalMesh(6)
    many = mesh.white_noise(5, batch_size=3)
    np.testing.assert_array_equal(mesh.white_noise(5, batch_size=1)[0], many[0])
    assert not np.allclose(mesh.white_noise(6)[0], many[0])


def test_white_noise_is_the_same_under_xla():
    mesh = LocalMesh((4, 6, 5))
    inside = tf.function(lambda: mesh.white_noise(1, 2, tf.float64), jit_compile=True)()
    # The same bits; sines and logarithms of two libraries differ in the last place.
    np.testing.assert_allclose(inside, mesh.white_noise(1, 2, tf.float64), atol=1e-13)


def test_modes_stand_for_all_modes():
    mesh = LocalMesh((4, 6, 5))
    field = mesh.white_noise(0, dtype=tf.float64)
    modes = mesh.rfft3(field)
    np.testing.assert_allclose(mesh.irfft3(modes), field, atol=1e-14)
    power = np.abs(modes.numpy()) ** 2 * mesh.mode_weights()
    # Parseval's theorem.
    np.testing.assert_allclose(power.sum() / 120, np.sum(field.numpy() ** 2), rtol=1e-13)
    k = mesh.wavenumbers()
    assert np.broadcast_shapes(*(axis.shape for axis in k)) == modes.shape[1:]


def test_sum_and_mean():
    mesh = LocalMesh((4, 6, 5))
    field = mesh.white_noise(0, 2, tf.float64)
    np.testing.assert_allclose(mesh.mean(field)[:, 0, 0, 0], np.mean(field, axis=(1, 2, 3)))
    np.testing.assert_allclose(mesh.sum(field), np.sum(field))


def test_differences_are_those_of_scipy():
    mesh = LocalMesh((8, 6, 5))
    field = mesh.white_noise(0, 2, tf.float64)
    weights = np.array([1, -8, 0, 8, -1]) / 12
    for axis, ours in enumerate(np.moveaxis(mesh.differences(field).numpy(), -1, 0)):
        expected = scipy.ndimage.correlate1d(field.numpy(), weights, axis + 1, mode="wrap")
        np.testing.assert_allclose(ours, expected, atol=1e-14)


def test_differences_are_of_fourth_order():
    errors = []
    for side in (16, 32):
        k = 2 * np.pi / side
        wave = np.broadcast_to(np.sin(k * np.arange(side))[None, :, None, None], [1, side, 5, 5])
        slope = LocalMesh((side, 5, 5)).differences(tf.constant(wave))[0, :, 0, 0, 0]
        errors.append(np.max(np.abs(slope / k - np.cos(k * np.arange(side)))))
    # The next term of the error, of sixth order, is 3 % of it.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.05)


def test_lattice_is_in_the_order_of_the_cells():
    mesh = LocalMesh((2, 3, 4))
    index = np.ravel_multi_index(mesh.lattice().numpy().astype(int).T, mesh.shape)
    np.testing.assert_array_equal(index, np.arange(24))


def test_meshes_with_equal_options_are_equal():
    assert LocalMesh(4) == LocalMesh((4, 4, 4))
    assert hash(LocalMesh(4)) == hash(LocalMesh([4, 4, 4]))
    assert LocalMesh(4) != LocalMesh(4, "tsc")


@pytest.mark.parametrize("shape", [0, -1, (4, 4), (4, 0, 4), 3.5, np.nan, "a"])
def test_wrong_sides_are_refused(shape):
    with pytest.raises(ValueError, match="`mesh_shape` must be a positive integer, or three"):
        LocalMesh(shape)


def test_unknown_window_is_refused():
    with pytest.raises(ValueError, match="`window` must be one of 'cic', 'tsc'"):
        LocalMesh(4, "ngp")


def test_cells_are_cubes():
    assert cell_size(4, 8.0) == 2.0
    assert cell_size((4, 2, 8), (8.0, 4.0, 16.0)) == 2.0
    with pytest.raises(ValueError, match=r"`box_size` must divide into cubic cells.*it is \(8"):
        cell_size((4, 2, 8), 8.0)
    with pytest.raises(ValueError, match="`box_size` must be positive"):
        cell_size(4, -1.0)


def test_clouds_refuse_what_is_not_finite():
    mesh, position = tf.zeros([1, 4, 4, 4]), np.full([1, 5, 3], np.nan, np.float32)
    with pytest.raises(ValueError, match="`position` must be finite"):
        cic_paint(mesh, position)
    with pytest.raises(ValueError, match="`position` must be finite"):
        cic_readout(mesh, position)


def test_one_particle_for_each_cell_makes_a_mean_of_one():
    mesh = LocalMesh(4)
    position = mesh.lattice()[None] + 0.3
    density = cic_paint(tf.zeros([1, 4, 4, 4]), position)
    np.testing.assert_allclose(density, 1.0, rtol=1e-6)  # rounding of eight shares
    np.testing.assert_allclose(cic_readout(density, position), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words", "error"),
    [
        (
            {"mesh": tf.zeros([2, 4, 4, 4])},
            "`position` must have the batch of the mesh",
            ValueError,
        ),
        ({"weight": tf.ones([1, 5, 1])}, "`weight` must have shape", ValueError),
        ({"weight": tf.ones([5])}, "`weight` must have shape", ValueError),
        ({"weight": tf.ones([1, 4])}, "`weight` must have shape", ValueError),
        ({"weight": tf.ones([1, 5], tf.float64)}, "`weight` must be float32", TypeError),
        ({"mesh": tf.zeros([1, 4, 4, 4], tf.float64)}, "`mesh` must be float32", TypeError),
        ({"position": tf.zeros([1, 5, 3], tf.int32)}, "`position` must be float32", TypeError),
    ],
)
def test_clouds_refuse_what_does_not_fit(change, words, error):
    arguments = {"mesh": tf.zeros([1, 4, 4, 4]), "position": tf.zeros([1, 5, 3])} | change
    with pytest.raises(error, match=words):
        cic_paint(**arguments)
