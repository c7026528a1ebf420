"""Fits of a sharpening: known ones found again, and power nearer to theory."""

import numpy as np
import pytest

import flowpm_ext as fpm
from flowpm_ext.pm import Sharpening, fit_sharpening, sharpening
from flowpm_ext.pm.nbody import nbody

COSMO = fpm.Planck15()
N, BOX = 24, 40.0
STAGES = [0.1, 0.3, 0.5, 0.75, 1.0]


@pytest.fixture(scope="module")
def simulated():
    """A small simulation at two times."""
    field = sharpening._paired_fields(COSMO, N, BOX, seed=0)
    state = fpm.lpt_init(COSMO, field, STAGES[0])
    states = nbody(COSMO, state, STAGES, N, snapshots=[0.5, 1.0])
    edges = sharpening._k_edges(N, BOX, 1.8)
    positions = [s.position for s in states]
    return sharpening._Simulated(positions, np.array([0.5, 1.0]), BOX, N, edges, {})


def test_paired_fields_have_no_scatter():
    fields = sharpening._paired_fields(COSMO, N, BOX, seed=1)
    np.testing.assert_allclose(fields[0], -fields[1], atol=1e-4 * np.std(fields))  # float32
    power = fpm.stats.power_spectrum(fields, BOX)
    theory = fpm.cosmology.power.linear_matter_power(COSMO, power.k)
    # Each mode has exactly the power of its own k; bins are wide.
    np.testing.assert_allclose(power.power[0], theory, rtol=0.1)
    np.testing.assert_allclose(power.power[0], power.power[1], rtol=1e-4)


def test_a_known_sharpening_is_found_again(simulated):
    truth = Sharpening(alpha=0.01, k_long=0.5, k_short=2.5, exponent=-1.0)
    x = sharpening._unbounded(truth)
    target = np.stack([simulated.sharpened(i, x) for i in range(2)])
    before = np.stack([np.mean(simulated.spectrum(p).power, 0) for p in simulated.positions])
    found = sharpening._fitted(simulated, target, 20, progress=False)
    after = np.stack([simulated.sharpened(i, found) for i in range(2)])
    # Parameters may trade with each other; what they do to the power may not.
    assert np.abs(np.log(before / target)).max() > 0.05
    np.testing.assert_allclose(after, target, rtol=0.01)


def test_fit_brings_power_nearer_to_theory():
    fit = fit_sharpening(
        COSMO, 32, 51.25, a=[0.6, 1.0], stages=STAGES, force_mesh_factor=2, max_iterations=6,
        progress=False,
    )  # fmt: skip
    assert fit.before.shape == fit.after.shape == (2, fit.k.size)
    before, after = (np.sqrt(np.mean(np.log(x) ** 2)) for x in (fit.before, fit.after))
    assert after < 0.6 * before
    assert fit.sharpening.alpha > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_max": 100.0}, "`k_max` must lie between"),
        ({"mesh_shape": 0}, "`mesh_shape` must be a positive integer"),
        ({"box_size": -1.0}, "`box_size` must be positive"),
        ({"a": [0.5, 0.4]}, "`a` must"),
        ({"a": 0.5}, "`a` must have 1 axes"),
        ({"a": [0.5, 1.2]}, "`snapshots` must lie in"),
        ({"cosmo": fpm.Planck15(Omega_c=[0.2, 0.3])}, "`cosmo` must be one cosmology, no batch"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ValueError, match=message):
        fit_sharpening(**{"cosmo": COSMO, "mesh_shape": 16, "box_size": 10.0} | change)


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="`of_force` must hold only"):
        fit_sharpening(COSMO, force="fast")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_short": 0.0}, "`k_short` must be positive"),
        ({"k_long": -1.0}, "`k_long` must"),
        ({"alpha": np.nan}, "`alpha` must be finite"),
        ({"alpha": [0.1, 0.2]}, "`alpha` must"),
    ],
)
def test_sharpening_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Sharpening(**{"alpha": 0.1, "k_long": 0.1, "k_short": 1.0} | change)
