"""Tomographic bins against direct spectra and covariances, published scores and differences."""

import numpy as np
import pytest
import tensorflow as tf

from flowpm_ext.cosmology import (
    Planck15,
    angular_cl,
    bias,
    covariance,
    fisher,
    probes,
    redshift,
    tomography,
)
from flowpm_ext.cosmology.tomography import Bins, Nuisance, Survey

RNG = np.random.default_rng(3)
EDGES = np.linspace(0.0, 2.4, 7)
ELL = np.geomspace(30.0, 1500.0, 5)
PARAMETERS = ("Omega_c", "w0", "alignment")
FIDUCIAL = np.array([0.2589, -1.0, 0.0])
# Fractions of all galaxies; every bin reaches the first and the last slice, so that the direct
# spectra have the same nodes.
COUNTS = RNG.dirichlet(np.ones(6), size=3) * np.array([[0.3], [0.2], [0.4]])
SURVEY = Survey(f_sky=0.1, gals_per_arcmin2=9.0, sigma_e=0.3)

# n = (1 - f) S1 + f S2 with S = z**a exp(-(z / z0)**b): fits to the catalogues of the challenge.
FITS = {
    "Buzzard": ((1.286, 1.782, 0.521), (12, 1.185, 0.178), 0.044),
    "DC2": ((0.58, 5.393, 1.07), (12, 0.837, 0.051), 0.291),
}
# Signal to noise and DETF figure of merit of 3x2pt: Random (one bin), and redshifts known
# perfectly in bins of equal numbers, arXiv:2108.13418.
PUBLISHED = {
    ("Buzzard", 1): (680.5, None),
    ("Buzzard", 3): (1149.6, 27.5),
    ("Buzzard", 5): (1471.6, 49.1),
    ("Buzzard", 9): (1959.2, 85.0),
    ("DC2", 1): (670.1, None),
    ("DC2", 3): (1102.9, None),
    ("DC2", 5): (1409.0, None),
    ("DC2", 9): (1877.0, None),
}


@pytest.fixture(scope="module", autouse=True)
def eager(without_compilation):
    """Compiling takes longer than all else here."""


@pytest.fixture(scope="module")
def spectra():
    return tomography.slice_spectra(Planck15(), EDGES, ELL, parameters=PARAMETERS)


@pytest.fixture(scope="module")
def challenge():
    return tomography.challenge_spectra()


def direct_bins():
    density = SURVEY.gals_per_arcmin2 * COUNTS.sum(axis=1)
    bins = [
        redshift.histogram_nz(EDGES, n, gals_per_arcmin2=d)
        for n, d in zip(COUNTS, density, strict=True)
    ]
    return bins


def direct_probes(alignment=0.0):
    b, counts = bias.inverse_growth_linear_bias(1.0), direct_bins()
    return [
        probes.WeakLensing(counts, ia_bias=alignment, sigma_e=SURVEY.sigma_e),
        probes.NumberCounts(counts, b),
    ]


def direct_cl(theta):
    cosmo = Planck15(Omega_c=theta[0], w0=theta[1])
    return angular_cl.angular_cl(cosmo, ELL, direct_probes(theta[2]))


def test_quadratic_form_is_the_direct_computation(spectra):
    bins = tomography.hard_bins(COUNTS)
    tracers, noise = direct_probes(), angular_cl.noise_cl(ELL, direct_probes())
    cl = direct_cl(tf.constant(FIDUCIAL))
    rows, columns = angular_cl.tracer_pairs(6)
    share = np.tile(COUNTS.sum(axis=1), 2)
    found = tomography.binned_spectra(spectra, bins, SURVEY)
    signal = tf.transpose(found.signal[0], [1, 2, 0]).numpy()[rows, columns]
    signal /= (share[rows] * share[columns])[:, None]
    # The same nodes and another order of sums.
    largest = np.max(np.abs(cl), axis=0)
    np.testing.assert_allclose(signal / largest, cl / largest, atol=1e-12)
    cov = covariance.gaussian_cl_covariance_blocks(ELL, tracers, cl, noise, SURVEY.f_sky)
    expected = fisher.signal_to_noise(cl, cov)
    np.testing.assert_allclose(
        tomography.signal_to_noise(spectra, bins, SURVEY), expected, rtol=1e-10
    )
    expected = fisher.fisher_matrix(direct_cl, FIDUCIAL, cov)
    found = tomography.fisher_matrix(spectra, bins, SURVEY)
    scale = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(found / np.outer(scale, scale), expected / np.outer(scale, scale),
                               atol=1e-10)  # fmt: skip
    both = PARAMETERS.index("Omega_c"), PARAMETERS.index("w0")
    expected = fisher.figure_of_merit(expected, both) / (6.17 * np.pi)
    merit = tomography.figure_of_merit(found, PARAMETERS, ("Omega_c", "w0"))
    np.testing.assert_allclose(merit, expected, rtol=1e-9)


