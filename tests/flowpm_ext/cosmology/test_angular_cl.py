"""Angular spectra against CCL, a naive Limber integral, and limits."""

import numpy as np
import pytest
from reference import ccl_spectra, cosmologies, limber

from flowpm_ext.cosmology import Cosmology, Planck15, background, power, probes, redshift
from flowpm_ext.cosmology.angular_cl import angular_cl, tracer_pairs

VALUES = cosmologies.draw()
ELL = np.geomspace(10.0, 3000.0, 10)
DEEP, WIDE, MIDDLE, NARROW = (
    redshift.smail_nz(2.0, 1.5, 0.5, zmax=4.0), redshift.gaussian_nz(1.0, 0.1),
    redshift.gaussian_nz(0.6, 0.1), redshift.gaussian_nz(1.0, 0.05),
)  # fmt: skip
PROBES = [
    probes.WeakLensing([DEEP, WIDE]),
    probes.WeakLensing([DEEP, WIDE], ia_bias=1.0),
    probes.NumberCounts([MIDDLE, NARROW], 1.5),
    probes.NumberCounts([MIDDLE], 1.5, magnification_bias=0.9),
    probes.NumberCounts([MIDDLE], 1.5, has_rsd=True),
    probes.CMBLensing(),
]
SHEAR, ALIGNED, COUNTS, NARROW_COUNTS, MAGNIFIED, DISTORTED, BACKGROUND = (
    (0, 1), (2, 3), (4,), (5,), (6,), (7,), (8,),
)  # fmt: skip
TRACERS = [
    ("shear", ccl_spectra.smail), ("shear", ccl_spectra.gaussian(1.0, 0.1)),
    ("aligned", ccl_spectra.smail), ("aligned", ccl_spectra.gaussian(1.0, 0.1)),
    ("counts", ccl_spectra.gaussian(0.6, 0.1), 1.5),
    ("counts", ccl_spectra.gaussian(1.0, 0.05), 1.5),
    ("counts", ccl_spectra.gaussian(0.6, 0.1), 1.5, 0.9),
    ("distorted", ccl_spectra.gaussian(0.6, 0.1), 1.5), ("background",),
]  # fmt: skip
ROWS, COLUMNS = tracer_pairs(len(TRACERS))
FLAT = VALUES["Omega_k"] == 0
pytestmark = pytest.mark.usefixtures("without_compilation")


@pytest.fixture(scope="module")
def errors():
    """Differences from CCL relative to sqrt(C_ii C_jj), [cosmology, num_cl, num_ell]."""
    # This CCL takes w0 where wa is not zero, hence effective_w=False.
    ours = angular_cl(Cosmology(**VALUES), ELL, PROBES, effective_w=False).numpy()
    theirs = np.stack([
        ccl_spectra.spectra(cosmologies.ccl(cosmologies.one(VALUES, i)), TRACERS, ELL)
        for i in range(cosmologies.SIZE)
    ])  # fmt: skip
    autos = theirs[:, ROWS == COLUMNS]
    return np.abs(ours - theirs) / np.sqrt(autos[:, ROWS] * autos[:, COLUMNS])


def pairs_of(first, second):
    """Which spectra are of a tracer of one group and one of another."""
    return (np.isin(ROWS, first) & np.isin(COLUMNS, second)) | (
        np.isin(ROWS, second) & np.isin(COLUMNS, first)
    )


@pytest.mark.parametrize(
    "first, second",
    [
        (SHEAR, SHEAR), (ALIGNED, ALIGNED), (COUNTS, COUNTS), (NARROW_COUNTS, NARROW_COUNTS),
        (SHEAR, ALIGNED), ((*SHEAR, *ALIGNED), (*COUNTS, *NARROW_COUNTS)),
        (COUNTS, NARROW_COUNTS),
    ],
    ids=["shear", "aligned", "counts", "narrow counts", "shear x aligned", "shear x counts",
         "counts x narrow counts"],
)  # fmt: skip
def test_spectra_are_those_of_ccl(errors, first, second):
    which = pairs_of(first, second)
    # The project's bar; interpolation in CCL's table of the spectrum leaves 1e-5.
    assert np.max(errors[FLAT][:, which]) < 1e-3
    # With curvature CCL's integral has chi for f_K, see below. A narrow bin shows it in full:
    # it is one distance, where the power is taken at k = ell / chi.
    bar = 8e-3 if first == second == NARROW_COUNTS else 4e-3
    assert np.max(errors[~FLAT][:, which]) < bar


@pytest.mark.parametrize("group", [MAGNIFIED, DISTORTED, BACKGROUND], ids=str)
def test_magnification_distortion_and_the_background_are_those_of_ccl(errors, group):
    which = pairs_of(group, range(len(TRACERS)))
    assert np.max(errors[FLAT][:, which]) < 2e-3  # the project's bar
    galaxies = which & (BACKGROUND[0] != COLUMNS)
    # As above; the lensing of the background itself is 3e-2 apart, so far away is it.
    assert np.max(errors[~FLAT][:, galaxies], initial=0.0) < 4e-3


