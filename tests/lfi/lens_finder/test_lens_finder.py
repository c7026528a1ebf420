"""The network that finds lenses: its size, its training, its files and its messages."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.nn import turned
from lfi.diagnostics import MisspecificationWarning
from lfi.lens_finder import DeepLens, LensFinder, Stamps, reliability, roc_area, shift_test

SIDE = 16


def easy(num, seed, noise=1.0):
    """Bright spots with a ring around them, or without one, in two bands."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    r = np.hypot(y, x)
    labels = rng.uniform(size=num) < 0.5
    images = np.repeat(20 * np.exp(-0.5 * (r / 1.5) ** 2)[None], num, axis=0)
    images += 3 * labels[:, None, None] * np.exp(-0.5 * ((r - 5) / 1.0) ** 2)
    images = np.stack([images, 0.5 * images], axis=-1)
    return (images + noise * rng.normal(size=images.shape)).astype(np.float32), labels


@pytest.fixture(scope="module")
def finder():
    keras.utils.set_random_seed(0)
    finder = LensFinder("gr", SIDE)
    finder.compile(keras.optimizers.Adam(3e-3))
    finder.history_ = finder.fit(*easy(600, 0), epochs=6, batch_size=50, verbose=0).history["loss"]
    return finder


@pytest.mark.parametrize("bands, number", [("g", 3_508_545), ("ugri", 3_513_249)])
def test_published_network_has_its_number_of_parameters(bands, number):
    finder = LensFinder(bands, 45, "deeplens")
    finder.build()
    assert sum(int(np.prod(v.shape)) for v in finder.trainable_variables) == number
    # Fifteen units of three convolutions, the first, and the last layer: 47, without shortcuts.
    units = finder.network.blocks
    assert len(units) == 15 and sum(len(unit.steps) + 1 for unit in units) + 2 == 47
    assert sum(unit.shortcut is not None for unit in units) == 4


def test_a_unit_passes_on_what_it_is_given():
    unit = DeepLens(4, 3, 1, ((2, 4),), 2).blocks[1]
    x = tf.random.stateless_normal([2, 6, 6, 4], [0, 1])
    unit.build(x.shape)
    unit.last.kernel.assign(tf.zeros_like(unit.last.kernel))
    np.testing.assert_array_equal(unit(x), x)


def test_training_learns_what_is_easy(finder):
    assert finder.history_[-1] < 0.5 * finder.history_[0]
    x, labels = easy(500, 1)
    logits = finder.logits(x)
    # The ring has a signal to noise of 25: nothing but training stands between this and one.
    assert roc_area(logits, labels) > 0.99
    np.testing.assert_allclose(finder.predict(x)[:, 0], 1 / (1 + np.exp(-logits)), atol=1e-5)
    # Stamps that know their labels and bands are evaluated like arrays; here some are wrong.
    x, labels = easy(500, 1, noise=6.0)
    entropy = np.mean(np.logaddexp(0, np.where(labels, -1, 1) * finder.logits(x)))
    found = finder.evaluate(stamps_like(x, labels, "gr"), return_dict=True)
    np.testing.assert_allclose(found["loss"], entropy, rtol=1e-3)


def test_calibration_follows_the_frequencies(finder):
    x, labels = easy(800, 2)
    finder.slope.assign(7.0)  # of an overconfident network
    raw = finder.logits(x) / 7.0
    slope, offset = finder.calibrate(x, labels)
    np.testing.assert_allclose(finder.logits(x), slope * raw + offset, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="`x` must be finite"):
        finder.calibrate(with_nan(x), labels)  # and keeps what there was
    assert (float(finder.slope), float(finder.offset)) == pytest.approx((slope, offset))
    found = reliability(finder.predict(x), labels, 5)
    assert found.expected_calibration_error < 0.03


def test_a_file_keeps_the_finder(finder, tmp_path):
    x = easy(20, 3)[0]
    finder.save(tmp_path / "finder.keras")
    again = keras.models.load_model(tmp_path / "finder.keras")
    np.testing.assert_allclose(again.logits(x), finder.logits(x), rtol=1e-5, atol=1e-5)
    assert (again.bands, again.side, again.size) == ("gr", SIDE, "small")
    assert float(again.is_adapted) == 1
    assert float(finder.scale[0]) > 0.5 and not np.allclose(again.centre, 0)