@pytest.mark.parametrize("part, kept", [("ww", slice(3)), ("gg", slice(3, 6))])
def test_single_probes_are_blocks(spectra, part, kept):
    binned = tomography.binned_spectra(spectra, tomography.hard_bins(COUNTS), SURVEY)
    s, n = binned.signal[0].numpy()[:, kept, kept], binned.noise.numpy()[kept, kept]
    squared = [np.trace(np.linalg.matrix_power(np.linalg.solve(x + n, x), 2)) for x in s]
    expected = np.sqrt(np.sum(binned.num_modes * squared))
    found = tomography.signal_to_noise(spectra, tomography.hard_bins(COUNTS), SURVEY, part)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


def catalogue_counts(name, num_bins, edges):
    """Bins of equal numbers with redshifts known, cut where the bins are, not the slices."""
    z = np.linspace(0, 3.6, 36_001)
    first, second, part = FITS[name]
    shapes = [z**a * np.exp(-((z / z0) ** b)) for a, b, z0 in (first, second)]
    n = sum(w * s / s.sum() for w, s in zip((1 - part, part), shapes, strict=True))
    total = np.cumsum(n)
    cuts = np.interp(np.linspace(0, 1, num_bins + 1), total, z)
    cuts[0], cuts[-1] = 0, 3.6
    low = np.maximum(edges[:-1], cuts[:-1, None])
    high = np.maximum(low, np.minimum(edges[1:], cuts[1:, None]))
    return np.interp(high, z, total) - np.interp(low, z, total)


@pytest.mark.parametrize("name, num_bins", PUBLISHED)
def test_published_scores_of_the_challenge(challenge, name, num_bins):
    bins = tomography.hard_bins(catalogue_counts(name, num_bins, challenge.edges.numpy()))
    snr, detf = PUBLISHED[name, num_bins]
    found = tomography.metric(challenge, bins, Survey(), "snr")
    # The fits are not the catalogues; and 60 slices blur the edges of bins.
    np.testing.assert_allclose(found, snr, rtol={"Buzzard": 0.02, "DC2": 0.01}[name])
    if detf:
        found = tomography.metric(challenge, bins, Survey(), "detf")
        np.testing.assert_allclose(found, detf, rtol=0.05)


@pytest.mark.parametrize("kind", tomography.METRICS)
def test_gradient_matches_finite_differences(challenge, kind):
    counts = tf.constant(catalogue_counts("Buzzard", 4, challenge.edges.numpy()))
    overlap = tf.linalg.diag(tf.reduce_sum(counts, axis=1)) + 0.01
    step = tf.constant(RNG.normal(size=counts.shape)) * counts
    across = 0.01 * tf.constant(np.cov(RNG.normal(size=[4, 9])))

    def value(t):
        return tomography.metric(challenge, Bins(counts + t * step, overlap + t * across),
                                 Survey(), kind)  # fmt: skip

    with tf.GradientTape() as tape:
        t = tf.zeros([], tf.float64)
        tape.watch(t)
        found = value(t)
    expected = (value(1e-4) - value(-1e-4)) / 2e-4
    np.testing.assert_allclose(tape.gradient(found, t), expected, rtol=1e-6)