@pytest.fixture(scope="module", params=[0.0, 0.02, -0.02])
def conventions(request):
    """(ours, ours naively, CCL, CCL naively), [num_cl, num_ell] each, over sqrt(C_ii C_jj)."""
    parameters = {**cosmologies.PLANCK, "Omega_k": request.param}
    cosmo, reference = Cosmology(**parameters), cosmologies.ccl(parameters)
    h = parameters["h"]

    def our_power(k, z):
        return power.nonlinear_matter_power(cosmo, k, 1 / (1 + z)).numpy()

    def their_power(k, z):
        return np.stack([reference.nonlin_matter_power(k * h, 1 / (1 + x)) for x in z]) * h**3

    spectra = [
        angular_cl(cosmo, ELL, PROBES).numpy(),
        naive(parameters, our_power, as_ccl=False),
        ccl_spectra.spectra(reference, TRACERS, ELL),
        naive(parameters, their_power, as_ccl=True),
    ]
    autos = spectra[1][ROWS == COLUMNS]
    return [x / np.sqrt(autos[ROWS] * autos[COLUMNS]) for x in spectra]


def test_our_spectra_have_f_k_everywhere(conventions):
    ours, expected, _, _ = conventions
    # Panels of four nodes on our side, Simpson's rule and two splines on the other.
    assert np.max(np.abs(ours - expected)[:-1]) < 1e-4
    # The last spectrum is that of the background: from z = 4 to 1100 both are coarser.
    assert np.max(np.abs(ours - expected)[-1]) < 3e-4


def test_spectra_of_ccl_have_chi_in_the_integral(conventions):
    _, _, theirs, expected = conventions
    # Splines on both sides; the adaptive rule of CCL misses one number in 450 by 3e-4.
    assert np.quantile(np.abs(theirs - expected), 0.99) < 1e-4
    assert np.max(np.abs(theirs - expected)) < 5e-4


def naive(parameters, spectrum, as_ccl):
    """The spectra of `PROBES`, by Simpson's rule."""
    cosmology = cosmologies.astropy(parameters)
    galaxies = limber.Sight(cosmology, limber.galaxy_redshifts(), as_ccl)
    space = limber.Sight(cosmology, limber.screen_redshifts(), as_ccl)
    far = cosmology.comoving_distance(1100.0).value * cosmology.h
    near_power = limber.interpolated(spectrum, galaxies.z[-1])
    far_power = limber.interpolated(spectrum, space.z[-1])
    kernels_at = naive_kernels(galaxies, far, Cosmology(**parameters))
    result = np.zeros([ROWS.size, ELL.size])
    for n, ell in enumerate(ELL):
        kernels = kernels_at(ell)
        for row, (i, j) in enumerate(zip(ROWS, COLUMNS, strict=True)):
            result[row, n] = galaxies.spectrum(ell, kernels[i], kernels[j], near_power)
        lensed = space.screen(far) * limber.scalar(ell)
        result[-1, n] = space.spectrum(ell, lensed, lensed, far_power)
    return result


def naive_kernels(sight, far, cosmo):
    """The kernels of `PROBES`, as a function of the multipole."""
    a = 1 / (1 + sight.z)
    growth, rate = (f(cosmo, a).numpy() for f in (background.growth_factor, background.growth_rate))
    deep, wide, middle, narrow = (nz(sight.z).numpy() for nz in (DEEP, WIDE, MIDDLE, NARROW))
    lensing = [sight.lensing(nz) for nz in (deep, wide)]
    aligned = [x + sight.alignment(nz, growth) for x, nz in zip(lensing, (deep, wide), strict=True)]
    counts, magnified = sight.counts(middle, 1.5), (5 * 0.9 - 2) * sight.lensing(middle)
    return lambda ell: [
        *(limber.spin(ell) * x for x in (*lensing, *aligned)), counts, sight.counts(narrow, 1.5),
        counts + limber.scalar(ell) * magnified,
        counts + sight.distortions(ell, middle, rate, growth),
        limber.scalar(ell) * sight.screen(far),
    ]  # fmt: skip