def test_bands_have_their_own_unit(finder):
    x = easy(200, 4)[0]
    unit = np.array([1e-3, 1e4], np.float32)
    other, same = (LensFinder("gr", SIDE) for _ in range(2))
    for model, images in ((same, x), (other, x * unit + unit)):
        model.adapt(images)
        model.build()
    other.set_weights([v.numpy() if w.name not in ("centre", "scale") else w.numpy()
                       for v, w in zip(same.weights, other.weights, strict=True)])  # fmt: skip
    # Quartiles and sums of float32.
    np.testing.assert_allclose(other.logits(x * unit + unit), same.logits(x), atol=1e-3)


def test_augmentation_makes_all_quarter_turns_and_mirrors():
    stamp = np.arange(9.0, dtype=np.float32).reshape(1, 3, 3, 1)
    many = turned(tf.repeat(stamp, 400, axis=0), tf.constant([1, 2])).numpy()[..., 0]
    found = {tuple(x.ravel()) for x in many}
    expected = {
        tuple(np.rot90(flip, k).ravel())
        for flip in (stamp[0, ..., 0], stamp[0, ::-1, :, 0])
        for k in range(4)
    }
    assert found == expected


def test_shifted_stamps_are_told_from_usual_ones(finder):
    usual = easy(4800, 5)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", MisspecificationWarning)
        # Twice the mean of ten p-values, which are about one half each.
        new, labels = easy(400, 6)
        # In whatever order stamps come: each group holds the mix of both kinds.
        for order in (np.arange(400), np.argsort(labels, kind="stable")):
            assert shift_test(finder, usual, new[order], group=40).p_value > 0.3
    with pytest.warns(MisspecificationWarning, match="Stamps are not like the simulated ones"):
        found = shift_test(finder, usual, easy(400, 6, noise=3.0)[0], group=40)
    # No p-value is below one over 61, half of the usual groups and one.
    assert 2 / 61 < found.p_value + 1e-9 < 0.05 and found.groups.p_value.shape == (10,)


def stamps_like(images, labels, bands):
    empty = np.zeros(len(images))
    return Stamps(images, labels, bands, empty, empty, empty, empty, None)


def with_nan(x):
    x = x.copy()
    x[3, 0, 0, 0] = np.nan
    return x


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda f, x, y: f.predict(with_nan(x)), "`x` must be finite. Received: '1 of"),
        (lambda f, x, y: f.fit(with_nan(x), y), "`x` must be finite"),
        (lambda f, x, y: f.fit(x, np.ones(len(x))), "`y` must be 0 and 1, with some of both"),
        (lambda f, x, y: f.fit(x, y[:5]), "`y` must be one label for each of 20 stamps"),
        (lambda f, x, y: f.calibrate(x, np.zeros(len(x))), "`y` must be 0 and 1"),
        (lambda f, x, y: f.predict(x[:, 1:]), r"`x` must have shape \[num, 16, 16, 2\]"),
        (lambda f, x, y: f.predict(x[..., :1]), "the last for bands 'gr'. Received: 'shape"),
        (lambda f, x, y: f(x[:, 1:]), r"`x` must have shape \[num, 16, 16, 2\]"),
        (lambda f, x, y: f.predict(stamps_like(x, y, "rg")), "`x` must have bands 'gr', in this "),
        (lambda f, x, y: f.adapt(np.ones_like(x)), "`x` must vary in every band"),
        (lambda f, x, y: shift_test(f, x, x), "`usual` must hold at least 8000 stamps"),
        (lambda f, x, y: LensFinder(size="large"), "`size` must be one of 'small', 'deeplens'"),
        (lambda f, x, y: LensFinder("gg"), "`bands` must be different letters"),
        (lambda f, x, y: DeepLens(4, 3, 1, (), 2), "`stages` must name a stage"),
    ],
)
def test_messages(finder, call, message):
    with pytest.raises(ValueError, match=message):
        call(finder, *easy(20, 7))
