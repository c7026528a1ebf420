"""Simulated stamps: what they promise, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from flowpm_ext.core.seeds import fold
from lfi.lens_finder import (
    KINDS,
    ImagingSurvey,
    Population,
    draw_galaxies,
    render,
    roc_area,
    simulate_stamps,
)
from lfi.lens_finder.seeing import to_pixels

SURVEY = ImagingSurvey("gi", side=24)
NUM = 1000


@pytest.fixture(scope="module")
def stamps():
    return simulate_stamps(NUM, seed=1, survey=SURVEY)


@pytest.fixture(scope="module")
def galaxies():
    """A few, in double precision."""
    return draw_galaxies(12, 5, SURVEY, Population(), tf.float64)


def test_stamps_are_what_was_asked_for(stamps):
    assert stamps.images.shape == (NUM, 24, 24, 2) and stamps.images.dtype == np.float32
    assert np.all(np.isfinite(stamps.images)) and len(stamps[:7]) == 7 and stamps.bands == "gi"
    share = np.bincount(stamps.kind, minlength=len(KINDS)) / NUM
    # Four standard deviations of a part of 1000.
    np.testing.assert_allclose(share, [0.5, 0.075, 0.175, 0.125, 0.125], atol=0.063)
    np.testing.assert_array_equal(stamps.is_lens, stamps.kind == 0)
    lenses = stamps[stamps.is_lens]
    assert np.all((lenses.einstein_radius >= 0.5) & (lenses.einstein_radius <= 1.8))
    assert np.all(lenses.einstein_radius >= 1.5 * SURVEY.pixel_size_arcsec)
    offset = np.hypot(*lenses.galaxies.source_position.T)
    assert np.all(offset <= 0.6 * lenses.einstein_radius * (1 + 1e-6)) and np.all(
        lenses.magnification > 1
    )


def test_a_seed_is_a_set_of_stamps(stamps):
    few = simulate_stamps(7, seed=1, survey=SURVEY)
    np.testing.assert_array_equal(few.images, stamps.images[:7])
    other = simulate_stamps(7, seed=2, survey=SURVEY)
    assert not np.any(other.einstein_radius == few.einstein_radius)


def test_colour_and_brightness_do_not_tell_lenses(stamps):
    is_arc = np.isin(stamps.kind, [0, 2, 3, 4])
    flux = stamps.images.sum(axis=(1, 2))[is_arc]
    x = np.arcsinh(flux / 50)
    strength = np.log(stamps.signal_to_noise[is_arc])[:, None]
    x = np.concatenate([x, x**2, x[:, :1] * x[:, 1:], strength], axis=1)
    y = stamps.is_lens[is_arc]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    half = len(x) // 2
    model = LogisticRegression().fit(x[:half], y[:half])
    # One half would be no difference at all, which 460 stamps know to 0.03.
    assert roc_area(model.decision_function(x[half:]), y[half:]) < 0.6


def test_noise_is_that_of_the_sky_and_of_photons():
    image = tf.fill([400, 24, 24, 2], tf.constant(30.0, tf.float64))
    noisy = SURVEY.observe(image, 3)
    expected = SURVEY.sky_noise**2 * (1 + 30 / SURVEY.sky_flux)
    # 230,000 pixels know a variance to 0.3 %.
    np.testing.assert_allclose(np.var(noisy, axis=(0, 1, 2)), expected, rtol=0.012)
    # Against the sky, a point source 0.1 magnitudes brighter than the depth has 5 sigma by the sum
    # of squares of what is seen of it: wings and pixels are not in the convention of the depth.
    light = np.zeros((1, 2, 72, 72))
    light[:, :, 36, 36] = 10 ** (0.4 * (27 - (np.array([26.1, 25.6]) - 0.1)))
    seeing = tf.constant([SURVEY.seeing_arcsec], tf.float64)
    seen = to_pixels(tf.constant(light), seeing, 24, SURVEY.pixel_size_arcsec)[0]
    signal = np.sqrt(np.sum(seen**2, axis=(1, 2))) / SURVEY.sky_noise
    np.testing.assert_allclose(signal, 5, rtol=0.005)


def test_populations_of_lists_and_arrays():
    few = [
        simulate_stamps(3, survey=ImagingSurvey("g", 16), population=Population(**options)).images
        for options in (
            {"impostors": (0.25,) * 4, "source_magnitude": (22.0, 24.0)},
            {"impostors": [0.25] * 4, "source_magnitude": np.array([22, 24])},
        )
    ]
    np.testing.assert_array_equal(*few)


def test_one_band_or_six():
    for bands in ("i", "ugrizy"):
        galaxies = draw_galaxies(2, 1, ImagingSurvey(bands), Population())
        assert galaxies.source_flux.shape == (2, len(bands))
        # Young galaxies behind are bluer than the lens in all neighbouring bands.
        ratio = (galaxies.source_flux / galaxies.lens_flux).numpy().mean(axis=0)
        assert np.all(np.diff(ratio) < 0)


def test_worse_seeing_and_noise():
    worse = SURVEY.degraded(seeing=1.3, noise=2.0)
    np.testing.assert_allclose(worse.sky_noise, 2 * SURVEY.sky_noise)
    np.testing.assert_allclose(worse.seeing_arcsec, 1.3 * np.array(SURVEY.seeing_arcsec))


def test_impostors_have_the_light_of_arcs(galaxies):
    def blue(name):
        kind = tf.fill([12], KINDS.index(name))
        # Wide stamps with seeing of nothing, so that no light is lost at edges.
        small = tf.fill([12, 2], tf.constant(0.3, tf.float64))
        return render(galaxies.replace(kind=kind, seeing=small), ImagingSurvey("gi", side=48))[1]

    arcs = tf.reduce_sum(blue("lens"), axis=[1, 2])
    for name in KINDS[2:]:
        flux = tf.reduce_sum(blue(name), axis=[1, 2])
        np.testing.assert_allclose(flux, arcs, rtol=2e-2)  # what wings lose at the edges
    np.testing.assert_array_equal(blue("smooth"), 0)


def test_without_a_lens_the_source_keeps_its_flux(galaxies):
    weak = galaxies.replace(
        einstein_radius=tf.fill([12], tf.constant(1e-6, tf.float64)),
        shear=tf.zeros([12, 2], tf.float64),
        source_shape=tf.tile(tf.constant([[0.3, 1.0, 0.6, 0.3]], tf.float64), [12, 1]),
        kind=tf.zeros([12], tf.int32),
    )
    survey = ImagingSurvey("gi", side=48, oversampling=6)
    _, blue, magnification = render(weak, survey)
    # Midpoints of cells of 0.04 arcsec, the softened cusp, and wings of seeing beyond the edges.
    np.testing.assert_allclose(magnification, 1, rtol=2e-3)
    np.testing.assert_allclose(tf.reduce_sum(blue, [1, 2]), weak.source_flux, rtol=2e-3)


def test_graph_and_xla_agree(galaxies):
    compiled = tf.function(lambda g: render(g, SURVEY), jit_compile=True)(galaxies)
    for one, other in zip(render(galaxies, SURVEY), compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.max(one))
    eager = draw_galaxies(12, fold(5, 0), SURVEY, Population())
    whole = tf.function(lambda: draw_galaxies(12, fold(5, 0), SURVEY, Population()),
                        jit_compile=True)()  # fmt: skip
    for one, other in zip(tf.nest.flatten(eager), tf.nest.flatten(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-5, atol=1e-5)  # of float32


@pytest.mark.parametrize("kind", [0, 2, 3, 4])
def test_gradient_of_the_simulator(galaxies, kind):
    few = tf.nest.map_structure(lambda x: x[:2], galaxies)
    few = few.replace(kind=tf.fill([2], kind))
    weights = tf.constant(np.random.default_rng(0).normal(size=(2, 24, 24, 2)))
    leaves = {name: value for name, value in vars(few).items() if name != "kind"}

    def loss(values):
        return tf.reduce_sum(weights * render(few.replace(**values), SURVEY)[0])

    with tf.GradientTape() as tape:
        tape.watch(leaves)
        value = loss(leaves)
    slopes = tape.gradient(value, leaves)
    rng = np.random.default_rng(kind)
    direction = {name: tf.constant(rng.normal(size=x.shape)) for name, x in leaves.items()}
    # Whole numbers of arms are not moved: where they are not whole the phase jumps at pi.
    keep = np.ones(8)
    keep[6] = 0
    direction["feature"] *= keep
    exact = sum(float(tf.reduce_sum(slopes[n] * d)) for n, d in direction.items())
    h = 1e-6
    moved = [
        float(loss({n: x + sign * h * direction[n] for n, x in leaves.items()})) for sign in (1, -1)
    ]
    # Second order in h, and rounding of 1e-16 / h of a value of about 1e4.
    np.testing.assert_allclose(exact, (moved[0] - moved[1]) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ImagingSurvey("gg"), "`bands` must be different letters of 'ugrizy'"),
        (lambda: ImagingSurvey("gi", depth=(26.0,)), "`depth` must be a number for each of 2"),
        (lambda: ImagingSurvey("g", seeing_arcsec=(0.0,)), "`seeing_arcsec` must be positive"),
        (lambda: ImagingSurvey(side=0), "`side` must be a positive integer"),
        (lambda: Population(lens_fraction=1.2), r"`lens_fraction` must lie in \[0, 1\]"),
        (lambda: Population(impostors=(0.5, 0.5, 0.5, 0.5)), "`impostors` must be 4 parts of one"),
        (lambda: Population(source_magnitude=(25, 22)), "`source_magnitude` must increase"),
        (lambda: Population(source_magnitude=(22, 23, 24)), "`source_magnitude` must be a least"),
        (lambda: Population(lens_magnitude=np.nan), "`lens_magnitude` must be finite"),
        (lambda: ImagingSurvey(["g", "i"]), "`bands` must be different letters of 'ugrizy'"),
        (lambda: simulate_stamps(0), "`num` must be a positive integer"),
        (lambda: SURVEY.degraded(noise=-1.0), "`noise` must be positive"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()
