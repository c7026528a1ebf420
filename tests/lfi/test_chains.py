"""Draws of posteriors: their files, their moments, and what is derived from them."""

import sys
import types

import numpy as np
import pytest

import flowpm_ext as fpm
from lfi.chains import Chains, default_label


@pytest.fixture
def chains():
    rng = np.random.default_rng(0)
    samples = rng.uniform([0.2, 0.6], [0.4, 1.0], (300, 2))
    return Chains(
        samples, ["Omega_c", "sigma8"], log_prob=rng.normal(size=300),
        weights=rng.uniform(size=300), bounds=[[0.2, 0.4], [0.6, 1.0]],
    )  # fmt: skip


def test_moments_are_weighted():
    chains = Chains([[0.0], [1.0], [1.0]], ["a"], weights=[1, 2, 1])
    assert chains.mean == pytest.approx(0.75)
    assert chains.std == pytest.approx(np.sqrt(0.75 * 0.25))
    assert chains.table().split() == ["a", "0.75", "+-", "0.433"]


def test_s8_is_derived_from_sigma8_and_back(chains):
    found = chains.with_derived()
    assert found.names == ("Omega_c", "sigma8", "S8") and found.num_derived == 1
    matter = chains.samples[:, 0] + fpm.Planck15().Omega_b
    expected = chains.samples[:, 1] * np.sqrt(matter / 0.3)
    np.testing.assert_allclose(found.samples[:, 2], expected, rtol=1e-12)
    assert np.isnan(found.bounds[2]).all()
    back = Chains(found.samples[:, [0, 2]], ["omega_c", "S8"]).with_derived()
    assert back.names[-1] == "sigma8"
    np.testing.assert_allclose(back.samples[:, -1], chains.samples[:, 1], rtol=1e-12)
    other = chains.with_derived(omega_b=0.1).samples[:, 2]
    np.testing.assert_allclose(other, expected * np.sqrt((chains.samples[:, 0] + 0.1) / matter))


def test_sampled_matter_needs_no_baryons():
    found = Chains([[0.3, 0.8], [0.27, 0.7]], ["Omega_m", "sigma8"]).with_derived()
    np.testing.assert_allclose(found.samples[:, 2], [0.8, 0.7 * np.sqrt(0.9)])
    three = Chains([[0.2, 0.1, 0.8], [0.2, 0.07, 0.8]], ["Omega_c", "Omega_b", "sigma8"])
    np.testing.assert_allclose(three.with_derived().samples[:, 3], [0.8, 0.8 * np.sqrt(0.9)])


def test_nothing_is_derived_where_nothing_is_known(chains):
    for names in (["a", "b"], ["Omega_c", "h"], ["h", "sigma8"]):
        assert Chains(chains.samples, names).with_derived().names == tuple(names)
    negative = Chains(-chains.samples, ["Omega_c", "sigma8"])
    assert negative.with_derived() is negative
    assert len(chains.with_derived().with_derived().names) == 3


def test_file_holds_everything(chains, tmp_path):
    before = chains.with_derived()
    before.write_hdf5(tmp_path / "chains.h5")
    after = Chains.read_hdf5(tmp_path / "chains.h5")
    for name in ("samples", "log_prob", "weights", "bounds"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert (after.names, after.labels, after.num_derived) == (before.names, before.labels, 1)
    Chains(chains.samples, ["a", "b"]).write_hdf5(tmp_path / "plain.h5")
    assert Chains.read_hdf5(tmp_path / "plain.h5").weights is None
    (tmp_path / "half.h5").write_bytes(b"no")
    for name in ("half.h5", "none.h5"):
        with pytest.raises(ValueError, match=f"{name}` must be a"):
            Chains.read_hdf5(tmp_path / name)


def test_getdist_text_has_its_columns(chains, tmp_path):
    files = chains.with_derived().write_getdist(tmp_path / "run.1")
    assert [path.name for path in files] == ["run.1.txt", "run.1.paramnames", "run.1.ranges"]
    rows = np.loadtxt(files[0])
    # Nine digits are written.
    np.testing.assert_allclose(rows[:, 0], chains.weights, rtol=1e-8)
    np.testing.assert_allclose(rows[:, 1], -chains.log_prob, rtol=1e-8)
    np.testing.assert_allclose(rows[:, 2:4], chains.samples, rtol=1e-8)
    lines = files[1].read_text().splitlines()
    assert lines == ["Omega_c\t\\Omega_\\mathrm{c}", "sigma8\t\\sigma_8", "S8*\tS_8"]
    assert files[2].read_text().splitlines() == ["Omega_c 0.2 0.4", "sigma8 0.6 1.0"]
    # Without weights, densities and bounds: and none of the old ones is left.
    files = Chains(chains.samples, ["a", "b"]).write_getdist(tmp_path / "run.1")
    assert len(files) == 2 and not (tmp_path / "run.1.ranges").exists()
    np.testing.assert_array_equal(np.loadtxt(files[0])[:, :2], [[1, 0]] * 300)


def test_bounds_on_one_side_are_told_to_getdist(tmp_path):
    bounds = [[0, np.inf], [-np.inf, 1], [-np.inf, np.inf]]
    chains = Chains(np.full([4, 3], 0.5), ["a", "b", "c"], bounds=bounds)
    *_, ranges = chains.write_getdist(tmp_path / "run")
    assert ranges.read_text().splitlines() == ["a 0.0 N", "b N 1.0"]


def test_getdist_is_given_what_it_takes(chains, monkeypatch):
    stand_in = types.SimpleNamespace(MCSamples=lambda **options: options)
    monkeypatch.setitem(sys.modules, "getdist", stand_in)
    found = chains.with_derived().to_getdist()
    assert found["names"] == ["Omega_c", "sigma8", "S8*"]
    assert found["ranges"] == {"Omega_c": [0.2, 0.4], "sigma8": [0.6, 1.0]}
    np.testing.assert_array_equal(found["loglikes"], -chains.log_prob)


def test_getdist_that_is_absent_is_named(chains, monkeypatch):
    monkeypatch.setitem(sys.modules, "getdist", None)
    with pytest.raises(ImportError, match=r"pip install flowpm-ext\[plot\]"):
        chains.to_getdist()


def test_labels_are_latex():
    assert default_label("theta_12") == r"\theta_{12}"
    assert default_label("m_1_z") == r"\mathrm{m\_1\_z}"
    assert default_label("omega_b") == default_label("Omega_b") == r"\Omega_\mathrm{b}"


def test_bad_input_is_refused():
    draws = np.ones([3, 2])
    for options, message in (
        ({"samples": draws[0]}, "`samples` must have shape"),
        ({"samples": draws * np.nan}, "`samples` must be finite"),
        ({"names": ["a", "a"]}, "`names` must be 2 different texts"),
        ({"labels": ["a"]}, "`labels` must be 2 texts"),
        ({"log_prob": [1.0]}, "`log_prob` must have shape"),
        ({"weights": [1, 1, -1]}, "`weights` must be non-negative"),
        ({"weights": [0, 0, 0]}, "`sum of weights` must be positive"),
        ({"bounds": [[0, 1]]}, "`bounds` must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            Chains(**{"samples": draws, "names": ["a", "b"]} | options)
