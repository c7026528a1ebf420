"""The mass map of a real field, HST/COSMOS, against its X-ray groups."""

import dataclasses
import json

import numpy as np
import pytest

import priors
from priors import stacking
from priors.__main__ import main
from priors.catalogue import read_clusters, read_shear_catalogue
from priors.shear_map import bin_shear


@pytest.fixture(scope="module")
def cosmos(data_folder):
    folder = data_folder / "cosmos"
    if not folder.is_dir():
        pytest.skip("FLOWPM_EXT_DATA holds no folder `cosmos`")
    return folder


def test_command_line_maps_the_field(cosmos, tmp_path):
    words = ["map", str(cosmos / "shear_catalogue.fits"), "--nz", str(cosmos / "nz.txt")]
    words += ["--clusters", str(cosmos / "xray_groups.txt"), "--pixel-size-arcmin", "0.29"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    survey, clusters, peak = report["survey"], report["clusters"], report["peaks"][0]
    assert survey["galaxies"] == 417_117 and survey["shape"] == [360, 360]
    # As published, to the digits of the rounding.
    assert survey["galaxies_per_arcmin2"] == pytest.approx(71.7, abs=0.05)
    assert survey["observed_fraction"] == pytest.approx(0.534, abs=0.0005)
    assert survey["residual"] <= 1e-6
    assert clusters["given"] == clusters["stacked"] == 72
    assert clusters["on_observed_pixels"] == 62
    assert clusters["e_signal_to_noise"] >= 12
    assert abs(clusters["b_signal_to_noise"]) < 2
    assert peak["nearest_cluster"]["id"] == "106" and peak["nearest_cluster"]["arcmin"] < 1.5


def test_null_scatter_is_that_of_turned_galaxies(cosmos):
    catalogue = read_shear_catalogue(cosmos / "shear_catalogue.fits")
    made = priors.mass_map(catalogue, cosmos / "nz.txt", num_samples=1)
    clusters = read_clusters(cosmos / "xray_groups.txt")
    stack = stacking.stack(made, clusters)
    index = made.grid.flat_index(clusters.ra, clusters.dec)
    rng = np.random.default_rng(4)
    means = []
    for _ in range(20):
        angle = np.exp(2j * np.pi * rng.uniform(size=catalogue.ra.size))
        null = dataclasses.replace(catalogue, ellipticity=catalogue.ellipticity * angle)
        shear = bin_shear(null, made.grid).shear
        both = made.estimator(np.stack([shear, -1j * shear])).kappa
        means.extend(both.reshape(2, -1)[:, index].mean(axis=1))
    # 40 draws know their scatter to 11 %: three of these.
    assert np.std(means) == pytest.approx(stack.null_std, rel=0.34)


def test_the_wrong_sign_of_e2_loses_the_signal(cosmos):
    clusters = read_clusters(cosmos / "xray_groups.txt")
    signal = []
    for flip_e2 in (False, True):
        made = priors.mass_map(cosmos / "shear_catalogue.fits", prior="ks", flip_e2=flip_e2)
        stack = stacking.stack(made, clusters)
        signal.append(stack.kappa_e / stack.null_std)
    assert signal[0] > 10 > 4 > abs(signal[1])