@pytest.mark.parametrize("case", ["empty", "identical", "all empty", "all the same"])
@pytest.mark.parametrize("kind", tomography.METRICS)
def test_empty_and_identical_bins_are_no_nan(challenge, case, kind):
    counts = catalogue_counts("DC2", 3, challenge.edges.numpy())
    whole = counts.sum(axis=0)
    weights = {
        "empty": np.concatenate([counts, np.zeros_like(counts[:1])]),
        "identical": np.stack([counts[0], counts[1], counts[2] / 2, counts[2] / 2]),
        "all empty": np.zeros_like(counts),
        "all the same": np.tile(whole / 3, [3, 1]),
    }[case]
    hard = tomography.hard_bins(weights)
    # Galaxies in several bins by equal parts share their noise.
    share = np.outer(hard.overlap.numpy().diagonal(), np.ones(len(weights)))
    overlap = tf.constant(share / 3) if case == "all the same" else hard.overlap
    bins = Bins(hard.counts, overlap)
    with tf.GradientTape() as tape:
        tape.watch(bins)
        found = tomography.metric(challenge, bins, Survey(), kind)
    assert np.isfinite(found)
    assert all(np.all(np.isfinite(x)) for x in tape.gradient(found, bins))
    if case == "empty":  # it changes nothing
        without = tomography.metric(challenge, tomography.hard_bins(counts), Survey(), kind)
        np.testing.assert_allclose(found, without, rtol=1e-8)
    if case == "all the same" and kind == "snr":  # no more than a single bin
        one = tomography.metric(challenge, tomography.hard_bins(whole[None]), Survey(), kind)
        np.testing.assert_allclose(found, one, rtol=1e-4)  # what cancels is 1e-11 of the noise


def test_soft_weights_make_bins():
    weights = RNG.dirichlet(np.ones(3), size=50)
    z = RNG.uniform(0, 3, size=50)
    slice_of = tomography.slices_of_redshifts(z, EDGES)
    assert np.all(slice_of.numpy()[z >= 2.4] == -1)
    found = tomography.bins_of_weights(weights, slice_of, 6)
    counts = [np.histogram(z, EDGES, weights=w)[0] / 50 for w in weights.T]
    np.testing.assert_allclose(found.counts, counts, atol=1e-15)
    np.testing.assert_allclose(found.overlap, weights.T @ weights / 50, rtol=1e-14)
    inside = slice_of.numpy() >= 0
    order = np.argsort(slice_of.numpy()[inside], kind="stable")
    sorted_ = [x[inside][order] for x in (weights, slice_of.numpy())]
    quick = tomography.bins_of_weights(*sorted_, 6, is_sorted=True)
    lists = tomography.bins_of_weights(np.asarray(weights).tolist(), list(slice_of), 6)
    np.testing.assert_allclose(lists.counts, found.counts, rtol=1e-6)
    np.testing.assert_allclose(quick.counts * inside.sum(), found.counts * 50, rtol=1e-13)


def test_soft_bins_mixed_from_hard_ones_are_worth_the_same(challenge):
    """A regular mixture of bins is another basis of the same data, noise and all."""
    counts = catalogue_counts("DC2", 3, challenge.edges.numpy())
    hard = tomography.hard_bins(counts)
    mix = np.array([[0.8, 0.2, 0.1], [0.1, 0.7, 0.2], [0.1, 0.1, 0.7]])
    mixed = Bins(tf.constant(mix @ counts), tf.constant(mix @ hard.overlap.numpy() @ mix.T))
    for kind in tomography.METRICS:
        pair = [tomography.metric(challenge, bins, Survey(), kind) for bins in (hard, mixed)]
        np.testing.assert_allclose(*pair, rtol=1e-7)


def test_nuisances_cost_information_and_tight_priors_none(challenge):
    bins = tomography.hard_bins(catalogue_counts("Buzzard", 3, challenge.edges.numpy()))
    known = tomography.metric(challenge, bins, Survey())
    sharp = tomography.marginal_metric(challenge, bins, Survey(), Nuisance(1e-8, 1e-8, 1e-8))
    np.testing.assert_allclose(sharp, known, rtol=1e-4)
    loose = tomography.marginal_metric(challenge, bins, Survey(), Nuisance())
    assert 0 < loose < 0.8 * known