class TestOptions:
    def test_linear_spectra_of_a_thin_shell_are_the_power_at_one_distance(self):
        cosmo, width = Planck15(Omega_k=0.05), 1e-3
        shell = probes.NumberCounts([redshift.gaussian_nz(0.8, width)], 1.0)
        ours = angular_cl(cosmo, ELL, [shell], nonlinear="linear").numpy()[0]
        a = 1 / 1.8
        distance = background.transverse_comoving_distance(cosmo, a).numpy()
        rate = background.H(cosmo, a).numpy() / 100 / limber.HUBBLE_RADIUS
        spectrum = power.linear_matter_power(cosmo, (ELL + 0.5) / distance, a).numpy()
        # The integral of a squared Gaussian is 1 / (2 sqrt(pi) sigma).
        expected = spectrum / distance**2 * rate / (2 * np.sqrt(np.pi) * width)
        # Panels made for the density (1e-6) are a little wide for its square.
        np.testing.assert_allclose(ours, expected, rtol=1e-4)

    @pytest.mark.parametrize("Omega_k", [-0.2, 0.2])
    def test_infall_in_strongly_curved_space(self, Omega_k):
        # At low ell the second distance is 40 % farther, where the curvature between counts.
        cosmo, ell = Planck15(Omega_k=Omega_k), np.array([2.0, 4.0])
        bins = [redshift.gaussian_nz(1.0, 0.3)]
        tracer = [probes.NumberCounts(bins, 1.0, has_rsd=True)]
        ours = angular_cl(cosmo, ell, tracer, nonlinear="linear").numpy()[0]
        parameters = {"Omega_k": Omega_k, "Omega_c": cosmo.Omega_c, "Omega_b": cosmo.Omega_b}
        sight = limber.Sight(
            cosmologies.astropy({**parameters, "h": cosmo.h}), limber.galaxy_redshifts()
        )
        a = 1 / (1 + sight.z)
        growth, rate = (
            f(cosmo, a).numpy() for f in (background.growth_factor, background.growth_rate)
        )
        nz = bins[0](sight.z).numpy()
        at = limber.interpolated(
            lambda k, z: power.linear_matter_power(cosmo, k, 1 / (1 + z)).numpy(), sight.z[-1]
        )
        for n, multipole in enumerate(ell):
            kernel = sight.counts(nz, 1.0) + sight.distortions(multipole, nz, rate, growth)
            expected = sight.spectrum(multipole, kernel, kernel, at)
            # The spline of the reference between its redshifts, and n(z) cut at z = 0.
            np.testing.assert_allclose(ours[n], expected, rtol=1e-3)

    def test_transfer_function_and_table_reach_the_spectra(self):
        cosmo, shear = Planck15(), [probes.WeakLensing([DEEP])]
        k = np.geomspace(1e-4, 200.0, 600)
        table = power.TabulatedPower(k, power.linear_matter_power(cosmo, k, transfer="bbks"))
        by_name = angular_cl(cosmo, ELL, shear, transfer="bbks")
        by_table = angular_cl(cosmo, ELL, shear, transfer=table)
        np.testing.assert_allclose(by_table, by_name, rtol=1e-5)  # the spline of the table
        assert np.max(np.abs(by_name / angular_cl(cosmo, ELL, shear) - 1)) > 1e-3

    def test_effective_w_matters_only_where_dark_energy_changes(self):
        shear = [probes.WeakLensing([DEEP])]
        for wa, matters in ((0.0, False), (0.3, True)):
            on, off = (
                angular_cl(Planck15(wa=wa), ELL, shear, effective_w=e).numpy()
                for e in (True, False)
            )
            assert (np.max(np.abs(on / off - 1)) > 1e-3) == matters

    def test_low_multipoles_are_finite_and_the_dipole_of_shear_is_zero(self):
        ell = np.array([1.0, 2.0, 5.0, 9.5])
        spectra = angular_cl(Planck15(), ell, PROBES).numpy()
        assert np.all(np.isfinite(spectra))
        np.testing.assert_array_equal(spectra[:4, 0], np.zeros(4))
        assert np.all(spectra[0, 1:] > 0)

    @pytest.mark.parametrize(
        "change, error, message",
        [
            ({"ell": 100.0}, ValueError, "`ell` must have 1 axes. Received: 100"),
            ({"ell": [0.0, 10.0]}, ValueError, "`ell` must be positive"),
            ({"ell": [10.0, np.nan]}, ValueError, "`ell` must be positive"),
            ({"probes": []}, ValueError, r"`probes` must be a list of probes\. Received: \[\]"),
            (
                {"probes": probes.CMBLensing()},
                ValueError,
                r"`probes` must be a list.*\[probe\] for",
            ),
            ({"probes": [DEEP]}, TypeError, "`probes` must hold probes.*See `probes.WeakLensing`"),
            ({"nonlinear": "hmcode"}, ValueError, "`nonlinear` must be one of 'halofit', 'linear'"),
            ({"transfer": "camb"}, ValueError, "`transfer` must be one of 'eisenstein_hu'"),
            ({"cosmo": Planck15(sigma8=None)}, ValueError, "`sigma8` must be given, or `A_s`"),
        ],
    )
    def test_bad_arguments_are_refused(self, change, error, message):
        arguments = {"cosmo": Planck15(), "ell": ELL, "probes": [probes.CMBLensing()], **change}
        with pytest.raises(error, match=message):
            angular_cl(**arguments)
