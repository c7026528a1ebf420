"""Light cones made of the slabs of others."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.lensing import LensPlanes, recombined

SIDE = 6


@pytest.fixture
def planes():
    slabs = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE))
    return LensPlanes(slabs, np.array([10.0, 30.0]), 20.0, 60.0)


def variants(slab):
    """A slab in its eight orientations."""
    turned = [np.rot90(slab, number) for number in range(4)]
    return turned + [part.T for part in turned]


def test_every_slab_is_one_of_its_distance(planes):
    drawn = recombined(planes, 40, 1).overdensity.numpy()
    assert drawn.shape == (2, 40, SIDE, SIDE)
    seen = set()
    for number, batch in enumerate(planes.overdensity.numpy()):
        for slab in drawn[number]:
            # The highest pixel says which slab it is, and how far it was shifted.
            (which,) = (i for i, one in enumerate(batch) if np.isclose(one.max(), slab.max()))
            found = [
                orientation
                for orientation, one in enumerate(variants(batch[which]))
                if np.array_equal(centred(one), centred(slab))
            ]
            assert len(found) == 1
            seen.add((number, which, found[0]))
    assert {s[1] for s in seen} == {0, 1, 2} and {s[2] for s in seen} == set(range(8))


def centred(slab):
    row, column = np.unravel_index(slab.argmax(), slab.shape)
    return np.roll(slab, (-row, -column), (0, 1))


def test_shifts_are_even(planes):
    point = np.zeros((1, 1, SIDE, SIDE))
    point[0, 0, 1, 2] = 1
    planes = LensPlanes(point, planes.chi[:1], planes.thickness, planes.side)
    mean = recombined(planes, 3600, 2).overdensity.numpy().mean((0, 1))
    # A hundred in each pixel, with a scatter of ten.
    np.testing.assert_allclose(3600 * mean, 100, atol=45)


def test_geometry_stays_and_seeds_count(planes):
    first, again, other = (recombined(planes, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.overdensity, again.overdensity)
    assert np.abs(first.overdensity - other.overdensity).max() > 0.1
    for name in ("chi", "thickness", "side"):
        np.testing.assert_array_equal(getattr(first, name), getattr(planes, name))


def test_gradient_counts_how_often_a_pixel_is_drawn(planes):
    @tf.function(jit_compile=True)
    def gradient(slabs):
        with tf.GradientTape() as tape:
            tape.watch(slabs)
            planes_ = LensPlanes(slabs, planes.chi, planes.thickness, planes.side)
            total = tf.reduce_sum(recombined(planes_, 7, 3).overdensity)
        return tape.gradient(total, slabs)

    found = gradient(planes.overdensity).numpy()
    np.testing.assert_allclose(found.sum((1, 2, 3)), 7 * SIDE**2)
    np.testing.assert_allclose(found, found[:, :, :1, :1] * np.ones((SIDE, SIDE)))


def test_bad_numbers_are_refused(planes):
    with pytest.raises(ValueError, match="`num_cones` must"):
        recombined(planes, 0)