def test_derivatives_by_nuisances(challenge):
    """Rows of the Fisher matrix against bins that are changed."""
    z = np.linspace(0.005, 2.995, 600)
    edges, num = challenge.edges.numpy(), 7

    def moved(shift):
        density = np.exp(-0.5 * ((z - np.array([[0.5], [0.9], [1.3]]) - shift) / 0.2) ** 2)
        hist = np.stack([np.histogram(z, edges, weights=d)[0] for d in density])
        return tf.constant(0.3 * hist / density.sum(axis=1, keepdims=True))

    bins = tomography.hard_bins(moved(0.0))
    nuisance = Nuisance(galaxy_bias=np.inf, shift=np.inf, multiplicative=np.inf)
    found = tomography.marginal_fisher_matrix(challenge, bins, Survey(), nuisance)
    assert found.shape == (num + 9, num + 9)
    base = tomography.binned_spectra(challenge, bins, Survey())
    up, down = (tomography.binned_spectra(challenge, Bins(moved(t), bins[1]), Survey())
                for t in (0.01, -0.01))  # fmt: skip
    total = base.signal[0] + base.noise
    shift = (up.signal[0] - down.signal[0]) / 0.02
    response = np.linalg.solve(total, shift)
    expected = np.einsum("l,lij,lji->", base.num_modes, response, response)
    # All bins move at once; flow between slices, four of which are the width of a bin, is good to
    # 3 %, and the information to twice that.
    np.testing.assert_allclose(tf.reduce_sum(found[10:13, 10:13]), expected, rtol=0.07)
    grown = np.ones(6)
    grown[3:] = 2.0  # all counts: the derivative by the common bias
    slope = base.signal[0] * (np.outer(grown, grown) - 1) / np.array([[1, 1], [1, 1.5]]).repeat(
        3, 0).repeat(3, 1)  # fmt: skip
    response = np.linalg.solve(total, slope)
    expected = np.einsum("l,lij,lji->", base.num_modes, response, response)
    np.testing.assert_allclose(tf.reduce_sum(found[7:10, 7:10]), expected, rtol=1e-9)


def test_gradients_of_a_survey(challenge):
    edges, values = np.array([0.1, 0.5, 0.9, 1.6]), np.array([24.5, 0.3, 0.06, 0.7])

    def value(edges, values):
        return tomography.design_metric(challenge, edges, *tf.unstack(values))

    arguments = tf.constant(edges), tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        found = value(*arguments)
    gradients = [x.numpy() for x in tape.gradient(found, arguments)]
    for number, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        direction = RNG.normal(size=argument.shape)
        ends = []
        for sign in (1, -1):
            changed = list(arguments)
            changed[number] = argument + 1e-4 * sign * direction
            ends.append(value(*changed))
        np.testing.assert_allclose(gradient @ direction, (ends[0] - ends[1]) / 2e-4, rtol=1e-4)
    # Twice the area halves all variances.
    np.testing.assert_allclose(gradients[1][1], found / values[1], rtol=1e-9)


