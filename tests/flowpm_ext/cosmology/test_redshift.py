"""Redshift distributions against scipy's quadrature, closed forms and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from flowpm_ext.cosmology import redshift
from flowpm_ext.numerics import quadrature

RNG = np.random.default_rng(7)
SAMPLE = RNG.gamma(3.0, 0.3, 200)
EDGES = np.array([0.1, 0.3, 0.4, 0.8, 1.5])
COUNTS = np.array([3.0, 5.0, 9.0, 2.0])
Z = np.linspace(0.0, 3.0, 31)
SMAIL = redshift.smail_nz(2.0, 1.5, 0.3, 20.0)
HISTOGRAM = redshift.histogram_nz(EDGES, COUNTS)

EVERY = {
    "smail": SMAIL,
    "smail, a < 1": redshift.smail_nz(0.5, 1.0, 0.3),
    "smail, steep": redshift.smail_nz(1.27, 4.0, 0.8),
    "gaussian": redshift.gaussian_nz(1.0, 0.05),
    "gaussian, cut at zero": redshift.gaussian_nz(0.1, 0.2),
    "gaussian, narrow": redshift.gaussian_nz(2.0, 1e-3),
    "histogram": HISTOGRAM,
    "table": redshift.tabulated_nz(Z, stats.gamma.pdf(Z, 3.0, scale=0.3)),
    "kde, narrow": redshift.kde_nz(SAMPLE[:20], bandwidth=1e-3),
    "kde": redshift.kde_nz(SAMPLE, np.linspace(0.5, 2.0, 200), 0.05),
    "shift": redshift.systematic_shift(SMAIL, 0.1),
    "shift below zero": redshift.systematic_shift(HISTOGRAM, -0.25),
    "stretch": redshift.stretch(SMAIL, 1.4),
    "photo-z bin": redshift.photoz_bin(SMAIL, 0.4, 0.8, 0.05, 0.01),
    "photo-z bin, sharp": redshift.photoz_bin(SMAIL, 0.4, 0.8, 1e-3),
    "photo-z bin of a histogram": redshift.photoz_bin(HISTOGRAM, 0.35, 0.7, 0.02),
    "photo-z bin of a photo-z bin": redshift.photoz_bin(
        redshift.photoz_bin(SMAIL, 0.4, 0.8, 0.05), 0.3, 0.6, 0.05
    ),
}
each = pytest.mark.parametrize("nz", EVERY.values(), ids=EVERY.keys())


@each
def test_density_is_normalised(nz):
    edges = nz.breakpoints().numpy()
    step = np.diff(edges) / 300
    middle = edges[:-1, None] + step[:, None] * (np.arange(300) + 0.5)  # the midpoint rule
    total = np.sum(nz(middle) * step[:, None])
    # The contract is 1e-6; the midpoint rule itself is good to 1e-7 here.
    assert total == pytest.approx(1.0, abs=1e-6)


@each
def test_four_nodes_in_each_panel_integrate_the_density(nz):
    z, weights = quadrature.panel_nodes(nz.breakpoints(), 4)
    total = tf.reduce_sum(weights * nz(z))
    assert float(total) == pytest.approx(1.0, abs=2e-6)  # what the panels are made for
    assert float(tf.reduce_sum(weights * z * nz(z))) == pytest.approx(float(nz.mean()), rel=2e-6)


@each
def test_density_is_zero_outside_and_not_negative_inside(nz):
    edges = nz.breakpoints().numpy()
    assert np.all(np.diff(edges) >= 0)
    assert edges[0] >= 0
    assert np.all(nz(np.array([-1.0, edges[0] - 1e-6, edges[-1] + 1e-6, 50.0])) == 0)
    assert np.all(nz(np.linspace(edges[0], edges[-1], 500)) >= 0)


@each
def test_single_precision_and_xla_agree_with_double(nz):
    z = tf.constant(RNG.uniform(0.0, 2.5, [3, 7]))
    compiled = tf.function(lambda nz, z: nz(z), jit_compile=True)
    np.testing.assert_allclose(compiled(nz, z), nz(z), rtol=1e-10, atol=1e-12)  # rounding
    single = nz(tf.cast(z, tf.float32))
    assert single.dtype == tf.float32
    # Redshifts are rounded to 1e-7, which a Gaussian of width 1e-3 turns into 1e-3.
    np.testing.assert_allclose(single, nz(z), rtol=2e-3, atol=2e-4)


@each
def test_gradient_in_redshift_matches_finite_differences(nz):
    z = tf.constant([0.151, 0.457, 0.652, 1.234, 60.0], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        density = nz(z)
    slope = tape.gradient(density, z, unconnected_gradients="zero")
    step = 1e-6
    finite = (nz(z + step) - nz(z - step)) / (2 * step)
    # Truncation: step**2 / 6 times a third derivative of up to 1 / width**3.
    np.testing.assert_allclose(slope, finite, rtol=2e-4, atol=1e-4)


def test_smail_matches_its_closed_form():
    z = np.linspace(0.0, 2.0, 9)
    norm = 0.3 / 1.5 * special.gamma(2.0)  # z0**(a + 1) / b Gamma((a + 1) / b), a = 2
    expected = (z / 0.3) ** 2 * np.exp(-((z / 0.3) ** 1.5)) / norm
    # 1e-9 of the galaxies are cut off in the tail.
    np.testing.assert_allclose(SMAIL(z), expected, rtol=1e-8)


def test_smail_stops_at_zmax():
    cut = redshift.smail_nz(2.0, 1.5, 0.3, zmax=0.5)
    ratio = cut(np.array([0.1, 0.3, 0.5])) / SMAIL(np.array([0.1, 0.3, 0.5]))
    share = special.gammainc(2.0, (0.5 / 0.3) ** 1.5)
    np.testing.assert_allclose(ratio, 1 / share, rtol=1e-8)
    assert float(cut(0.51)) == 0


def test_gaussian_matches_a_truncated_normal():
    expected = stats.truncnorm(-0.5, np.inf, loc=0.1, scale=0.2).pdf(Z)
    # Both are cut at six sigma, outside which 2e-9 of the galaxies lie.
    np.testing.assert_allclose(redshift.gaussian_nz(0.1, 0.2)(Z), expected, rtol=1e-8, atol=1e-7)


def test_histogram_and_kernels_match_scipy():
    expected = stats.rv_histogram((COUNTS, EDGES), density=False).pdf(Z)
    inside = EDGES[-1] != Z  # scipy counts the last edge as outside
    np.testing.assert_allclose(HISTOGRAM(Z[inside]), expected[inside], rtol=1e-14)
    kernel = stats.norm.pdf(Z[:, None], SAMPLE, 0.05)
    expected = kernel.sum(-1) / stats.norm.sf(0.0, SAMPLE, 0.05).sum()
    found = redshift.kde_nz(SAMPLE, bandwidth=0.05)(Z)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)  # cut at six bandwidths


def test_empty_bins_at_the_ends_are_left_out():
    padded = redshift.histogram_nz([0.0, *EDGES, 2.0, 3.0], [0.0, *COUNTS, 0.0, 0.0])
    np.testing.assert_array_equal(padded.breakpoints(), EDGES)


def test_shift_and_stretch_move_the_moments():
    broad = redshift.gaussian_nz(1.0, 0.1)
    assert float(redshift.systematic_shift(broad, -0.2).mean()) == pytest.approx(0.8, rel=1e-9)
    wide = redshift.stretch(broad, 1.3)
    assert float(wide.mean()) == pytest.approx(1.0, rel=1e-9)
    # A Gaussian stretched is a Gaussian of another width.
    np.testing.assert_allclose(wide(Z), redshift.gaussian_nz(1.0, 0.13)(Z), rtol=1e-9, atol=1e-12)


def test_photoz_bin_matches_scipy():
    def selected(z):
        scatter, centre = 0.05 * (1 + z), z + 0.01 * (1 + z)
        chosen = stats.norm.cdf(0.8, centre, scatter) - stats.norm.cdf(0.4, centre, scatter)
        return float(SMAIL(z)) * chosen

    fraction = integrate.quad(selected, 0.0, 3.0, epsrel=1e-10)[0]
    made = EVERY["photo-z bin"]
    assert float(made.gals_per_arcmin2) == pytest.approx(20.0 * fraction, rel=1e-7)
    z = np.array([0.1, 0.5, 0.79, 0.81, 1.1])
    expected = [selected(x) / fraction for x in z]
    np.testing.assert_allclose(made(z), expected, rtol=1e-7)  # cut at six sigma


@pytest.mark.parametrize("sigma0", [1e-3, 0.05])
@pytest.mark.parametrize("nz", [SMAIL, HISTOGRAM], ids=["smail", "histogram"])
def test_tomographic_bins_hold_equal_numbers(nz, sigma0):
    bins = redshift.tomographic_bins(nz, 4, sigma0)
    densities = np.array([float(one.gals_per_arcmin2 / nz.gals_per_arcmin2) for one in bins])
    # The cumulative histogram, whose density jumps, is interpolated to 2e-4.
    np.testing.assert_allclose(densities, 0.25, atol=2e-4 if nz is HISTOGRAM else 1e-6)
    assert densities.sum() == pytest.approx(1.0, abs=1e-7)
    whole = sum(density * one(Z) for density, one in zip(densities, bins, strict=True))
    np.testing.assert_allclose(whole, nz(Z), rtol=1e-6, atol=1e-7)  # outer edges at six sigma


def test_tomographic_bins_at_given_edges_match_single_bins():
    bins = redshift.tomographic_bins(SMAIL, [0.2, 0.4, 0.8], 0.05, 0.01)
    assert len(bins) == 2
    np.testing.assert_array_equal(bins[1](Z), EVERY["photo-z bin"](Z))


def test_bins_and_their_gradients_work_in_a_compiled_graph():
    @tf.function(jit_compile=True)
    def mean_of_second_bin(z0, sigma0):
        bins = redshift.tomographic_bins(redshift.smail_nz(2.0, 1.5, z0), 3, sigma0)
        return bins[1].mean()

    expected = redshift.tomographic_bins(redshift.smail_nz(2.0, 1.5, 0.3), 3, 0.05)[1].mean()
    z0, sigma0 = tf.constant(0.3, tf.float64), tf.constant(0.05, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([z0, sigma0])
        mean = mean_of_second_bin(z0, sigma0)
    assert float(mean) == pytest.approx(float(expected), rel=1e-12)
    assert all(np.isfinite(g) for g in tape.gradient(mean, [z0, sigma0]))


MAKERS = {
    "smail": (lambda p: redshift.smail_nz(p[0], p[1], p[2]), [2.0, 1.5, 0.3]),
    "gaussian": (lambda p: redshift.gaussian_nz(p[0], p[1]), [0.2, 0.1]),
    "histogram": (lambda p: redshift.histogram_nz(EDGES, p), COUNTS),
    "table": (lambda p: redshift.tabulated_nz([0.0, 0.3, 0.7, 1.0, 1.5], p), [1.0, 3, 4, 2, 0.5]),
    "kde": (
        lambda p: redshift.kde_nz(p[:3], p[3:6], p[6], num_panels=40),
        [0.5, 0.2, 0.9, 1.0, 2.0, 1.5, 0.1],
    ),
    "shift": (lambda p: redshift.systematic_shift(SMAIL, p[0]), [-0.05]),
    "stretch": (lambda p: redshift.stretch(SMAIL, p[0]), [1.2]),
    "photo-z bin": (
        lambda p: redshift.photoz_bin(SMAIL, p[0], p[1], p[2], p[3]),
        [0.4, 0.8, 0.05, 0.01],
    ),
}


def differentiated(function, p, direction):
    """Directional derivative in reverse and forward mode, and by central differences."""
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = function(p)
    reverse = tf.reduce_sum(tape.gradient(value, p) * direction)
    with tf.autodiff.ForwardAccumulator(p, direction) as forward:
        value = function(p)
    step = 1e-5
    finite = (function(p + step * direction) - function(p - step * direction)) / (2 * step)
    return float(reverse), float(forward.jvp(value)), float(finite)


@pytest.mark.parametrize("make, p", MAKERS.values(), ids=MAKERS.keys())
def test_gradient_in_the_parameters_matches_finite_differences(make, p):
    p = tf.constant(p, tf.float64)
    direction = tf.constant(np.random.default_rng(1).normal(size=p.shape))

    def weighted(p):
        return tf.reduce_sum(make(p)(np.array([0.15, 0.55, 0.9])) * [1.0, 2.0, 3.0])

    reverse, forward, finite = differentiated(weighted, p, direction)
    # Central differences: step**2 = 1e-10 times derivatives of up to 1 / width**2.
    assert reverse == pytest.approx(finite, rel=1e-6)
    assert forward == pytest.approx(reverse, rel=1e-9)


def test_integral_over_a_shifted_histogram_knows_its_derivative():
    """The density of a histogram has no slope, so the derivative comes through the panels."""

    def averaged(dz):
        z, weights = quadrature.panel_nodes(
            redshift.systematic_shift(HISTOGRAM, dz).breakpoints(), 4
        )
        return tf.reduce_sum(weights * redshift.systematic_shift(HISTOGRAM, dz)(z) * z**2)

    dz = tf.constant(0.02, tf.float64)
    reverse, _, finite = differentiated(averaged, dz, tf.ones_like(dz))
    assert reverse == pytest.approx(finite, rel=1e-8)  # rounding of the differences
    # d/dz of the mean of (z + dz)**2 is twice the mean.
    mean = float(redshift.systematic_shift(HISTOGRAM, dz).mean())
    assert reverse == pytest.approx(2 * mean, rel=1e-12)


def test_gradients_stay_finite_at_zero_redshift():
    p = tf.constant([2.0, 1.5, 0.3], tf.float64)
    z = tf.constant([0.0, -0.1], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([p, z])
        density = redshift.smail_nz(p[0], p[1], p[2])(z)
    for gradient in tape.gradient(density, [p, z]):
        assert np.all(np.isfinite(gradient))


def test_sky_density_converts_exactly():
    from astropy import units

    assert SMAIL.gals_per_steradian == pytest.approx(20.0 * 11818102.860, rel=1e-9)
    dense = redshift.delta_nz(1.0, 2.0 / units.arcsec**2)
    assert dense.gals_per_arcmin2 == pytest.approx(7200.0)


def test_delta_is_a_source_plane_without_density():
    plane = redshift.delta_nz(1.2)
    np.testing.assert_array_equal(plane.breakpoints(tf.float32), np.float32([1.2]))
    assert float(plane.mean()) == 1.2
    for use in (plane, lambda z: redshift.systematic_shift(plane, z)):
        with pytest.raises(TypeError, match="`nz` must be a redshift distribution with a density"):
            use(1.0)


BAD = {
    "`a` must be non-negative": lambda: redshift.smail_nz(-1.0, 2.0, 0.3),
    "`z0` must be positive": lambda: redshift.smail_nz(1.0, 2.0, np.nan),
    "`zmax` must be positive": lambda: redshift.smail_nz(1.0, 2.0, 0.3, zmax=0.0),
    "`gals_per_arcmin2` must be positive": lambda: redshift.smail_nz(1.0, 2.0, 0.3, 0.0),
    "`sigma` must be positive": lambda: redshift.gaussian_nz(1.0, 0.0),
    "`z0` must be positive. Received: -1": lambda: redshift.delta_nz(-1.0),
    "`edges` must increase": lambda: redshift.histogram_nz([0.0, 2.0, 1.0], [1.0, 1.0]),
    "`edges` must be non-negative": lambda: redshift.histogram_nz([-1.0, 2.0], [1.0]),
    "`edges` must have 1 axes": lambda: redshift.histogram_nz([[0.0, 1.0]], [1.0]),
    "`n` must have a value for each of 1 bins": lambda: redshift.histogram_nz([0, 1], [1.0, 2.0]),
    "`n` must be non-negative": lambda: redshift.histogram_nz([0.0, 1.0, 2.0], [1.0, -1.0]),
    "`n` must be non-negative. Received: [nan]": lambda: redshift.histogram_nz([0, 1], [np.nan]),
    "`n` must have a positive sum": lambda: redshift.histogram_nz([0.0, 1.0], [0.0]),
    "`z` must hold at least three": lambda: redshift.tabulated_nz([0.0, 1.0], [1.0, 1.0]),
    "`z` must be finite": lambda: redshift.tabulated_nz([0.0, np.inf, 1.0], np.ones(3)),
    "`n` must hold 3 values": lambda: redshift.tabulated_nz([0.0, 1.0, 2.0], np.ones(4)),
    "`weights` must have one entry": lambda: redshift.kde_nz([0.5, 0.6], [1.0]),
    "`weights` must have a positive sum": lambda: redshift.kde_nz([0.5], [0.0]),
    "`bandwidth` must be positive": lambda: redshift.kde_nz([0.5], bandwidth=0.0),
    "`redshifts` must be non-negative": lambda: redshift.kde_nz([-0.5]),
    "`dz` must be finite": lambda: redshift.systematic_shift(SMAIL, np.nan),
    "`dz` must leave galaxies": lambda: redshift.systematic_shift(SMAIL, -20.0),
    "`factor` must be positive": lambda: redshift.stretch(SMAIL, 0.0),
    "`high` must be above `low`": lambda: redshift.photoz_bin(SMAIL, 0.5, 0.5, 0.05),
    "`sigma0` must be positive": lambda: redshift.photoz_bin(SMAIL, 0.5, 0.6, 0.0),
    "`bias` must lie in": lambda: redshift.photoz_bin(SMAIL, 0.5, 0.6, 0.05, -1.0),
    "`low and high` must select": lambda: redshift.photoz_bin(SMAIL, 8.0, 9.0, 0.01),
    "`bins` must be at least one": lambda: redshift.tomographic_bins(SMAIL, 0, 0.05),
    "`bins` must increase": lambda: redshift.tomographic_bins(SMAIL, [1.0, 0.5], 0.05),
    "`bins` must hold at least two": lambda: redshift.tomographic_bins(SMAIL, [1.0], 0.05),
}


@pytest.mark.parametrize("message", BAD.keys())
def test_bad_input_is_refused(message):
    with pytest.raises(ValueError) as refusal:
        BAD[message]()
    assert str(refusal.value).startswith(message)


def test_sample_inside_a_graph_needs_the_number_of_panels():
    with pytest.raises(ValueError, match="`num_panels` must be given here"):
        tf.function(lambda sample: redshift.kde_nz(sample)(0.5))(tf.constant([0.4, 0.6]))