def test_compiled_whole():
    """Under XLA, with its gradient: the sums of others in another order."""
    tf.config.run_functions_eagerly(False)
    blocks = RNG.normal(size=[4, 3, 6, 12])
    shear = tf.constant(np.matmul(blocks, np.swapaxes(blocks, 2, 3)))
    spectra = tomography.SliceSpectra(
        tf.constant(EDGES), tf.constant(ELL[:3]), tf.constant(ELL[:3]), 1e-9 * shear,
        1e-9 * shear, 1e-7 * tf.linalg.diag_part(shear), ("Omega_c", "w0", "wa"),
    )  # fmt: skip

    def value(counts):
        with tf.GradientTape() as tape:
            tape.watch(counts)
            found = tomography.metric(spectra, tomography.hard_bins(counts), SURVEY)
        return found, tape.gradient(found, counts)

    counts = tf.constant(COUNTS)
    whole = tf.function(value, jit_compile=True)(counts)
    tf.config.run_functions_eagerly(True)
    for found, expected in zip(whole, value(counts), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_messages(spectra):
    bins = tomography.hard_bins(COUNTS)
    with pytest.raises(ValueError, match="`kind` must be one of 'snr', 'fom', 'detf'"):
        tomography.metric(spectra, bins, SURVEY, "best")
    with pytest.raises(ValueError, match="`probes` must be one of 'ww', 'gg', '3x2'"):
        tomography.signal_to_noise(spectra, bins, SURVEY, "wg")
    with pytest.raises(ValueError, match="`bins` must be galaxies in 6 slices"):
        tomography.metric(spectra, tomography.hard_bins(COUNTS[:, :5]), SURVEY, "snr")
    with pytest.raises(ValueError, match="`parameters` must hold w0 and wa"):
        tomography.metric(spectra, bins, SURVEY, "detf")
    with pytest.raises(ValueError, match="`counts` must be non-negative"):
        tomography.hard_bins(-COUNTS)
    with pytest.raises(ValueError, match="`edges` must increase"):
        tomography.slice_spectra(Planck15(), EDGES[::-1], ELL)
    with pytest.raises(ValueError, match="`ell` must hold at least two"):
        tomography.slice_spectra(Planck15(), EDGES, ELL[:1])
    with pytest.raises(ValueError, match="`parameters` must be fields of Cosmology or 'alignm"):
        tomography.slice_spectra(Planck15(), EDGES, ELL, parameters=("mass",))
    with pytest.raises(ValueError, match="`f_sky` must be positive"):
        Survey(f_sky=0.0)
    with pytest.raises(ValueError, match="`shift` must be positive, or None"):
        Nuisance(shift=-1.0)
    with pytest.raises(ValueError, match="`kind` must be one of 'fom', 'detf'"):
        tomography.marginal_metric(spectra, bins, SURVEY, Nuisance(), "snr")
    with pytest.raises(ValueError, match="`z` must be finite"):
        tomography.slices_of_redshifts([np.nan], EDGES)
    with pytest.raises(ValueError, match=r"`f_sky` must lie in \[0, 1\]. Received: 1300"):
        Survey(f_sky=1300.0)
    with pytest.raises(ValueError, match="`usable` must lie in"):
        tomography.design_metric(spectra, [0.1, 0.5, 1.0], 24.0, 0.3, usable=1.2)
    with pytest.raises(ValueError, match=r"`ell` must be at least 1\. Received: 0\.5"):
        tomography.slice_spectra(Planck15(), EDGES, [0.5, 10.0])
    with pytest.raises(ValueError, match="`alignment` must be infinite for spectra that were not"):
        others = spectra.replace(parameters=("Omega_c", "w0", "sigma8"))
        tomography.marginal_metric(others, bins, SURVEY, Nuisance(alignment=1e-3), "fom")
    for weights in ([[np.inf]], [[-0.1]], [[1.1]]):
        with pytest.raises(ValueError, match=r"`weights` must lie in \[0, 1\]"):
            tomography.bins_of_weights(weights, np.zeros(1, int), 1)
    with pytest.raises(ValueError, match="`weights` must be of at least one galaxy"):
        tomography.bins_of_weights(np.ones((0, 1)), np.zeros(0, int), 1)
    with pytest.raises(ValueError, match=r"`slice_of` must be from 0 to 1, or negative"):
        tomography.bins_of_weights(np.ones((2, 1)), [0, 5], 2)
    with pytest.raises(ValueError, match=r"`slice_of` must be from 0 to 1\. Received: '-1 to 1"):
        tomography.bins_of_weights(np.ones((2, 1)), [-1, 1], 2, is_sorted=True)
    with pytest.raises(TypeError, match="`slice_of` must be one slice for each of 2 galaxies"):
        tomography.bins_of_weights(np.ones((2, 1)), [0.0, 1.0], 2)
    with pytest.raises(ValueError, match="`redshift_bins` must be a list"):
        tomography.bins_of_nz([], EDGES, 1.0)
    with pytest.raises(ValueError, match=r"`i_limit` must lie in \[18.5, 30\]"):
        tomography.magnitude_limited_nz(10.0)
